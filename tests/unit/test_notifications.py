"""The settings of notifications, and the text of a message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError
from catalunya.io.notifications import parse_channels, parse_quiet_hours
from catalunya.io.safe_text import redacted
from catalunya.ops.watching.findings import Finding, Kind, Severity
from catalunya.ops.watching.message import BODY, TITLE, Links, News, Resolved, body, plain, title

NOW = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)
TOPIC = "arn:aws:sns:eu-west-1:123456789012:catalunya-alarms-dev"


def finding(**values: Any) -> Finding:
    return Finding(**{
        "kind": Kind.SOURCE_DOWN, "subject": "landing.gdp", "severity": Severity.ERROR, "what": "gdp does not answer", "remedy": "wait",
        "opened_at": NOW, "seen_at": NOW, **values,
    })  # fmt: skip


def test_channels_are_addresses_separated_by_white_space() -> None:
    found = parse_channels(f"  mailto://u:p@mail.example.org\n{TOPIC}  slack://T1/B1/x slack://T2/B2/x\tjsons://h/x ")
    assert [channel.name for channel in found] == ["mailto", "sns", "slack", "slack-2", "jsons"]
    assert found[1].url == TOPIC


def test_channels_are_a_json_list_where_they_have_options() -> None:
    text = f'["{TOPIC}", {{"url": "slack://T1/B1/x", "name": "team", "severity": "error", "select": "layer:marts"}}]'
    plain_, team = parse_channels(text)
    assert (plain_.name, plain_.severity, plain_.select) == ("sns", "warning", "")
    assert (team.name, team.severity, team.select) == ("team", "error", "layer:marts")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("mailto", "channel 1: expected an address such as"),
        ("json://h hunter2hunter2", "channel 2: expected an address such as"),
        ("json://[::1", "channel 1: expected an address such as"),
        ("sns://key/secret/eu-west-1/topic", "the arn of a standard sns topic"),
        (f"{TOPIC}.fifo", "the arn of a standard sns topic"),
        ('["json://h"', "expected a json list"),
        ("[" * 100_000, "expected a json list"),
        ("[3]", "channel 1: expected an address, or an object of texts"),
        ('[{"url": "json://h", "severity": 3}]', "channel 1: expected an address, or an object of texts"),
        ('[{"url": "json://h", "severity": "fatal"}]', "channel 1: severity: expected warning or error"),
        (
            '[{"url": "json://h", "hunter2hunter2": "x"}]',
            "channel 1: expected the options url, name, severity, select, found 1 other",
        ),
        ('[{"url": "json://h", "name": "Ops Team"}]', "channel 1: name: expected at most 40 lowercase letters"),
        ('[{"url": "json://h", "name": "a"}, {"url": "xml://h", "name": "a"}]', "two channels are named 'a'"),
        (" ".join(["json://h"] * 21), "expected 20 channels at most, found 21"),
    ],
)
def test_a_mistake_in_the_channels_is_one_line_that_shows_no_address(value: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(notify=value)
    text = str(raised.value)
    assert text.startswith("CATALUNYA_NOTIFY (value not shown): ")
    assert message in text
    assert "\n" not in text
    assert "hunter2" not in text
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    "value",
    [
        "22:00",
        "22:00-22:00 UTC",
        "22-7 UTC",
        "25:00-07:00 UTC",
        "22:00-07:00",
        "22:00-07:00 Mars/Olympus",
        "22:00-07:00 ../etc",
        "22:00-07:00 Europe",
    ],
)
def test_quiet_hours_that_cannot_be_are_one_line(value: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^CATALUNYA_QUIET_HOURS='.*': expected two different times of day and a time zone"
    ):
        load_settings(quiet_hours=value)


@pytest.mark.parametrize(
    ("hours", "moment", "is_quiet"),
    [
        ("22:00-07:00 Europe/Madrid", "2026-08-03T19:59Z", False),  # 21:59 in summer
        ("22:00-07:00 Europe/Madrid", "2026-08-03T20:00Z", True),
        ("22:00-07:00 Europe/Madrid", "2026-08-04T04:59Z", True),
        ("22:00-07:00 Europe/Madrid", "2026-08-04T05:00Z", False),
        ("22:00-07:00 Europe/Madrid", "2026-12-03T20:59Z", False),  # winter
        ("22:00-07:00 Europe/Madrid", "2026-12-03T21:00Z", True),
        ("22:00-07:00 Europe/Madrid", "2026-03-29T04:59Z", True),  # the night in which 02:00 becomes 03:00
        ("22:00-07:00 Europe/Madrid", "2026-03-29T05:00Z", False),
        ("22:00-07:00 Europe/Madrid", "2026-10-25T05:59Z", True),  # the night in which 03:00 becomes 02:00
        ("22:00-07:00 Europe/Madrid", "2026-10-25T06:00Z", False),
        ("02:15-02:45 Europe/Madrid", "2026-03-29T01:15Z", False),  # there is no 02:15
        ("02:15-02:45 Europe/Madrid", "2026-10-25T00:30Z", True),  # and then there are two
        ("02:15-02:45 Europe/Madrid", "2026-10-25T01:00Z", False),
        ("02:15-02:45 Europe/Madrid", "2026-10-25T01:30Z", True),
        ("12:00-14:00 UTC", "2026-08-03T12:00Z", True),
        ("12:00-14:00 UTC", "2026-08-03T14:00Z", False),
    ],
)
def test_quiet_hours_are_those_of_the_clocks_there(hours: str, moment: str, *, is_quiet: bool) -> None:
    found = parse_quiet_hours(hours)
    assert found
    assert found.cover(datetime.fromisoformat(moment)) is is_quiet


def test_nothing_of_an_address_that_is_secret_is_shown_and_ordinary_words_are() -> None:
    load_settings(
        notify="mailto://watch:correct-horse@mail.example.org?to=team@example.org slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7 "
        "jsons://hooks.example.org/services/catalunya?:x-key=4f1d8e2a9b7c6d5e&format=markdown"
    )
    shown = redacted(
        "HTTPSConnectionPool(host='hooks.slack.com'): /services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7 refused; "
        "login of watch with correct-horse failed at mail.example.org for team@example.org; x-key 4f1d8e2a9b7c6d5e; services, catalunya, markdown"
    )
    for secret in ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7", "correct-horse", "4f1d8e2a9b7c6d5e"):
        assert secret not in shown
    for word in (
        "hooks.slack.com",
        "/services/",
        "mail.example.org",
        "team@example.org",
        "services, catalunya, markdown",
    ):
        assert word in shown


@pytest.mark.parametrize("address", ["json://webhook-2024:8080", "jsons://webhook-2024/", "form://webhook-2024:8080"])
def test_the_host_of_a_webhook_is_no_secret(address: str) -> None:
    load_settings(notify=address)
    assert redacted("http://webhook-2024:8080/rows.csv") == "http://webhook-2024:8080/rows.csv"


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        ("join://4f1d8e2a9b7c6d5e", "4f1d8e2a9b7c6d5e"),
        ("json://watch:correct-horse@webhook-2024", "correct-horse"),
        ("json://webhook-2024/hooks", "webhook-2024/hooks"),
        ("json://webhook-2024?+x-key=4f1d8e2a9b7c6d5e", "4f1d8e2a9b7c6d5e"),
    ],
)
def test_what_comes_with_the_host_of_a_webhook_is_a_secret_and_so_is_a_token_in_its_place(
    address: str, secret: str
) -> None:
    load_settings(notify=address)
    assert secret not in redacted(f"POST http://{secret} failed")


def test_the_public_address_of_airflow_is_the_internal_one_unless_it_is_set() -> None:
    assert load_settings(airflow_url="http://api-server:8080").airflow_public_url == "http://api-server:8080"
    both = load_settings(airflow_url="http://api-server:8080", airflow_public_url="https://airflow.example.org")
    assert both.airflow_public_url == "https://airflow.example.org"


@pytest.mark.parametrize(
    ("subject", "link"),
    [
        ("landing.gdp", "https://airflow.example.org/dags/landing.gdp/plugin/asset"),
        ("ops.backup", "https://airflow.example.org/dags/ops.backup/plugin/asset"),
        ("scheduler", "https://airflow.example.org"),
        (
            "ops.x/../../login?next=evil",
            "https://airflow.example.org/dags/ops.x%2F..%2F..%2Flogin%3Fnext%3Devil/plugin/asset",
        ),
    ],
)
def test_a_link_leads_to_the_dag(subject: str, link: str) -> None:
    assert Links("https://airflow.example.org/", {"landing.gdp"}).to(subject) == link
    assert not Links("", {"landing.gdp"}).to(subject)


def test_the_title_counts() -> None:
    news = News(
        (finding(), finding(severity=Severity.WARNING)), (finding(),), (Resolved("x:y", "y", NOW, Severity.ERROR),) * 3
    )
    assert title("catalunya prod", news) == "catalunya prod: 2 new (1 error), 1 worse, 3 resolved"
    assert news.tone == "failure"
    assert News((finding(severity=Severity.WARNING),)).tone == "warning"
    assert News(closed=news.closed).tone == "success"


ANY = st.text(st.characters(codec=None), max_size=300)


@given(ANY)
def test_no_channel_can_take_a_text_for_anything_else(text: str) -> None:
    shown = plain(text)
    assert not {"<", ">", "@", "\n", "\r", "\x1b", "\u202e"} & set(shown)
    assert "](" not in shown
    shown.encode()  # no half of a character, which no channel could send


@given(st.lists(st.tuples(ANY, ANY, st.integers(0, 30)), max_size=60), st.integers(60, 40_000))
def test_a_message_has_a_limit_and_one_line_for_each_fact(texts: list[tuple[str, str, int]], room: int) -> None:
    opened = [
        finding(subject=f"staging.{at}", what=what, cause=cause, affected=("marts.x",) * affected)
        for at, (what, cause, affected) in enumerate(texts)
    ]
    news = News(tuple(opened), (), (Resolved("x:y", "y", NOW, Severity.ERROR),))
    text = body(news, NOW + timedelta(hours=1), Links("http://a", ()), room=room)
    assert len(text) <= min(room, BODY)
    starts = (
        "NEW, error: ",
        "RESOLVED: ",
        "  Finding: ",
        "  Cause: ",
        "  Affects: ",
        "  Since: ",
        "  Do: ",
        "  Airflow: ",
        "… and ",
        "",
    )
    assert all(line.startswith(starts[:-1]) or not line for line in text.splitlines())
    assert len(title("catalunya prod", news)) <= TITLE
    assert title("catalunya prod", news).isascii()


def test_what_does_not_fit_is_counted() -> None:
    opened = tuple(finding(subject=f"landing.s{at}", what=f"s{at} does not answer") for at in range(1000))
    text = body(News(opened), NOW, Links(""))
    told = text.count("NEW, error")
    assert told > 100
    assert text.count("  Do: wait") == 25
    assert text.endswith(f"… and {1000 - told} more: `catalunya watch` lists them")
