"""Restoring a lake from a backup: all of it or some, into a lake that is empty, damaged or ahead of the backup."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.verify import repair, verify
from catalunya.io.environment import Settings
from catalunya.io.errors import LeaseHeld, UsageError
from catalunya.ops.backup.restore import RESTORED
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
}  # what verify finds after an interrupted restore


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"backup": str(tmp_path / "backups")})


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    """Shops with a backup."""
    shop = made_shop(settings, tmp_path / "source")
    shop.back_up()
    return shop


def test_a_lost_lake_is_restored_as_it_was_and_goes_on(shop: Shop) -> None:
    kept = shop.kept()
    destroy(shop.settings.lake)
    assert shop.restore() == dict.fromkeys(KEYS, "restored")
    assert shop.kept() == kept
    assert (shop.kinds(), shop.stale()) == ([], [])
    assert shop.make() == ["skipped"] * 3, "the source has nothing new"
    assert shop.make([*some(6), *ROWS[5:]]) == ["materialized"] * 3
    assert (shop.kinds(), shop.sequences("staging.shops")) == ([], [1, 2, 3])


def test_a_dry_run_shows_what_would_be_restored_and_changes_nothing(shop: Shop) -> None:
    destroy(shop.settings.lake)
    preview = shop.restored(dry=True)
    assert {each.asset: each.outcome for each in preview} == dict.fromkeys(KEYS, "restored")
    assert [(each.table and (each.table.sequence, each.table.rows), len(each.objects)) for each in preview] == [
        ((2, 7), 0),
        ((2, 6), 5),
        ((2, 7), 2),
    ]
    assert contents(shop.settings.lake) == {}
    Path(shop.settings.backup, content_path(_sha(shop, REUS))).unlink()
    preview = shop.restored(dry=True)
    assert [(each.outcome, each.why) for each in preview if each.asset == "staging.shops"] == [
        ("failed", f"the backup has lost {REUS}")
    ]


def test_only_selected_assets_are_restored(shop: Shop) -> None:
    destroy(shop.settings.lake)
    assert shop.restore("staging.cities") == {"staging.cities": "restored"}
    assert {path.split("/")[1] for path in shop.kept() if path.startswith("staging")} == {"cities"}
    assert shop.restore() == {**dict.fromkeys(KEYS[:2], "restored"), "staging.cities": "unchanged"}


def test_a_lake_that_equals_the_backup_is_not_touched(shop: Shop) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in Path(shop.settings.lake).rglob("*.*") if "_leases" not in path.parts
    }
    assert shop.restore() == dict.fromkeys(KEYS, "unchanged")
    assert shop.restore(replace=True) == dict.fromkeys(KEYS, "unchanged")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_restore_killed_at_any_write_and_run_again_is_one_restore(shop: Shop) -> None:
    kept = shop.kept()
    destroy(shop.settings.lake)
    writes = restore_all(shop.settings, shop.folder)
    assert writes >= 15, "there should be many writes to be killed at"
    for trapdoor in range(writes, 0, -4):
        destroy(shop.settings.lake)
        child = elsewhere(restore_all, shop.settings, shop.folder, trapdoor)
        child.join(60)
        assert child.exitcode == -9
        assert set(shop.kinds()) <= _HALF, f"killed before write {trapdoor}"
        restore_all(shop.settings, shop.folder)
        assert shop.kept() == kept, f"killed before write {trapdoor}"
        assert shop.kinds() == []


def test_no_reader_takes_an_older_entry_for_the_table_during_a_restore(shop: Shop) -> None:
    destroy(shop.settings.lake)
    child = elsewhere(restore_all, shop.settings, shop.folder, 17)
    child.join(60)
    latest = [shop.project.ledger.latest(key) for key in KEYS]
    assert {entry.sequence for entry in latest if entry} <= {2}


def test_missing_objects_and_entries_are_restored(shop: Shop) -> None:
    kept = shop.kept()
    lake = Path(shop.settings.lake)
    (lake / REUS).unlink()
    (lake / ENTRY).unlink()
    shutil.rmtree(lake / "_ledger/staging/cities")
    assert shop.restore() == {"landing.shops": "unchanged", "staging.shops": "restored", "staging.cities": "restored"}
    assert shop.kept() == kept


@pytest.mark.parametrize("repaired", [False, True], ids=["unreadable", "moved away by verify --repair"])
def test_a_damaged_ledger_is_restored(shop: Shop, *, repaired: bool) -> None:
    kept = shop.kept()
    Path(shop.settings.lake, ENTRY).write_bytes(b"{")
    if repaired:
        repair(shop.project, verify(shop.project).findings)
        assert shop.kinds() != []
    assert shop.restore()["staging.shops"] == "restored"
    assert {path: body for path, body in shop.kept().items() if "_aside" not in path} == kept
    assert shop.kinds() == []


def test_a_lake_that_is_ahead_is_refused_and_nothing_is_changed(shop: Shop) -> None:
    shop.make([*some(6), *ROWS[5:]])
    before = shop.kept()
    with pytest.raises(
        UsageError, match=r"the backup does not have: _ledger/landing/shops/0000000003.json of landing.shops"
    ):
        shop.restore()
    assert shop.kept() == before
    assert shop.restore(dry=True) == dict.fromkeys(KEYS, "conflict")
    assert shop.restore(dry=True, replace=True) == dict.fromkeys(KEYS, "published")


def test_a_different_object_is_a_conflict_and_replaced_on_request(shop: Shop) -> None:
    kept = shop.kept()
    good = Path(shop.settings.lake, REUS).read_bytes()
    Path(shop.settings.lake, REUS).write_bytes(bytes(len(good)))
    with pytest.raises(UsageError, match=f"does not have: {REUS} of staging.shops"):
        shop.restore()
    assert shop.restore(replace=True)["staging.shops"] == "restored"
    assert shop.kept() == kept
    assert shop.sequences("staging.shops") == [1, 2], "no entry was added"


def test_a_wrong_table_is_replaced_by_the_backups(shop: Shop) -> None:
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
        "the wrong one is kept as superseded"
    )
    assert shop.kinds() == ["batch_missing"], "the batch of the wrong table was used and deleted"
    assert {key for key, _ in shop.stale()} >= set(KEYS), "it is landed again, and both tables are rebuilt"
    assert shop.make()[0] == "materialized"
    assert (shop.kinds(), shop.stale()) == ([], [])


def test_a_lake_that_is_ahead_is_put_back_without_undoing_its_ledger(shop: Shop) -> None:
    good = {path: body for path, body in shop.kept().items() if path.startswith("staging/")}
    shop.make(some(9, "Olot"))
    assert shop.restore(replace=True) == dict.fromkeys(KEYS, "published")
    assert {path: body for path, body in shop.kept().items() if path.startswith("staging/")} == good
    assert [shop.sequences(key) for key in KEYS] == [[1, 2, 3, 4]] * 3
    assert (shop.kinds(), shop.stale()) == ([], [])
    assert shop.restore(replace=True) == dict.fromkeys(KEYS, "unchanged"), "running it again changes nothing"
    assert shop.make() == ["materialized"] * 3, "the source has newer data"


def test_a_lake_that_started_over_after_a_disaster_gets_its_tables_back(shop: Shop) -> None:
    good = {path: body for path, body in shop.kept().items() if path.startswith("staging/")}
    destroy(shop.settings.lake)
    shop.make(some(2, "Olot"))
    assert shop.restore(replace=True) == dict.fromkeys(KEYS, "published")
    assert {path: body for path, body in shop.kept().items() if path.startswith("staging/")} == good
    assert (shop.kinds(), shop.stale()) == ([], [])


def test_replacing_killed_at_any_write_and_run_again_publishes_the_backups_tables(shop: Shop, tmp_path: Path) -> None:
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


def test_entries_that_were_merged_since_the_backup_are_not_restored(shop: Shop) -> None:
    project = shop.project
    with lease(project.lake, "staging.shops", "merge", 60):
        project.ledger.compact("staging.shops", [1])
    assert shop.restore("staging.shops", replace=True, dry=True) == {"staging.shops": "unchanged"}
    assert shop.restore("staging.shops", replace=True) == {"staging.shops": "unchanged"}
    assert shop.sequences("staging.shops") == [1, 2]
    assert len([path for path in shop.kept() if path.startswith("_ledger/staging/shops")]) == 2
    assert shop.kinds() == []


def test_an_asset_with_corrupt_content_is_left_alone_and_the_others_are_restored(shop: Shop) -> None:
    file = Path(shop.settings.backup, content_path(_sha(shop, REUS)))
    file.write_bytes(bytes(file.stat().st_size))
    destroy(shop.settings.lake)
    restored = {each.asset: each for each in shop.restored()}
    assert {key: each.outcome for key, each in restored.items()} == {
        **dict.fromkeys(KEYS, "restored"),
        "staging.shops": "failed",
    }
    assert "use an older" in restored["staging.shops"].why
    assert not [path for path in shop.kept() if "staging/shops" in path], (
        "contents are checked before anything is written"
    )


def test_a_lake_whose_newest_entry_is_unreadable_must_be_repaired_first(shop: Shop) -> None:
    shop.make([*some(6), *ROWS[5:]])
    Path(shop.settings.lake, Ledger.path("staging.shops", 3)).write_bytes(b"{")
    assert {each.asset: each.outcome for each in shop.restored(replace=True, dry=True)}["staging.shops"] == "failed"
    restored = {each.asset: each for each in shop.restored(replace=True)}
    assert {key: each.outcome for key, each in restored.items()} == {
        "landing.shops": "published",
        "staging.shops": "failed",
        "staging.cities": "published",
    }
    assert "catalunya verify --repair" in restored["staging.shops"].why
    repair(shop.project, verify(shop.project).findings)
    assert shop.restore(replace=True)["staging.shops"] == "restored", (
        "without its last entry, the one before is the latest"
    )
    assert shop.kinds() == []


def test_an_undeclared_asset_is_not_published_into_a_lake_that_is_ahead(shop: Shop) -> None:
    shop.make([*some(6), *ROWS[5:]])
    shop.declared = shop.declared[:2]
    before = shop.kept()
    with pytest.raises(UsageError, match="nothing was changed"):
        shop.restore()
    assert shop.kept() == before
    restored = {each.asset: each for each in shop.restored(replace=True)}
    assert restored["staging.cities"].outcome == "failed"
    assert "restore it --into another lake" in restored["staging.cities"].why


def test_nothing_is_restored_while_an_asset_is_being_materialized(shop: Shop) -> None:
    destroy(shop.settings.lake)
    with lease(shop.project.lake, "staging.cities", "theirs", 60), pytest.raises(LeaseHeld):
        shop.restore()
    assert shop.kept() == {}


def test_an_older_backup_restores_an_older_lake(shop: Shop) -> None:
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
    return next(item.sha256 for item in shop.store.find("local").items if item.path == path)


def test_objects_that_the_ledger_does_not_know_are_a_conflict_and_deleted_on_request(shop: Shop) -> None:
    kept = shop.kept()
    Path(shop.settings.lake, REUS).with_name("unknown.parquet").write_bytes(b"unknown")
    with pytest.raises(UsageError, match=r"unknown\.parquet"):
        shop.restore()
    assert shop.restore(replace=True)["staging.shops"] == "restored"
    assert shop.kept() == kept


def test_a_table_that_only_grew_is_kept_as_superseded_when_replaced(shop: Shop) -> None:
    shop.make([*ROWS, {"codi": "O1", "ciutat": "Olot"}])
    grown = Path(shop.settings.lake, "staging/shops/city=Olot/file.parquet").read_bytes()
    assert shop.restore("staging.shops", replace=True) == {"staging.shops": "published"}
    assert not Path(shop.settings.lake, "staging/shops/city=Olot").exists()
    assert grown in {body for path, body in shop.kept().items() if path.startswith("_superseded/staging/shops")}


def test_an_incomplete_backup_is_not_published_over_a_newer_table(shop: Shop) -> None:
    Path(shop.settings.lake, REUS).unlink()
    shutil.rmtree(shop.settings.backup)
    assert not shop.back_up().is_complete
    shop.make([*some(9, "Olot")])
    before = {path: body for path, body in shop.kept().items() if path.startswith("staging/shops")}
    (found,) = shop.restored("staging.shops", replace=True)
    assert (found.outcome, found.why) == ("failed", f"the backup does not contain {REUS}; use another")
    assert {path: body for path, body in shop.kept().items() if path.startswith("staging/shops")} == before
