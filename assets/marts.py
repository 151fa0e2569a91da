"""The mart assets: one dbt model and one contract class make one.

Here: putting the two together. Not here: the SQL (`dbt/models/marts`), the contracts (`contracts/marts.py`), reading dbt's
project (`io/dbt_project.py`).
"""

from __future__ import annotations

import inspect
import re
from typing import get_args

from catalunya.assets.spec import Clock, MartDeclaration
from catalunya.contracts import marts
from catalunya.contracts.base import Contract
from catalunya.io import dbt_project
from catalunya.io.dbt_project import Model
from catalunya.io.environment import Settings
from catalunya.io.errors import DeclarationError


def declarations(settings: Settings) -> list[MartDeclaration]:
    """Every mart. Where dbt is not installed there is none: the graph ends at staging there.

    Raises DeclarationError on a model without a contract, a contract without a model, or meta that says nothing known.
    """
    if not dbt_project.is_installed():
        return []
    models = dbt_project.load_project(settings).models
    orphans = sorted(contracts().keys() - models.keys())
    if orphans:
        raise DeclarationError(
            f"contract {_class_name(orphans[0])} in contracts/marts.py has no model: expected {orphans[0]}.sql in dbt/models/marts; "
            "write it or remove the contract"
        )
    return [_declaration(models[name]) for name in sorted(models)]


def contracts() -> dict[str, type[Contract]]:
    """The contracts of the marts by the name of their model."""
    found = inspect.getmembers(marts, lambda member: inspect.isclass(member) and issubclass(member, Contract))
    return {_model_name(name): contract for name, contract in found if contract.__module__ == marts.__name__}


def contract_of(name: str) -> type[Contract]:
    """The contract of a mart: `dim_time` -> DimTime. Raises DeclarationError when there is none."""
    known = contracts()
    if name not in known:
        raise DeclarationError(
            f"marts.{name}: expected a contract class {_class_name(name)} in contracts/marts.py, found {', '.join(map(_class_name, known))}; "
            "write it: its columns, key and descriptions"
        )
    return known[name]


def _declaration(model: Model) -> MartDeclaration:
    unknown = model.meta.keys() - {"clock", "partition_by"}
    clock: Clock | None = model.meta.get("clock")
    if unknown or clock not in (None, *get_args(Clock)):
        raise DeclarationError(
            f"marts.{model.name}: expected meta in {model.path} to have clock ({' or '.join(get_args(Clock))}) and partition_by at most, "
            f"found {dict(model.meta)}; mend its config"
        )
    return MartDeclaration(
        name=model.name,
        contract=contract_of(model.name),
        upstream=tuple(".".join(read) for read in model.reads),
        sql_version=model.sql_version,
        clock=clock,
        partition_by=tuple(model.meta.get("partition_by", ())),
        module=model.path,
    )


def _class_name(model: str) -> str:
    return "".join(part.capitalize() for part in model.split("_"))


def _model_name(contract: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", contract).lower()
