"""Logging: the fields of a line in both formats, redaction, and other libraries that log or configure logging."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from catalunya.io.environment import Settings
from catalunya.ops.logging import configure


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = logging.root.level, list(logging.root.handlers)
    structlog.reset_defaults()  # whoever ran before in this process may have configured it
    yield
    logging.root.level, logging.root.handlers[:] = before
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Logs:
    """Logged lines, and as JSON documents."""

    def __init__(self, settings: Settings, **changes: Any) -> None:
        self.stream = io.StringIO()
        assert configure(settings.model_copy(update=changes), to=self.stream)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


def test_a_json_line_has_time_level_event_logger_and_fields(settings: Settings) -> None:
    logs = Logs(settings, log_format="json")
    structlog.get_logger("catalunya.assets.making.materialize").info("materialized", rows=947, place="Móra la Nova")
    line = logs.documents[0]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "materialized",
        "logger": "catalunya.assets.making.materialize",
        "rows": 947,
        "place": "Móra la Nova",
    }
    assert "Móra" in logs.lines[0], "Catalan stays legible"


def test_a_readable_line_has_the_same_and_no_colors_without_a_terminal(settings: Settings) -> None:
    logs = Logs(settings)
    structlog.get_logger("here").warning("http_retry", attempt=2)
    assert logs.lines[0][19:] != ""
    assert "[warning  ] http_retry" in logs.lines[0]
    assert "attempt=2" in logs.lines[0]
    assert "\x1b" not in logs.lines[0]


def test_run_asset_and_correlation_are_on_every_line_of_a_run(settings: Settings) -> None:
    logs = Logs(settings, log_format="json")
    with structlog.contextvars.bound_contextvars(asset="staging.gdp", run_id="r1", correlation_id="c1"):
        structlog.get_logger("one").info("first")
        logging.getLogger("a.library").warning("second %s", "thing")
    structlog.get_logger("one").info("afterwards")
    bound = [{name: line.get(name) for name in ("asset", "run_id", "correlation_id")} for line in logs.documents]
    assert bound[:2] == [{"asset": "staging.gdp", "run_id": "r1", "correlation_id": "c1"}] * 2
    assert set(bound[2].values()) == {None}
    assert logs.documents[1]["event"] == "second thing"


@pytest.mark.parametrize("log_format", ["json", "readable"])
def test_secrets_are_never_written(settings: Settings, log_format: str) -> None:
    logs = Logs(settings, log_format=log_format)
    log = structlog.get_logger("one")
    log.info(
        "asked", app_token="S3CRET", headers={"X-App-Token": "S3CRET", "Authorization": "Basic S3CRET", "Accept": "ok"}
    )
    log.info("asked", url="https://x/resource?$$app_token=S3CRET&$limit=5", tries=[{"password": "S3CRET"}])
    log.info("Authorization: Bearer S3CRET")
    logging.getLogger("a.library").error("login with password=%s failed", "S3CRET", extra={"secret": "S3CRET"})
    try:
        int("api_key=S3CRET")
    except ValueError:
        log.exception("crashed")
    text = logs.stream.getvalue()
    assert "S3CRET" not in text
    assert "ValueError" in text
    assert "$limit=5" in text
    assert "ok" in text


def test_what_only_looks_like_a_secret_is_not_redacted(settings: Settings) -> None:
    logs = Logs(settings, log_format="json")
    structlog.get_logger("one").info("asked", app_token=True, tokens_left=3, secretary="Maria", token=None)
    line = logs.documents[0]
    assert (line["app_token"], line["tokens_left"], line["secretary"], line["token"]) == (True, 3, "Maria", None)


def test_levels_apply_and_chatty_libraries_are_quiet(settings: Settings) -> None:
    logs = Logs(settings, log_format="json", log_level="INFO")
    structlog.get_logger("one").debug("detail")
    logging.getLogger("httpx").info("HTTP Request: GET …")
    logging.getLogger("httpx").warning("slow")
    structlog.get_logger("one").info("done")
    assert [line["event"] for line in logs.documents] == ["slow", "done"]


def test_a_file_gets_every_line_when_the_terminal_gets_only_warnings(settings: Settings, tmp_path: Path) -> None:
    stream, file = io.StringIO(), tmp_path / "logs" / "run.log"
    configure(settings, to=stream, least="WARNING", file=file)
    structlog.get_logger("one").info("done")
    structlog.get_logger("one").warning("retried")
    assert len(stream.getvalue().splitlines()) == 1
    assert len(file.read_text().splitlines()) == 2


def test_configuring_again_does_not_print_lines_twice(settings: Settings) -> None:
    first = Logs(settings)
    logging.root.addHandler(logging.StreamHandler(first.stream))  # as logging.basicConfig() of some library does
    second = Logs(settings)
    structlog.get_logger("one").info("once")
    assert not first.lines
    assert len(second.lines) == 1


def test_structlog_configured_by_someone_else_is_not_changed(settings: Settings) -> None:
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    theirs, handlers = structlog.get_config()["processors"], list(logging.root.handlers)
    assert configure(settings, to=io.StringIO()) is False
    assert structlog.get_config()["processors"] is theirs
    assert logging.root.handlers == handlers


def test_a_line_goes_to_the_current_stderr(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure(settings)
    structlog.get_logger("one").info("hello")
    assert "hello" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["get_logger('one').warning('odd')", "logging.getLogger('one').warning('odd')"])
def test_the_first_line_configures_the_logs_and_is_shown_once(line: str) -> None:
    program = (
        "import logging, sys; from catalunya.io.log import configure_at_first_line, get_logger;"
        "log = get_logger('one'); configure = lambda: __import__('catalunya.ops.logging').ops.logging.warn_on_stderr();"
        "configure_at_first_line(configure); configure_at_first_line(configure); print('structlog' in sys.modules);"
        f"{line}; {line}; print([type(each).__name__ for each in logging.root.handlers])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["False", "['_Stream']"]
    assert [re.sub(r"^\S+ ", "", shown) for shown in ran.stderr.splitlines()] == [
        "[warning  ] odd                      [one]"
    ] * 2


def test_two_threads_that_log_the_first_line_at_once_both_wait_for_the_logs_to_be_configured() -> None:
    """structlog's own default writes every level to stdout: into the JSON document of `sources check --json`, in every second run."""
    program = """
import sys, threading, time
from catalunya.io.log import configure_at_first_line, get_logger

began = threading.Event()

def configure():
    began.set()
    time.sleep(0.2)
    from catalunya.ops.logging import warn_on_stderr
    warn_on_stderr()

configure_at_first_line(configure)
first = threading.Thread(target=lambda: get_logger("a").debug("one"))
first.start()
began.wait()
get_logger("b").debug("two")
get_logger("b").warning("three")
first.join()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == ""
    assert "three" in ran.stderr
    assert "two" not in ran.stderr


def test_importing_logging_is_cheap() -> None:
    program = "import sys, catalunya.ops.logging; print({'polars', 'pandera', 'httpx', 'pydantic'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
