"""Secrets are never shown or logged: neither those this process knows, nor anything that looks like one."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr, ValidationError

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import LandingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import (
    ConfigurationError,
    ContractError,
    PermanentError,
    TransientError,
    named,
    reportable,
)
from catalunya.io.safe_text import redacted, safe_text
from catalunya.io.sources.socrata import Socrata
from catalunya.ops.cli import app, main
from catalunya.ops.local_airflow.server import environment
from catalunya.ops.logging import configure
from catalunya.ops.mock import serve
from catalunya.ops.processes import child
from small.shops import declare, some

TOKEN = "kV7wQ2nZ-app-token-of-a-test"
SHAPES = [
    "X-App-Token: {}",
    "{{'X-App-Token': '{}', 'Accept': 'ok'}}",
    '{{"headers": {{"X-App-Token": "{}"}}}}',
    "[(b'Accept', b'ok'), (b'X-App-Token', b'{}')]",
    "GET https://x/resource?$$app_token={}&$limit=5",
    "GET https://x/resource?%24%24app_token={}&$limit=5",
    "https://b.s3/x?X-Amz-Date=ok&X-Amz-Signature={}",
    "https://b.s3/x?X-Amz-Security-Token={}&X-Amz-Date=ok",
    "https://b.s3/x?AWSAccessKeyId={}&Expires=1",
    "https://b.s3/x?X-Amz-Credential={}%2F20260803",
    "Authorization: Bearer {}",
    "Authorization: AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature={}",
    "{{'Authorization': b'Basic {}'}}",
    "asked with Bearer {}",
    "postgresql+psycopg2://airflow:{}@postgres:5432/airflow",
    "Signature:\n{}",
    "<Credentials><SecretAccessKey>{}</SecretAccessKey><Expiration>ok</Expiration></Credentials>",
    '{{"SecretAccessKey": "{}"}}',
    '{{"body": "{{\\"SessionToken\\": \\"{}\\"}}"}}',
    "aws_secret_access_key = {}",
    "PGPASSWORD={}",
    "password='two words and {}'",
    "Set-Cookie: session={}; Path=/",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_text_that_looks_like_a_secret_is_redacted_and_the_rest_stays(shape: str) -> None:
    text = redacted(shape.format("S3CR3T+v/alue" if "@" not in shape else "S3CR3T+value"))
    assert "S3CR3T" not in text
    assert "***" in text
    assert ("ok" in shape) <= ("ok" in text)


@pytest.mark.parametrize("key", ["AKIA" + "ABCDEFGHIJKLMNOP", "ASIA" + "ABCDEFGHIJKLMNOP"])
def test_aws_keys_are_redacted_anywhere_in_a_text(key: str) -> None:
    assert redacted(f"The AWS Access Key Id you provided ({key}) does not exist") == (
        "The AWS Access Key Id you provided (***) does not exist"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Set or correct CATALUNYA_SOCRATA_APP_TOKEN",
        "renew AWS_ACCESS_KEY_ID and its secret, or the role's session",
        "https://analisi.transparenciacatalunya.cat/resource/ivft-vegh.json?$limit=5&$order=registre,:id",
        "the secretary asked 3 tokens_left, at 12:30",
        "staging.shops: 1 of 2 rows break Strict; fix the source",
    ],
)
def test_text_without_secrets_stays_unchanged(text: str) -> None:
    assert safe_text(text) == text


def test_known_values_are_redacted_in_any_text_even_url_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    load_settings(socrata_app_token="a b/c&d-of-settings")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-an-assumed-role")
    assert (
        safe_text("sent a b/c&d-of-settings, a%20b%2Fc%26d-of-settings and of-an-assumed-role")
        == "sent ***, *** and ***"
    )
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    assert safe_text("of-an-assumed-role") == "of-an-assumed-role", "the role is no longer assumed"


def test_settings_never_show_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(socrata_app_token=TOKEN, mock_url="none")
    assert settings.socrata_app_token
    shown = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump()), f"{settings!r}"]
    shown += [repr(settings.http(Socrata("ivft-vegh"))), str(settings.http(Socrata("ivft-vegh")))]
    assert all(TOKEN not in text for text in shown)
    assert settings.http(Socrata("ivft-vegh")).app_token == TOKEN, "it is only hidden"
    secret = {name for name in Settings.model_fields if any(word in name for word in ("token", "password", "secret"))}
    secret |= {"airflow_database", "notify"}  # addresses with passwords in them
    assert secret == {n for n, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)}, "by their type"


def test_the_error_for_a_wrong_setting_never_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"value not shown\): input should be a valid string") as raised:
        load_settings(socrata_app_token=123456789)
    assert "123456789" not in str(raised.value)
    with pytest.raises(ValidationError) as shown:
        Settings(socrata_app_token=TOKEN, http_attempts=0)
    assert TOKEN not in str(shown.value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings(socrata_app_token=f"{TOKEN}\nX-Other: header", mock_url="none").http(Socrata("ivft-vegh"))
    assert TOKEN not in str(raised.value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings(mock_url=f"https://me:{TOKEN}-2@portal").http(Socrata("ivft-vegh"))
    assert TOKEN not in str(raised.value)


def test_no_error_shows_a_secret_whatever_its_message_contains() -> None:
    load_settings(socrata_app_token=TOKEN)
    error = ContractError(f"asked https://me:pass-word@x/?k={TOKEN}, {TOKEN}; fix it")
    assert str(error) == "asked https://me:***@x/?k=***, ***; fix it"
    assert TOKEN not in repr(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (ContractError, str(error))


def test_lambda_reports_neither_secrets_nor_megabytes_of_an_unforeseen_error() -> None:
    load_settings(socrata_app_token=TOKEN)
    for error, kind in (
        (KeyError(f"{TOKEN}\x1b[2J{'x' * 10_000_000}"), PermanentError),
        (MemoryError(), TransientError),
    ):
        reported = reportable(error)
        assert type(reported) is kind
        assert TOKEN not in str(reported)
        assert type(error).__name__ in str(reported)
        assert len(json.dumps(str(reported))) < 5000
        back = named(type(reported).__name__, str(reported))
        assert (type(back), str(back)) == (kind, str(reported))


# Logs


@pytest.fixture
def logs() -> Iterator[Any]:
    """Log to a stream; restore the configuration afterwards."""
    before = logging.root.level, list(logging.root.handlers)
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "botocore", "boto3", "asyncio")}
    structlog.reset_defaults()

    def begin(**settings: Any) -> io.StringIO:
        stream = io.StringIO()
        assert configure(load_settings(socrata_app_token=TOKEN, **settings), to=stream)
        return stream

    yield begin
    logging.root.level, logging.root.handlers[:] = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "readable"])
def test_no_log_line_has_a_secret_or_a_terminal_control_sequence(logs: Any, log_format: str) -> None:
    stream = logs(log_format=log_format, log_level="DEBUG")
    for name in ("httpx", "botocore.auth", "httpcore.http11", "dbt"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    log, secret = structlog.get_logger("one"), f"held by {TOKEN}"

    def crash(token: str) -> None:
        held = {"token": token}
        raise ValueError(f"no {len(held)} {token}")

    request = httpx.Request("GET", f"https://x/y?$$app_token={TOKEN}", headers={"X-App-Token": TOKEN})
    log.info(
        "asked", request=request, headers=request.headers, raw=request.headers.raw, url=request.url, body=TOKEN.encode()
    )
    log.info(
        "asked",
        settings=load_settings(socrata_app_token=TOKEN),
        places=[{"deep": ({"k": secret},)}],
        error=OSError(secret),
    )
    log.info(
        secret, SecretAccessKey="S3CR3T", AWS_ACCESS_KEY_ID="S3CR3T", jwt_secret="S3CR3T", session_token=("S3CR3T",)
    )
    logging.getLogger("httpx").debug("HTTP Request: %s %s", "GET", request.url)
    logging.getLogger("httpcore.http11").debug("send headers=%r", request.headers.raw)
    logging.getLogger("botocore.auth").debug("Signature:\n%s", "S3CR3T")
    logging.getLogger("botocore.auth").debug(
        "Response: %s", {"Credentials": {"SecretAccessKey": "S3CR3T", "SessionToken": "S3CR3T"}}
    )
    logging.getLogger("dbt").error("profile has password=S3CR3T", extra={"conn": SecretStr("S3CR3T")})
    log.warning("\x1b[2Jfaked\nline", name="\x1b]0;title\x07", **{"\x1b[31mkey": "\u202etxt.exe"}, bare="\x9b31m\ud800")
    try:
        crash(TOKEN)
    except ValueError:
        log.exception("crashed")
        logging.getLogger("dbt").exception("crashed too")
    text = stream.getvalue()
    assert TOKEN not in text
    assert "S3CR3T" not in text
    assert text.count("ValueError") >= 2
    controls = {c for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c in "\u202e\ud800"}
    assert controls == set()
    if log_format == "json":
        lines = [json.loads(line) for line in text.splitlines()]
        faked = next(line for line in lines if "faked" in line["event"])
        assert faked["event"] == r"\x1b[2Jfaked line"
        crashed = next(line for line in lines if line["event"] == "crashed")
        assert len(crashed["exception"].splitlines()) > 3, "a traceback keeps its lines"


def test_a_log_line_stays_short_whatever_is_logged(logs: Any) -> None:
    stream = logs(log_format="json")
    long = "x" * 10_000_000
    structlog.get_logger("one").info(
        long, value=long, many=[long[:5000]] * 200, raw=long.encode(), **{long: 1}, end="shown"
    )
    deep: dict[str, Any] = {}
    deep["itself"] = deep
    structlog.get_logger("one").info("deep", deep=deep)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert len(lines[0]) < 250_000
    assert '"end": "shown"' in lines[0]
    assert "10,000,000 characters" in lines[0]


# What a whole run leaves behind


def test_a_run_leaves_no_secret_behind(settings: Settings, tmp_path: Path, logs: Any) -> None:
    stream = logs(log_level="DEBUG")
    source, declared = declare(tmp_path / "source")
    project = Project(settings.model_copy(update={"socrata_app_token": SecretStr(TOKEN)}), declared)
    source.write(some(5))
    for key in ("landing.shops", "staging.shops"):
        materialize(project, key)
    source.write([{"codi": TOKEN, "ciutat": f"{TOKEN} {n}"} for n in range(5)])
    materialize(project, "landing.shops")
    with pytest.raises(ContractError):
        materialize(project, "staging.shops")
    assert TOKEN not in stream.getvalue()
    failed = project.ledger.last_attempt("staging.shops")
    assert failed
    assert failed.error
    assert TOKEN not in failed.error


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_neither_an_error_nor_its_saved_traceback_has_a_secret(
    tmp_path: Path, compiled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    values = {"SOCRATA_APP_TOKEN": TOKEN, "LAKE": str(tmp_path / "lake"), "CACHE": str(tmp_path), "LOG_LEVEL": level}
    for name, value in values.items():
        monkeypatch.setenv(f"CATALUNYA_{name}", value)
    shutil.copy(compiled / "graph.json", tmp_path)
    (tmp_path / "lake" / "_ledger" / "landing" / "gdp").mkdir(parents=True)
    (tmp_path / "lake" / "_ledger" / "landing" / "gdp" / "0000000001.json").write_text(f'{{"{TOKEN}": 1}}')
    assert main(["history", "landing.gdp", "--limit", TOKEN]) == 2
    assert main(["show", f"landing.{TOKEN}"]) == 2

    def buggy() -> None:
        raise ValueError(f"invalid literal: {TOKEN}")

    app.command(buggy)
    try:
        assert main(["buggy"]) == 70
    finally:
        del app["buggy"]
    shown = capsys.readouterr()
    (kept,) = (tmp_path / "logs").glob("error-*.txt")
    assert "ValueError" in kept.read_text()
    for text in (shown.out, shown.err, kept.read_text()):
        assert TOKEN not in text
    assert shown.err.count("error: ") >= 3
    assert ("Traceback" in shown.err) is (level == "DEBUG")


def test_child_processes_get_secrets_by_environment_and_never_by_argument(tmp_path: Path) -> None:
    settings = load_settings(socrata_app_token=TOKEN, cache=tmp_path, lake=str(tmp_path / "lake"))
    env = environment(settings, tmp_path, [1, 2, 3, 4], stays=False, retry_delay_s=1, idle_s=1)
    assert env["CATALUNYA_SOCRATA_APP_TOKEN"] == TOKEN
    program = "import os, sys, time; print(len(os.environ['CATALUNYA_SOCRATA_APP_TOKEN']), flush=True); time.sleep(60)"
    log = tmp_path / "child.log"
    with child([sys.executable, "-S", "-c", program], log=log, env=env) as process:
        while not log.read_text().strip():
            assert process.poll() is None
            os.sched_yield()
        seen = Path(f"/proc/{process.pid}/cmdline")
        assert not seen.exists() or TOKEN not in seen.read_text(encoding="utf-8")
    assert log.read_text().strip() == str(len(TOKEN))


def test_the_token_is_sent_to_the_portal_and_appears_in_no_url_manifest_or_ledger(tmp_path: Path, logs: Any) -> None:
    with serve(rows=20) as server:
        stream = logs(log_level="DEBUG")
        hosts = {"127.0.0.1": {"token": TOKEN}}
        settings = load_settings(lake=str(tmp_path / "lake"), mock_url="none", hosts=hosts)
        landing = declarations()["landing.municipalities"]
        assert isinstance(landing, LandingDeclaration)
        there = replace(landing, source=Socrata("9aju-tpwc", portal=server.url))
        materialize(Project(settings, [there]), "landing.municipalities")
        asked = server.requests
    assert asked
    assert all(TOKEN in request.headers.values() for request in asked)
    assert all(TOKEN not in request.target for request in asked)
    assert TOKEN not in stream.getvalue()
    written = [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    assert written
    assert all(TOKEN.encode() not in path.read_bytes() for path in written)
