"""The graph as a document, `docs/graph.json`: keys, edges, schedules, retention, the contracts' terms and columns.

Here: its content, and its text, laid out so that one change is one line of a diff. Not here: writing it (`ops/generate.py`), what a
difference means (`contracts/model/compatibility.py`). Descriptions and code versions are left out: rewording a sentence or fixing a
function does not change the graph.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from catalunya.assets.graph.spec import Asset
from catalunya.contracts.model.contract import Contract, LandingContract
from catalunya.io.errors import DeclarationError

GRAPH_FILE = "docs/graph.json"

_NOT_OF_ASSET = frozenset({"key", "description", "code_version", "module", "columns"})
_NOT_OF_COLUMN = frozenset({"name", "description"})


def graph_document(
    assets: Iterable[Asset], contracts: Mapping[str, type[Contract]], retired: Mapping[str, str]
) -> dict[str, Any]:
    """The document as plain JSON, without empty values (None, False, empty). `contracts` are by asset key, `retired` are the
    tables that were removed on purpose.

    Raises DeclarationError when a retired table is declared.
    """
    found = {asset.key: _described(asset, contracts[asset.key]) for asset in assets}
    back = sorted(found.keys() & retired.keys())
    if back:
        raise DeclarationError(f"{back[0]} is both declared and named in contracts/retired.py; remove one of the two")
    document = {"assets": found, "retired": retired} if retired else {"assets": found}
    plain: dict[str, Any] = json.loads(json.dumps(document), parse_float=_number)
    return plain


def text(document: Mapping[str, Any]) -> str:
    """The text to commit: assets by key, columns in declared order, one line each."""
    ordered = {**document, "assets": dict(sorted(document["assets"].items()))}
    return _layout(ordered, 0) + "\n"


def _described(asset: Asset, contract: type[Contract]) -> dict[str, Any]:
    described = {
        "layer": str(asset.layer),
        **_without_empty(asdict(asset), _NOT_OF_ASSET),
        "contract": contract.__name__,
        **_without_empty(asdict(contract.terms()), frozenset()),
    }
    if issubclass(contract, LandingContract):
        described["fields"] = {field.name: _without_empty(asdict(field), _NOT_OF_COLUMN) for field in contract.fields()}
    else:
        described["columns"] = {column.name: _without_empty(asdict(column), _NOT_OF_COLUMN) for column in asset.columns}
    return described


def _without_empty(parts: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    return {
        name: value
        for name, value in parts.items()
        if name not in left_out and value is not None and value is not False and value != ()
    }


def _number(text: str) -> float:
    """36.0 becomes 36, so that a compiled graph and one just declared give the same text."""
    return int(float(text)) if float(text).is_integer() else float(text)


def _layout(value: Any, depth: int) -> str:
    """JSON, one line per column."""
    if not isinstance(value, dict) or (depth > 2 and not any(isinstance(part, dict) for part in value.values())):
        return json.dumps(value, ensure_ascii=False)
    inner = "  " * (depth + 1)
    lines = [f"{inner}{json.dumps(name)}: {_layout(part, depth + 1)}" for name, part in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"
