"""Pages and tables are read from S3 as from a folder; if the store fails meanwhile, the error is the lake's, not the page's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, LakeError, LakeUnavailable
from catalunya.io.lake import Lake
from catalunya.io.sources.pages import read_page
from small.aws import Aws
from small.killing import KEYS
from small.shops import declare, some
from unit.test_jsonstat import dataset
from unit.test_pages import EXPECTED, FIELDS, LAYOUTS


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_of_the_same_array_gives_the_same_rows(bucket: str, layout: str) -> None:
    lake = Lake(bucket)
    lake.put("batch=1/page-7", layout.encode())
    assert read_page(lake, "batch=1/page-7", FIELDS, "rows", "landing.x").select(FIELDS).rows() == EXPECTED


def test_a_json_stat_page_gives_the_same_cells_as_in_a_folder(bucket: str, tmp_path: Path) -> None:
    lakes = Lake(bucket), Lake(str(tmp_path / "lake"))
    for lake in lakes:
        lake.put("page", dataset())
    remote, local = (read_page(lake, "page", ["time", "sex", "value"], "json-stat", "landing.x") for lake in lakes)
    assert remote.equals(local)
    assert remote.height == 6


def test_a_missing_page_and_an_invalid_page_are_different_errors(bucket: str) -> None:
    lake = Lake(bucket)
    lake.put("page", b"<html>")
    with pytest.raises(ContractError, match="expected a JSON array of rows in page"):
        read_page(lake, "page", FIELDS, "rows", "landing.x")
    with pytest.raises(LakeError, match=r"gone is not in the lake: run `catalunya verify`"):
        read_page(lake, "gone", FIELDS, "rows", "landing.x")


def test_a_store_that_goes_down_while_pages_are_read_is_transient(settings: Settings, tmp_path: Path) -> None:
    source, declared = declare(tmp_path / "source")
    source.write(some(3))
    project = Project(settings, declared)
    materialize(project, KEYS[0])
    options: dict[str, Any] = project.lake.scan_options
    options |= {"aws_endpoint_url": "http://127.0.0.1:9", "max_retries": 0}  # nothing listens there
    with pytest.raises(LakeUnavailable, match=r"page-0000\d\.json: the store does not answer") as raised:
        materialize(project, KEYS[1])
    assert "\n" not in str(raised.value)


def test_a_table_that_disappears_while_another_reads_it_is_named_in_the_error(
    settings: Settings, tmp_path: Path
) -> None:
    source, declared = declare(tmp_path / "source")
    source.write(some(3))
    project = Project(settings, declared)
    for key in KEYS[:2]:
        materialize(project, key)
    project.lake.delete(["staging/shops/city=Reus/file.parquet"])
    with pytest.raises(LakeError, match=r"staging/cities is not in the lake: .*catalunya verify"):
        materialize(project, KEYS[2])


def test_polars_reads_its_credentials_from_the_environment(
    aws: Aws, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(bucket)
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "x.parquet")
    lake.put("x.parquet", tmp_path / "x.parquet")
    assert not any("key" in name or "secret" in name for name in lake.scan_options), "no credentials in options"
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session")
    assert pl.scan_parquet(lake.url("x.parquet"), storage_options=lake.scan_options).collect()["n"].to_list() == [1]
