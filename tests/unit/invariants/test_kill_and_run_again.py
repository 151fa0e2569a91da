"""Invariants 4, 5, 6 and 9 under SIGKILL: at every write of the lake a process is killed, the work is run again, and lake
and ledger are those of a run that was never killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalunya.io.environment import Settings
from small.killing import make_all, make_all_elsewhere
from small.lakes import contents, picture, restore
from small.shops import FolderSource, some

BEFORE = [*some(5), {"codi": "V1", "ciutat": "Vic"}, {"codi": "M1", "ciutat": "Manresa"}]
# A partition goes (Vic), one comes (Olot), one changes, one row is set aside, one comes twice.
AFTER = [*some(4), {"codi": "O1", "ciutat": "Olot"}, {"codi": "M1", "ciutat": "Manresa", "places": "7"},
         {"codi": "X", "ciutat": "nowhere"}, {"codi": "S1", "ciutat": "Reus", "places": "9"}]  # fmt: skip


class Case:
    """A lake as it was before the source changed, and as it is after a run that nobody killed."""

    def __init__(self, settings: Settings, tmp_path: Path) -> None:
        self.settings, self.folder = settings, tmp_path / "source"
        source = FolderSource(self.folder)
        source.write(BEFORE)
        make_all(settings, self.folder)
        self.before = contents(settings.lake)
        source.write(AFTER)
        self.writes = make_all(settings, self.folder)
        self.unharmed = picture(settings.lake)

    def restore(self) -> None:
        restore(self.settings.lake, self.before)


def test_a_run_killed_at_any_write_shows_no_entry_without_its_data_and_run_again_leaves_the_same_lake(
    settings: Settings, tmp_path: Path, stride: int
) -> None:
    case = Case(settings, tmp_path)
    assert case.writes >= 20, "the case is meant to have many places to die in"
    seen = set()
    for trapdoor in range(1, case.writes + 1, stride):
        case.restore()
        assert make_all_elsewhere(settings, case.folder, trapdoor) == -9, f"the process did not reach write {trapdoor}"
        seen.add(len(tables_as_recorded(picture(settings.lake))))
        make_all(settings, case.folder)
        assert picture(settings.lake) == case.unharmed, f"killed before write {trapdoor}"
    assert seen == {0, 1, 2}, "some are killed before a table is recorded, some after"


def test_a_run_killed_again_and_again_still_converges(settings: Settings, tmp_path: Path) -> None:
    case = Case(settings, tmp_path)
    case.restore()
    kills = 0
    for _ in range(case.writes):
        # Each process gets a little further than the one before it died: what was kept beside is not kept again, and 9 writes
        # are more than the rest of the largest step.
        if make_all_elsewhere(settings, case.folder, 9) == 0:
            break
        kills += 1
    make_all(settings, case.folder)
    assert kills > 1
    assert picture(settings.lake) == case.unharmed


def tables_as_recorded(found: dict[str, Any]) -> list[str]:
    """The tables whose second entry a reader sees in this picture of a lake, having seen that their data is there."""
    newest = {entry["asset"]: entry for name, entry in found.items() if name.startswith("_ledger/staging/")}
    finished = [entry for entry in newest.values() if entry["sequence"] == 2]
    for entry in finished:
        for stored in entry["objects"]:
            assert found[stored["path"]] == stored["sha256"]
    return [entry["asset"] for entry in finished]
