"""Each channel of notifications, from a finding to what a local stand-in for the service received."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.safe_text import redacted
from catalunya.ops.mock.exchange import Answer
from catalunya.ops.watching.findings import Board, Finding, Kind, Severity
from catalunya.ops.watching.notify import Delivery, notify
from small.aws import Aws
from small.channels import mail_server, slack
from small.commands import COMMAND
from small.http_server import Server
from small.patience import patience
from small.shops import declare

NOW = datetime(2026, 8, 3, 14, 5, tzinfo=UTC)
HOSTILE = "<b>@channel</b> <!here> [pay](http://evil.example) \x1b[2J\r\nBcc: all@example.org"


def finding(subject: str = "staging.gdp", **values: Any) -> Finding:
    since = NOW - timedelta(hours=3)
    severity = values.pop("severity", Severity.ERROR)
    return Finding(
        **{
            "kind": Kind.TABLE_FAILED,
            "subject": subject,
            "severity": severity,
            "what": f"{subject} failed",
            "cause": "ContractError: 4 of 6 rows",
            "remedy": f"`catalunya quarantine {subject}`",
            "since": since,
            "measure": 1.0,
            "affected": tuple(f"marts.table_{number}" for number in range(11)),
            "opened_at": since,
            "seen_at": NOW,
            "worst": 1.0,
            "worst_severity": severity,
            **values,
        }
    )


def told(tmp_path: Path, channels: str, *findings: Finding, now: datetime = NOW, limit_s: float = 20) -> list[Delivery]:
    _, declared = declare(tmp_path / "source")
    settings = load_settings(
        env="local",
        lake=str(tmp_path / "lake"),
        cache=tmp_path / "cache",
        notify=channels,
        airflow_url="http://api-server:8080",
        airflow_public_url="https://airflow.example.org/af/",
    )
    return notify(Project(settings, declared), Board(at=now, findings=findings), now, limit_s=limit_s)


def webhook(status: int = 200, body: bytes = b"{}", **headers: str) -> Server:
    return Server(lambda _: Answer(body, status, headers))


def test_an_email_has_the_cause_the_tables_the_command_and_the_link(tmp_path: Path) -> None:
    with mail_server() as (address, box):
        sent = told(tmp_path, address, finding("staging.shops"))

    assert [each.error for each in sent] == [""]
    (mail,) = box.mail
    assert mail["Subject"] == "catalunya local: 1 new (1 error)"
    assert (mail["To"], mail["From"].addresses[0].addr_spec) == ("team@example.org", "watch@example.org")
    assert mail.get_content_type() == "text/plain"
    text = mail.get_content().replace("\r\n", "\n")
    assert text.strip() == (
        "NEW, error: staging.shops failed\n"
        "  Finding: table_failed:staging.shops\n"
        "  Cause: ContractError: 4 of 6 rows\n"
        "  Affects: marts.table_0, marts.table_1, marts.table_2, marts.table_3, marts.table_4, marts.table_5, marts.table_6, marts.table_7 "
        "and 3 more\n"
        "  Since: 2026-08-03 11:05 UTC (3 hours)\n"
        "  Do: `catalunya quarantine staging.shops`\n"
        "  Airflow: https://airflow.example.org/af/dags/staging.shops/plugin/asset\n\n"
        "1 open in all: see `catalunya watch`."
    )


def test_hostile_text_stays_text_in_an_email(tmp_path: Path) -> None:
    with mail_server() as (address, box):
        told(tmp_path, f"{address}&format=html", finding(what=HOSTILE, cause=HOSTILE))
        told(tmp_path / "plain", address, finding(what=HOSTILE, cause=HOSTILE))

    html, plain = box.mail
    shown = html.get_body(("html",))
    assert shown
    assert "<b>" not in shown.get_content()
    assert "\x1b" not in plain.get_content()
    assert html["Bcc"] is None
    assert plain["Bcc"] is None
    assert "\nBcc" not in plain.get_content()


def test_slack_gets_one_message_that_mentions_no_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with slack(tmp_path) as (environment, server):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        sent = told(
            tmp_path, "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7", finding(what=HOSTILE), finding("staging.b")
        )

    assert [each.error for each in sent] == [""]
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7")
    (attachment,) = json.loads(asked.body)["attachments"]
    assert attachment["title"] == "catalunya local: 2 new (2 errors)"
    assert "staging.b failed" in attachment["text"]
    # Slack reads <…> as mention or link, and @channel where names are looked up.
    assert not {"<", ">", "@"} & set(attachment["text"])
    assert "](" not in attachment["text"]


def test_a_webhook_gets_json(tmp_path: Path) -> None:
    with webhook().running() as server:
        told(tmp_path, server.url.replace("http", "json"), finding())

    sent = json.loads(server.asked[0].body)
    assert (sent["title"], sent["type"]) == ("catalunya local: 1 new (1 error)", "failure")
    assert sent["message"].startswith("NEW, error: staging.gdp failed")


def test_a_chat_of_ones_own_gets_at_most_what_it_takes(tmp_path: Path) -> None:
    many = [finding(f"staging.table_{number:03}", what=f"{number} " + "x" * 400) for number in range(200)]
    with webhook(body=b"ok").running() as server:
        sent = told(tmp_path, server.url.replace("http", "mmost") + "/abcdefghijklmnop", *many)

    assert [each.error for each in sent] == [""]
    (asked,) = server.asked  # one message, not one per part
    text = json.loads(asked.body)["text"]
    assert len(text) <= 4000
    assert "more: `catalunya watch` lists them" in text
    assert text.startswith("catalunya local: 200 new (200 errors)")


def test_a_topic_gets_a_subject_and_a_text_with_the_role_of_the_process(tmp_path: Path, aws: Aws) -> None:
    topic, queue = _subscribed(aws)
    sent = told(tmp_path, topic, finding(what="població: " + "é" * 3000))

    assert [each.error for each in sent] == [""]
    (message,) = aws.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    body = json.loads(message["Body"])
    assert body["Subject"] == "catalunya local: 1 new (1 error)"
    assert body["Message"].startswith("NEW, error: població: é")


def test_a_topic_that_is_gone_is_an_error_of_that_channel_alone(tmp_path: Path, aws: Aws) -> None:
    with webhook().running() as server:
        channels = f"arn:aws:sns:eu-west-1:123456789012:no-such-topic {server.url.replace('http', 'json')}"
        sent = {each.channel: each.error for each in told(tmp_path, channels, finding())}

    assert sent["sns"].startswith("NotFound")
    assert sent["json"] == ""
    assert len(server.asked) == 1


def test_a_channel_that_hangs_is_given_up_and_the_others_get_theirs(tmp_path: Path) -> None:
    drip = Server(lambda _: Answer(b"{}", delay=patience(60)))
    with webhook().running() as server, drip.running():
        channels = json.dumps(
            [
                {"url": f"{drip.url.replace('http', 'json')}/?rto=900", "name": "slow"},
                server.url.replace("http", "json"),
            ]
        )
        before = time.monotonic()
        sent = {each.channel: each.error for each in told(tmp_path, channels, finding(), limit_s=patience(3))}
        took = time.monotonic() - before

    assert sent == {"slow": f"no answer within {patience(3):g} s", "json": ""}
    assert took < patience(40)


def test_a_channel_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    code = (
        "import sys; from catalunya.ops.watching.channels import Message, deliver, transport_of; from catalunya.io.notifications import parse_channels; "
        "(channel,) = parse_channels(sys.argv[1]); there = transport_of(channel); "
        "print(deliver({'it': lambda: there.send(Message(title='a', body='b'))}, 0.5))"
    )
    with Server(lambda _: Answer(b"{}", delay=patience(60))).running() as server:
        address = f"{server.url.replace('http', 'json')}/?rto=900"
        # It would wait for the answer if the thread, or one of Apprise's own, kept it.
        done = subprocess.run(
            [sys.executable, "-c", code, address], capture_output=True, text=True, check=True, timeout=patience(50)
        )
    assert done.stdout.strip() == "{'it': 'no answer within 0.5 s'}"


@pytest.mark.parametrize("status", [301, 302, 403, 500])
def test_an_answer_that_is_no_success_is_a_failure(tmp_path: Path, status: int) -> None:
    with webhook().running() as other, webhook(status, Location=f"{other.url}/x").running() as server:
        (sent,) = told(tmp_path, server.url.replace("http", "json"), finding())

    assert sent.error
    assert other.asked == []  # a redirected POST becomes a GET, which a webhook may well answer with 200


def test_a_refused_email_says_why(tmp_path: Path) -> None:
    with mail_server() as (address, box):
        box.refuses = True
        (sent,) = told(tmp_path, address, finding())
    assert sent.error


def test_the_home_directory_is_not_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".apprise" / "plugins").mkdir(parents=True)
    (home / ".config" / "apprise" / "plugins").mkdir(parents=True)
    for folder in (home / ".apprise", home / ".config" / "apprise"):
        (folder / "apprise.yml").write_text("urls: [json://127.0.0.1:1]")
        (folder / "plugins" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with webhook().running() as server:
        (home / ".netrc").write_text("machine 127.0.0.1 login someone password of-the-home-directory")
        (home / ".netrc").chmod(0o600)
        environment = {**os.environ, "HOME": str(home), "CATALUNYA_NOTIFY": server.url.replace("http", "json")}
        environment |= {"CATALUNYA_LAKE": str(tmp_path / "lake"), "CATALUNYA_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(
            [COMMAND, "channels", "--test"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    (asked,) = server.asked
    assert "authorization" not in asked.headers
    assert not (tmp_path / "ran").exists()


def test_an_address_can_be_a_connection_of_airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    with webhook().running() as server:
        address = f"{server.url.replace('http', 'json')}/hook/tOk3nOfTheHook"
        monkeypatch.setenv("AIRFLOW_CONN_TEAM", json.dumps({"conn_type": "generic", "password": address}))
        monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps({"conn_type": "generic", "password": "slack://too-short"}))
        monkeypatch.setenv("AIRFLOW_CONN_LOOP", json.dumps({"conn_type": "generic", "password": "connection:loop"}))
        names = ("team", "gone", "broken", "loop")
        channels = json.dumps([{"url": f"connection:{name}", "name": name} for name in names])
        sent = {each.channel: each.error for each in told(tmp_path, channels, finding())}

    assert sent["team"] == ""
    assert [asked.path for asked in server.asked] == ["/hook/tOk3nOfTheHook"]
    assert "connection gone cannot be read" in sent["gone"]
    assert "Apprise does not accept its address" in sent["broken"]
    assert "expected one address of a channel as its password" in sent["loop"]
    assert redacted("POST /hook/tOk3nOfTheHook") == "POST /hook/***"


def test_what_was_told_is_kept_in_a_lake_on_s3(tmp_path: Path, bucket: str) -> None:
    _, declared = declare(tmp_path / "source")
    with webhook().running() as server:
        settings = load_settings(
            env="local", lake=bucket, cache=tmp_path / "cache", notify=server.url.replace("http", "json")
        )
        for _ in range(2):  # as two tasks, each in a process of its own
            notify(Project(settings, declared), Board(at=NOW, findings=(finding(),)), NOW)
    assert len(server.asked) == 1
    assert not (tmp_path / "cache").exists()


def _subscribed(aws: Aws) -> tuple[str, str]:
    topic = aws.client("sns").create_topic(Name="watch")["TopicArn"]
    queue = aws.client("sqs").create_queue(QueueName="watched")["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return topic, queue
