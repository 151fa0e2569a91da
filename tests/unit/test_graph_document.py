"""The graph document (docs/graph.json): every change of keys, edges, schedules, columns or retention is a line in a diff."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.graph.document import GRAPH_FILE, graph_document, text
from catalunya.assets.graph.spec import Asset, Freshness
from catalunya.contracts import retired
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import load_settings
from catalunya.ops.generate import graph_now

COMMITTED = Path(__file__).parents[2] / GRAPH_FILE


class RawTowns(LandingContract, drift="freeze"):
    """Towns as their source has them."""

    codi: str = raw("Code", kind="text", required=True)
    nif: str = raw("Tax number", personal=True)


class Towns(Contract, version=3):
    """Towns."""

    town_id: str = column("Code of the town", source=RawTowns.codi, key=True, isin=["08", "17"])
    people: int = column("People", nullable=True, unit="people")


CONTRACTS: dict[str, type[Contract]] = {"landing.towns": RawTowns, "staging.towns": Towns}


def assets(**more: Any) -> list[Asset]:
    staging: dict[str, Any] = {"description": "Towns.", "code_version": "1", "partition_by": ("town_id",)}
    return [
        Asset(key="staging.towns", columns=Towns.columns(), upstream=("landing.towns",), **(staging | more)),
        Asset(
            key="landing.towns",
            description="",
            columns=(),
            code_version="1",
            schedule="@daily",
            freshness=Freshness(36),
        ),
    ]


@pytest.fixture
def now(compiled: Path) -> dict[str, Any]:
    """The document of the graph as declared now."""
    return graph_now(load_settings(cache=compiled))


def test_the_committed_document_is_up_to_date(now: dict[str, Any]) -> None:
    committed = json.loads(COMMITTED.read_text())["assets"]
    declared = now["assets"]
    differ = sorted(k for k in committed.keys() | declared.keys() if committed.get(k) != declared.get(k))
    assert not differ, f"{GRAPH_FILE} is stale: run make generate. It differs in {', '.join(differ)}"
    assert COMMITTED.read_text() == text(now), f"{GRAPH_FILE} is stale: run make generate"


def test_the_document_has_the_whole_graph(now: dict[str, Any]) -> None:
    assert {asset["layer"] for asset in now["assets"].values()} == {"landing", "staging", "marts"}
    for key, asset in now["assets"].items():
        assert asset["contract"], key
        assert asset["keep_days"] > 0, key
        assert bool(asset.get("fields")) is (asset["layer"] == "landing"), key
        assert bool(asset.get("columns")) is (asset["layer"] != "landing"), key
        assert set(asset.get("upstream", ())) <= now["assets"].keys(), key


def test_the_document_has_everything_but_descriptions_and_code_versions() -> None:
    found = graph_document(assets(), CONTRACTS, {})["assets"]
    assert found["landing.towns"] == {
        "layer": "landing",
        "schedule": "@daily",
        "freshness": {"hours": 36},
        "keep_days": 90,
        "contract": "RawTowns",
        "drift": "freeze",
        "tolerate": 0,
        "max_shrink": 0.2,
        "max_growth": 1,
        "max_change": 0.3,
        "max_loss": 0.2,
        "date": "%Y-%m-%d",
        "version": 1,
        "fields": {"codi": {"kind": "text", "required": True}, "nif": {"personal": True}},
    }
    assert found["staging.towns"]["upstream"] == ["landing.towns"]
    assert found["staging.towns"]["partition_by"] == ["town_id"]
    assert found["staging.towns"]["version"] == 3
    assert found["staging.towns"]["columns"] == {
        "town_id": {"type": "string", "key": True, "source": "codi", "accepted": ["08", "17"]},
        "people": {"type": "bigint", "nullable": True, "unit": "people"},
    }


def test_changing_descriptions_or_code_does_not_change_the_document() -> None:
    before = text(graph_document(assets(), CONTRACTS, {}))
    assert (
        text(graph_document(assets(description="All towns.", code_version="2", module="elsewhere"), CONTRACTS, {}))
        == before
    )
    assert text(graph_document(assets(keep_days=30), CONTRACTS, {})) != before


def test_a_whole_number_is_always_written_the_same_way() -> None:
    assert text(graph_document(assets(freshness=Freshness(5)), CONTRACTS, {})) == text(
        graph_document(assets(freshness=Freshness(5.0)), CONTRACTS, {})
    )


def test_each_column_is_one_line_and_assets_are_sorted() -> None:
    lines = text(graph_document(assets(), CONTRACTS, {})).splitlines()
    assert '        "people": {"type": "bigint", "nullable": true, "unit": "people"}' in lines
    assert lines.index('    "landing.towns": {') < lines.index('    "staging.towns": {')
    assert json.loads("\n".join(lines)) == graph_document(assets(), CONTRACTS, {})


def test_no_table_is_both_declared_and_retired(now: dict[str, Any]) -> None:
    assert not now["assets"].keys() & retired.RETIRED.keys()
    assert all(why for why in retired.RETIRED.values())
