"""Who is told what: every finding once when it opens, once when it worsens, once when it is over, whatever does not arrive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError, LakeError, LakeUnavailable
from catalunya.ops.mock.exchange import Answer
from catalunya.ops.watching.findings import CALM, Board, Changes, Kind, Seen, Severity, updated
from catalunya.ops.watching.look import watch
from catalunya.ops.watching.notify import (
    ChannelState,
    Delivery,
    Notified,
    keep_notified,
    notify,
    read_notified,
    recipients,
    send_tests,
)
from small.http_server import Asked, Server
from small.shops import declare

NOON = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)
LOOK = timedelta(minutes=10)


def seen(name: str = "shops", **values: Any) -> Seen:
    subject = f"staging.{name}"
    return Seen(**{
        "kind": Kind.TABLE_STALE, "subject": subject, "severity": Severity.ERROR, "what": f"{subject} is stale", "remedy": "", "measure": 1.0,
        **values,
    })  # fmt: skip


@dataclass
class Hook:
    """A webhook: what it was told, per message; while it is down it answers 503."""

    server: Server
    heard: list[list[str]] = field(default_factory=list)
    down: bool = False

    @property
    def address(self) -> str:
        return self.server.url.replace("http", "json")

    def reply(self, asked: Asked) -> Answer:
        if self.down:
            return Answer(b"", 503)
        message = json.loads(asked.body)["message"]
        self.heard.append(
            [
                line.split(" (was open")[0]
                for line in message.splitlines()
                if line.startswith(("NEW", "WORSE", "RESOLVED"))
            ]
        )
        return Answer(b"{}")


@contextmanager
def hooks(count: int = 1) -> Iterator[list[Hook]]:
    found = []
    for _ in range(count):
        hook = Hook(Server(lambda _: Answer()))
        hook.server.reply = hook.reply
        found.append(hook)
    running = [hook.server.running() for hook in found]
    for each in running:
        each.__enter__()
    try:
        yield found
    finally:
        for each in running:
            each.__exit__(None, None, None)


class Watch:
    """Looks one after the other, each with what is seen in it, and who is told."""

    def __init__(self, folder: Path, channels: str, **values: Any) -> None:
        _, declared = declare(folder / "source", page_rows=100)
        self.project = Project(
            load_settings(env="local", lake=str(folder / "lake"), cache=folder / "cache", notify=channels, **values),
            declared,
        )
        self.board, self.changes, self.now = Board(), Changes(), NOON

    def look(self, *found: Seen, at: datetime | None = None) -> list[Delivery]:
        self.now = at or self.now + LOOK
        self.board, self.changes = updated(self.board, found, self.now)
        return notify(self.project, self.board, self.now)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hooks() as (one,):
        yield one


def test_a_finding_is_told_when_it_opens_when_it_worsens_and_when_it_is_over(hook: Hook, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address)
    for measure in (1.0, 1.0, 1.9, 2.0, 3.9, 4.0):
        watching.look(seen(measure=measure))
    watching.look()
    watching.look()

    new, worse = "NEW, error: staging.shops is stale", "WORSE, error: staging.shops is stale"
    assert hook.heard == [[new], [worse], [worse], ["RESOLVED: staging.shops is stale"]]


def test_a_finding_that_comes_and_goes_is_told_twice_and_its_last_end_once(hook: Hook, tmp_path: Path) -> None:
    watch = Watch(tmp_path, hook.server.url.replace("http", "json"))
    for number in range(30):
        watch.look(*([] if number % 2 else [seen()]))
    new, end = ["NEW, error: staging.shops is stale"], ["RESOLVED: staging.shops is stale"]
    assert hook.heard == [new, end, new]
    for _ in range(7):
        watch.look()
    assert hook.heard == [new, end, new, end]


def test_one_message_tells_everything_of_a_look(hook: Hook, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address)
    watching.look(seen("a"), seen("b", severity=Severity.WARNING))
    watching.look(seen("b"), *(seen(name) for name in "cde"))

    first, second = hook.heard
    assert first == ["NEW, error: staging.a is stale", "NEW, warning: staging.b is stale"]
    opened = [f"NEW, error: staging.{name} is stale" for name in "cde"]
    assert second == [*opened, "WORSE, error: staging.b is stale", "RESOLVED: staging.a is stale"]


def test_what_did_not_arrive_is_told_at_the_next_look_as_it_is_then(hook: Hook, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address)
    hook.down = True
    with capture_logs() as logs:
        (sent,) = watching.look(seen("a"), seen("b"))
    assert sent.error
    watching.look(seen("b"))
    hook.down = False
    watching.look(seen("b"), seen("c"))

    # a came and went while no message arrived.
    assert hook.heard == [["NEW, error: staging.b is stale", "NEW, error: staging.c is stale"]]
    (failed,) = [line for line in logs if line["event"] == "notification_failed"]
    assert (failed["channel"], failed["log_level"], failed["new"]) == ("json", "error", 2)


def test_a_failure_is_known_until_a_message_arrives(hook: Hook, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address)
    hook.down = True
    watching.look(seen())
    watching.look(seen())
    account = read_notified(watching.project).channels["json"]
    assert account.failing_since == NOON + LOOK
    assert account.error

    hook.down = False
    assert send_tests(watching.project, watching.now) == {"json": ""}
    assert read_notified(watching.project).channels["json"].failing_since is None


def test_a_channel_that_fails_is_a_finding_that_the_others_are_told(tmp_path: Path) -> None:
    with hooks(2) as (broken, other):
        broken.down = True
        project = Watch(tmp_path, f'[{{"url": "{broken.address}", "name": "team"}}, "{other.address}"]').project
        watch(project, NOON)  # the lake is empty: its tables are stale, or nothing is wrong yet
        keep_notified(project, Notified(at=NOON, channels={"team": ChannelState(failing_since=NOON, error="503")}))
        found = watch(project, NOON + LOOK)
        later = watch(project, NOON + 7 * LOOK)

    (failing,) = [each for each in found.board.open if each.kind is Kind.CHANNEL_FAILING]
    assert (failing.subject, failing.cause, failing.severity) == ("team", "503", Severity.WARNING)
    (failing,) = [each for each in later.board.open if each.kind is Kind.CHANNEL_FAILING]
    assert failing.severity is Severity.ERROR
    told = [line for lines in other.heard for line in lines if "team" in line]
    what = "notifications to the channel team do not arrive"
    assert told == [f"NEW, warning: {what}", f"WORSE, error: {what}"]


def test_a_look_that_cannot_be_kept_is_told_once_and_fails(hook: Hook, small_lake: Path, tmp_path: Path) -> None:
    project = Watch(tmp_path, hook.address).project
    with suppress(OSError):
        (small_lake / "full").write_bytes(b"x" * 200_000)
    for at in range(3):
        with pytest.raises(LakeUnavailable, match="no space left"):
            watch(project, NOON + at * LOOK)
    (heard,) = hook.heard
    assert any("the disk of the lake is" in line for line in heard)


def test_an_error_of_delivery_shows_no_secret(tmp_path: Path) -> None:
    address = "json://user:correct-horse@127.0.0.1:9/hook/Tk3n0fTheHook99?:x-key=AbCdEf123456789"
    watching = Watch(tmp_path, address)
    with capture_logs() as logs:
        (sent,) = watching.look(seen())
    stored = (tmp_path / "lake" / "_watch" / "notified.json").read_text()
    assert sent.error
    for secret in ("correct-horse", "Tk3n0fTheHook99", "AbCdEf123456789"):
        assert secret not in str(logs) + sent.error + stored + repr(recipients(watching.project))


def test_a_new_channel_is_told_all_that_is_open(tmp_path: Path) -> None:
    with hooks(2) as (old, new):
        watching = Watch(tmp_path, old.address)
        watching.look(seen("a"))
        later = Watch(tmp_path, f"{old.address} {new.address}")
        later.board = watching.board
        later.look(seen("a"), seen("b"))

    assert old.heard == [["NEW, error: staging.a is stale"], ["NEW, error: staging.b is stale"]]
    assert new.heard == [["NEW, error: staging.a is stale", "NEW, error: staging.b is stale"]]


def test_a_channel_is_told_what_it_asks_for(tmp_path: Path) -> None:
    with hooks(3) as (errors, cities, everything):
        channels = json.dumps(
            [
                {"url": errors.address, "severity": "error"},
                {"url": cities.address, "select": "staging.cities"},
                everything.address,
            ]
        )
        watching = Watch(tmp_path, channels)
        watching.look(seen("shops", severity=Severity.WARNING), seen("shops2", affected=("staging.cities",)))
        watching.look(
            seen("shops", severity=Severity.WARNING),
            seen("shops2", affected=("staging.cities",), severity=Severity.WARNING),
        )
        watching.look()

    shops2 = "NEW, error: staging.shops2 is stale"
    # What was told as an error is followed to its end, also when it has become a warning.
    assert errors.heard == [[shops2], ["RESOLVED: staging.shops2 is stale"]]
    assert cities.heard == [[shops2], ["RESOLVED: staging.shops2 is stale"]]
    assert everything.heard[0] == [shops2, "NEW, warning: staging.shops is stale"]


def test_what_someone_has_acknowledged_is_not_told(hook: Hook, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address)
    watching.look(seen("a", known="anna: the portal moves"))
    watching.look(seen("a", known="anna: the portal moves", measure=9.0))
    assert hook.heard == []
    watching.look(seen("a", measure=9.0))
    assert hook.heard == [["NEW, error: staging.a is stale"]]


def test_in_quiet_hours_warnings_wait_and_errors_do_not(hook: Hook, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address, quiet_hours="22:00-07:00 Europe/Madrid")
    warning, error = seen("a", severity=Severity.WARNING), seen("b")
    watching.look(warning, at=datetime(2026, 8, 3, 19, 59, tzinfo=UTC))  # 21:59 in Madrid
    watching.look(warning, error, at=datetime(2026, 8, 3, 20, 0, tzinfo=UTC))
    late = seen("c", severity=Severity.WARNING)
    watching.look(late, error, at=datetime(2026, 8, 4, 4, 50, tzinfo=UTC))
    watching.look(late, at=datetime(2026, 8, 4, 4, 59, tzinfo=UTC))
    watching.look(late, at=datetime(2026, 8, 4, 5, 0, tzinfo=UTC))  # 07:00

    assert hook.heard == [
        ["NEW, warning: staging.a is stale"],
        ["NEW, error: staging.b is stale"],
        ["RESOLVED: staging.b is stale"],
        ["NEW, warning: staging.c is stale", "RESOLVED: staging.a is stale"],
    ]


def test_an_unreadable_record_tells_what_is_open_once(hook: Hook, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address)
    watching.look(seen())
    record = tmp_path / "lake" / "_watch" / "notified.json"
    for damage in (
        b"",
        b"{",
        b"[]",
        b'{"channels": {"json": {"sent": 3}}}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"at": "yesterday"}',
    ):
        record.write_bytes(damage)
        hook.heard.clear()
        watching.look(seen())
        watching.look(seen())
        assert hook.heard == [["NEW, error: staging.shops is stale"]], damage


@pytest.fixture
def small_lake(tmp_path: Path) -> Iterator[Path]:
    """The lake of `Watch`, on a disk of 64 kB of its own."""
    lake = tmp_path / "lake"
    lake.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(lake)], capture_output=True, check=False, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a disk of 64 kB cannot be mounted here: {mounted.stderr.strip()}")
    yield lake
    subprocess.run(["umount", str(lake)], check=True)


def test_a_full_lake_does_not_repeat_messages(hook: Hook, small_lake: Path, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address)
    with suppress(OSError):
        (small_lake / "full").write_bytes(b"x" * 200_000)
    with capture_logs() as logs:
        watching.look(seen())
        watching.look(seen())
    assert hook.heard == [["NEW, error: staging.shops is stale"]]
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["notified_not_kept"]

    (small_lake / "full").unlink()  # it can be written again: the newer record counts
    watching.look(seen(), seen("b"))
    watching.look(seen(), seen("b"))
    assert hook.heard[1:] == [["NEW, error: staging.b is stale"]]
    assert (small_lake / "_watch" / "notified.json").exists()


def test_a_record_that_can_be_kept_nowhere_repeats_messages(hook: Hook, small_lake: Path, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address)
    with suppress(OSError):
        (small_lake / "full").write_bytes(b"x" * 200_000)
    (tmp_path / "cache").write_text("a file where the cache folder should be")
    watching.look(seen())
    watching.look(seen())
    assert hook.heard == [["NEW, error: staging.shops is stale"]] * 2  # too often is better than not at all


def test_a_lake_that_does_not_answer_is_no_reason_to_tell_everything_again(hook: Hook, tmp_path: Path) -> None:
    watching = Watch(tmp_path, hook.address)
    watching.look(seen())
    lake = tmp_path / "lake"
    lake.rename(tmp_path / "elsewhere")
    lake.symlink_to(lake)  # reading it fails, as of a disk that is gone
    with pytest.raises(LakeError):
        watching.look(seen())
    assert len(hook.heard) == 1


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ("slack://too-short", r"channel 'slack': Apprise does not accept its address"),
        (
            '[{"url": "json://h/x", "select": "layer:nothing"}]',
            r"channel 'json': select: 'layer:nothing' names no asset",
        ),
    ],
)
def test_a_channel_that_cannot_be_is_one_line(tmp_path: Path, channels: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        send_tests(Watch(tmp_path, channels).project, NOON)
    assert "\n" not in str(raised.value)
    assert "too-short" not in str(raised.value)


def test_a_channel_that_cannot_be_fails_at_the_first_look_and_the_others_are_told(hook: Hook, tmp_path: Path) -> None:
    channels = json.dumps(
        ["slack://too-short", {"url": hook.address, "name": "gone", "select": "staging.gone"}, hook.address]
    )
    watching = Watch(tmp_path, channels)
    sent = {each.channel: each.error for each in watching.look()}
    assert sent.keys() == {"slack", "gone"}
    assert "Apprise does not accept its address" in sent["slack"]
    assert "'staging.gone' names no asset" in sent["gone"]
    assert {each.channel: bool(each.error) for each in watching.look(seen())} == {
        "slack": True,
        "gone": True,
        "json": False,
    }
    assert hook.heard == [["NEW, error: staging.shops is stale"]]


def test_nothing_is_imported_to_send_nothing(tmp_path: Path) -> None:
    """A look without news costs no more with channels than without."""
    watching = Watch(tmp_path, "json://127.0.0.1:9")
    watching.look()  # a new channel is tried
    code = (
        "import sys; from datetime import datetime, UTC; from catalunya.ops.watching.notify import notify; "
        "from catalunya.ops.watching.findings import Board; from catalunya.assets.record.project import Project; "
        "assert notify(Project(), Board(), datetime.now(UTC)) == []; print(sorted({'apprise', 'requests', 'boto3'} & sys.modules.keys()))"
    )
    settings = watching.project.settings
    environment = {
        **os.environ,
        "CATALUNYA_NOTIFY": "json://127.0.0.1:9",
        "CATALUNYA_LAKE": settings.lake,
        "CATALUNYA_CACHE": str(settings.cache),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_nothing_is_read_or_written_when_no_one_is_notified(tmp_path: Path) -> None:
    watching = Watch(tmp_path, "")
    assert watching.look(seen()) == []
    assert not (tmp_path / "lake" / "_watch").exists()


NAMES = "abc"
LOOKS = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(NAMES),
            st.tuples(st.sampled_from([1.0, 1.5, 2.0, 5.0, 30.0]), st.sampled_from(Severity)),
            max_size=3,
        ),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(LOOKS)
def test_everything_is_told_once_whatever_does_not_arrive(
    looks: Sequence[tuple[dict[str, tuple[float, Severity]], bool]],
) -> None:
    with hooks(2) as (steady, shaky), tempfile.TemporaryDirectory() as folder:
        watching = Watch(Path(folder), f"{steady.address} {shaky.address}")
        happened, true = [], set()
        for found, arrives in [*looks, (dict(looks[-1][0]) if looks else {}, True)]:
            shaky.down = not arrives
            watching.look(
                *(seen(name, measure=measure, severity=severity) for name, (measure, severity) in found.items()),
                at=watching.now + CALM,
            )
            changes = watching.changes
            if any((changes.opened, changes.worsened, changes.closed)):
                happened.append(Counter([
                    *(f"NEW, {each.severity}: {each.what}" for each in changes.opened),
                    *(f"WORSE, {each.severity}: {each.what}" for each in changes.worsened),
                    *(f"RESOLVED: {each.what}" for each in changes.closed),
                ]))  # fmt: skip
            true = {f"staging.{name} is stale" for name in found}

    # To a channel that always answers: what happened, look by look, each thing once.
    assert [Counter(lines) for lines in steady.heard] == happened
    # To the other: never twice the same, and in the end it knows what is true.
    known: dict[str, int] = {}
    for line in (line for lines in shaky.heard for line in lines):
        word, _, what = line.partition(": ")
        if word.startswith("NEW"):
            assert what not in known
            known[what] = 0
        elif word.startswith("WORSE"):
            known[what] += 1
        else:
            del known[what]
    assert known.keys() == true
    assert sum(map(len, shaky.heard)) <= sum(map(len, steady.heard))
