"""Tables are read from S3 as from a folder; if the store fails meanwhile, the error is the lake's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.io.errors import LakeError, LakeUnavailable
from catalunya.io.lake import Lake
from small.aws import Aws
from small.killing import KEYS
from small.shops import declare, some


def test_a_store_that_goes_down_while_a_table_is_read_is_transient(settings: Settings, tmp_path: Path) -> None:
    source, declared = declare(tmp_path / "source")
    source.write(some(3))
    project = Project(settings, declared)
    for key in KEYS[:2]:
        materialize(project, key)
    options: dict[str, Any] = project.lake.scan_options
    options |= {"aws_endpoint_url": "http://127.0.0.1:9", "max_retries": 0}  # nothing listens there
    with pytest.raises(LakeUnavailable, match=r"staging/cities: the store does not answer") as raised:
        materialize(project, KEYS[2])
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
