"""The site published to a bucket: what each file is served with, and that a second build writes nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.lake import Lake
from catalunya.portal.build import STATE, Made, build, read_state
from catalunya.portal.publish import Publisher
from catalunya.portal.site import Site, read_site
from small.aws import Aws
from small.lakes import contents
from small.marts import FOLDER, NOON, MartShop, project_folder


@pytest.fixture
def site(tmp_path: Path, compiled: Path) -> Site:
    return read_site(Project(load_settings(env="local", lake=str(tmp_path / "lake"), cache=compiled)))


def test_every_file_has_its_media_type_and_says_how_long_it_may_be_kept(
    site: Site, aws: Aws, bucket: str, tmp_path: Path
) -> None:
    to, name = Lake(f"{bucket}/portal"), bucket.removeprefix("s3://")
    build(site, to)
    with Publisher(to) as publisher:
        publisher.put("data/marts/m/2026-11-29T1405Z.csv", b"a\n1\n", is_fixed=True)
        (tmp_path / "latest.parquet").write_bytes(b"PAR1")
        publisher.put("data/marts/m/latest.parquet", tmp_path / "latest.parquet")
        (tmp_path / "latest.parquet").unlink()
    assert to.get("data/marts/m/latest.parquet") == b"PAR1"
    client = aws.client("s3")
    found = {o.path: client.head_object(Bucket=name, Key=f"portal/{o.path}") for o in to.objects("")}
    kinds = {path: (head["ContentType"], head["CacheControl"]) for path, head in found.items()}
    short, fixed = "public, max-age=300", "public, max-age=31536000, immutable"
    assert kinds["ca/index.html"] == ("text/html; charset=utf-8", short)
    assert kinds["static/site.css"] == ("text/css; charset=utf-8", short)
    assert kinds["static/icon.svg"] == ("image/svg+xml", short)
    assert kinds[STATE] == ("application/json", short)
    assert kinds["data/marts/m/2026-11-29T1405Z.csv"] == ("text/csv; charset=utf-8", fixed)
    assert kinds["data/marts/m/latest.parquet"] == ("application/vnd.apache.parquet", short)
    assert {head["ServerSideEncryption"] for head in found.values()} == {"AES256"}


def test_a_second_build_of_a_bucket_writes_nothing_and_a_file_of_no_part_is_deleted(
    site: Site, bucket: str, tmp_path: Path
) -> None:
    to, folder = Lake(f"{bucket}/portal"), Lake(str(tmp_path / "site"))
    first = build(site, to)
    build(site, folder)
    same = {path: body for path, body in contents(folder.root).items() if path != STATE}
    on_s3 = {path.removeprefix("portal/"): body for path, body in contents(bucket).items()}
    assert {path: body for path, body in on_s3.items() if path != STATE} == same
    assert (first.written, build(site, to).written) == (len(same), 0)
    state = read_state(to)
    assert state
    parts = {**state.parts, "of an earlier release": Made("1", {"es/old.html": ("0" * 64, 1)})}
    to.put("es/old.html", b"x")
    to.put(STATE, msgspec.json.encode(msgspec.structs.replace(state, parts=parts)))
    assert build(site, to).deleted == 1
    assert not to.exists("es/old.html")


def test_the_files_of_a_table_are_in_the_bucket_whole(
    aws: Aws, bucket: str, tmp_path: Path, compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written from temporary files, which are gone when the build ends."""
    monkeypatch.setenv("CATALUNYA_PROJECT", str(project_folder(tmp_path / "project")))
    settings = load_settings(env="local", lake=f"{bucket}/lake", cache=compiled)
    shop, local = MartShop(settings, f"{bucket}/portal"), MartShop(settings, tmp_path / "site")
    shop.publish(NOON, 1, 2)
    assert shop.build(NOON).written == local.build(NOON).written
    on_s3 = {
        path.removeprefix("portal/"): body for path, body in contents(bucket).items() if path.startswith("portal/data/")
    }
    assert {path.removeprefix(f"{FOLDER}/"): body for path, body in on_s3.items()} == local.files()
    client, name = aws.client("s3"), bucket.removeprefix("s3://")
    dated = client.head_object(Bucket=name, Key=f"portal/{FOLDER}/2026-08-03T1200Z.parquet")
    latest = client.head_object(Bucket=name, Key=f"portal/{FOLDER}/latest.parquet")
    assert ["immutable" in each["CacheControl"] for each in (dated, latest)] == [True, False]
    assert shop.build(NOON).written == 0
