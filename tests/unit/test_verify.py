"""Invariant 10: verify proves that ledger and objects agree, finds every kind of mismatch, and repair loses nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import Request
from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason
from catalunya.assets.record.verify import Report, repair, verify
from catalunya.io.environment import Settings
from catalunya.io.errors import LeaseHeld
from catalunya.ops.plan_run import PlanRun
from small.shops import declare, some

ROWS = [*some(5), {"codi": "V1", "ciutat": "Vic"}, {"codi": "B1", "ciutat": "nowhere"}]


class Lake:
    """A lake with three assets, made once: landing.shops -> staging.shops -> staging.cities."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.root = settings, Path(settings.lake)
        self.source, self.declared = declare(folder, page_rows=4)

    @property
    def project(self) -> Project:
        return Project(self.settings, self.declared)

    def run(self, selection: str = "*", *, force: bool = False) -> list[str]:
        """Make a selection, as the command does, and return the statuses."""
        project = self.project
        steps = plan(project.state(), project.graph.select(selection), force=force)
        plan_run = PlanRun(project, steps, request=lambda step: Request(force=step.reason is Reason.FORCED))
        return [result.status for result in plan_run.run()]

    def verify(self, *, quick: bool = False) -> Report:
        return verify(self.project, quick=quick)

    def kinds(self, *, quick: bool = False) -> list[tuple[str, str]]:
        return [(finding.asset, finding.kind) for finding in self.verify(quick=quick).findings]

    def file(self, path: str) -> Path:
        return self.root / path

    def everything(self) -> set[bytes]:
        return {path.read_bytes() for path in self.root.rglob("*") if path.is_file() and "_leases" not in path.parts}


@pytest.fixture(scope="module")
def _made(settings_once: Settings) -> None:
    lake = Lake(settings_once, Path(settings_once.lake).parent / "source")
    lake.source.write(ROWS)
    lake.run()


@pytest.fixture
def lake(_made: None, copied: Settings, tmp_path: Path) -> Lake:
    return Lake(copied, tmp_path / "source")


REUS = "staging/shops/city=Reus/file.parquet"
ENTRY = "_ledger/staging/shops/0000000001.json"


def test_a_healthy_lake_has_no_findings(lake: Lake) -> None:
    report = lake.verify()
    assert (report.findings, report.busy, report.assets) == ([], [], 3)
    assert report.objects == 3 + 3 + 1, "three entries, three tables' objects, one quarantine object"
    assert report.bytes > 0


def test_an_empty_lake_has_no_findings(settings: Settings, tmp_path: Path) -> None:
    assert verify(Project(settings, declare(tmp_path)[1])).findings == []


def test_verify_changes_nothing(lake: Lake) -> None:
    before = {path: path.stat().st_mtime_ns for path in lake.root.rglob("*")}
    lake.verify()
    assert {path: path.stat().st_mtime_ns for path in lake.root.rglob("*")} == before


def test_a_missing_object_is_found_and_made_again(lake: Lake) -> None:
    lake.file(REUS).unlink()
    finding = lake.verify().findings[0]
    assert (finding.asset, finding.kind, finding.where) == ("staging.shops", "object_missing", REUS)
    assert finding.todo == "catalunya materialize staging.shops --force"
    assert lake.run("staging.shops", force=True) == ["materialized", "materialized"], (
        "its landing batch is landed again"
    )
    assert lake.kinds() == []


def test_changed_content_of_the_same_size_is_found_unless_the_check_is_quick(lake: Lake) -> None:
    good = lake.file(REUS).read_bytes()
    lake.file(REUS).write_bytes(good[:-5] + b"?" + good[-4:])
    assert lake.kinds() == [("staging.shops", "object_differs")]
    assert lake.kinds(quick=True) == []
    lake.file(REUS).write_bytes(good + b"?")
    assert lake.kinds(quick=True) == [("staging.shops", "object_differs")]


def test_columns_that_differ_from_the_entry_are_found(lake: Lake) -> None:
    ledger = lake.project.ledger
    entry = ledger.latest("staging.shops")
    assert entry
    columns = {**entry.columns, "capacity_places": "string", "owner": "string"}
    ledger.append(replace(entry, columns=columns), after=1)
    what = lake.verify().findings[0].what
    assert "capacity_places as string (found bigint), owner as string (found nothing)" in what


def test_an_entry_whose_row_counts_do_not_add_up_is_found(lake: Lake) -> None:
    ledger = lake.project.ledger
    entry = ledger.latest("staging.shops")
    assert entry
    ledger.append(replace(entry, rows=entry.rows + 1), after=1)
    assert ("staging.shops", "entry_inconsistent") in lake.kinds()


def test_an_unknown_object_in_a_table_is_found_and_set_aside(lake: Lake) -> None:
    stray = lake.file("staging/shops/city=Olot/file.parquet")
    stray.parent.mkdir()
    shutil.copy(lake.file(REUS), stray)
    findings = lake.verify().findings
    assert [(finding.kind, finding.damaged) for finding in findings] == [
        ("unknown_object", ("staging/shops/city=Olot/file.parquet",))
    ]
    moved = repair(lake.project, findings)
    assert not stray.exists()
    assert lake.file(moved["staging/shops/city=Olot/file.parquet"]).read_bytes() == lake.file(REUS).read_bytes()
    assert lake.kinds() == []


def test_folders_of_unknown_assets_are_found_and_left_unchanged(lake: Lake) -> None:
    lake.file("staging/old_shops/a.parquet").parent.mkdir()
    lake.file("staging/old_shops/a.parquet").touch()
    findings = lake.verify().findings
    assert [(finding.asset, finding.kind, finding.where) for finding in findings] == [
        ("", "orphan", "staging/old_shops")
    ]
    assert repair(lake.project, findings) == {}
    assert lake.file("staging/old_shops/a.parquet").exists()


@pytest.mark.parametrize("content", [b"", b"{", b'{"asset": "staging.shops"}', b"\xff\xfe\x00", b"[]"])
def test_an_unreadable_entry_is_set_aside_and_its_number_never_reused(lake: Lake, content: bytes) -> None:
    lake.run("staging.shops", force=True)
    newest = lake.file("_ledger/staging/shops/0000000002.json")
    newest.write_bytes(content)
    before = lake.everything()
    report = lake.verify()
    assert [(finding.kind, finding.where) for finding in report.findings] == [
        ("entry_unreadable", "_ledger/staging/shops/0000000002.json")
    ], "the first entry still describes the table"
    moved = repair(lake.project, report.findings)
    assert lake.file(moved["_ledger/staging/shops/0000000002.json"]).read_bytes() == content
    assert before <= lake.everything(), "nothing is lost"
    assert lake.kinds() == []
    history = lake.project.ledger.history("staging.shops")
    assert [(entry.sequence, entry.status) for entry in history] == [(1, "materialized"), (2, "failed")]
    assert history[1].error
    assert "cannot be read" in history[1].error
    assert lake.project.state().failed("staging.shops") is None, "it does not block the next run"
    assert lake.run("staging.shops", force=True) == ["materialized", "materialized"]
    assert [entry.sequence for entry in lake.project.ledger.history("staging.shops")] == [1, 2, 3]


def test_a_table_that_lost_its_only_entry_stays_readable_until_it_is_rebuilt(lake: Lake) -> None:
    lake.file(ENTRY).write_bytes(b"{")
    for _ in range(2):
        repair(lake.project, lake.verify().findings)
    assert lake.file(REUS).exists()
    assert ("staging.shops", "unknown_object") in lake.kinds()
    lake.run()
    assert lake.kinds() == []


def test_when_a_landing_entry_is_lost_everything_is_rebuilt(lake: Lake) -> None:
    lake.file("_ledger/landing/shops/0000000001.json").write_bytes(b"{")
    findings = lake.verify().findings
    assert {finding.kind for finding in findings} == {"entry_unreadable", "version_unknown"}
    assert "catalunya materialize +staging.shops" in [finding.todo for finding in findings]
    repair(lake.project, findings)
    lake.run()
    assert lake.kinds() == []


def test_an_entry_under_a_wrong_name_is_not_accepted(lake: Lake) -> None:
    shutil.copy(lake.file(ENTRY), lake.file("_ledger/staging/shops/0000000002.json"))
    finding = lake.verify().findings[0]
    assert finding.kind == "entry_unreadable"
    assert "it is entry 1 of staging.shops" in finding.what


def test_a_gap_in_the_numbers_is_found_and_filled_with_a_failed_entry(lake: Lake) -> None:
    lake.run("staging.shops", force=True)
    lake.file(ENTRY).unlink()
    findings = lake.verify().findings
    assert [(finding.kind, finding.numbers) for finding in findings] == [("entry_missing", (1,))]
    repair(lake.project, findings)
    assert [entry.status for entry in lake.project.ledger.history("staging.shops")] == ["failed", "materialized"]
    assert lake.kinds() == []


def test_a_version_missing_from_the_upstreams_history_is_found(lake: Lake) -> None:
    entry = lake.project.ledger.latest("staging.cities")
    assert entry
    lake.project.ledger.append(replace(entry, versions={**entry.versions, "staging.shops": "0000"}), after=1)
    finding = lake.verify().findings[0]
    assert (finding.asset, finding.kind) == ("staging.cities", "version_unknown")
    assert finding.todo == "catalunya materialize +staging.cities"
    lake.run("staging.cities")
    assert lake.kinds() == []


def test_missing_quarantined_rows_are_found(lake: Lake) -> None:
    entry = lake.project.ledger.latest("staging.shops")
    assert entry
    assert entry.quarantine
    lake.file(entry.quarantine).unlink()
    assert lake.kinds() == lake.kinds(quick=True) == [("staging.shops", "quarantine_missing")]
    pl.DataFrame({"_reason": ["a", "b"]}).write_parquet(lake.file(entry.quarantine))
    assert lake.kinds() == [("staging.shops", "quarantine_missing")], "two rows where one was recorded"


@pytest.fixture
def landed(lake: Lake) -> Path:
    """The folder of a batch that no table has used yet."""
    lake.source.write([*ROWS, {"codi": "O1", "ciutat": "Olot"}])
    assert lake.run("landing.shops") == ["materialized"]
    (folder,) = (lake.root / "landing" / "shops").iterdir()
    return folder


def test_a_damaged_batch_that_no_table_has_used_is_found_and_landed_again(lake: Lake, landed: Path) -> None:
    assert lake.kinds() == []
    (landed / "page-00001.json").unlink()
    findings = lake.verify().findings
    assert [(finding.kind, finding.damaged) for finding in findings] == [
        ("object_missing", (f"landing/shops/{landed.name}/_manifest.json",))
    ]
    repair(lake.project, findings)
    assert not list(lake.root.glob("_aside/**/page-*")), "raw pages hold personal fields and must not leave landing"
    lake.run()
    assert lake.kinds() == []
    assert lake.project.ledger.latest("staging.shops").rows == 7  # type: ignore[union-attr]


def test_a_batch_with_an_unreadable_manifest_is_found(lake: Lake, landed: Path) -> None:
    (landed / "_manifest.json").write_text("{}")
    findings = lake.verify().findings
    assert [finding.kind for finding in findings] == ["batch_damaged"]
    repair(lake.project, findings)
    lake.run()
    assert lake.kinds() == []


def test_a_batch_that_disappeared_before_it_was_used_is_found(lake: Lake, landed: Path) -> None:
    shutil.rmtree(landed)
    finding = lake.verify().findings[0]
    assert (finding.kind, finding.todo) == ("batch_missing", "catalunya materialize staging.cities staging.shops")
    assert "which staging.cities, staging.shops has not used yet" in finding.what
    assert lake.run("staging.cities staging.shops") == ["materialized"] * 3, "the landing batch is added to the plan"
    assert lake.kinds() == []


def test_the_leftovers_of_a_killed_extraction_are_found_and_removed_by_the_next(lake: Lake) -> None:
    page = lake.file("landing/shops/ingested_process_at=20260101T000000000/page-00000.json")
    page.parent.mkdir(parents=True)
    page.write_text("[]")
    assert lake.kinds() == [("landing.shops", "batch_unsealed")]
    lake.source.write(some(6))
    lake.run()
    assert lake.kinds() == []


def test_a_sealed_batch_without_an_entry_is_found_and_used_by_the_next_run(lake: Lake, landed: Path) -> None:
    lake.file("_ledger/landing/shops/0000000002.json").unlink()
    assert lake.kinds() == [("landing.shops", "batch_unrecorded")]
    lake.run()
    assert lake.kinds() == []


def test_an_asset_that_is_being_made_is_not_checked(lake: Lake) -> None:
    lake.file(REUS).unlink()
    with lease(lake.project.lake, "staging.shops", "theirs", 60):
        report = lake.verify()
        assert (report.findings, report.busy) == ([], ["staging.shops"])
    assert lake.kinds() == [("staging.shops", "object_missing")]


def test_an_unreadable_lease_stops_no_check(lake: Lake) -> None:
    lake.file(REUS).unlink()
    with lease(lake.project.lake, "staging.shops", "theirs", 60):
        held = max(lake.file("_leases/staging/shops").iterdir())
        before = held.read_bytes()
        held.write_bytes(b"{")
        assert lake.kinds() == [("staging.shops", "object_missing")]
        held.write_bytes(before)


def test_repair_is_refused_while_another_run_holds_the_lease(lake: Lake) -> None:
    lake.file(ENTRY).write_bytes(b"{")
    findings = lake.verify().findings
    with lease(lake.project.lake, "staging.shops", "theirs", 60), pytest.raises(LeaseHeld, match="theirs"):
        repair(lake.project, findings)
    assert lake.file(ENTRY).read_bytes() == b"{"


def test_a_second_repair_does_nothing(lake: Lake) -> None:
    lake.file(ENTRY).write_bytes(b"{")
    findings = lake.verify().findings
    repair(lake.project, findings)
    assert repair(lake.project, lake.verify().findings) == {}


def test_only_the_selected_assets_are_checked(lake: Lake) -> None:
    lake.file(REUS).unlink()
    project = lake.project
    checked: list[str] = []
    report = verify(project, project.graph.select("staging.cities"), on_asset=checked.append)
    assert (report.findings, checked) == ([], ["staging.cities"])


def test_the_entry_that_replaces_a_lost_one_can_be_built_on(lake: Lake) -> None:
    lake.file(ENTRY).write_bytes(b"{")
    repair(lake.project, lake.verify().findings)
    assert msgspec.json.decode(lake.file(Ledger.path("staging.shops", 1)).read_bytes())["reason"] == "REPAIRED"
    assert materialize(lake.project, "landing.shops").status == "materialized", "it is needed again"
