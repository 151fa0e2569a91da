"""The page for readers in a real browser: no error, no request, nothing wider than a phone, readable in light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.watching.consumers import situation, texts
from catalunya.ops.watching.findings import Board, Seen, Severity, updated
from catalunya.ops.watching.notice_page import write
from small.lakes import record
from small.patience import patience

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")

NOW = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
_CONTRAST = """() => {
  const of = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const back = node => { for (let at = node; at; at = at.parentElement) { const color = getComputedStyle(at).backgroundColor;
    if (color !== 'rgba(0, 0, 0, 0)') return color } return 'rgb(255, 255, 255)' }
  return Math.min(...[...document.querySelectorAll('p, a:not(.skip), h1, h2, h3, dt, dd, th, td, li, caption')].map(node => {
    const [low, high] = [of(getComputedStyle(node).color), of(back(node))].sort((a, b) => a - b); return (high + 0.05) / (low + 0.05) }))
}"""


@pytest.fixture(scope="module")
def pages(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the pages of a day on which every kind of notice is open."""
    folder = tmp_path_factory.mktemp("notice")
    project = Project(load_settings(env="local", lake=str(folder / "lake"), cache=compiled))
    record(project, "marts.dim_time", [])
    kinds = {told.text: kind for kind, told in texts().kinds.items()}
    found = [
        Seen(
            kind=kind,
            subject="landing.population",
            severity=Severity.ERROR,
            what="x",
            remedy="x",
            since=NOW - timedelta(days=days),
            affected=tuple(sorted(project.graph.descendants("landing.population"))),
        )
        for days, kind in enumerate(kinds.values())
    ]
    board, _ = updated(Board(), found, NOW)
    write(folder / "pages", situation(project, board, NOW, silent=timedelta(minutes=45)))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder / "pages"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["ca", "es", "en"])
def test_a_page_loads_without_errors_and_requests_and_is_readable(
    browser: Browser, pages: str, tmp_path: Path, language: str, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{pages}/{language}.html")

    assert errors == []
    assert [url for url in requests if not url.startswith("data:")] == [f"{pages}/{language}.html"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, "nothing is wider than a phone"
    assert page.evaluate(_CONTRAST) >= 4.5, "every text has the contrast that WCAG 2.2 AA asks for"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.screenshot(path=tmp_path / f"{language}-{scheme}.png", full_page=True)
    other = "en" if language != "en" else "ca"
    page.click(f"nav a[hreflang={other}]")
    page.wait_for_url(f"{pages}/{other}.html", timeout=patience(10) * 1000)
    assert page.evaluate("document.documentElement.lang") == other
    context.close()
