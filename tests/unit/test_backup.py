"""Backups: what is in them, that only what is new is written, that half of one is nothing, and how many are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import Ledger
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import BackupError, CatalunyaError, ConfigurationError, LeaseHeld, UsageError
from catalunya.ops.backup.check import check, is_late
from catalunya.ops.backup.keep import expired, tidy
from catalunya.ops.backup.make import back_up
from catalunya.ops.backup.records import Backup
from catalunya.ops.backup.store import LEASE, Store, content_path
from small.backups import ROWS, Shop, back_up_all, destroy, made_shop, older, tidy_all
from small.killing import elsewhere, make_all_elsewhere
from small.lakes import contents
from small.shops import some

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"backup": str(tmp_path / "backups")})


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return made_shop(settings, tmp_path / "source")


def test_a_backup_holds_everything_that_no_source_gives_again(shop: Shop) -> None:
    backup = shop.back_up()
    held = {item.path: shop.store.get(item.sha256) for item in shop.store.inventory(backup)}
    assert held == shop.kept()
    assert {path.split("/")[0] for path in held} == {"staging", "_superseded", "_ledger", "quarantine"}
    assert backup.new_objects == len(contents(shop.settings.backup)) - 2, "besides its manifest and the lease"
    assert (backup.env, backup.lake, backup.is_whole) == ("local", shop.settings.lake, True)
    assert {key: (saved.sequence, saved.rows) for key, saved in backup.assets.items()} == {
        "landing.shops": (2, 7),
        "staging.shops": (2, 6),
        "staging.cities": (2, 7),
    }


def test_landing_and_its_personal_fields_stay_out_of_backups(shop: Shop) -> None:
    shop.make([*ROWS, {"codi": "X9", "ciutat": "Reus", "telefon": "977 123 456"}], "landing.shops")
    assert any(b"977 123 456" in body for body in contents(shop.settings.lake).values())
    shop.back_up()
    assert not any(b"977 123 456" in body for body in contents(shop.settings.backup).values())


def test_a_second_backup_writes_only_what_is_new(shop: Shop) -> None:
    first = shop.back_up()
    again = shop.back_up()
    assert (again.new_objects, again.objects, again.inventory) == (0, first.objects, first.inventory)
    shop.make([*some(6), *ROWS[5:]])
    third = shop.back_up()
    before, after = ({item.sha256 for item in shop.store.inventory(each)} for each in (first, third))
    assert third.objects == first.objects + 3 + 2 + 1, "three entries, two superseded objects, another quarantine"
    assert third.new_objects == len(after - before) + 1 == 3 + 2 + 1, (
        "what was superseded, and its quarantine, were there"
    )


def test_equal_contents_are_kept_once(shop: Shop) -> None:
    backup = shop.back_up()
    copy = shop.elsewhere(Path(shop.settings.lake).with_name("copy"))
    shop_lake, copy_lake = Path(shop.settings.lake), Path(copy.settings.lake)
    shop_lake.rename(copy_lake)
    second = copy.back_up()
    assert (second.objects, second.lake) == (backup.objects, str(copy_lake))
    assert second.new_objects == 0


def test_a_landing_batch_that_nothing_was_made_of_is_left_out_with_its_entry(shop: Shop) -> None:
    shop.make([*some(9), *ROWS[5:]], "landing.shops")
    backup = shop.back_up()
    assert shop.sequences("landing.shops") == [1, 2, 3]
    assert backup.assets["landing.shops"].sequence == 2
    destroy(shop.settings.lake)
    shop.restore()
    assert (shop.kinds(), shop.stale()) == ([], [])
    assert shop.make() == ["materialized"] * 3, "the source has moved on since"


def test_an_attempt_to_land_that_failed_is_part_of_the_history(shop: Shop) -> None:
    state = shop.folder / "state.json"
    said = state.read_text()
    state.write_text("{")
    with pytest.raises(ValueError, match="Expecting property name"):
        shop.make(None, "landing.shops", force=True)
    state.write_text(said)
    assert shop.sequences("landing.shops") == [1, 2, 3]
    kept = shop.kept()
    shop.back_up()
    destroy(shop.settings.lake)
    shop.restore()
    assert shop.kept() == kept


def test_a_table_is_backed_up_as_recorded_while_the_next_one_is_being_published(shop: Shop, tmp_path: Path) -> None:
    before = {path: body for path, body in shop.kept().items() if path.startswith("staging/")}
    places = set()
    shop.make(
        [*some(9), {"codi": "O1", "ciutat": "Olot"}, {"codi": "V1", "ciutat": "Vic", "places": "5"}], "landing.shops"
    )
    for trapdoor in (5, 4, 6):
        assert make_all_elsewhere(shop.settings, shop.folder, trapdoor) == -9
        assert shop.sequences("staging.shops") == [1, 2], "it was not recorded"
        places.add(frozenset(shop.kept().items()))
        backup = shop.back_up()
        assert backup.is_whole, f"killed before write {trapdoor}"
        restored = shop.elsewhere(tmp_path / f"restored-{trapdoor}")
        restored.restore(backup=backup)
        assert restored.kinds() == []
        assert {path: body for path, body in restored.kept().items() if path.startswith("staging/")} == before
    assert len(places) == 3, "each time it died elsewhere"
    assert any(("staging/shops/city=Olot/file.parquet") in dict(place) for place in places), "some of it was there"


def test_what_was_lost_before_any_backup_is_named_and_the_rest_is_saved(shop: Shop) -> None:
    lost = Path(shop.settings.lake, "staging/shops/city=Vic/file.parquet")
    lost.unlink()
    backup = shop.back_up()
    assert not backup.is_whole
    assert list(backup.missing) == ["staging/shops/city=Vic/file.parquet"]
    assert "catalunya verify" in backup.missing["staging/shops/city=Vic/file.parquet"]
    assert backup.objects == len(shop.kept())


def test_what_is_lost_after_a_backup_is_still_in_the_next_one(shop: Shop) -> None:
    shop.back_up()
    lost = Path(shop.settings.lake, "staging/shops/city=Vic/file.parquet")
    lost.write_bytes(b"something else")
    again = shop.back_up()
    assert again.is_whole
    assert shop.restore("staging.shops", replace=True) == {"staging.shops": "restored"}
    assert shop.kinds() == []


def test_a_ledger_entry_that_cannot_be_read_is_named_and_the_table_before_it_is_saved(
    shop: Shop, tmp_path: Path
) -> None:
    path = Ledger.path("staging.shops", 2)
    Path(shop.settings.lake, path).write_bytes(b"{")
    backup = shop.back_up()
    assert (list(backup.missing), backup.assets["staging.shops"].sequence) == ([path], 1)
    restored = shop.elsewhere(tmp_path / "restored")
    restored.restore(backup=backup)
    assert restored.project.ledger.latest("staging.shops") is not None
    assert [kind for kind in restored.kinds() if kind.startswith("object")] == []


def test_an_asset_that_no_file_declares_any_more_is_backed_up_and_restored(shop: Shop) -> None:
    kept = shop.kept()
    shop.declared = shop.declared[:2]
    shop.back_up()
    destroy(shop.settings.lake)
    assert shop.restore() == {"landing.shops": "restored", "staging.shops": "restored", "staging.cities": "restored"}
    assert shop.kept() == kept


def test_an_empty_lake_is_backed_up_as_one(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source")
    assert (shop.back_up().objects, shop.restore()) == (0, {})


def test_what_airflow_says_is_kept_with_it_and_that_it_says_nothing_is_told(shop: Shop) -> None:
    def silent() -> dict[str, str]:
        raise CatalunyaError("Airflow does not answer")

    backup = back_up(shop.project, "with-airflow", airflow=lambda: {"pools": []})
    assert backup.airflow is not None
    assert backup.is_whole
    without = back_up(shop.project, "without", airflow=silent)
    assert (without.airflow, without.airflow_problem, without.is_whole) == (None, "Airflow does not answer", False)
    assert without.objects == backup.objects, "the lake's part is whole"


@pytest.mark.parametrize("place", ["lake", "lake/backups", "."])
def test_a_backup_that_would_be_lost_with_the_lake_is_refused(settings: Settings, tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a place that is not lost with the lake"):
        Store.of(settings.model_copy(update={"backup": str(tmp_path / place)}))


def test_a_backup_in_the_lakes_own_bucket_is_refused_and_each_environment_has_another() -> None:
    same = load_settings(env="dev", backup="s3://catalunya-data-dev/backups")
    with pytest.raises(ConfigurationError, match="another bucket"):
        Store.of(same)
    settings = {env: load_settings(env=env) for env in ("local", "dev", "prod")}
    assert {env: (s.backup, s.rpo_hours, s.rto_minutes) for env, s in settings.items()} == {
        "local": ("./backups", 0, 30),
        "dev": ("s3://catalunya-backup-dev", 24, 120),
        "prod": ("s3://catalunya-backup-prod", 4, 240),
    }
    with pytest.raises(ConfigurationError, match="CATALUNYA_RPO_HOURS"):
        load_settings(rpo_hours=5)


def test_two_backups_at_once_are_one(shop: Shop) -> None:
    with lease(shop.store.lake, LEASE, "theirs", 60), pytest.raises(LeaseHeld):
        shop.back_up()
    assert shop.store.backups() == []


def test_a_backup_killed_at_any_write_is_nothing_and_the_next_one_is_whole(shop: Shop, tmp_path: Path) -> None:
    writes = back_up_all(shop.settings.model_copy(update={"backup": str(tmp_path / "counted")}), shop.folder)
    assert writes >= 12, "the case is meant to have many places to die in"
    for trapdoor in range(writes - 1, 0, -3):
        killed = Shop(shop.settings.model_copy(update={"backup": str(tmp_path / f"backups-{trapdoor}")}), shop.folder)
        child = elsewhere(back_up_all, killed.settings, killed.folder, trapdoor)
        child.join(60)
        assert child.exitcode == -9
        assert killed.store.backups() == [], f"killed before write {trapdoor}"
        before = len(killed.store.contents())
        backup = killed.back_up()
        assert before + backup.new_objects == len(killed.store.contents()), "what was there is not written again"
        assert check(killed.store, backup).wrong == []


def test_backups_are_found_by_the_beginning_of_their_name(shop: Shop) -> None:
    with pytest.raises(UsageError, match="found none"):
        shop.store.find("local")
    first, second = shop.back_up(), shop.back_up()
    assert shop.store.find("local") == second
    assert shop.store.find("prod", first.name[:-1]) in (first, second)
    assert shop.store.find("local", first.name) == first
    with pytest.raises(UsageError, match="expected a backup of prod, found 2 others"):
        shop.store.find("prod")


def test_check_finds_contents_that_are_gone_or_not_what_they_were(shop: Shop) -> None:
    backup = shop.back_up()
    assert check(shop.store, backup).wrong == []
    gone, rotten = [item.sha256 for item in shop.store.inventory(backup) if item.path.startswith("staging/shops")][:2]
    Path(shop.settings.backup, content_path(gone)).unlink()
    file = Path(shop.settings.backup, content_path(rotten))
    file.write_bytes(bytes(file.stat().st_size))
    assert len(check(shop.store, backup, quick=True).wrong) == 1
    wrong = check(shop.store, backup).wrong
    assert len(wrong) == 2
    assert all("take an older backup" in each.replace("\n", " ") for each in wrong)
    file.unlink()
    assert shop.back_up().new_objects == 2, "the lake still has them"
    assert check(shop.store, backup).wrong == []


def test_a_damaged_backup_keeps_no_other_from_being_made_and_used(shop: Shop) -> None:
    damaged, rotten = shop.back_up(), shop.back_up()
    Path(shop.settings.backup, "backups", f"{damaged.name}.json").write_bytes(b"{")
    Path(shop.settings.backup, content_path(rotten.inventory)).write_bytes(b"not what it was")
    backup = shop.back_up()
    assert shop.store.backups() == [rotten, backup]
    assert shop.store.find("local") == backup
    assert check(shop.store, backup).wrong == []
    destroy(shop.settings.lake)
    assert set(shop.restore().values()) == {"restored"}


def test_a_manifest_that_cannot_be_read_is_told_and_nothing_is_deleted(shop: Shop) -> None:
    backup = shop.back_up()
    Path(shop.settings.backup, "backups", f"{backup.name}.json").write_bytes(b"{")
    before = contents(shop.settings.backup).keys()
    with pytest.raises(BackupError, match="cannot be read"):
        tidy(shop.store, shop.settings, "tidy")
    assert {path for path in contents(shop.settings.backup) if not path.startswith("_leases")} == {
        path for path in before if not path.startswith("_leases")
    }


def test_all_of_two_days_are_kept_then_one_a_day_then_one_a_week(shop: Shop) -> None:
    model = shop.back_up()
    every = [_at(model, NOW - timedelta(hours=4 * number)) for number in range(6 * 100)]
    gone = {each.name for each in expired(every, NOW, days=14, weeks=8)}
    kept = sorted(each.began_at for each in every if each.name not in gone)
    assert len([at for at in kept if at > NOW - timedelta(hours=48)]) == 12
    assert len({f"{at:%Y-%m-%d}" for at in kept if at > NOW - timedelta(days=14)}) >= 14
    assert kept[0] > NOW - timedelta(weeks=8)
    assert len({f"{at:%G-W%V}" for at in kept}) >= 8
    assert len(kept) <= 12 + 14 + 9
    assert expired(every[-1:], NOW, days=1, weeks=0) == [], "the newest stays, however old"


def test_a_backup_that_is_not_whole_stands_for_no_day_and_the_last_whole_one_stays(shop: Shop) -> None:
    model = shop.back_up()
    whole = _at(model, NOW - timedelta(days=300))
    broken = [_at(model, NOW - timedelta(days=day), missing={"x": "gone"}) for day in (1, 30, 31)]
    assert {each.began_at for each in expired([whole, *broken], NOW, days=14, weeks=8)} == {
        NOW - timedelta(days=30),
        NOW - timedelta(days=31),
    }


def test_a_backup_is_late_once_a_disaster_would_cost_more_than_it_may(shop: Shop) -> None:
    newest = _at(shop.back_up(), NOW - timedelta(hours=5))
    assert [is_late(newest, hours, NOW) for hours in (0, 4, 6)] == [False, True, False]
    assert (is_late(None, 4, NOW), is_late(None, 0, NOW)) == (True, False)


def test_tidying_up_killed_at_any_write_and_done_again_leaves_what_is_kept(shop: Shop, tmp_path: Path) -> None:
    first = shop.back_up()
    older(shop.store, first, began_at=NOW - timedelta(days=400))
    destroy(shop.settings.lake)
    shop.make(some(3, "Girona"))
    second = shop.back_up()
    killed = 0
    for trapdoor in range(2, 20, 3):
        child = elsewhere(tidy_all, shop.settings, trapdoor)
        child.join(60)
        killed += child.exitcode == -9
        assert second in shop.store.backups()
        assert check(shop.store, second).wrong == [], f"killed before write {trapdoor}"
        if child.exitcode == 0:
            break
    assert killed >= 2
    assert shop.store.backups() == [second]
    assert set(shop.store.contents()) == {second.inventory, *(item.sha256 for item in shop.store.inventory(second))}


def _at(model: Backup, at: datetime, **changes: object) -> Backup:
    return replace(model, name=f"{at:%Y%m%dT%H%M%S}", began_at=at, **changes)  # type: ignore[arg-type]
