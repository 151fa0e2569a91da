"""Invariant 10: verify proves that ledger and objects agree, finds each way in which they do not, and repair loses nothing."""

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
    """A lake of three assets, made once: landing.shops -> staging.shops -> staging.cities."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.root = settings, Path(settings.lake)
        self.source, self.declared = declare(folder)
        self.source.write(ROWS)
        self.run()

    @property
    def project(self) -> Project:
        return Project(self.settings, self.declared)

    def run(self, selection: str = "*", *, force: bool = False) -> list[str]:
        """Make a selection as the command does; the statuses."""
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


@pytest.fixture
def lake(settings: Settings, tmp_path: Path) -> Lake:
    return Lake(settings, tmp_path / "source")


REUS = "staging/shops/city=Reus/file.parquet"
ENTRY = "_ledger/staging/shops/0000000001.json"


def test_a_lake_that_was_made_agrees_with_its_ledger(lake: Lake) -> None:
    report = lake.verify()
    assert (report.findings, report.busy, report.assets) == ([], [], 3)
    assert report.objects == 3 + 3 + 1, "three entries, three tables' objects, one quarantine object"
    assert report.bytes > 0


def test_an_empty_lake_has_nothing_to_disagree_about(settings: Settings, tmp_path: Path) -> None:
    assert verify(Project(settings, declare(tmp_path)[1])).findings == []


def test_verify_changes_nothing(lake: Lake) -> None:
    before = {path: path.stat().st_mtime_ns for path in lake.root.rglob("*")}
    lake.verify()
    assert {path: path.stat().st_mtime_ns for path in lake.root.rglob("*")} == before


def test_an_object_that_is_gone_is_found_and_made_again(lake: Lake) -> None:
    lake.file(REUS).unlink()
    finding = lake.verify().findings[0]
    assert (finding.asset, finding.kind, finding.where) == ("staging.shops", "object_missing", REUS)
    assert finding.todo == "catalunya materialize staging.shops --force"
    assert lake.run("staging.shops", force=True) == ["materialized", "materialized"], "its landing batch is made again"
    assert lake.kinds() == []


def test_other_content_of_the_same_size_is_found_unless_only_sizes_are_compared(lake: Lake) -> None:
    good = lake.file(REUS).read_bytes()
    lake.file(REUS).write_bytes(good[:-5] + b"?" + good[-4:])
    assert lake.kinds() == [("staging.shops", "object_differs")]
    assert lake.kinds(quick=True) == []
    lake.file(REUS).write_bytes(good + b"?")
    assert lake.kinds(quick=True) == [("staging.shops", "object_differs")]


def test_columns_that_are_not_those_of_the_entry_are_found(lake: Lake) -> None:
    ledger = lake.project.ledger
    entry = ledger.latest("staging.shops")
    assert entry
    columns = {**entry.columns, "capacity_places": "string", "owner": "string"}
    ledger.append(replace(entry, columns=columns), after=1)
    what = lake.verify().findings[0].what
    assert "capacity_places as string (found bigint), owner as string (found nothing)" in what


def test_an_entry_whose_numbers_do_not_add_up_is_found(lake: Lake) -> None:
    ledger = lake.project.ledger
    entry = ledger.latest("staging.shops")
    assert entry
    ledger.append(replace(entry, rows=entry.rows + 1), after=1)
    assert ("staging.shops", "entry_inconsistent") in lake.kinds()


def test_a_stray_object_beside_a_good_table_is_found_and_set_aside(lake: Lake) -> None:
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


def test_folders_of_no_asset_are_found_and_left_alone(lake: Lake) -> None:
    lake.file("staging/old_shops/a.parquet").parent.mkdir()
    lake.file("staging/old_shops/a.parquet").touch()
    findings = lake.verify().findings
    assert [(finding.asset, finding.kind, finding.where) for finding in findings] == [
        ("", "orphan", "staging/old_shops")
    ]
    assert repair(lake.project, findings) == {}
    assert lake.file("staging/old_shops/a.parquet").exists()


@pytest.mark.parametrize("content", [b"", b"{", b'{"asset": "staging.shops"}', b"\xff\xfe\x00", b"[]"])
def test_an_entry_that_cannot_be_read_is_set_aside_and_its_number_never_used_again(lake: Lake, content: bytes) -> None:
    lake.run("staging.shops", force=True)
    newest = lake.file("_ledger/staging/shops/0000000002.json")
    newest.write_bytes(content)
    before = lake.everything()
    report = lake.verify()
    assert [(finding.kind, finding.where) for finding in report.findings] == [
        ("entry_unreadable", "_ledger/staging/shops/0000000002.json")
    ], "the first entry still says what the table is"
    moved = repair(lake.project, report.findings)
    assert lake.file(moved["_ledger/staging/shops/0000000002.json"]).read_bytes() == content
    assert before <= lake.everything(), "nothing is lost"
    assert lake.kinds() == []
    history = lake.project.ledger.history("staging.shops")
    assert [(entry.sequence, entry.status) for entry in history] == [(1, "materialized"), (2, "failed")]
    assert history[1].error
    assert "cannot be read" in history[1].error
    assert lake.project.state().failed("staging.shops") is None, "it holds nothing back"
    assert lake.run("staging.shops", force=True) == ["materialized", "materialized"]
    assert [entry.sequence for entry in lake.project.ledger.history("staging.shops")] == [1, 2, 3]


def test_the_only_entry_of_a_table_lost_its_readers_keep_the_table_until_it_is_made_again(lake: Lake) -> None:
    lake.file(ENTRY).write_bytes(b"{")
    for _ in range(2):
        repair(lake.project, lake.verify().findings)
    assert lake.file(REUS).exists()
    assert ("staging.shops", "unknown_object") in lake.kinds()
    lake.run()
    assert lake.kinds() == []


def test_a_landing_entry_lost_everything_is_made_again(lake: Lake) -> None:
    lake.file("_ledger/landing/shops/0000000001.json").write_bytes(b"{")
    findings = lake.verify().findings
    assert {finding.kind for finding in findings} == {"entry_unreadable", "version_unknown"}
    assert "catalunya materialize +staging.shops" in [finding.todo for finding in findings]
    repair(lake.project, findings)
    lake.run()
    assert lake.kinds() == []


def test_an_entry_in_a_wrong_place_is_no_entry(lake: Lake) -> None:
    shutil.copy(lake.file(ENTRY), lake.file("_ledger/staging/shops/0000000002.json"))
    finding = lake.verify().findings[0]
    assert finding.kind == "entry_unreadable"
    assert "it is entry 1 of staging.shops" in finding.what


def test_a_gap_in_the_numbers_is_found_and_filled_by_an_entry_that_says_so(lake: Lake) -> None:
    lake.run("staging.shops", force=True)
    lake.file(ENTRY).unlink()
    findings = lake.verify().findings
    assert [(finding.kind, finding.numbers) for finding in findings] == [("entry_missing", (1,))]
    repair(lake.project, findings)
    assert [entry.status for entry in lake.project.ledger.history("staging.shops")] == ["failed", "materialized"]
    assert lake.kinds() == []


def test_a_version_that_is_not_in_the_upstreams_history_is_found(lake: Lake) -> None:
    entry = lake.project.ledger.latest("staging.cities")
    assert entry
    lake.project.ledger.append(replace(entry, versions={**entry.versions, "staging.shops": "0000"}), after=1)
    finding = lake.verify().findings[0]
    assert (finding.asset, finding.kind) == ("staging.cities", "version_unknown")
    assert finding.todo == "catalunya materialize +staging.cities"
    lake.run("staging.cities")
    assert lake.kinds() == []


def test_quarantined_rows_that_are_gone_are_found(lake: Lake) -> None:
    entry = lake.project.ledger.latest("staging.shops")
    assert entry
    assert entry.quarantine
    lake.file(entry.quarantine).unlink()
    assert lake.kinds() == lake.kinds(quick=True) == [("staging.shops", "quarantine_missing")]
    pl.DataFrame({"_reason": ["a", "b"]}).write_parquet(lake.file(entry.quarantine))
    assert lake.kinds() == [("staging.shops", "quarantine_missing")], "two rows are not one"


@pytest.fixture
def landed(lake: Lake) -> Path:
    """A batch that nobody has consumed yet: its folder."""
    lake.source.write([*ROWS, {"codi": "O1", "ciutat": "Olot"}])
    assert lake.run("landing.shops") == ["materialized"]
    (folder,) = (lake.root / "landing" / "shops").iterdir()
    return folder


def test_a_batch_that_waits_for_its_consumers_is_whole(lake: Lake, landed: Path) -> None:
    assert lake.kinds() == []
    (landed / "page-00001.json").unlink()
    findings = lake.verify().findings
    assert [(finding.kind, finding.damaged) for finding in findings] == [
        ("object_missing", (f"landing/shops/{landed.name}/_manifest.json",))
    ]
    repair(lake.project, findings)
    assert not list(lake.root.glob("_aside/**/page-*")), "raw pages hold personal fields: they do not leave landing"
    lake.run()
    assert lake.kinds() == []
    assert lake.project.ledger.latest("staging.shops").rows == 7  # type: ignore[union-attr]


def test_a_batch_whose_manifest_cannot_be_read_is_damaged(lake: Lake, landed: Path) -> None:
    (landed / "_manifest.json").write_text("{}")
    findings = lake.verify().findings
    assert [finding.kind for finding in findings] == ["batch_damaged"]
    repair(lake.project, findings)
    lake.run()
    assert lake.kinds() == []


def test_a_batch_that_is_gone_before_it_was_consumed_is_found(lake: Lake, landed: Path) -> None:
    shutil.rmtree(landed)
    finding = lake.verify().findings[0]
    assert (finding.kind, finding.todo) == ("batch_missing", "catalunya materialize staging.cities staging.shops")
    assert "which staging.cities, staging.shops has not used yet" in finding.what
    assert lake.run("staging.cities staging.shops") == ["materialized"] * 3, "the landing batch joins the plan"
    assert lake.kinds() == []


def test_what_a_killed_extraction_left_is_found_and_the_next_one_clears_it(lake: Lake) -> None:
    left = lake.file("landing/shops/ingested_process_at=20260101T000000000/page-00000.json")
    left.parent.mkdir(parents=True)
    left.write_text("[]")
    assert lake.kinds() == [("landing.shops", "batch_unsealed")]
    lake.source.write(some(6))
    lake.run()
    assert lake.kinds() == []


def test_a_sealed_batch_that_no_entry_speaks_of_is_found_and_taken_over(lake: Lake, landed: Path) -> None:
    lake.file("_ledger/landing/shops/0000000002.json").unlink()
    assert lake.kinds() == [("landing.shops", "batch_unrecorded")]
    lake.run()
    assert lake.kinds() == []


def test_an_asset_that_is_being_made_is_not_judged(lake: Lake) -> None:
    lake.file(REUS).unlink()
    with lease(lake.project.lake, "staging.shops", "theirs", 60):
        report = lake.verify()
        assert (report.findings, report.busy) == ([], ["staging.shops"])
    assert lake.kinds() == [("staging.shops", "object_missing")]


def test_repair_waits_for_no_other_run(lake: Lake) -> None:
    lake.file(ENTRY).write_bytes(b"{")
    findings = lake.verify().findings
    with lease(lake.project.lake, "staging.shops", "theirs", 60), pytest.raises(LeaseHeld, match="theirs"):
        repair(lake.project, findings)
    assert lake.file(ENTRY).read_bytes() == b"{"


def test_repair_again_does_nothing_more(lake: Lake) -> None:
    lake.file(ENTRY).write_bytes(b"{")
    findings = lake.verify().findings
    repair(lake.project, findings)
    assert repair(lake.project, lake.verify().findings) == {}


def test_a_selection_is_all_that_is_looked_at(lake: Lake) -> None:
    lake.file(REUS).unlink()
    project = lake.project
    told: list[str] = []
    report = verify(project, project.graph.select("staging.cities"), on_asset=told.append)
    assert (report.findings, told) == ([], ["staging.cities"])


def test_the_entry_in_the_place_of_a_lost_one_is_like_any_other(lake: Lake) -> None:
    lake.file(ENTRY).write_bytes(b"{")
    repair(lake.project, lake.verify().findings)
    assert msgspec.json.decode(lake.file(Ledger.path("staging.shops", 1)).read_bytes())["reason"] == "REPAIRED"
    assert materialize(lake.project, "landing.shops").status == "materialized", "it is needed again"
