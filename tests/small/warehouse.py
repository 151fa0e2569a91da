"""Small staging tables as Parquet files, and marts built from them."""

from __future__ import annotations

import gc
import hashlib
import importlib
import tempfile
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from catalunya.assets.graph.discovery import mart_contracts
from catalunya.contracts.employment import REGIMES, Employment
from catalunya.contracts.gdp import Gdp
from catalunya.contracts.model.contract import Contract
from catalunya.contracts.municipalities import Municipalities
from catalunya.contracts.municipality_areas import MunicipalityAreas
from catalunya.contracts.population import Population
from catalunya.contracts.service_usage import ServiceUsage
from catalunya.contracts.social_services import SocialServices
from catalunya.io.environment import Settings, load_settings
from catalunya.io.warehouse.build import Tested, build_model
from catalunya.io.warehouse.dbt import load_project
from catalunya.io.warehouse.relation import Relation

Rows = Sequence[dict[str, Any]]
STAGING: dict[str, type[Contract]] = {
    "municipalities": Municipalities,
    "municipality_areas": MunicipalityAreas,
    "service_usage": ServiceUsage,
    "social_services": SocialServices,
    "population": Population,
    "gdp": Gdp,
    "employment": Employment,
}
BUILD_ORDER = [
    "dim_time",
    "dim_municipalities",
    "dim_economic_sectors",
    "fact_population_monthly",
    "fact_gdp_quarterly",
    "fact_service_usage_daily",
    "agg_population_trends_yearly",
    "agg_economic_indicators_quarterly",
]
_numbers = count()
_had: dict[tuple[str, ...], Relation] = {}


@cache
def import_dbt() -> None:
    """Import dbt, and exclude its half a million objects from garbage collection, as tests/conftest.py does for the rest."""
    for name in ("dbt.cli.main", "dbt.parser.manifest", "dbt.task.build", "dbt.adapters.duckdb"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


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


def service(number: int, comarca: str | None, group: str, places: int | None) -> dict[str, Any]:
    """A row of staging.social_services: the columns that the marts read."""
    return {"service_id": f"S{number}", "comarca_id": comarca, "service_group": group, "capacity_places": places}


def inhabitants(
    half_year: str, municipality: str, women: int | None, men: int | None, catalonia: int | None, status: str = "final"
) -> list[dict[str, Any]]:
    """The rows of staging.population for a municipality and half-year: women, men and both. None: not counted."""
    both = None if women is None or men is None else women + men
    return [
        {
            "half_year_id": half_year,
            "municipality_id": municipality,
            "sex": sex,
            "observed_date": date(int(half_year[:4]), 1 if half_year.endswith("1") else 7, 1),
            "population": figure,
            "observation_status": "missing" if figure is None else status,
            "catalonia_population": catalonia if sex == "total" else None,
            "population_source": "IDESCAT ep/9122/10002/mun",
            "year_id": half_year[:4],
        }
        for sex, figure in (("female", women), ("male", men), ("total", both))
    ]


def accounts(
    quarter: str, sector: str, value: float | None, index: float | None, updated: date, status: str = "final"
) -> list[dict[str, Any]]:
    """The rows of staging.gdp for a sector and quarter that the marts read: current prices and volume."""
    return [
        {
            "quarter_id": quarter,
            "sector_id": sector,
            "sector_name": sector.capitalize(),
            "price_basis": basis,
            "measure": measure,
            "figure": figure,
            "observation_status": "missing" if figure is None else status,
            "updated_date": updated,
        }
        for basis, measure, figure in (("current", "value", value), ("volume", "index", index))
    ]


def employed(
    quarter: str, comarca: str, section: str, jobs: tuple[int | None, ...], classification: str = "CCAE-2009"
) -> list[dict[str, Any]]:
    """The rows of staging.employment for a comarca and section that the marts read: employees, and the self-employed if given."""
    year, month = int(quarter[:4]), 3 * int(quarter[-1])
    return [
        {
            "quarter_id": quarter,
            "observed_date": date(year, month, monthrange(year, month)[1]),
            "comarca_id": comarca,
            "regime": regime,
            "classification": classification,
            "section_id": section,
            "section_name": f"Secció {section}",
            "jobs": figure,
            "updated_date": date(2026, 4, 1),
            "year_id": quarter[:4],
        }
        for regime, figure in zip(REGIMES, jobs, strict=False)
    ]


BARCELONA = municipality("080193", "Barcelona", "13", "Barcelonès")
MOIA = municipality("081385", "Moià", "42", "Moianès")
AREAS = [{"municipality_id": "080193", "area_km2": 101.35, "reference_year": 2025, "updated_date": date(2025, 5, 7)}]
SERVICES = [service(1, "13", "elderly_residence", 100), service(2, "42", "disability", 12)]
USAGE = [{"year": 2023, "comarca_id": "13", "residence_users": 90, "day_centre_users": None, "total_users": 90}]
POPULATION = [
    *inhabitants("2024-H1", "080193", 880, 800, 1744),
    *inhabitants("2024-H1", "081385", 34, 30, 1744),
    *inhabitants("2024-H2", "080193", 886, 806, 1757, "provisional"),
    *inhabitants("2024-H2", "081385", 34, 31, 1757, "provisional"),
    *inhabitants("2025-H1", "080193", 893, 810, 1770, "provisional"),
    *inhabitants("2025-H1", "081385", 35, 32, 1770, "provisional"),
]
REVISED = date(2026, 6, 15)
GDP = [
    row
    for quarter, growth in (
        ("2024-Q1", 1.0),
        ("2024-Q2", 1.01),
        ("2024-Q3", 1.02),
        ("2024-Q4", 1.03),
        ("2025-Q1", 1.05),
    )
    for sector, value in (("gdp", 70_000), ("agriculture", 700), ("services", 50_000), ("net_taxes_on_products", 6_000))
    for row in accounts(quarter, sector, value * growth, 100 * growth, REVISED, "provisional")
]
EMPLOYMENT = [
    *employed("2024-Q1", "13", "A", (10, 5)),
    *employed("2024-Q1", "42", "A", (20, 15)),
    *employed("2024-Q1", "13", "G", (800, 200)),
    *employed("2024-Q2", "13", "P", (None, 5)),
    *employed("2024-Q2", "13", "K", (90, 10)),
    *employed("2026-Q1", "13", "A", (10, 5), "CCAE-2025"),
    *employed("2026-Q1", "13", "L", (95, 10), "CCAE-2025"),
]


def frame(contract: type[Contract], rows: Rows) -> pl.DataFrame:
    """Rows with the contract's columns; those left out are null."""
    schema = contract.polars_schema()
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def relation(schema: str, name: str, contract: type[Contract], file: Path) -> Relation:
    """A table with one file."""
    return Relation(schema, name, {column.name: column.type for column in contract.columns()}, (str(file),))


@cache
def _reads(cache: Path) -> dict[str, list[str]]:
    """The tables that each mart reads."""
    models = load_project(load_settings(env="local", cache=cache)).models
    return {name: [table for _, table in model.reads] for name, model in models.items()}


def _content(table: Relation) -> str:
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in table.files)).hexdigest()


@dataclass
class Warehouse:
    """Staging tables that a test writes, and the marts last built from them; `tests` are the results of dbt's tests of the last build."""

    folder: Path
    settings: Settings
    tables: dict[str, Relation] = field(default_factory=dict)
    tests: list[Tested] = field(default_factory=list)

    def write(self, name: str, rows: Rows) -> None:
        """Set the rows of a staging table."""
        file = self.folder / f"{name}-{next(_numbers)}.parquet"
        frame(STAGING[name], rows).write_parquet(file)
        self.tables[name] = relation("staging", name, STAGING[name], file)

    def write_all(self) -> None:
        """Write all staging tables, with a few rows each."""
        self.write("municipalities", [BARCELONA, MOIA])
        self.write("municipality_areas", AREAS)
        self.write("social_services", SERVICES)
        self.write("service_usage", USAGE)
        self.write("population", POPULATION)
        self.write("gdp", GDP)
        self.write("employment", EMPLOYMENT)

    def build(self, model: str, as_of: str = "2026-08-03", *, publish: bool = True) -> pl.DataFrame:
        """Build a mart from the current tables, continuing from the one last built."""
        file = self.build_file(model, as_of)
        if publish:
            self.tables[model] = relation("marts", model, mart_contracts()[model], file)
        return pl.read_parquet(file)

    def have(self, *models: str) -> pl.DataFrame:
        """Publish marts that a test needs and is not about: built once for all tests whose tables are the same. Returns the last of them."""
        for model in models:
            given = [name for name in (*_reads(self.settings.cache)[model], model) if name in self.tables]
            key = (model, *(f"{name} {_content(self.tables[name])}" for name in given))
            if key not in _had:
                self.build(model)
                _had[key] = self.tables[model]
            self.tables[model] = _had[key]
        return pl.read_parquet(self.tables[models[-1]].files[0])

    def build_file(self, model: str, as_of: str) -> Path:
        """The same, returning the file."""
        self.tests.clear()
        return build_model(
            model,
            inputs=[self.tables[name] for name in _reads(self.settings.cache).get(model, ()) if name in self.tables],
            previous=self.tables.get(model),
            variables={"as_of": as_of},
            order_by=mart_contracts()[model].key(),
            settings=self.settings,
            scratch=Path(tempfile.mkdtemp(dir=self.folder)),
            tested=self.tests.append,
        )
