"""OpenLineage events of the whole project, marts and dbt included: valid, in order, and joined to one graph down to the columns."""

from __future__ import annotations

import json
from pathlib import Path

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.lineage_events import dataset_name
from catalunya.assets.record.project import Project
from catalunya.contracts.model.results import Check
from catalunya.io.environment import load_settings
from small.lineage import validate


def test_every_table_is_reported_with_what_it_was_made_from(made: Path, compiled: Path) -> None:
    sent = json.loads(made.with_name("events.json").read_text(encoding="utf-8"))
    project = Project(load_settings(lake=str(made), cache=compiled))
    for event in sent:
        validate(event)
    ended = {event["job"]["name"]: event for event in sent if event["eventType"] == "COMPLETE"}
    assert ended.keys() == {f"{asset.key}{part}" for asset in project.graph for part in ("", ".checks")}
    for asset in project.graph:
        event, entry = ended[asset.key], project.ledger.latest(asset.key)
        assert entry
        (output,) = event["outputs"]
        assert (output["namespace"], output["name"]) == dataset_name(project, asset)
        read = {(each["namespace"], each["name"]) for each in event["inputs"]}
        if asset.layer is not Layer.LANDING:
            assert read == {dataset_name(project, up) for up in project.graph.upstream(asset.key)}
        fields = output["facets"].get("columnLineage", {"fields": {}})["fields"]
        assert fields.keys() <= {column.name for column in asset.columns}
        sources = [each for field in fields.values() for each in field["inputFields"]]
        assert {(each["namespace"], each["name"]) for each in sources} <= read
        checks = ended[f"{asset.key}.checks"]["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
        assert [each["name"] for each in checks] == [check.name for check in entry.checks]
    population = ended["marts.fact_population_monthly"]["outputs"][0]["facets"]["columnLineage"]
    direct = [
        each["field"]
        for each in population["fields"]["population"]["inputFields"]
        if any(how["type"] == "DIRECT" for how in each["transformations"])
    ]
    assert "population" in direct
    kinds = {check.kind for asset in project.graph for check in _checks(project, asset.key)}
    assert kinds == {"contract", "reference", "guard", "test"}
    tests = [check for check in _checks(project, "marts.dim_municipalities") if check.kind == "test"]
    assert [check.name for check in tests] == ["versions_follow_each_other"]


def _checks(project: Project, key: str) -> tuple[Check, ...]:
    entry = project.ledger.latest(key)
    assert entry
    return entry.checks
