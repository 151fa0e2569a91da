"""verify finds damage on S3 as in a folder, repair moves it aside, and the tables can be materialized again."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.project import Project
from catalunya.assets.record.verify import repair, verify
from catalunya.io.environment import Settings
from small.killing import KEYS
from small.shops import declare, some

REUS = "staging/shops/city=Reus/file.parquet"
STRAY = "staging/shops/city=Olot/file.parquet"
ENTRY = "_ledger/staging/cities/0000000001.json"


@pytest.fixture
def project(settings: Settings, tmp_path: Path) -> Project:
    """Three assets, materialized once from seven rows, of which one is in quarantine."""
    source, declared = declare(tmp_path / "source")
    source.write([*some(5), {"codi": "V1", "ciutat": "Vic"}, {"codi": "B1", "ciutat": "nowhere"}])
    made = Project(settings, declared)
    for key in KEYS:
        materialize(made, key)
    return made


def kinds(project: Project) -> list[str]:
    return [finding.kind for finding in verify(Project(project.settings, list(project.declarations.values()))).findings]


def test_an_intact_lake_agrees_with_its_ledger(project: Project) -> None:
    report = verify(project)
    assert (report.findings, report.busy, report.assets) == ([], [], 3)
    assert report.objects == 3 + 3 + 1, "three entries, three tables' objects, one quarantine object"
    assert verify(project, quick=True).findings == []


def test_damage_is_found_moved_aside_and_materialized_again(project: Project) -> None:
    lake = project.lake
    good = lake.get(REUS)
    lake.put(REUS, good[:-5] + b"?" + good[-4:])
    lake.delete(["staging/shops/city=Vic/file.parquet"])
    lake.put(STRAY, b"stray")
    lake.put(ENTRY, b"no entry")
    damaged = Project(project.settings, list(project.declarations.values()))
    findings = verify(damaged).findings
    assert {finding.kind for finding in findings} >= {
        "object_differs",
        "object_missing",
        "unknown_object",
        "entry_unreadable",
    }
    moved = repair(damaged, findings)
    assert lake.get(moved[ENTRY]) == b"no entry"
    again = Project(project.settings, list(project.declarations.values()))
    for key in KEYS:
        materialize(again, key, Request(force=True))
    assert kinds(project) == []
    assert lake.get(REUS) == good
