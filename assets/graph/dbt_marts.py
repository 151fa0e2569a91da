"""The mart assets: one dbt model and one contract class make one.

Here: putting the two together. Not here: the SQL (`dbt/models/marts`), the contracts (`contracts/marts.py`), reading dbt's
project (`io/warehouse/dbt.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from catalunya.assets.graph.spec import Clock, Layer, MartDeclaration
from catalunya.contracts.model.contract import Contract
from catalunya.io.environment import Settings
from catalunya.io.errors import DeclarationError
from catalunya.io.warehouse.dbt import is_installed, load_models
from catalunya.io.warehouse.dbt_models import Model


def mart_declarations(contracts: Mapping[str, type[Contract]], settings: Settings) -> list[MartDeclaration]:
    """Every mart; `contracts` are by the name of their model. Without dbt there are none: the graph ends at staging.

    Raises DeclarationError on a model without a contract, a contract without a model, or unknown meta.
    """
    if not contracts or not is_installed():
        return []
    models = load_models(settings)
    orphans = sorted(contracts.keys() - models.keys())
    if orphans:
        raise DeclarationError(
            f"contract {contracts[orphans[0]].__name__} in contracts/marts.py has no model: expected {orphans[0]}.sql in "
            "dbt/models/marts; write it or remove the contract"
        )
    return [_declaration(models[name], contract_of(contracts, name)) for name in sorted(models)]


def contract_of(contracts: Mapping[str, type[Contract]], name: str) -> type[Contract]:
    """The contract of a mart: `dim_time` -> DimTime. Raises DeclarationError when there is none."""
    if name not in contracts:
        wanted = "".join(part.capitalize() for part in name.split("_"))
        raise DeclarationError(
            f"marts.{name}: expected a contract class {wanted} in contracts/marts.py, "
            f"found {', '.join(contract.__name__ for contract in contracts.values())}; "
            "write it: its columns, key and descriptions"
        )
    return contracts[name]


def _declaration(model: Model, contract: type[Contract]) -> MartDeclaration:
    unknown = model.meta.keys() - {"clock", "partition_by", "optional"}
    clock: Clock | None = model.meta.get("clock")
    optional = model.meta.get("optional", ())
    if unknown or clock not in (None, *get_args(Clock)) or isinstance(optional, str):
        raise DeclarationError(
            f"marts.{model.name}: expected meta in {model.path} to have clock ({' or '.join(get_args(Clock))}), partition_by and optional "
            f"(a list of tables that it reads) at most, found {dict(model.meta)}; fix its config"
        )
    return MartDeclaration(
        name=model.name,
        contract=contract,
        upstream=tuple(sorted({".".join(read) for read in model.reads} | _referenced(model.name, contract))),
        optional=tuple(optional),
        sql_version=model.sql_version,
        clock=clock,
        partition_by=tuple(model.meta.get("partition_by", ())),
        keeps_history=model.is_incremental,
        module=model.path,
    )


def _referenced(name: str, contract: type[Contract]) -> set[str]:
    """The keys of the other marts that its columns reference: they are checked against the published tables."""
    tables = {column.references.partition(".")[0] for column in contract.columns() if column.references}
    return {f"{Layer.MARTS}.{table}" for table in tables - {name}}
