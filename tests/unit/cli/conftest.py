"""Fixtures of the CLI's tests: the real graph, compiled once, and a lake made once from the mock APIs."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops import mock
from catalunya.ops.cli import main
from catalunya.ops.mock.server import MockServer
from small.commands import Ran, Run
from small.once import once

ROWS = 120


@pytest.fixture(scope="session")
def apis() -> Iterator[MockServer]:
    """The mock APIs on a free port."""
    with mock.serve(rows=ROWS) as server:
        yield server


@pytest.fixture(scope="session")
def made(apis: MockServer, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with landing and staging made in one run, and no marts."""

    def make(lake: Path) -> None:
        project = Project(load_settings(lake=str(lake), cache=compiled, mock_url=apis.url))
        for asset in project.graph.select("layer:landing layer:staging"):
            materialize(project, asset.key, Request(run_id="first", correlation_id="first"))

    return once(tmp_path_factory, "landing-and-staging", make)


@pytest.fixture
def place(apis: MockServer, compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an empty lake, `lake`, configured by environment variables as a user would."""
    apis.reset()
    (tmp_path / "cache").mkdir()
    for path in compiled.glob("*.json"):
        shutil.copy(path, tmp_path / "cache")
    for name in [name for name in os.environ if name.startswith("CATALUNYA_")]:
        monkeypatch.delenv(name)
    values = {
        "ENV": "local",
        "LAKE": str(tmp_path / "lake"),
        "CACHE": str(tmp_path / "cache"),
        "MOCK_URL": apis.url,
        "HTTP_BACKOFF_S": "0.01",
        "HTTP_ATTEMPTS": "2",
        "LOG_LEVEL": "INFO",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"CATALUNYA_{name}", value)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def filled(place: Path, made: Path) -> Path:
    """The same, with landing and staging made."""
    shutil.copytree(made, place / "lake")
    return place


@pytest.fixture
def project(place: Path) -> Project:
    """The project as the command sees it."""
    return Project(load_settings())


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in this process."""

    def command(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    before = logging.root.level, list(logging.root.handlers)
    yield command
    logging.root.level, logging.root.handlers[:] = before
    structlog.reset_defaults()
