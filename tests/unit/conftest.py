"""What the unit tests share: settings with a lake in tmp_path, and a client of the mock APIs."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog

from catalunya.io.environment import Settings, load_settings
from catalunya.ops.mock.server import MockServer


def settings_in(folder: Path) -> Settings:
    """Settings of a local environment with lake, cache and scratch in the folder, and quick retries."""
    (folder / "scratch").mkdir()
    return load_settings(
        env="local",
        lake=str(folder / "lake"),
        cache=folder / "cache",
        scratch=folder / "scratch",
        http_backoff_s=0.01,
        http_requests_per_second=1000,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of tmp_path."""
    return settings_in(tmp_path)


@pytest.fixture(scope="module")
def settings_once(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Those of a folder in which a module makes tables once. Its tests work in a copy (`copied`)."""
    return settings_in(tmp_path_factory.mktemp("once"))


@pytest.fixture
def copied(settings_once: Settings, settings: Settings, tmp_path: Path) -> Settings:
    """The settings of tmp_path, with a copy of what is in that folder."""
    shutil.copytree(Path(settings_once.lake).parent, tmp_path, dirs_exist_ok=True)
    return settings


@pytest.fixture(scope="module")
def client(server: MockServer) -> Iterator[httpx.Client]:
    """A client of the mock APIs that the module's `server` serves."""
    with httpx.Client(base_url=server.url, verify=False) as client:  # reading certificates takes longer than a test
        yield client


@pytest.fixture
def api(server: MockServer, client: httpx.Client) -> httpx.Client:
    """The same client, after resetting the mock."""
    server.reset()
    return client


@pytest.fixture
def apis(server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MockServer]:
    """The mock APIs that the module's `server` serves, and the environment of a function that reads them and has its own lake."""
    server.reset()
    values = {"LAKE": str(tmp_path / "lake"), "MOCK_URL": server.url}
    for name in [name for name in os.environ if name.startswith("CATALUNYA_")]:
        monkeypatch.delenv(name)
    for name, value in {**values, "HTTP_ATTEMPTS": "1", "HTTP_CONCURRENCY": "1", "HTTP_BACKOFF_S": "0"}.items():
        monkeypatch.setenv(f"CATALUNYA_{name}", value)
    before = list(logging.root.handlers), logging.root.level
    yield server
    logging.root.handlers[:], logging.root.level = before
    structlog.reset_defaults()
