"""Backups: what they contain, that they are incremental and atomic, how they are checked, and how many are kept."""

from __future__ import annotations

import gzip
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import BackupError, CatalunyaError, ConfigurationError, LeaseHeld, UsageError
from catalunya.ops.backup.database import dumper, restore_database
from catalunya.ops.backup.make import back_up
from catalunya.ops.backup.store import (
    LEASE,
    Backup,
    Store,
    check,
    content_path,
    expired,
    is_overdue,
    prune,
    record_path,
)
from catalunya.ops.mock.exchange import Answer
from small.backups import ROWS, Shop, back_up_all, destroy, made_shop, prune_backups, rewrite
from small.http_server import Server
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


def test_a_backup_contains_everything_that_no_source_provides_again(shop: Shop) -> None:
    backup = shop.back_up()
    stored = contents(shop.settings.backup)
    saved = {item.path: stored[content_path(item.sha256)] for item in backup.items}
    assert saved == shop.kept()
    assert {path.split("/")[0] for path in saved} == {"staging", "_superseded", "_ledger", "quarantine"}
    assert backup.new_objects == len(stored) - 2, "besides its record and the lease"
    assert (backup.env, backup.lake, backup.is_complete) == ("local", shop.settings.lake, True)
    assert {key: (each["sequence"], each["rows"]) for key, each in backup.summary()["assets"].items()} == {
        "landing.shops": (2, 7),
        "staging.shops": (2, 6),
        "staging.cities": (2, 7),
    }


def test_landing_and_its_personal_fields_stay_out_of_backups(shop: Shop) -> None:
    shop.make([*ROWS, {"codi": "X9", "ciutat": "Reus", "telefon": "977 123 456"}], "landing.shops")
    assert any(b"977 123 456" in body for body in contents(shop.settings.lake).values())
    shop.back_up()
    stored = contents(shop.settings.backup).items()
    plain = [gzip.decompress(body) if path.endswith(".gz") else body for path, body in stored]
    assert not any(b"977 123 456" in body for body in plain)


def test_a_second_backup_writes_only_what_is_new(shop: Shop) -> None:
    first = shop.back_up()
    again = shop.back_up()
    assert (again.new_objects, again.assets) == (0, first.assets)
    shop.make([*some(6), *ROWS[5:]])
    third = shop.back_up()
    before, after = ({item.sha256 for item in each.items} for each in (first, third))
    assert len(third.items) == len(first.items) + 3 + 2 + 1, "three entries, two superseded objects, another quarantine"
    assert third.new_objects == len(after - before) == 3 + 2, (
        "superseded objects and equal quarantine were stored before"
    )


def test_equal_contents_are_stored_once(shop: Shop) -> None:
    backup = shop.back_up()
    copy = shop.elsewhere(Path(shop.settings.lake).with_name("copy"))
    shop_lake, copy_lake = Path(shop.settings.lake), Path(copy.settings.lake)
    shop_lake.rename(copy_lake)
    second = copy.back_up()
    assert (len(second.items), second.lake) == (len(backup.items), str(copy_lake))
    assert second.new_objects == 0


def test_a_landing_batch_that_no_table_was_made_from_is_left_out_with_its_entry(shop: Shop) -> None:
    shop.make([*some(9), *ROWS[5:]], "landing.shops")
    backup = shop.back_up()
    assert shop.sequences("landing.shops") == [1, 2, 3]
    assert backup.summary()["assets"]["landing.shops"]["sequence"] == 2
    destroy(shop.settings.lake)
    shop.restore()
    assert (shop.kinds(), shop.stale()) == ([], [])
    assert shop.make() == ["materialized"] * 3, "the source has newer data"


def test_a_failed_landing_attempt_is_part_of_the_backed_up_history(shop: Shop) -> None:
    state = shop.folder / "state.json"
    before = state.read_text()
    state.write_text("{")
    with pytest.raises(ValueError, match="Expecting property name"):
        shop.make(None, "landing.shops", force=True)
    state.write_text(before)
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
        assert backup.is_complete, f"killed before write {trapdoor}"
        restored = shop.elsewhere(tmp_path / f"restored-{trapdoor}")
        restored.restore(backup=backup)
        assert restored.kinds() == []
        assert {path: body for path, body in restored.kept().items() if path.startswith("staging/")} == before
    assert len(places) == 3, "it was killed in a different place each time"
    assert any(("staging/shops/city=Olot/file.parquet") in dict(place) for place in places), (
        "some of the new table was published"
    )


def test_an_object_lost_before_the_first_backup_is_named_and_the_rest_is_saved(shop: Shop) -> None:
    lost = Path(shop.settings.lake, "staging/shops/city=Vic/file.parquet")
    lost.unlink()
    backup = shop.back_up()
    assert not backup.is_complete
    assert list(backup.missing) == ["staging/shops/city=Vic/file.parquet"]
    assert "catalunya verify" in backup.missing["staging/shops/city=Vic/file.parquet"]
    assert len(backup.items) == len(shop.kept())


def test_an_object_lost_after_a_backup_is_still_in_the_next_one(shop: Shop) -> None:
    shop.back_up()
    lost = Path(shop.settings.lake, "staging/shops/city=Vic/file.parquet")
    lost.write_bytes(b"something else")
    again = shop.back_up()
    assert again.is_complete
    assert shop.restore("staging.shops", replace=True) == {"staging.shops": "restored"}
    assert shop.kinds() == []


def test_an_unreadable_ledger_entry_is_named_and_the_table_before_it_is_saved(shop: Shop, tmp_path: Path) -> None:
    path = Ledger.path("staging.shops", 2)
    Path(shop.settings.lake, path).write_bytes(b"{")
    backup = shop.back_up()
    latest = backup.assets["staging.shops"].latest
    assert (list(backup.missing), latest and latest.sequence) == ([path], 1)
    restored = shop.elsewhere(tmp_path / "restored")
    restored.restore(backup=backup)
    assert restored.project.ledger.latest("staging.shops") is not None
    assert [kind for kind in restored.kinds() if kind.startswith("object")] == []


@pytest.mark.parametrize("name", ["0000000002.json", "compacted.jsonl"])
def test_a_ledger_that_the_lake_refuses_to_read_is_named_and_the_others_are_saved(shop: Shop, name: str) -> None:
    itself = Path(shop.settings.lake, Ledger.folder("staging.shops"), name)
    itself.unlink(missing_ok=True)
    itself.symlink_to(name)
    backup = shop.back_up()
    assert {path.rpartition("/")[0] or path for path in backup.missing} <= {
        Ledger.folder("staging.shops"),
        "_ledger/staging",
    }
    assert backup.missing
    assert backup.assets["staging.cities"].latest


def test_an_asset_that_is_no_longer_declared_is_backed_up_and_restored(shop: Shop) -> None:
    kept = shop.kept()
    shop.declared = shop.declared[:2]
    shop.back_up()
    destroy(shop.settings.lake)
    assert shop.restore() == {"landing.shops": "restored", "staging.shops": "restored", "staging.cities": "restored"}
    assert shop.kept() == kept


def test_an_empty_lake_can_be_backed_up_and_restored(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source")
    assert (shop.back_up().items, shop.restore()) == ([], {})


def test_airflows_settings_are_in_the_backup_and_a_silent_airflow_is_reported(shop: Shop) -> None:
    def silent() -> dict[str, str]:
        raise CatalunyaError("Airflow does not answer")

    backup = back_up(shop.project, "with-airflow", airflow=lambda: {"pools": []})
    assert shop.store.find("local", "with-airflow").airflow == {"pools": []}
    assert backup.is_complete
    without = back_up(shop.project, "without", airflow=silent)
    assert (without.airflow, without.airflow_problem, without.is_complete) == (None, "Airflow does not answer", False)
    assert without.assets == backup.assets, "the lake is all there"


def test_a_dump_of_airflows_database_is_checked_and_pruned_with_its_backup(shop: Shop) -> None:
    backup = back_up(shop.project, "with-dump", database=write_dump)
    assert backup.database
    assert shop.store.lake.get(content_path(backup.database.sha256)) == b"everything"
    assert backup.summary()["has_database"]
    assert check(shop.store, backup).objects == len({item.sha256 for item in backup.items})

    rewrite(shop.store, backup, began_at=NOW - timedelta(days=400))
    shop.back_up()
    prune(shop.store, shop.settings, "prune")
    assert backup.database.sha256 not in shop.store.contents()


def test_a_backup_without_the_dump_it_should_have_is_incomplete_and_says_why(shop: Shop) -> None:
    settings = shop.settings.model_copy(update={"airflow_database": SecretStr("postgresql://a:secret@127.0.0.1:1/c")})
    backup = back_up(shop.project, "without-dump", database=dumper(settings))
    assert (backup.database, backup.is_complete) == (None, False)
    assert backup.database_problem.startswith("pg_dump ")
    assert "secret" not in backup.database_problem
    (problem,) = check(shop.store, backup).problems
    assert problem == f"Airflow's database is not in it: {backup.database_problem}"
    assert backup.assets == shop.back_up().assets, "the lake is all there"
    with pytest.raises(BackupError, match="does not contain Airflow's database"):
        restore_database(settings, shop.store, backup)
    assert dumper(shop.settings) is None


@pytest.mark.parametrize(
    "address",
    ["postgresql+psycopg2://a:secret@h/c", "sqlite:////airflow.db", "secret of none", "postgresql://a:secret@h:x/c"],
)
def test_an_address_that_is_none_leaves_the_rest_to_the_backup_and_is_not_shown(shop: Shop, address: str) -> None:
    settings = shop.settings.model_copy(update={"airflow_database": SecretStr(address)})
    backup = back_up(shop.project, "without-dump", database=dumper(settings))
    assert backup.assets
    assert backup.database is None
    with_dump = back_up(shop.project, "with-dump", database=write_dump)
    with pytest.raises(BackupError) as raised:
        restore_database(settings, shop.store, with_dump)
    for problem in (backup.database_problem, str(raised.value)):
        assert "expected an address" in problem or "does not answer" in problem or "failed" in problem
        assert "secret" not in problem
        assert "\n" not in problem
        assert "bug" not in problem


def test_the_password_is_not_on_the_command_line_of_postgresqls_programs(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pg_dump that writes what it was given, as everyone on the machine sees it, and then what only its user sees."""
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nfor each in "$@"; do case $each in --file=*) file=${each#--file=};; esac; done\n{ echo "$@"; echo "$PGPASSWORD"; } > "$file"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    settings = shop.settings.model_copy(update={"airflow_database": SecretStr("postgres://a:se%40cret@127.0.0.1:1/c")})
    backup = back_up(shop.project, "with-dump", database=dumper(settings))
    assert backup.database, backup.database_problem
    seen, password = shop.store.lake.get(content_path(backup.database.sha256)).decode().splitlines()
    assert "host=127.0.0.1" in seen
    assert "cret" not in seen
    assert password == "se@cret"


def write_dump(to: Path) -> None:
    to.write_bytes(b"everything")


@pytest.mark.parametrize("place", ["lake", "lake/backups", "."])
def test_a_backup_that_would_be_lost_with_the_lake_is_refused(settings: Settings, tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a place outside the lake's folder or bucket"):
        Store.of(settings.model_copy(update={"backup": str(tmp_path / place)}))


def test_a_backup_that_a_symbolic_link_leads_into_the_lake_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "lake")
    with pytest.raises(ConfigurationError, match="expected a place outside the lake's folder or bucket"):
        Store.of(settings.model_copy(update={"backup": str(tmp_path / "elsewhere" / "backups")}))


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


def test_requests_to_each_bucket_are_signed_for_its_region(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated></ListBucketResult>'
    with Server(lambda _: Answer(nothing, headers={"Content-Type": "application/xml"})).running() as s3:
        for name, value in {
            "ENDPOINT_URL": s3.url,
            "REGION": "eu-west-1",
            "ACCESS_KEY_ID": "id",
            "SECRET_ACCESS_KEY": "key",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        settings = load_settings(env="dev", backup_region="eu-central-1")
        assert Store.of(settings).contents() == {}
        assert Project(settings, []).lake.objects("") == []
        assert Store.of(settings.model_copy(update={"backup_region": ""})).contents() == {}
        signed = [re.findall(r"Credential=id/\d{8}/([\w-]+)/s3/", asked.headers["authorization"]) for asked in s3.asked]
    assert [asked.path for asked in s3.asked] == [
        "/catalunya-backup-dev",
        "/catalunya-data-dev",
        "/catalunya-backup-dev",
    ]
    assert signed == [["eu-central-1"], ["eu-west-1"], ["eu-west-1"]]
    assert Store.of(settings).lake.scan_options["aws_region"] == "eu-central-1"


def test_of_two_backups_at_once_one_is_refused(shop: Shop) -> None:
    with lease(shop.store.lake, LEASE, "theirs", 60), pytest.raises(LeaseHeld):
        shop.back_up()
    assert shop.store.backups() == []


def test_a_backup_killed_at_any_write_does_not_exist_and_the_next_one_is_complete(shop: Shop, tmp_path: Path) -> None:
    writes = back_up_all(shop.settings.model_copy(update={"backup": str(tmp_path / "counted")}), shop.folder)
    assert writes >= 12, "there should be many writes to be killed at"
    for trapdoor in range(writes - 1, 0, -3):
        killed = Shop(shop.settings.model_copy(update={"backup": str(tmp_path / f"backups-{trapdoor}")}), shop.folder)
        child = elsewhere(back_up_all, killed.settings, killed.folder, trapdoor)
        child.join(60)
        assert child.exitcode == -9
        assert killed.store.backups() == [], f"killed before write {trapdoor}"
        before = len(killed.store.contents())
        backup = killed.back_up()
        assert before + backup.new_objects == len(killed.store.contents()), "stored contents are not written again"
        assert check(killed.store, backup).problems == []


def test_backups_are_found_by_the_beginning_of_their_name(shop: Shop) -> None:
    with pytest.raises(UsageError, match="found none"):
        shop.store.find("local")
    first, second = shop.back_up(), shop.back_up()
    assert shop.store.find("local") == second
    assert shop.store.find("prod", first.name[:-1]) in (first, second)
    assert shop.store.find("local", first.name) == first
    with pytest.raises(UsageError, match="expected a backup of prod, found 2 others"):
        shop.store.find("prod")


def test_check_finds_missing_and_corrupt_contents(shop: Shop) -> None:
    backup = shop.back_up()
    assert check(shop.store, backup).problems == []
    missing, corrupt = [item.sha256 for item in backup.items if item.path.startswith("staging/shops")][:2]
    Path(shop.settings.backup, content_path(missing)).unlink()
    file = Path(shop.settings.backup, content_path(corrupt))
    file.write_bytes(bytes(file.stat().st_size))
    assert len(check(shop.store, backup, quick=True).problems) == 1
    problems = check(shop.store, backup).problems
    assert len(problems) == 2
    assert all("use an older backup" in each for each in problems)
    file.unlink()
    assert shop.back_up().new_objects == 2, "the lake still has them"
    assert check(shop.store, backup).problems == []


@pytest.mark.parametrize("damage", ["no gzip", "cut off", "one bit"])
def test_a_damaged_record_does_not_stop_other_backups_from_being_made_and_used(shop: Shop, damage: str) -> None:
    first, damaged = shop.back_up(), shop.back_up()
    record = Path(shop.settings.backup, record_path(damaged.name))
    body = record.read_bytes()
    flipped = bytes([*body[:99], body[99] ^ 1, *body[100:]])
    record.write_bytes({"no gzip": b"{", "cut off": body[:-100], "one bit": flipped}[damage])
    backup = shop.back_up()
    assert shop.store.backups() == [first, backup]
    assert shop.store.find("local") == backup
    assert check(shop.store, backup).problems == []
    destroy(shop.settings.lake)
    assert set(shop.restore().values()) == {"restored"}


@pytest.mark.parametrize(
    ("name", "why"), [("broken.json.gz", "cannot be read"), ("old.json", "not a backup record of this version")]
)
def test_nothing_is_pruned_while_a_record_cannot_be_read(shop: Shop, name: str, why: str) -> None:
    shop.back_up()
    Path(shop.settings.backup, "backups", name).write_bytes(b"{")
    before = contents(shop.settings.backup).keys()
    with pytest.raises(BackupError, match=why):
        prune(shop.store, shop.settings, "prune")
    assert {path for path in contents(shop.settings.backup) if not path.startswith("_leases")} == {
        path for path in before if not path.startswith("_leases")
    }


def test_all_backups_of_two_days_are_kept_then_one_a_day_then_one_a_week(shop: Shop) -> None:
    model = shop.back_up()
    every = [_at(model, NOW - timedelta(hours=4 * number)) for number in range(6 * 100)]
    gone = {each.name for each in expired(every, NOW, days=14, weeks=8)}
    kept = sorted(each.began_at for each in every if each.name not in gone)
    assert len([at for at in kept if at > NOW - timedelta(hours=48)]) == 12
    assert len({f"{at:%Y-%m-%d}" for at in kept if at > NOW - timedelta(days=14)}) >= 14
    assert kept[0] > NOW - timedelta(weeks=8)
    assert len({f"{at:%G-W%V}" for at in kept}) >= 8
    assert len(kept) <= 12 + 14 + 9
    assert expired(every[-1:], NOW, days=1, weeks=0) == [], "the newest is kept however old"


def test_an_incomplete_backup_never_counts_as_the_last_of_a_day_and_the_newest_complete_one_is_kept(shop: Shop) -> None:
    model = shop.back_up()
    complete = _at(model, NOW - timedelta(days=300))
    broken = [_at(model, NOW - timedelta(days=day), missing={"x": "gone"}) for day in (1, 30, 31)]
    assert {each.began_at for each in expired([complete, *broken], NOW, days=14, weeks=8)} == {
        NOW - timedelta(days=30),
        NOW - timedelta(days=31),
    }


def test_a_backup_is_overdue_once_a_disaster_would_lose_more_than_the_objective_allows(shop: Shop) -> None:
    newest = _at(shop.back_up(), NOW - timedelta(hours=5))
    assert [is_overdue(newest, hours, NOW) for hours in (0, 4, 6)] == [False, True, False]
    assert (is_overdue(None, 4, NOW), is_overdue(None, 0, NOW)) == (True, False)


def test_pruning_killed_at_any_write_and_run_again_leaves_the_kept_backups(shop: Shop, tmp_path: Path) -> None:
    first = shop.back_up()
    rewrite(shop.store, first, began_at=NOW - timedelta(days=400))
    destroy(shop.settings.lake)
    shop.make(some(3, "Girona"))
    second = shop.back_up()
    killed = 0
    for trapdoor in range(2, 20, 3):
        child = elsewhere(prune_backups, shop.settings, trapdoor)
        child.join(60)
        killed += child.exitcode == -9
        assert second in shop.store.backups()
        assert check(shop.store, second).problems == [], f"killed before write {trapdoor}"
        if child.exitcode == 0:
            break
    assert killed >= 2
    assert shop.store.backups() == [second]
    assert set(shop.store.contents()) == {item.sha256 for item in second.items}


def _at(model: Backup, at: datetime, **changes: object) -> Backup:
    return replace(model, name=f"{at:%Y%m%dT%H%M%S}", began_at=at, **changes)  # type: ignore[arg-type]
