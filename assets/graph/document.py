"""The whole graph as one document for people and git: keys, edges, schedules, retention, the contracts' terms and columns.

Here: what a snapshot holds, and its text, laid out so that one change is one line of a diff. Not here: writing it
(`ops/generate.py`), what a difference means (`contracts/model/compatibility.py`). Words, descriptions and code versions are left
out: mending a sentence or a function is no change of the graph.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from catalunya.assets.graph.spec import Asset
from catalunya.contracts.model.contract import Contract, LandingContract
from catalunya.io.errors import DeclarationError

SNAPSHOT = "docs/graph.json"

_NOT_OF_ASSET = frozenset({"key", "description", "code_version", "module", "columns", "readers"})
_NOT_OF_COLUMN = frozenset({"name", "description"})


def snapshot(
    assets: Iterable[Asset], contracts: Mapping[str, type[Contract]], retired: Mapping[str, str]
) -> dict[str, Any]:
    """The snapshot as plain JSON: what is not said (None, False, empty) is left out. `contracts` are by asset key, `retired`
    are the tables that were removed on purpose.

    Raises DeclarationError when a retired table is declared.
    """
    found = {asset.key: _described(asset, contracts[asset.key]) for asset in assets}
    back = sorted(found.keys() & retired.keys())
    if back:
        raise DeclarationError(
            f"{back[0]} is declared and named in contracts/retired.py, expected one of both; remove it there, or the asset"
        )
    document = {"assets": found, "retired": retired} if retired else {"assets": found}
    plain: dict[str, Any] = json.loads(json.dumps(document), parse_float=_number)
    return plain


def text(document: Mapping[str, Any]) -> str:
    """The document as it is committed: assets by key, columns in declared order, one line each."""
    ordered = {**document, "assets": dict(sorted(document["assets"].items()))}
    return _laid_out(ordered, 0) + "\n"


def _described(asset: Asset, contract: type[Contract]) -> dict[str, Any]:
    described = {
        "layer": str(asset.layer),
        **_said(asdict(asset), _NOT_OF_ASSET),
        "contract": contract.__name__,
        **asdict(contract.terms()),
    }
    if issubclass(contract, LandingContract):
        described["fields"] = {field.name: _said(asdict(field), _NOT_OF_COLUMN) for field in contract.fields()}
    else:
        described["columns"] = {column.name: _said(asdict(column), _NOT_OF_COLUMN) for column in asset.columns}
    return described


def _said(parts: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    said = {name: value for name, value in parts.items() if name not in left_out}
    return {name: value for name, value in said.items() if value is not None and value is not False and value != ()}


def _number(text: str) -> float:
    """36.0 is 36: a compiled graph and one just declared say the same."""
    return int(float(text)) if float(text).is_integer() else float(text)


def _laid_out(value: Any, depth: int) -> str:
    """JSON over lines down to a column, which is one line."""
    if not isinstance(value, dict) or (depth > 2 and not any(isinstance(part, dict) for part in value.values())):
        return json.dumps(value, ensure_ascii=False)
    inner = "  " * (depth + 1)
    lines = [f"{inner}{json.dumps(name)}: {_laid_out(part, depth + 1)}" for name, part in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"
