"""Invariants 4, 5, 6 and 9 under SIGKILL (docs/architecture.md).

A process is killed at each write to the lake and the work is run again: lake and ledger must be those of an uninterrupted run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalunya.io.environment import Settings
from small.killing import make_all, make_all_elsewhere
from small.lakes import contents, picture, restore
from small.shops import FolderSource, some

BEFORE = [*some(5), {"codi": "V1", "ciutat": "Vic"}, {"codi": "M1", "ciutat": "Manresa"}]
# One partition disappears (Vic), one is new (Olot), one changes, one row is quarantined, one is a duplicate.
AFTER = [*some(4), {"codi": "O1", "ciutat": "Olot"}, {"codi": "M1", "ciutat": "Manresa", "places": "7"},
         {"codi": "X", "ciutat": "nowhere"}, {"codi": "S1", "ciutat": "Reus", "places": "1"}]  # fmt: skip


class Case:
    """A lake before the source changed, and after an uninterrupted run."""

    def __init__(self, settings: Settings, tmp_path: Path) -> None:
        self.settings, self.folder = settings, tmp_path / "source"
        source = FolderSource(self.folder)
        source.write(BEFORE)
        make_all(settings, self.folder)
        self.before = contents(settings.lake)
        source.write(AFTER)
        self.writes = make_all(settings, self.folder)
        self.expected = picture(settings.lake)

    def restore(self) -> None:
        restore(self.settings.lake, self.before)


def test_a_run_killed_at_any_write_records_no_entry_without_its_data_and_a_rerun_gives_the_same_lake(
    settings: Settings, tmp_path: Path, stride: int
) -> None:
    case = Case(settings, tmp_path)
    assert case.writes >= 20, "the case must have many writes to be killed at"
    seen = set()
    for trapdoor in range(1, case.writes + 1, stride):
        case.restore()
        assert make_all_elsewhere(settings, case.folder, trapdoor) == -9, f"the process did not reach write {trapdoor}"
        seen.add(len(tables_as_recorded(picture(settings.lake))))
        make_all(settings, case.folder)
        assert picture(settings.lake) == case.expected, f"killed before write {trapdoor}"
    assert seen == {0, 1, 2}, "some runs are killed before a table is recorded, some after"


def test_a_run_that_is_killed_repeatedly_still_converges(settings: Settings, tmp_path: Path) -> None:
    case = Case(settings, tmp_path)
    case.restore()
    kills = 0
    for _ in range(case.writes):
        # Each process gets a little further than the last: copies of superseded objects are not made again, and 9 writes are
        # more than what remains of the largest step.
        if make_all_elsewhere(settings, case.folder, 9) == 0:
            break
        kills += 1
    make_all(settings, case.folder)
    assert kills > 1
    assert picture(settings.lake) == case.expected


def tables_as_recorded(found: dict[str, Any]) -> list[str]:
    """The tables whose second entry is recorded; checks that the data of these entries is there."""
    newest = {entry["asset"]: entry for name, entry in found.items() if name.startswith("_ledger/staging/")}
    finished = [entry for entry in newest.values() if entry["sequence"] == 2]
    for entry in finished:
        for stored in entry["objects"]:
            assert found[stored["path"]] == stored["sha256"]
    return [entry["asset"] for entry in finished]
