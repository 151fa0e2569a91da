"""Superseded objects: what a publish replaces stays readable, in an object named by its hash, even if the publish is killed."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.ledger import Entry, Stored
from catalunya.assets.record.paths import scan_objects
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import find_objects, is_named_by, superseded_path
from catalunya.assets.record.verify import repair, verify
from catalunya.io.environment import Settings
from catalunya.io.lake import Lake
from small.killing import make_all, make_all_elsewhere
from small.shops import FolderSource, Rows, declare, some

VIC = {"codi": "V1", "ciutat": "Vic", "places": "3"}
OLOT = {"codi": "O1", "ciutat": "Olot", "places": "4"}
KEYS = ("landing.shops", "staging.shops", "staging.cities")


class Shop:
    """A project over the shops source, and its superseded objects."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.source, self.declared = declare(folder)
        self.project = Project(settings, self.declared)
        self.root = Path(settings.lake)

    def make(self, rows: Rows) -> None:
        self.source.write(rows)
        for key in KEYS:
            materialize(self.project, key, Request(accept_change=True))

    def kept(self) -> list[str]:
        """The partition folders of the superseded objects of staging.shops."""
        kept = self.project.lake.objects("_superseded/staging/shops")
        return sorted(found.path.split("/")[-2] for found in kept)

    def table(self, at: int) -> pl.DataFrame:
        """staging.shops as of its ledger entry `at`."""
        ledger = self.project.ledger
        entry = ledger.history("staging.shops")[at - 1]
        places = find_objects(entry, ledger.latest("staging.shops"))
        lake, asset = self.project.lake, self.project.graph["staging.shops"]
        return scan_objects([lake.url(place) for place in places], asset, lake.scan_options).sort("shop_id").collect()

    def kinds(self, *, quick: bool = False) -> list[str]:
        return [finding.kind for finding in verify(self.project, quick=quick).findings]


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    shop = Shop(settings, tmp_path / "source")
    shop.make([*some(3), VIC])
    return shop


def test_a_first_publish_keeps_nothing(shop: Shop) -> None:
    assert shop.kept() == []


def test_changed_and_removed_objects_are_kept_and_unchanged_ones_are_not_copied(shop: Shop) -> None:
    shop.make([*some(3), OLOT])
    assert shop.kept() == ["city=Vic"], "Vic was removed, Reus is unchanged, Olot is new"
    shop.make([*some(4), OLOT])
    assert shop.kept() == ["city=Reus", "city=Vic"]
    assert shop.kinds() == []


def test_a_table_can_be_read_as_of_each_entry(shop: Shop) -> None:
    shop.make([*some(5), OLOT])
    shop.make([VIC])
    assert shop.table(1)["shop_id"].to_list() == ["S0", "S1", "S2", "V1"]
    assert shop.table(2)["shop_id"].to_list() == ["O1", "S0", "S1", "S2", "S3", "S4"]
    assert shop.table(2)["city"].to_list() == ["Olot", *["Reus"] * 5]
    assert shop.table(3)["shop_id"].to_list() == ["V1"]


def test_content_that_recurs_is_kept_once(shop: Shop) -> None:
    for rows in ([*some(4), VIC], [*some(3), VIC], [*some(4), VIC], [*some(3), VIC]):
        shop.make(rows)
    assert shop.kept() == ["city=Reus", "city=Reus"]
    assert shop.kinds() == []


def test_landing_pages_are_never_kept_because_they_hold_personal_fields(shop: Shop) -> None:
    shop.make(some(5))
    assert not (shop.root / "_superseded" / "landing").exists()
    assert not list((shop.root / "_superseded").rglob("*.json"))


def test_the_path_has_layer_table_partition_and_content_hash() -> None:
    stored = Stored(path="marts/facts/fact_x/year=2025/file.parquet", bytes=1, rows=1, sha256="ab" * 32)
    assert superseded_path(stored) == "_superseded/marts/facts/fact_x/year=2025/abababababababab.parquet"
    assert is_named_by(superseded_path(stored), stored.sha256)
    assert not is_named_by(superseded_path(stored), "cd" * 32)


def test_a_missing_or_damaged_object_is_not_kept_and_does_not_stop_the_publish(shop: Shop) -> None:
    (shop.root / "staging/shops/city=Vic/file.parquet").unlink()
    reus = shop.root / "staging/shops/city=Reus/file.parquet"
    reus.write_bytes(reus.read_bytes()[:100])
    shop.make([*some(5), {**VIC, "places": "9"}])
    assert shop.kept() == []
    assert shop.kinds() == []


def test_a_later_put_does_not_change_the_kept_copy(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    lake.put("a/b", b"old")
    assert lake.copy("a/b", "kept/b")
    lake.put("a/b", b"new")
    assert (lake.get("a/b"), lake.get("kept/b")) == (b"new", b"old")
    large = tmp_path / "large"
    large.write_bytes(b"x" * 20_000_000)  # large enough for a multipart upload
    assert lake.copy("a/b", "kept/c")
    lake.put("a/b", large)
    lake.delete(["a/b"])
    assert lake.get("kept/c") == b"new"
    assert not lake.copy("a/b", "kept/d"), "there is nothing to copy"


def test_a_copy_works_across_file_systems(tmp_path: Path) -> None:
    here, places = tmp_path.stat().st_dev, (Path("/dev/shm"), Path("/tmp"))
    elsewhere = next((each for each in places if each.is_dir() and each.stat().st_dev != here), None)
    if elsewhere is None:
        pytest.skip("this machine has no second file system to copy to")
    lake, other = Lake(str(tmp_path / "lake")), elsewhere / f"catalunya-{tmp_path.parent.name}-{tmp_path.name}"
    other.mkdir()
    try:
        (tmp_path / "lake").mkdir(exist_ok=True)
        (tmp_path / "lake" / "kept").symlink_to(other)
        lake.put("a", b"old")
        assert lake.copy("a", "kept/a")
        assert (other / "a").read_bytes() == b"old"
    finally:
        shutil.rmtree(other)


def test_a_corrupt_superseded_object_is_found_and_set_aside(shop: Shop) -> None:
    shop.make([*some(3)])
    (kept,) = (shop.root / "_superseded/staging/shops").rglob("*.parquet")
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    findings = verify(shop.project).findings
    assert [finding.kind for finding in findings] == ["superseded_differs"]
    assert shop.kinds(quick=True) == []
    repair(shop.project, findings)
    assert shop.kinds() == []
    assert list(shop.root.glob("_aside/**/*.parquet"))


BEFORE = [*some(5), VIC]
AFTER = [*some(4), OLOT]
OTHER = [*some(6), {**VIC, "places": "8"}]


def test_a_killed_publish_keeps_the_old_content_whatever_the_source_has_afterwards(
    settings: Settings, tmp_path: Path
) -> None:
    folder, seen = tmp_path / "source", set()
    FolderSource(folder).write(BEFORE)
    make_all(settings, folder)
    shutil.copytree(settings.lake, tmp_path / "before")
    landing = make_all(settings, tmp_path / "source", keys=KEYS[:1], force=True)
    for trapdoor in itertools.count(landing + 1):  # the writes of staging.shops up to its record, and one more
        shutil.rmtree(settings.lake)
        shutil.copytree(tmp_path / "before", settings.lake)
        FolderSource(folder).write(AFTER)
        assert make_all_elsewhere(settings, folder, trapdoor) == -9
        shop = Shop(settings, folder)
        is_recorded = len(shop.project.ledger.history("staging.shops")) == 2
        seen.add((len(shop.kept()), (shop.root / "staging/shops/city=Olot").exists(), is_recorded))
        FolderSource(folder).write(OTHER)
        make_all(settings, folder)
        for path in (shop.root / "_superseded").rglob("*.parquet"):
            assert is_named_by(path.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()), trapdoor
        assert shop.table(1)["shop_id"].to_list() == ["S0", "S1", "S2", "S3", "S4", "V1"], trapdoor
        assert shop.table(3 if is_recorded else 2)["capacity_places"].to_list() == [0, 1, 2, 3, 4, 5, 8], trapdoor
        assert shop.kinds() == [], trapdoor
        if is_recorded:
            break
    assert seen == {(0, False, False), (1, False, False), (2, False, False), (2, True, False), (2, True, True)}


def test_without_a_latest_entry_all_objects_of_an_entry_are_superseded() -> None:
    stored = Stored(path="staging/x/file.parquet", bytes=1, rows=1, sha256="ab" * 32)
    assert find_objects(replace(_entry(), objects=(stored,)), None) == [superseded_path(stored)]


def _entry() -> Entry:
    return Entry(asset="staging.x", sequence=1, status="materialized", run_id="r", correlation_id="r", reason="MISSING",
                 started_at=datetime(2026, 1, 1, tzinfo=UTC), seconds=1.0, code_version="c", versions={})  # fmt: skip


def test_a_forced_run_with_the_same_content_keeps_nothing(shop: Shop) -> None:
    for key in KEYS:
        materialize(shop.project, key, Request(force=True))
    assert shop.kept() == []
