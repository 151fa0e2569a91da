"""The report at the end of `run`, in words and as JSON, and its exit code; no Airflow is needed."""

from __future__ import annotations

import json

import pytest

from catalunya.ops.local_airflow.pipeline_run import AssetRun
from catalunya.ops.local_airflow.runner import Pages, report

GOOD = [AssetRun(asset="landing.shops", state="up to date"), AssetRun(asset="staging.shops", state="up to date")]
FAILED = [AssetRun(asset="landing.shops", state="failed", why="the source is gone"), GOOD[1]]
UNFINISHED = [GOOD[0], AssetRun(asset="staging.shops", state="waiting", why="landing.shops is stale")]


@pytest.mark.parametrize(
    ("assets", "code", "status"), [(GOOD, 0, "ok"), (FAILED, 1, "failed"), (UNFINISHED, 1, "failed")]
)
def test_json_is_one_document_with_every_asset_and_agrees_with_the_exit_code(
    capsys: pytest.CaptureFixture[str], assets: list[AssetRun], code: int, status: str
) -> None:
    assert report(assets, {}, 1.0, as_json=True) == code
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["status"] == status
    assert [(asset["asset"], asset["state"], asset["why"]) for asset in document["assets"]] == [
        (asset.asset, asset.state, asset.why) for asset in assets
    ]
    assert printed.err == ""


def test_a_good_run_is_summarized_with_what_to_try_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(GOOD, {}, 1.0) == 0
    out = capsys.readouterr().out
    assert "all 2 up to date, in 1 s" in out
    assert "catalunya status" in out
    assert f'query "from {GOOD[-1].asset} limit 5"' in out


def test_an_asset_that_was_not_made_is_reported_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(UNFINISHED, {}, 1.0) == 1
    out = capsys.readouterr().out
    assert "staging.shops was not made: landing.shops is stale" in out
    assert "1 of 2 assets are not up to date after 1 s" in out


def test_a_failed_asset_is_reported_with_the_end_of_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(FAILED, {"landing.shops": ["12:00:00 error   gone"]}, 1.0) == 1
    out = capsys.readouterr().out
    assert "last log lines of landing.shops:\n  12:00:00 error   gone" in out
    assert "landing.shops failed: the source is gone" in out


def test_the_last_line_is_where_the_public_pages_begin(capsys: pytest.CaptureFixture[str]) -> None:
    pages = Pages("/srv/data/portal/index.html")
    assert report(GOOD, {}, 1.0, pages=pages) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "The public pages: /srv/data/portal/index.html"
    assert report(GOOD, {}, 1.0, as_json=True, pages=pages) == 0
    assert json.loads(capsys.readouterr().out)["pages"] == {"home": pages.home, "problem": ""}


def test_pages_that_do_not_show_the_tables_are_a_failure_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    pages = Pages("", "next try at 2026-11-30 10:00 UTC: LakeError: the disk is full")
    assert report(GOOD, {}, 1.0, pages=pages) == 1
    assert f"the public pages are not up to date: {pages.problem}" in capsys.readouterr().out
    assert report(GOOD, {}, 1.0, as_json=True, pages=pages) == 1
