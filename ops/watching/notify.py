"""Who is notified of what: after each look, one digest per channel with what that channel was not sent yet.

What each channel was sent is kept in the lake (`_watch/notified.json`) and compared with the findings that are open: state, not events. A
message that did not arrive is sent at the next look, with what is true then; a finding that came and went in between is not sent at all.
A finding that comes and goes is sent twice at most: the second time, its end is sent once it has been gone for an hour.
A finding that someone has acknowledged is not sent. In quiet hours warnings wait, and so do their ends; errors are sent.
A delivery that fails is logged and kept, and fails no look.
Here: the decision and its record. Not here: the findings (`findings.py`), the text (`message.py`), sending (`channels.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from catalunya.assets.record.ledger import Time
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.io.errors import CatalunyaError, ConfigurationError, UsageError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.log import get_logger
from catalunya.io.notifications import Channel
from catalunya.io.project_folder import active
from catalunya.ops.watching.channels import LIMIT_S, Message, Transport, Undelivered, deliver, transport_of
from catalunya.ops.watching.findings import WORSE, Board, Finding, Kind, Seen, Severity
from catalunya.ops.watching.message import BODY, Links, News, Resolved, body, title

log = get_logger(__name__)

PATH = "_watch/notified.json"
FAILING = timedelta(minutes=5)
"""For how long a message must not have arrived to be a finding of its own: at the look after the first failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A finding as it was last sent to a channel: `severity` and `measure` at its worst until then."""

    what: str
    severity: Severity
    measure: float
    opened_at: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """What a channel was sent that was not followed by its end, by the finding's identity; since when messages do not arrive, and why."""

    sent: Mapping[str, Sent] = field(default_factory=dict)
    failing_since: Time | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """The states of all channels, by name; `at`: when they last changed."""

    at: Time | None = None
    channels: Mapping[str, ChannelState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A channel, and the tables it hears of, None for everything. `flaw`: why it cannot be sent to, if its setting says so already."""

    channel: Channel
    selected: frozenset[str] | None
    flaw: str = ""

    @property
    def name(self) -> str:
        return self.channel.name

    def wants(self, finding: Finding) -> bool:
        """Whether the channel is notified of it."""
        itself = finding.kind is Kind.CHANNEL_FAILING and finding.subject == self.name
        if finding.known or itself or (self.channel.severity == "error" and finding.severity is not Severity.ERROR):
            return False
        return self.selected is None or not self.selected.isdisjoint((finding.subject, *finding.affected))

    def transport(self) -> Transport:
        """How it is sent to. Raises ConfigurationError, in one line without the address."""
        if self.flaw:
            raise ConfigurationError(f"CATALUNYA_NOTIFY (value not shown): channel {self.name!r}: {self.flaw}")
        return transport_of(self.channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one channel; `error`: why it did not arrive, empty if it did."""

    channel: str
    news: News
    error: str


def recipients(project: Project) -> list[Recipient]:
    """All channels, in the order of the setting."""
    found = []
    for channel in project.settings.channels:
        selected, flaw = None, ""
        try:
            selected = (
                frozenset(asset.key for asset in project.graph.select(channel.select)) if channel.select else None
            )
        except UsageError as error:
            flaw = f"select: {error}"
        found.append(Recipient(channel, selected, flaw))
    return found


def notify(
    project: Project, board: Board, now: datetime, *, before: Notified | None = None, limit_s: float = LIMIT_S
) -> list[Delivery]:
    """Send each channel what it was not sent yet. `before`: what it was sent; None: it is read. Raises LakeError, before anything is sent, if that
    cannot be read.

    A channel whose setting is wrong fails as one that does not answer: the others get theirs. A channel that is new is tried, but sent nothing,
    if there is no news. Returns what was sent, and what was not.
    """
    found = recipients(project)
    if not found:
        return []
    before = before or read_notified(project)
    quiet = project.settings.quiet
    is_quiet = quiet is not None and quiet.cover(now)
    news = {each.name: _news(each, before, board, now, is_quiet=is_quiet) for each in found}
    tried = [each for each in found if news[each.name] or each.name not in before.channels]
    errors = deliver({each.name: _sending(project, each, news[each.name], board, now) for each in tried}, limit_s)
    states = {each.name: before.channels.get(each.name, ChannelState()) for each in found}
    for name, error in errors.items():
        states[name] = _after(states[name], news[name], error, now)
        _log(name, news[name], states[name])
    after = replace(before, channels=states)
    if after != before:
        keep_notified(project, replace(after, at=now))
    sent = {name: error for name, error in errors.items() if error or news[name]}
    return [Delivery(channel=name, news=news[name], error=error) for name, error in sent.items()]


def see_channels(settings: Settings, notified: Notified, now: datetime) -> Iterator[Seen]:
    """Channels to which messages do not arrive, as the look before found."""
    for name in (channel.name for channel in settings.channels):
        state = notified.channels.get(name, ChannelState())
        if state.failing_since and now - state.failing_since >= FAILING:
            hours = (now - state.failing_since) / timedelta(hours=1)
            yield Seen(
                kind=Kind.CHANNEL_FAILING,
                subject=name,
                severity=Severity.ERROR if hours >= 1 else Severity.WARNING,
                what=f"notifications to the channel {name} do not arrive",
                cause=state.error,
                remedy="correct CATALUNYA_NOTIFY or the service; `catalunya channels --test` tries it",
                since=state.failing_since,
                measure=hours,
            )


def send_tests(project: Project, now: datetime, *, limit_s: float = LIMIT_S) -> dict[str, str]:
    """Send a test message to every channel: by name, why it did not arrive; empty if it did. One that arrives ends the channel's failure.

    Raises ConfigurationError and LakeError, before anything is sent.
    """
    transports = {each.name: each.transport() for each in recipients(project)}
    before = read_notified(project)
    sender = _sender(project.settings)
    message = Message(
        title=f"{sender}: test",
        body=f"This is a test of `catalunya channels --test`, sent at {now:%Y-%m-%d %H:%M} UTC.",
    )
    errors = deliver({name: partial(each.send, message) for name, each in transports.items()}, limit_s)
    working = {
        name: replace(before.channels[name], failing_since=None, error="")
        for name, error in errors.items()
        if name in before.channels and not error
    }
    after = replace(before, channels={**before.channels, **working})
    if after != before:
        keep_notified(project, replace(after, at=now))
    return errors


def read_notified(project: Project) -> Notified:
    """What the channels were sent; nothing, if there is no record that can be read. Raises LakeError."""

    beside = _beside(project.settings)
    found = [Notified()]
    for where, stored in ((project.lake.url(PATH), project.lake.find(PATH)), (str(beside), _read(beside))):
        try:
            found += [json_decoder(Notified).decode(stored)] if stored else []
        except BROKEN_JSON as error:
            log.warning("notified_unreadable", path=where, error=str(error), advice="what is open is sent again, once")
    return max(found, key=lambda each: each.at.timestamp() if each.at else 0)


def keep_notified(project: Project, notified: Notified) -> None:
    """Keep what the channels were sent: in the lake or, when it cannot be written (a full disk is a finding, too), in the cache folder.

    If neither can be written, what is open is sent again at the next look: too often is better than not at all.
    """
    import msgspec

    content = msgspec.json.format(msgspec.json.encode(notified), indent=1)
    beside = _beside(project.settings)
    try:
        project.lake.put(PATH, content)
    except CatalunyaError as error:
        log.warning("notified_not_kept", path=project.lake.url(PATH), error=str(error), instead=str(beside))
    else:
        with suppress(OSError):  # there is none, or none can be there
            beside.unlink()
        return
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
    except OSError as error:
        log.warning(
            "notified_not_kept", path=str(beside), error=str(error), advice="what is open is sent again at every look"
        )


def _news(to: Recipient, before: Notified, board: Board, now: datetime, *, is_quiet: bool) -> News:
    sent = before.channels.get(to.name, ChannelState()).sent
    found = {each.identity: each for each in board.open}
    opened = [each for each in found.values() if each.identity not in sent and to.wants(each)]
    worsened = [
        each
        for each in found.values()
        if each.identity in sent and not each.known and _is_worse(sent[each.identity], each)
    ]
    closed = [
        Resolved(identity, each.what, each.opened_at, each.severity)
        for identity, each in sent.items()
        if identity not in found and not board.is_unsettled(identity, now)
    ]
    if is_quiet:
        opened, worsened = ([each for each in kind if each.severity is Severity.ERROR] for kind in (opened, worsened))
        closed = [each for each in closed if each.severity is Severity.ERROR]
    return News(tuple(opened), tuple(worsened), tuple(closed))


def _is_worse(sent: Sent, finding: Finding) -> bool:
    """Whether it became an error since it was sent to the channel, or its measure a multiple of what it was then."""
    became_error = finding.worst_severity is Severity.ERROR and sent.severity is not Severity.ERROR
    return became_error or (sent.measure > 0 and finding.worst >= WORSE * sent.measure)


def _sending(project: Project, to: Recipient, news: News, board: Board, now: datetime) -> Callable[[], None]:
    """What sends the news to the channel. If there is none, it does nothing but fail for a channel that cannot be sent to."""
    try:
        there = to.transport()
    except ConfigurationError as error:
        return partial(_refuse, str(error))
    if not news:
        return _nothing
    settings = project.settings
    links = Links(settings.airflow_public_url, frozenset(asset.key for asset in project.graph))
    count = len(board.open)
    footer = f"{count} open in all: see `catalunya watch`." if count else "Nothing is open."
    room = min(there.room, BODY)
    text = body(news, now, links, room=room - len(footer) - 2)
    message = Message(title=title(_sender(settings), news), body=f"{text}\n\n{footer}"[:room], tone=news.tone)
    return partial(there.send, message)


def _refuse(why: str) -> None:
    raise Undelivered(why)


def _nothing() -> None:
    """Nothing to send."""


def _after(before: ChannelState, news: News, error: str, now: datetime) -> ChannelState:
    """The state after a delivery."""
    if error:
        return replace(before, failing_since=before.failing_since or now, error=error)
    gone = {each.identity for each in news.closed}
    sent = {identity: each for identity, each in before.sent.items() if identity not in gone}
    for each in (*news.opened, *news.worsened):
        sent[each.identity] = Sent(
            what=each.what, severity=each.worst_severity, measure=each.worst, opened_at=each.opened_at
        )
    return ChannelState(sent=sent)


def _log(channel: str, news: News, state: ChannelState) -> None:
    counts = {"new": len(news.opened), "worse": len(news.worsened), "resolved": len(news.closed)}
    if state.failing_since:
        log.error(
            "notification_failed",
            channel=channel,
            error=state.error,
            since=state.failing_since,
            advice="it is sent at the next look; `catalunya channels --test` tries it now",
            **counts,
        )
    elif news:
        log.info("notified", channel=channel, **counts)


def _sender(settings: Settings) -> str:
    return f"{active().name} {settings.env}"


def _beside(settings: Settings) -> Path:
    """Where the record is kept while the lake cannot be written: one file per lake."""
    return settings.cache / f"notified-{hashlib.sha256(settings.lake.encode()).hexdigest()[:12]}.json"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # none was kept there
        return None
