"""Chromium looks at pages of Airflow's UI: what is in the frame of a plugin, what the console says, a picture.

A test that needs it is skipped where Chromium is not installed. Preferred is the one that has no windows at all: the same engine at three
quarters of the CPU.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from small.patience import patience

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SANDBOX = "An iframe which has both allow-scripts and allow-same-origin"
"""Chromium says this of every plugin's frame, whatever is in it."""
LOAD_MS = 60_000
LEFT = "data-left"
"""Marks the document of a frame that was shown before the window went to another page."""
ROUTE = "address => { history.pushState(null, '', address); dispatchEvent(new PopStateEvent('popstate')); }"


@dataclass
class Window:
    """One window of the browser. `said` is what its console said, but for Chromium's own warning."""

    url: str
    page: Any
    said: list[str] = field(default_factory=list)

    def open(self, path: str) -> Any:
        """Open a page of Airflow's UI, unless it is open; returns the frame of the plugin in it, once it has a heading.

        From another page of the UI it goes there as the UI's own links do, which keeps its scripts: to load them takes two seconds of CPU.
        """
        if not self.page.url.startswith(self.url):
            self.page.goto(f"{self.url}{path}")
        elif self.page.url != f"{self.url}{path}":
            for frame in self.page.frames:
                frame.evaluate(f"document.documentElement.toggleAttribute('{LEFT}', true)")
            self.page.evaluate(ROUTE, f"{self.url}{path}")
        return self.frame()

    def frame(self) -> Any:
        """The plugin's frame in the page that is open."""
        found = self.page.frame_locator("iframe").last
        found.locator(f":root:not([{LEFT}]) h1").wait_for(timeout=patience(LOAD_MS))
        return found

    def wait_for(self, path: str) -> Any:
        """Wait until the window, not only the frame, is at this path of Airflow's UI; returns the plugin's frame."""
        self.page.wait_for_url(f"{self.url}{path}", timeout=patience(LOAD_MS))
        return self.frame()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no Chromium on this machine: apt-get install -y {PROGRAMS[0]}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def window(
    browser: Any, url: str, *, mode: str = "light", width: int = 1440, login: tuple[str, str] | None = None
) -> Iterator[Window]:
    """A window of its own: no cookies, Airflow in this mode. `login` as a person does it, in Airflow's form."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=mode)
    context.add_init_script(f"localStorage.setItem('theme', '{mode}')")
    page = context.new_page()
    found = Window(url, page)

    def heard(message: Any) -> None:
        if message.type in ("error", "warning") and SANDBOX not in message.text:
            found.said.append(f"{message.type}: {message.text}")

    page.on("console", heard)
    page.on("pageerror", lambda error: found.said.append(f"page: {error}"))
    try:
        if login:
            page.goto(f"{url}/auth/login")
            page.locator("input[name=username]").fill(login[0])
            page.locator("input[name=password]").fill(login[1])
            page.locator("button[type=submit]").click()
            page.wait_for_url(lambda at: "/auth/" not in at, timeout=patience(LOAD_MS))
            found.said.clear()  # Airflow's own form
        yield found
    finally:
        context.close()


def picture(window: Window, folder: Path, name: str) -> Path:
    """A picture of the window."""
    path = folder / f"{name}.png"
    window.page.screenshot(path=path)
    return path
