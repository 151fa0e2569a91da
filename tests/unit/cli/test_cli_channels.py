"""`catalunya channels`: who is notified, whether messages arrive, and a test message to each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalunya.ops.mock.exchange import Answer
from small.commands import Run
from small.http_server import Server


@pytest.fixture
def hook() -> Iterator[Server]:
    with Server(lambda _: Answer(b"{}")).running() as server:
        yield server


def name(monkeypatch: pytest.MonkeyPatch, *channels: str | dict[str, str]) -> None:
    monkeypatch.setenv("CATALUNYA_NOTIFY", json.dumps(channels))


@pytest.mark.usefixtures("place")
def test_a_test_message_goes_to_every_channel(run: Run, hook: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    address = hook.url.replace("http", "json")
    name(monkeypatch, address, {"url": f"{address}/team", "name": "team", "severity": "error", "select": "layer:marts"})
    assert [line.split() for line in run("channels").out.splitlines()[1:]] == [
        ["json", "warning", "*", "unused"],
        ["team", "error", "layer:marts", "unused"],
    ]
    assert hook.asked == []

    ran = run("channels", "--test")
    assert ran.code == 0, ran.err
    assert [line.split()[-1] for line in ran.out.splitlines()[1:]] == ["arrived", "arrived"]
    assert sorted(asked.path for asked in hook.asked) == ["/", "/team"]
    assert json.loads(hook.asked[0].body)["title"] == "catalunya local: test"


@pytest.mark.usefixtures("place")
def test_a_message_that_does_not_arrive_is_an_error(run: Run, hook: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    hook.reply = lambda _: Answer(b"no", 403)
    name(monkeypatch, hook.url.replace("http", "json") + "/hook/tOk3nOfTheHook")
    ran = run("channels", "--test", "--json")
    assert ran.code == 1
    (row,) = json.loads(ran.out)
    assert (row["channel"], row["state"]) == ("json", "failing")
    assert row["error"]
    assert "tOk3nOfTheHook" not in ran.out + ran.err


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("arguments", [["channels"], ["channels", "--test"], ["watch", "--keep"]])
def test_a_mistake_in_the_setting_is_one_line(run: Run, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_NOTIFY", "mailto:hunter2hunter2")
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: CATALUNYA_NOTIFY (value not shown): channel 1: expected an address such as")
    assert "hunter2" not in ran.err
    assert ran.err.count("\n") == 1


def test_no_channels_is_said(run: Run, place: Path) -> None:
    assert "no one is notified" in run("channels").out
    assert not (place / "lake" / "_watch").exists()


def test_watch_keep_notifies(run: Run, filled: Path, hook: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name(monkeypatch, hook.url.replace("http", "json"))
    entry = next(
        path
        for path in (filled / "lake" / "_ledger").rglob("*")
        if path.is_file() and "staging" in str(path) and "gdp" in str(path)
    )
    entry.write_text("{")
    run("watch")
    assert hook.asked == []  # looking tells no one

    run("watch", "--keep")
    run("watch", "--keep")
    (asked,) = hook.asked
    told = json.loads(asked.body)
    (finding,) = [
        each for each in json.loads(run("watch", "--json").out)["findings"] if each["subject"] == "staging.gdp"
    ]
    assert f"NEW, error: {finding['what']}\n  Finding: ledger_unreadable:staging.gdp\n" in told["message"]
    assert "  Affects: marts." in told["message"]
    assert "  Do: `catalunya verify" in told["message"]
