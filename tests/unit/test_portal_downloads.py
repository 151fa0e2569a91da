"""The data to take away: which files and versions there are, whatever happens to builds, tables and their ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.making.restoring import restore_version
from catalunya.assets.record.index import keep_index, read_index
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.io.errors import LakeError
from catalunya.io.lake import Lake
from catalunya.portal.build import STATE, build, moved, read_state
from catalunya.portal.downloads import distributions, versions
from catalunya.portal.site import read_site
from small.lakes import contents
from small.marts import DAY, ENDINGS, FOLDER, KEY, NOON, MartShop, project_folder


@pytest.fixture
def shop(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MartShop:
    monkeypatch.setenv("CATALUNYA_PROJECT", str(project_folder(tmp_path / "project")))
    return MartShop(settings, tmp_path / "site")


def test_a_table_has_its_latest_files_and_those_of_its_version_with_the_same_bytes(shop: MartShop) -> None:
    shop.publish(NOON, 1, 2)
    shop.build(NOON)
    files = shop.files()
    assert sorted(files) == sorted(
        [
            *(f"{stem}{ending}" for stem in ("latest", "2026-08-03T1200Z") for ending in ENDINGS),
            "versions.json",
        ]
    )
    assert all(files[f"latest{ending}"] == files[f"2026-08-03T1200Z{ending}"] for ending in ENDINGS)
    assert shop.build(NOON + DAY).written == 0


def test_files_are_made_of_a_table_whose_entry_the_watch_has_read_before(shop: MartShop) -> None:
    shop.publish(NOON, 1, 2)
    project = shop.project
    keep_index(project.lake, read_index(project.ledger, [KEY]))
    shop.build(NOON)
    assert shop.places("latest") == [1, 2]


def test_no_file_has_a_personal_column(shop: MartShop) -> None:
    shop.publish(NOON, 1, 2)
    shop.build(NOON)
    assert pl.read_parquet(shop.files()["latest.parquet"]).columns == ["shop_id", "places"]
    for name, body in shop.files().items():
        assert b"telephone" not in body, name
        assert b"600-555" not in body, name


def test_versions_json_has_what_one_needs_to_cite_a_version_and_to_check_a_file(shop: MartShop) -> None:
    entry = shop.publish(NOON, 1, 2)
    shop.build(NOON)
    files = shop.files()
    about = json.loads(files["versions.json"])
    (version,) = about["versions"]
    assert version["citation"] == "shops:marts.dim_shops@2026-08-03T1200Z"
    assert (version["data_version"], version["rows"], version["is_latest"]) == (entry.data_version, 2, True)
    for each in version["files"]:
        assert each["sha256"] == hashlib.sha256(files[each["name"]]).hexdigest()
        assert each["bytes"] == len(files[each["name"]])


def test_two_sites_of_one_lake_have_the_same_bytes(shop: MartShop, tmp_path: Path) -> None:
    shop.publish(NOON, 1, 2)
    shop.build(NOON)
    shop.publish(NOON + DAY, 3)
    shop.build(NOON + DAY)
    (tmp_path / "elsewhere").mkdir()
    other = MartShop(shop.settings.model_copy(update={"scratch": tmp_path / "elsewhere"}), tmp_path / "other")
    other.build(NOON + DAY)
    newest = {name: body for name, body in other.files().items() if name != "versions.json"}
    assert len(newest) == 2 * len(ENDINGS)
    assert {name: shop.files()[name] for name in newest} == newest


def test_distributions_are_known_before_the_files_are_made_and_their_sizes_afterwards(shop: MartShop) -> None:
    shop.publish(NOON, 1, 2)
    site = shop.site(NOON)
    before = distributions(site, site.graph[KEY])
    build(site, shop.to)
    after = distributions(site, site.graph[KEY])
    assert [replace(each, bytes=None, sha256=None) for each in after] == before
    assert [(each.title, each.is_latest) for each in before[:5]] == [
        (f"download.{name}", True) for name in ("parquet", "csv", "excel_csv", "json", "xlsx")
    ]
    assert {each.path: each.bytes for each in after} == {
        f"{FOLDER}/{name}": len(body) for name, body in shop.files().items() if name != "versions.json"
    }
    assert before[0].media_type == "application/vnd.apache.parquet"


def test_a_version_stays_as_it_was_until_its_retention_has_passed(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.build(NOON)
    first = shop.files()
    shop.publish(NOON + DAY, 2)
    shop.build(NOON + DAY)
    assert shop.names(NOON + DAY) == ["2026-08-04T1200Z", "2026-08-03T1200Z"]
    assert (shop.places("2026-08-03T1200Z"), shop.places("latest")) == ([1], [2])
    kept = {name: body for name, body in first.items() if name[0] == "2"}
    assert {name: shop.files()[name] for name in kept} == kept
    assert shop.build(NOON + 30 * DAY).made == []
    expired = shop.build(NOON + 31 * DAY)
    assert (expired.deleted, shop.dated()) == (5, ["2026-08-04T1200"])
    assert FOLDER in expired.made
    assert shop.build(NOON + 31 * DAY).made == []


def test_an_unchanged_materialization_makes_no_version(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.build(NOON)
    shop.publish(NOON + DAY, 1)
    assert FOLDER not in shop.build(NOON + DAY).made
    assert shop.names(NOON + DAY) == ["2026-08-03T1200Z"]


def test_a_longer_retention_keeps_what_is_there_and_a_shorter_one_deletes_it(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.build(NOON)
    shop.publish(NOON + DAY, 2)
    shop.build(NOON + DAY)
    shop.keep = 60 * DAY
    shop.build(NOON + 40 * DAY)
    assert shop.dated() == ["2026-08-03T1200", "2026-08-04T1200"]
    shop.keep = 10 * DAY
    shop.build(NOON + 40 * DAY)
    assert shop.dated() == ["2026-08-04T1200"]


def test_versions_of_one_minute_have_names_of_their_own(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.build(NOON)
    shop.publish(NOON + timedelta(seconds=20), 2)
    shop.build(NOON)
    assert shop.names(NOON) == ["2026-08-03T1200Z-2", "2026-08-03T1200Z"]
    assert (shop.places("2026-08-03T1200Z"), shop.places("2026-08-03T1200Z-2")) == ([1], [2])


def test_a_version_keeps_its_name_when_the_ledger_begins_again(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.build(NOON)
    for path in Path(shop.settings.lake, Ledger.folder(KEY)).iterdir():
        path.unlink()
    shop.publish(NOON + timedelta(seconds=10), 2)
    shop.build(NOON)
    shop.publish(NOON + DAY, 1)
    shop.build(NOON + DAY)
    assert shop.names(NOON + DAY) == ["2026-08-03T1200Z-2", "2026-08-03T1200Z"]
    assert (shop.places("2026-08-03T1200Z"), shop.places("2026-08-03T1200Z-2")) == ([1], [2])


def test_a_restored_version_has_its_files_still(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.build(NOON)
    shop.publish(NOON + DAY, 2)
    shop.build(NOON + DAY)
    there = Path(shop.to.root, FOLDER, "2026-08-03T1200Z.parquet")
    written = there.stat().st_mtime_ns
    restore_version(shop.project, KEY, "the-restore")
    shop.build(NOON + 2 * DAY)
    assert shop.names(NOON + 2 * DAY) == ["2026-08-04T1200Z", "2026-08-03T1200Z"]
    assert shop.places("latest") == [1]
    assert there.stat().st_mtime_ns == written
    site = shop.site(NOON + 2 * DAY)
    moved(site, read_state(shop.to), shop.to)
    assert [each.is_latest for each in versions(site, site.graph[KEY])] == [False, True]


def test_a_table_whose_ledger_cannot_be_read_keeps_its_files(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.build(NOON)
    shop.publish(NOON + DAY, 2)
    shop.build(NOON + DAY)
    before = shop.files()
    entry = Path(shop.settings.lake, Ledger.path(KEY, 2))
    whole = entry.read_bytes()
    entry.write_bytes(b"{")
    shop.build(NOON + 90 * DAY)
    assert shop.files() == before
    site = shop.site(NOON + 90 * DAY)
    moved(site, read_state(shop.to), shop.to)
    assert {each.path for each in distributions(site, site.graph[KEY])} == {
        f"{FOLDER}/{name}" for name in before if name != "versions.json"
    }
    entry.write_bytes(whole)
    shop.build(NOON + DAY)
    assert shop.files() == before


@pytest.mark.parametrize("lost", [b"", b'{"built_at": ', None])
def test_a_dated_file_is_never_written_again_not_even_without_the_state_of_the_site(
    shop: MartShop, lost: bytes | None
) -> None:
    """As if an earlier release had written it otherwise."""
    shop.publish(NOON, 1)
    shop.build(NOON)
    older = f"{FOLDER}/2026-08-03T1200Z.csv"
    shop.to.put(older, b"of an earlier release")
    if lost is None:
        shop.to.delete([STATE])
    else:
        shop.to.put(STATE, lost)
    shop.build(NOON)
    shop.build(NOON, everything=True)
    assert shop.to.get(older) == b"of an earlier release"
    (version,) = json.loads(shop.files()["versions.json"])["versions"]
    assert version["files"][1]["sha256"] == hashlib.sha256(b"of an earlier release").hexdigest()
    shop.publish(NOON + DAY, 2)
    shop.to.delete([STATE])
    shop.build(NOON + DAY)
    assert shop.names(NOON + DAY) == ["2026-08-04T1200Z", "2026-08-03T1200Z"]
    shop.build(NOON + 31 * DAY)
    assert shop.dated() == ["2026-08-04T1200"]


class Killed(BaseException):
    """What ends a build at once."""


class DyingLake(Lake):
    """A store whose process ends before its n-th write or deletion."""

    def __init__(self, root: str, lives: int) -> None:
        super().__init__(root)
        self.lives = lives

    def _live(self) -> None:
        if self.lives == 0:
            raise Killed
        self.lives -= 1

    def put(self, path: str, body: bytes | Path, attributes: Mapping[str, str] | None = None) -> None:
        self._live()
        super().put(path, body, attributes)

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            self._live()
            super().delete([path])


def test_a_build_that_was_killed_anywhere_is_finished_by_the_next_one(shop: MartShop, tmp_path: Path) -> None:
    """Of two versions, one of which has expired."""
    shop.publish(NOON, 1)
    shop.build(NOON)
    before = contents(shop.to.root)
    shop.publish(NOON + DAY, 2)
    shop.build(NOON + 40 * DAY)
    after, lives = contents(shop.to.root), 0
    while True:
        folder = tmp_path / f"killed-{lives}"
        for name, body in before.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(body)
        try:
            shop.build(NOON + 40 * DAY, DyingLake(str(folder), lives))
        except Killed:
            shop.build(NOON + 40 * DAY, Lake(str(folder)))
            assert contents(folder) == after, f"killed before write {lives + 1}"
            lives += 3
            continue
        break
    assert lives > 15


def test_files_of_a_killed_build_whose_table_has_moved_on_are_a_version_that_expires(
    shop: MartShop,
) -> None:
    shop.publish(NOON, 1)
    first, lives = f"{FOLDER}/2026-08-03T1200Z.csv", 0
    while not shop.to.exists(first):
        lives += 1
        with pytest.raises(Killed):
            shop.build(NOON, DyingLake(shop.to.root, lives))
    shop.publish(NOON + timedelta(seconds=5), 2)
    shop.build(NOON + DAY)
    assert shop.names(NOON + DAY) == ["2026-08-03T1200Z-2", "2026-08-03T1200Z"]
    assert (shop.places("2026-08-03T1200Z"), shop.places("2026-08-03T1200Z-2")) == ([1], [2])
    shop.build(NOON + 31 * DAY)
    assert shop.names(NOON + 31 * DAY) == ["2026-08-03T1200Z-2"]
    assert not shop.to.exists(first)


def test_a_table_that_is_replaced_while_its_files_are_made_is_read_as_the_ledger_says(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    site = shop.site(NOON)
    assert site.entry(KEY)
    shop.publish(NOON + DAY, 2)
    build(site, shop.to)
    assert shop.places("latest") == shop.places("2026-08-03T1200Z") == [1]
    shop.build(NOON + DAY)
    assert shop.places("latest") == shop.places("2026-08-04T1200Z") == [2]


def test_a_damaged_object_is_not_published(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.project.lake.put("marts/dimensions/dim_shops/file.parquet", b"PAR1")
    with pytest.raises(LakeError, match=r"run `catalunya verify marts\.dim_shops`"):
        shop.build(NOON)
    assert shop.dated() == []


def test_versions_of_sample_data_are_not_kept_beside_real_ones(shop: MartShop) -> None:
    shop.settings = shop.settings.model_copy(update={"mock_url": "http://localhost:9"})
    shop.publish(NOON, 1)
    shop.build(NOON)
    assert json.loads(shop.files()["versions.json"])["is_sample"]
    shop.settings = shop.settings.model_copy(update={"mock_url": "none"})
    shop.publish(NOON + DAY, 2)
    shop.build(NOON + DAY)
    assert shop.dated() == ["2026-08-04T1200"]


def test_staging_tables_have_no_files(settings: Settings, compiled: Path) -> None:
    project = Project(settings.model_copy(update={"cache": compiled}))
    site = read_site(project)
    assert all(distributions(site, asset) == [] for asset in site.published if asset not in site.marts)
