"""The lake and the settings: writes are atomic, and every failure is one clear line."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import ConfigurationError, LakeError, LakeUnavailable, ObjectMissing, SourceUnavailable
from catalunya.io.lake import Lake
from catalunya.io.sources.socrata import Socrata
from small.shops import declare


def test_an_object_is_created_once(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    assert lake.create("a/b", b"first")
    assert not lake.create("a/b", b"second")
    assert lake.get("a/b") == b"first"


def test_a_file_is_an_object_when_it_is_whole(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    with lake.writing("a/page.json") as file:
        file.write(b"[]")
        file.flush()
        assert lake.objects("") == []
    assert lake.get("a/page.json") == b"[]"

    def broken() -> None:
        with lake.writing("a/page.json") as file:
            file.write(b"half")
            raise SourceUnavailable("the connection was closed")

    with pytest.raises(SourceUnavailable, match="was closed"):
        broken()
    assert lake.get("a/page.json") == b"[]"
    assert [path.name for path in (tmp_path / "lake/a").iterdir()] == ["page.json"]


COPYING = """
import sys
from pathlib import Path
from catalunya.io.lake import Lake
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
lake, file = Lake(sys.argv[1]), Path(sys.argv[2])
before = peak()
lake.put("a/large", file)
print(peak() - before)
"""


def test_a_file_is_put_in_a_folder_without_being_in_memory(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_bytes(content := secrets.token_bytes(50_000_001))
    command = [sys.executable, "-c", COPYING, str(tmp_path / "lake"), str(file)]
    taken = int(subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout)
    assert taken < 20_000_000
    assert Lake(str(tmp_path / "lake")).get("a/large") == content
    assert [path.name for path in (tmp_path / "lake/a").iterdir()] == ["large"]


def test_listing_matches_whole_folder_names(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    for path in ("staging/gdp/file.parquet", "staging/gdp_old/file.parquet"):
        lake.put(path, b"x")
    assert [o.path for o in lake.objects("staging/gdp")] == ["staging/gdp/file.parquet"]
    assert lake.folders("staging") == ["gdp", "gdp_old"]
    assert lake.objects("nothing/here") == []


def test_deleting_a_missing_object_is_no_error_and_leaves_no_empty_folder(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    lake.put("a/b/c", b"x")
    lake.delete(["a/b/c", "a/b/c", "never/was"])
    assert not (tmp_path / "lake" / "a").exists()


def test_a_missing_object_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=r"page\.json is not in the lake: run `catalunya verify`"):
        Lake(str(tmp_path)).get("page.json")


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "{outside}", "//outside"])
def test_no_path_leads_out_of_the_lake(tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"of someone else")
    with pytest.raises(LakeError):
        Lake(str(tmp_path / "lake")).get(path.format(outside=outside))


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "staging").write_text("not a folder")
    with pytest.raises(LakeError, match="there is a file where a folder is needed; move it"):
        Lake(str(tmp_path)).put("staging/x", b"")


@pytest.mark.parametrize("others", [0, 9])
def test_an_object_that_is_missing_when_the_lake_is_synced_is_named(tmp_path: Path, others: int) -> None:
    lake = Lake(str(tmp_path / "lake"))
    for number in range(others):
        lake.put(f"a/{number}", b"")
    with pytest.raises(ObjectMissing, match=rf"^{re.escape(str(tmp_path))}/lake/b/page\.json is not in the lake: "):
        lake.sync([*(f"a/{number}" for number in range(others)), "b/page.json"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a disk of 64 kB cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_the_old_object_stays(small_disk: Path, tmp_path: Path) -> None:
    lake = Lake(str(small_disk / "lake"))
    lake.put("staging/x", b"old")
    with pytest.raises(LakeUnavailable, match="no space left on the device; free some, or point CATALUNYA_LAKE"):
        lake.put("staging/x", b"x" * 200_000)
    (large := tmp_path / "large").write_bytes(b"x" * 3_000_000)
    with pytest.raises(LakeUnavailable, match="no space left on the device; free some, or point CATALUNYA_LAKE"):
        lake.put("staging/x", large)
    assert lake.get("staging/x") == b"old"
    assert [path.name for path in (small_disk / "lake/staging").iterdir()] == ["x"]


def test_a_full_scratch_disk_is_a_failure_that_passes(small_disk: Path, settings: Settings, tmp_path: Path) -> None:
    source, declared = declare(tmp_path / "source")
    source.write([{"codi": f"S{number}{secrets.token_hex(1000)}", "ciutat": "Reus"} for number in range(100)])
    project = Project(settings.model_copy(update={"scratch": small_disk}), declared)
    materialize(project, "landing.shops")
    with pytest.raises(LakeUnavailable, match=r"no space left on the device.*CATALUNYA_SCRATCH"):
        materialize(project, "staging.shops")
    failed = project.ledger.last_attempt("staging.shops")
    assert failed
    assert (failed.status, failed.transient, failed.failures) == ("failed", True, 1)
    assert materialize(Project(settings, declared), "staging.shops").status == "materialized"


def test_the_environment_selects_the_defaults() -> None:
    assert load_settings(env="dev").lake == "s3://catalunya-data-dev"
    source = Socrata("ivft-vegh")
    assert load_settings(env="local").http(source).base_url.startswith("http://127.0.0.1")
    assert load_settings(env="prod").http(source).base_url == "https://analisi.transparenciacatalunya.cat"
    assert load_settings(env="prod", lake="s3://mine").lake == "s3://mine"


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_the_names_of_all_buckets_begin_with_one_setting(env: str) -> None:
    settings = load_settings(env=env, bucket_prefix="girona-open-data")
    assert settings.lake == f"s3://girona-open-data-data-{env}"
    assert settings.athena_results == f"s3://girona-open-data-athena-marts-{env}/"
    assert settings.backup == f"s3://girona-open-data-backup-{env}"
    assert load_settings(env=env, bucket_prefix="") == load_settings(env=env)
    mine = load_settings(env=env, bucket_prefix="girona", lake="s3://mine", backup="./here")
    assert (mine.lake, mine.backup) == ("s3://mine", "./here")


@pytest.mark.parametrize(
    "prefix",
    [
        "Catalunya",
        "open_data",
        "open.data",
        "-open",
        "open-",
        "open--data",
        "xn-" + "-a",
        "sthree-a",
        "ñ",
        "a b",
        "a\n",
        "a" * 31,
    ],
)
def test_a_prefix_that_no_bucket_may_have_is_one_line(prefix: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^CATALUNYA_BUCKET_PREFIX=.*should be at most 30 lowercase letters"
    ) as raised:
        load_settings(env="dev", bucket_prefix=prefix)
    assert "\n" not in str(raised.value)


def test_an_unknown_environment_is_one_line_that_names_the_variable() -> None:
    with pytest.raises(ConfigurationError, match="CATALUNYA_ENV='test': input should be 'local', 'dev' or 'prod'"):
        load_settings(env="test")


def test_a_token_is_shown_nowhere() -> None:
    settings = load_settings(socrata_app_token="s3cr3t", mock_url="none")
    assert "s3cr3t" not in repr(settings)
    assert "s3cr3t" not in repr(settings.http(Socrata("ivft-vegh")))
    assert settings.http(Socrata("ivft-vegh")).app_token == "s3cr3t"


def test_the_paths_below_a_folder_are_those_of_its_objects(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for path in ("a/b/1.json", "a/b/c/2.json", "a/3.json", "ab/4.json"):
        lake.put(path, b"")
    (tmp_path / "a" / "b" / "1.json#1").write_bytes(b"a write that was killed")
    assert (
        sorted(lake.paths("a"))
        == [found.path for found in lake.objects("a")]
        == ["a/3.json", "a/b/1.json", "a/b/c/2.json"]
    )
    assert [*lake.paths("nothing")] == []
