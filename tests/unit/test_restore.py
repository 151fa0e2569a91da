"""Giving a lake back what a backup holds: all of it, some of it, into a lake that is empty, damaged, or has gone on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.verify import repair, verify
from catalunya.io.environment import Settings
from catalunya.io.errors import LeaseHeld, UsageError
from catalunya.ops.backup.give_back import RESTORED
from catalunya.ops.backup.store import content_path
from small.backups import ROWS, Shop, destroy, made_shop, replace_all, restore_all
from small.killing import KEYS, elsewhere
from small.lakes import contents
from small.shops import some

REUS = "staging/shops/city=Reus/file.parquet"
ENTRY = Ledger.path("staging.shops", 2)
_HALF = {
    "unknown_object",
    "entry_missing",
    "version_unknown",
    "batch_missing",
}  # what a restore that is not over looks like


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"backup": str(tmp_path / "backups")})


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    """Shops that are backed up."""
    shop = made_shop(settings, tmp_path / "source")
    shop.back_up()
    return shop


def test_a_lake_that_was_destroyed_comes_back_as_it_was_and_goes_on(shop: Shop) -> None:
    kept = shop.kept()
    destroy(shop.settings.lake)
    assert shop.restore() == dict.fromkeys(KEYS, "restored")
    assert shop.kept() == kept
    assert (shop.kinds(), shop.stale()) == ([], [])
    assert shop.make() == ["skipped"] * 3, "the source has not moved"
    assert shop.make([*some(6), *ROWS[5:]]) == ["materialized"] * 3
    assert (shop.kinds(), shop.sequences("staging.shops")) == ([], [1, 2, 3])


def test_a_dry_run_says_what_would_come_back_and_touches_nothing(shop: Shop) -> None:
    destroy(shop.settings.lake)
    would = shop.given(dry=True)
    assert {each.asset: each.done for each in would} == dict.fromkeys(KEYS, "restored")
    assert [(each.sequence, each.rows, each.objects) for each in would] == [(2, 7, 0), (2, 6, 5), (2, 7, 2)]
    assert contents(shop.settings.lake) == {}
    Path(shop.settings.backup, content_path(_sha(shop, REUS))).unlink()
    given = {each.asset: (each.done, each.why) for each in shop.given(dry=True)}
    assert given["staging.shops"] == ("failed", f"the backup does not hold {REUS} any more")


def test_only_what_is_chosen_comes_back(shop: Shop) -> None:
    destroy(shop.settings.lake)
    assert shop.restore("staging.cities") == {"staging.cities": "restored"}
    assert {path.split("/")[1] for path in shop.kept() if path.startswith("staging")} == {"cities"}
    assert shop.restore() == {**dict.fromkeys(KEYS[:2], "restored"), "staging.cities": "there"}


def test_a_lake_that_has_all_of_it_is_not_touched(shop: Shop) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in Path(shop.settings.lake).rglob("*.*") if "_leases" not in path.parts
    }
    assert shop.restore() == dict.fromkeys(KEYS, "there")
    assert shop.restore(replace=True) == dict.fromkeys(KEYS, "there")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_restore_killed_at_any_write_and_done_again_is_one_restore(shop: Shop) -> None:
    kept = shop.kept()
    destroy(shop.settings.lake)
    writes = restore_all(shop.settings, shop.folder)
    assert writes >= 15, "the case is meant to have many places to die in"
    for trapdoor in range(writes, 0, -4):
        destroy(shop.settings.lake)
        child = elsewhere(restore_all, shop.settings, shop.folder, trapdoor)
        child.join(60)
        assert child.exitcode == -9
        assert set(shop.kinds()) <= _HALF, f"killed before write {trapdoor}"
        restore_all(shop.settings, shop.folder)
        assert shop.kept() == kept, f"killed before write {trapdoor}"
        assert shop.kinds() == []


def test_no_reader_takes_an_older_entry_for_the_table_while_it_comes_back(shop: Shop) -> None:
    destroy(shop.settings.lake)
    child = elsewhere(restore_all, shop.settings, shop.folder, 17)
    child.join(60)
    latest = [shop.project.ledger.latest(key) for key in KEYS]
    assert {entry.sequence for entry in latest if entry} <= {2}


def test_what_is_missing_from_a_lake_is_filled_in(shop: Shop) -> None:
    kept = shop.kept()
    lake = Path(shop.settings.lake)
    (lake / REUS).unlink()
    (lake / ENTRY).unlink()
    shutil.rmtree(lake / "_ledger/staging/cities")
    assert shop.restore() == {"landing.shops": "there", "staging.shops": "restored", "staging.cities": "restored"}
    assert shop.kept() == kept


@pytest.mark.parametrize("repaired", [False, True], ids=["unreadable", "set aside by verify --repair"])
def test_a_damaged_ledger_comes_back(shop: Shop, *, repaired: bool) -> None:
    kept = shop.kept()
    Path(shop.settings.lake, ENTRY).write_bytes(b"{")
    if repaired:
        repair(shop.project, verify(shop.project).findings)
        assert shop.kinds() != []
    assert shop.restore()["staging.shops"] == "restored"
    assert {path: body for path, body in shop.kept().items() if "_aside" not in path} == kept
    assert shop.kinds() == []


def test_a_lake_that_has_gone_on_is_refused_and_nothing_of_it_is_touched(shop: Shop) -> None:
    shop.make([*some(6), *ROWS[5:]])
    before = shop.kept()
    with pytest.raises(UsageError, match=r"the lake is not empty: .* found _ledger/landing/shops/0000000003.json"):
        shop.restore()
    assert shop.kept() == before
    assert shop.restore(dry=True) == dict.fromkeys(KEYS, "in the way")
    assert shop.restore(dry=True, replace=True) == dict.fromkeys(KEYS, "published")


def test_an_object_that_differs_is_in_the_way_and_replaced_when_told(shop: Shop) -> None:
    kept = shop.kept()
    good = Path(shop.settings.lake, REUS).read_bytes()
    Path(shop.settings.lake, REUS).write_bytes(bytes(len(good)))
    with pytest.raises(UsageError, match=f"found {REUS} of staging"):
        shop.restore()
    assert shop.restore(replace=True)["staging.shops"] == "restored"
    assert shop.kept() == kept
    assert shop.sequences("staging.shops") == [1, 2], "nothing was published anew"


def test_a_table_that_was_published_wrong_is_published_again_as_it_was(shop: Shop) -> None:
    good = {path: body for path, body in shop.kept().items() if path.startswith("staging/")}
    history = [entry.data_version for entry in shop.project.ledger.history("staging.shops")]
    shop.make([*some(9, "Olot"), {"codi": "V1", "ciutat": "Vic", "places": "7"}], *KEYS)
    assert shop.restore("staging.shops", replace=True) == {"staging.shops": "published"}
    entry = shop.project.ledger.latest("staging.shops")
    assert entry
    assert (entry.sequence, entry.reason, entry.rows, entry.data_version) == (4, RESTORED, 6, history[1])
    now = {path: body for path, body in shop.kept().items() if path.startswith("staging/shops/")}
    assert now == {path: body for path, body in good.items() if path.startswith("staging/shops/")}
    assert any("city=Olot" in path for path in shop.kept() if path.startswith("_superseded")), (
        "the wrong one is kept beside it"
    )
    assert shop.kinds() == ["batch_missing"], "the one that the wrong table was made of was used"
    assert {key for key, _ in shop.stale()} >= set(KEYS), "that is landed again, and both are made anew"
    assert shop.make()[0] == "materialized"
    assert (shop.kinds(), shop.stale()) == ([], [])


def test_a_whole_lake_that_has_gone_on_is_put_back_without_turning_back_its_ledger(shop: Shop) -> None:
    good = {path: body for path, body in shop.kept().items() if path.startswith("staging/")}
    shop.make(some(9, "Olot"))
    assert shop.restore(replace=True) == dict.fromkeys(KEYS, "published")
    assert {path: body for path, body in shop.kept().items() if path.startswith("staging/")} == good
    assert [shop.sequences(key) for key in KEYS] == [[1, 2, 3, 4]] * 3
    assert (shop.kinds(), shop.stale()) == ([], [])
    assert shop.restore(replace=True) == dict.fromkeys(KEYS, "there"), "once is enough"
    assert shop.make() == ["materialized"] * 3, "the source is elsewhere"


def test_a_lake_that_began_anew_after_the_disaster_gets_its_tables_back(shop: Shop) -> None:
    good = {path: body for path, body in shop.kept().items() if path.startswith("staging/")}
    destroy(shop.settings.lake)
    shop.make(some(2, "Olot"))
    assert shop.restore(replace=True) == dict.fromkeys(KEYS, "published")
    assert {path: body for path, body in shop.kept().items() if path.startswith("staging/")} == good
    assert (shop.kinds(), shop.stale()) == ([], [])


def test_replacing_killed_at_any_write_and_done_again_publishes_the_backups_tables(shop: Shop, tmp_path: Path) -> None:
    good = {path: body for path, body in shop.kept().items() if path.startswith("staging/")}
    shop.make(some(9, "Olot"))
    shutil.copytree(shop.settings.lake, tmp_path / "before")
    writes = replace_all(shop.settings, shop.folder)
    for trapdoor in range(writes - 4, 0, -5):
        destroy(shop.settings.lake)
        shutil.copytree(tmp_path / "before", shop.settings.lake)
        child = elsewhere(replace_all, shop.settings, shop.folder, trapdoor)
        child.join(60)
        assert child.exitcode == -9
        replace_all(shop.settings, shop.folder)
        assert {path: body for path, body in shop.kept().items() if path.startswith("staging/")} == good, trapdoor
        assert shop.kinds() == [], f"killed before write {trapdoor}"


def test_entries_that_were_merged_since_do_not_come_back_one_by_one(shop: Shop) -> None:
    project = shop.project
    with lease(project.lake, "staging.shops", "merge", 60):
        project.ledger.compact("staging.shops", [1])
    assert shop.restore("staging.shops", replace=True, dry=True) == {"staging.shops": "there"}
    assert shop.restore("staging.shops", replace=True) == {"staging.shops": "there"}
    assert shop.sequences("staging.shops") == [1, 2]
    assert len([path for path in shop.kept() if path.startswith("_ledger/staging/shops")]) == 2
    assert shop.kinds() == []


def test_an_asset_whose_content_the_backup_lost_is_left_alone_and_the_others_come_back(shop: Shop) -> None:
    file = Path(shop.settings.backup, content_path(_sha(shop, REUS)))
    file.write_bytes(bytes(file.stat().st_size))
    destroy(shop.settings.lake)
    given = {each.asset: each for each in shop.given()}
    assert {key: each.done for key, each in given.items()} == {
        **dict.fromkeys(KEYS, "restored"),
        "staging.shops": "failed",
    }
    assert "take an older" in given["staging.shops"].why
    assert not [path for path in shop.kept() if "staging/shops" in path], "checked before anything is published"


def test_a_lake_whose_newest_entry_cannot_be_read_is_told_to_be_repaired_first(shop: Shop) -> None:
    shop.make([*some(6), *ROWS[5:]])
    Path(shop.settings.lake, Ledger.path("staging.shops", 3)).write_bytes(b"{")
    given = {each.asset: each for each in shop.given(replace=True)}
    assert {key: each.done for key, each in given.items()} == {
        "landing.shops": "published",
        "staging.shops": "failed",
        "staging.cities": "published",
    }
    assert "catalunya verify --repair" in given["staging.shops"].why
    repair(shop.project, verify(shop.project).findings)
    assert shop.restore(replace=True)["staging.shops"] == "restored", (
        "with its last entry set aside, the one before is the table"
    )
    assert shop.kinds() == []


def test_what_no_file_declares_is_not_published_into_a_lake_that_has_gone_on(shop: Shop) -> None:
    shop.make([*some(6), *ROWS[5:]])
    shop.declared = shop.declared[:2]
    given = {each.asset: each for each in shop.given(replace=True)}
    assert given["staging.cities"].done == "failed"
    assert "restore it --into another lake" in given["staging.cities"].why


def test_nothing_is_restored_while_an_asset_is_being_made(shop: Shop) -> None:
    destroy(shop.settings.lake)
    with lease(shop.project.lake, "staging.cities", "theirs", 60), pytest.raises(LeaseHeld):
        shop.restore()
    assert shop.kept() == {}


def test_an_older_backup_gives_back_an_older_lake(shop: Shop) -> None:
    older, kept = shop.store.find("local"), shop.kept()
    shop.make([*some(6), *ROWS[5:]])
    newer = shop.back_up()
    assert shop.store.find("local") == newer
    destroy(shop.settings.lake)
    shop.restore(backup=older)
    assert shop.kept() == kept
    destroy(shop.settings.lake)
    shop.restore()
    assert shop.sequences("staging.shops") == [1, 2, 3]


def _sha(shop: Shop, path: str) -> str:
    return next(item.sha256 for item in shop.store.inventory(shop.store.find("local")) if item.path == path)
