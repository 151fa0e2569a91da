"""The plugin in a real Airflow, looked at with a real browser: pages, links in and out of the frame, light and dark, and nothing in the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalunya.dags.plugin.words import shown_state
from catalunya.ops.status import brief_statuses
from catalunya.ops.watching.look import watch
from small.browser import Window, chromium, picture, window
from small.field import Field

SOURCE, DATASET = "service_usage", "yavr-pn8q"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def light(shared_field: Field, browser: Any) -> Iterator[Window]:
    """A wide window in light mode, which keeps Airflow's scripts: to load and compile them takes seconds."""
    with window(browser, shared_field.client.url) as opened:
        yield opened


@pytest.fixture
def opened(light: Window) -> Window:
    """The same, whose console has said nothing yet."""
    light.said.clear()
    light.page.set_viewport_size({"width": 1440, "height": 900})
    return light


@pytest.fixture(scope="module")
def maker(shared_field: Field) -> str:
    """The run on Airflow that made the staging table as it is, after which the watch has looked."""
    field, key = shared_field, f"staging.{SOURCE}"
    field.rest()
    field.make_fresh()
    if _made_by(field, key) not in {run["dag_run_id"] for run in field.runs(key)}:
        field.mock.advance(DATASET)
        field.trigger(f"landing.{SOURCE}")
        field.settle()
    watch(field.project, datetime.now(UTC))
    return _made_by(field, key)


def _made_by(field: Field, key: str) -> str:
    entry = field.project.state().latest(key)
    assert entry
    return entry.run_id


def test_airflow_knows_the_plugin_and_its_views(field: Field) -> None:
    found = {plugin["name"]: plugin for plugin in field.client.get("/plugins", limit=100)["plugins"]}

    views = {view["destination"]: view for view in found["catalunya"]["external_views"]}
    assert {name: view["url_route"] for name, view in views.items()} == {
        "nav": "asset-health",
        "dag": "asset",
        "dag_run": "made-from",
    }
    assert field.client.get("/plugins/importErrors")["import_errors"] == []


def test_the_tab_of_an_asset_in_light_and_dark_and_narrow(
    field: Field, maker: str, browser: Any, opened: Window, tmp_path: Path
) -> None:
    def look(at: Window, mode: str, width: int) -> str:
        frame = at.open(f"/dags/staging.{SOURCE}/plugin/asset")
        heading = frame.locator("h1").inner_text()
        assert heading.split() == [f"staging.{SOURCE}", "fresh"]
        frame.locator("svg[role=img]").first.wait_for()
        assert frame.locator("figure svg[role=img]").count() == 3
        assert frame.locator(":root").get_attribute("data-theme") == mode
        assert frame.locator(":root").evaluate("root => root.scrollWidth <= root.clientWidth")
        inner: str = frame.locator(":root").evaluate("root => getComputedStyle(root).backgroundColor")
        outer = at.page.evaluate(
            "[document.body, document.documentElement].map(element => getComputedStyle(element).backgroundColor)"
        )
        assert inner in outer
        assert picture(at, tmp_path, f"{mode}-{width}").stat().st_size > 10_000
        assert at.said == []
        return inner

    light = look(opened, "light", 1440)
    with window(browser, field.client.url, mode="dark") as other:
        assert look(other, "dark", 1440) != light
    opened.page.set_viewport_size({"width": 420, "height": 900})
    look(opened, "light", 420)


def test_the_frame_follows_when_airflow_changes_its_mode(maker: str, opened: Window) -> None:
    frame = opened.open(f"/dags/staging.{SOURCE}/plugin/asset")
    opened.page.evaluate("document.documentElement.className = 'dark'")
    frame.locator(":root[data-theme=dark]").wait_for()
    assert opened.said == []


def test_links_lead_out_of_the_frame_and_within_it(field: Field, maker: str, opened: Window) -> None:
    frame = opened.open("/plugin/asset-health")
    assert "Asset health" in frame.locator("h1").inner_text()
    frame.locator("a.chip", has_text="fresh").click()  # within
    frame.locator("a.chip[aria-current]", has_text="fresh").wait_for()
    shown = frame.locator("table.assets tbody tr").count()
    statuses = brief_statuses(field.project.state(), list(field.project.graph))
    assert shown == sum(shown_state(status) == "fresh" for status in statuses) > 1

    frame.get_by_role("link", name=f"staging.{SOURCE}", exact=True).click()  # out, to the DAG
    frame = opened.wait_for(f"/dags/staging.{SOURCE}/plugin/asset")
    frame.locator("a.run", has_text=maker).first.click()  # out, to the run
    frame = opened.wait_for(
        re.sub("[:+]", lambda found: f"%{ord(found[0]):02X}", f"/dags/staging.{SOURCE}/runs/{maker}/plugin/made-from")
    )
    frame.locator("text=this is what the table is now").wait_for()
    assert f"landing.{SOURCE}" in frame.locator("ul.tree").inner_text()
    assert "ingested_process_at=" in frame.locator("ul.tree").inner_text()
    assert opened.said == []


def test_the_filters_are_a_form_that_works_in_the_sandbox(maker: str, opened: Window) -> None:
    frame = opened.open("/plugin/asset-health")
    frame.locator("input[type=search]").fill("staging usage")
    frame.locator("button[type=submit]").click()
    frame.get_by_role("link", name="Clear").wait_for()
    assert frame.locator("table.assets tbody th").all_inner_texts() == [f"staging.{SOURCE}"]
    assert opened.said == []


def test_the_tab_of_the_watch_shows_what_it_found_last(maker: str, opened: Window) -> None:
    frame = opened.open("/dags/ops.watch/plugin/asset")
    frame.locator("text=Last look").wait_for()
    assert opened.said == []
