"""Small staging tables as Parquet, and marts built from them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from catalunya.assets.marts import contract_of
from catalunya.contracts.base import Contract
from catalunya.contracts.municipalities import Municipalities
from catalunya.contracts.service_usage import ServiceUsage
from catalunya.contracts.social_services import SocialServices
from catalunya.io.environment import Settings
from catalunya.io.warehouse import Relation, build_model

Rows = Sequence[dict[str, Any]]
STAGING: dict[str, type[Contract]] = {
    "municipalities": Municipalities,
    "service_usage": ServiceUsage,
    "social_services": SocialServices,
}
READS = {
    "dim_time": (),
    "dim_municipalities": ("municipalities",),
    "fact_service_usage_daily": ("social_services", "service_usage", "dim_municipalities", "dim_time"),
}
_numbers = count()


def municipality(code: str, name: str, comarca: str, comarca_name: str) -> dict[str, Any]:
    """A row of staging.municipalities."""
    return {
        "municipality_id": code,
        "municipality_name": name,
        "comarca_id": comarca,
        "comarca_name": comarca_name,
        "province_id": code[:2],
        "longitude_deg": 2.0,
        "latitude_deg": 41.5,
    }


def service(number: int, comarca: str, group: str, places: int | None) -> dict[str, Any]:
    """A row of staging.social_services, as far as the marts read it."""
    return {"service_id": f"S{number}", "comarca_id": comarca, "service_group": group, "capacity_places": places}


BARCELONA = municipality("080193", "Barcelona", "13", "Barcelonès")
MOIA = municipality("081385", "Moià", "42", "Moianès")
SERVICES = [service(1, "13", "elderly_residence", 100), service(2, "42", "disability", 12)]
USAGE = [{"year": 2023, "comarca_id": "13", "residence_users": 90, "day_centre_users": None, "total_users": 90}]


def frame(contract: type[Contract], rows: Rows) -> pl.DataFrame:
    """Rows as the contract's columns; what they leave out is null."""
    schema = contract.polars_schema()
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def relation(schema: str, name: str, contract: type[Contract], file: Path) -> Relation:
    """A table of one file."""
    return Relation(schema, name, {column.name: column.type for column in contract.columns()}, (str(file),))


@dataclass
class Warehouse:
    """Staging tables that a test writes, and the marts last built of them."""

    folder: Path
    settings: Settings
    tables: dict[str, Relation] = field(default_factory=dict)

    def write(self, name: str, rows: Rows) -> None:
        """What a staging table holds from now on."""
        file = self.folder / f"{name}-{next(_numbers)}.parquet"
        frame(STAGING[name], rows).write_parquet(file)
        self.tables[name] = relation("staging", name, STAGING[name], file)

    def write_all(self) -> None:
        """The three staging tables, small."""
        self.write("municipalities", [BARCELONA, MOIA])
        self.write("social_services", SERVICES)
        self.write("service_usage", USAGE)

    def build(self, model: str, as_of: str = "2026-08-03", *, publish: bool = True) -> pl.DataFrame:
        """Build a mart of what there is now, going on from the one last built."""
        file = self.build_file(model, as_of)
        if publish:
            self.tables[model] = relation("marts", model, contract_of(model), file)
        return pl.read_parquet(file)

    def build_file(self, model: str, as_of: str) -> Path:
        """The same, as the file that comes out."""
        return build_model(
            model,
            inputs=[self.tables[name] for name in READS[model]],
            previous=self.tables.get(model),
            variables={"as_of": as_of},
            order_by=contract_of(model).key(),
            settings=self.settings,
            scratch=Path(tempfile.mkdtemp(dir=self.folder)),
        )
