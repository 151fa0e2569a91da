"""What a notification says: a title with counts, then each finding with its cause, the tables affected, the command, and a link.

The text is plain and safe on every channel. Names and errors come from sources: no control characters, no secrets, no HTML, no mention
of people or groups, no link with another name. Here: text only. Not here: which findings are sent to whom (`notify.py`), sending
(`channels.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

from catalunya.dags.plugin.places import DAG
from catalunya.io.safe_text import safe_text
from catalunya.ops.watching.findings import Finding, Severity

TITLE = 100
"""The longest title, in ASCII: what SNS takes as the subject of an e-mail."""
BODY = 30_000
"""The longest body, where the channel itself takes more: no more is read."""
DETAILED = 25
"""The most findings that are shown with everything; the rest have one line each."""
_NAMES = 8
_LINE = 500
_HARMLESS = str.maketrans({"<": "‹", ">": "›", "@": "(at)"})


@dataclass(frozen=True, slots=True)
class Resolved:
    """A finding that is closed, as it was last sent."""

    identity: str
    what: str
    opened_at: datetime
    severity: Severity


@dataclass(frozen=True, slots=True)
class News:
    """What one channel was not sent yet."""

    opened: tuple[Finding, ...] = ()
    worsened: tuple[Finding, ...] = ()
    closed: tuple[Resolved, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.opened or self.worsened or self.closed)

    @property
    def tone(self) -> Literal["failure", "warning", "success"]:
        """The color of the message, where the channel has colors."""
        severities = {each.severity for each in (*self.opened, *self.worsened)}
        return "failure" if Severity.ERROR in severities else "warning" if severities else "success"


@dataclass(frozen=True, slots=True)
class Links:
    """Where Airflow shows a finding: `url` is its address in a browser, `dags` the subjects that are DAGs."""

    url: str
    dags: Collection[str] = ()

    def to(self, subject: str) -> str:
        """The tab of the subject's DAG that says what is wrong; Airflow's first page if it is no DAG; empty without an address."""
        base = self.url.rstrip("/")
        is_dag = subject in self.dags or subject.startswith("ops.")
        return f"{base}/dags/{quote(subject, safe='')}/plugin/{DAG}" if base and is_dag else base


def title(sender: str, news: News) -> str:
    """`catalunya prod: 2 new (1 error), 1 worse, 3 resolved`: at most 100 ASCII characters. `sender` is a name of the project's own."""
    errors = sum(each.severity is Severity.ERROR for each in news.opened)
    counts = [
        f"{len(news.opened)} new" + (f" ({errors} error{'s' * (errors > 1)})" if errors else "") if news.opened else "",
        f"{len(news.worsened)} worse" if news.worsened else "",
        f"{len(news.closed)} resolved" if news.closed else "",
    ]
    text = f"{sender}: {', '.join(filter(None, counts))}"
    return text.encode("ascii", "replace").decode()[:TITLE]


def body(news: News, now: datetime, links: Links, *, room: int = BODY) -> str:
    """The digest, in at most `room` characters: what does not fit is counted at the end. Errors come first."""
    items = [("NEW", each) for each in news.opened] + [("WORSE", each) for each in news.worsened]
    items.sort(key=lambda each: each[1].severity is not Severity.ERROR)
    blocks: list[Callable[[bool], str]] = [_opener(word, each, now, links) for word, each in items]
    blocks += [_closer(each, now) for each in news.closed]
    return _fitted(blocks, min(room, BODY))


def plain(text: object, limit: int = _LINE) -> str:
    """Any text as one line that no channel can take for a tag, a mention or a link: `<!here>` becomes `‹!here›`."""
    return safe_text(text, limit).translate(_HARMLESS).replace("](", "] (")


def _opener(word: str, finding: Finding, now: datetime, links: Links) -> Callable[[bool], str]:
    def block(in_full: bool) -> str:
        head = f"{word}, {finding.severity.value}: {plain(finding.what)}"
        if not in_full:
            return head
        lines = {
            "Finding": plain(finding.identity),
            "Cause": plain(finding.cause),
            "Affects": _several(finding.affected),
            "Since": _since(finding.since or finding.opened_at, now),
            "Do": plain(finding.remedy),
            "Known": plain(finding.known),
            "Airflow": links.to(finding.subject),
        }
        return "\n".join([head, *(f"  {name}: {text}" for name, text in lines.items() if text)])

    return block


def _closer(closed: Resolved, now: datetime) -> Callable[[bool], str]:
    return lambda _: f"RESOLVED: {plain(closed.what)} (was open for {_duration(closed.opened_at, now)})"


def _fitted(blocks: Sequence[Callable[[bool], str]], room: int) -> str:
    """As many blocks in full as there is room for, then their first lines, then how many are left."""
    rest = "… and {} more: `catalunya watch` lists them"
    texts: list[str] = []
    left = room - len(rest) - 10
    for at, block in enumerate(blocks):
        later = sum(len(each(False)) + 2 for each in blocks[at + 1 : at + 1 + DETAILED])
        text = block(at < DETAILED)
        if len(text) + 2 + later > left:
            text = block(False)
        if len(text) + 2 > left:
            texts.append(rest.format(len(blocks) - at))
            break
        texts.append(text)
        left -= len(text) + 2
    return "\n\n".join(texts)[:room]


def _several(names: Iterable[str]) -> str:
    known = list(names)
    shown = ", ".join(plain(name, 80) for name in known[:_NAMES])
    return f"{shown} and {len(known) - _NAMES} more" if len(known) > _NAMES else shown


def _since(moment: datetime, now: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({_duration(moment, now)})"


def _duration(since: datetime, now: datetime) -> str:
    minutes = max(0, int((now - since).total_seconds() // 60))  # a clock may have been set back
    for length, unit in ((1440, "day"), (60, "hour"), (1, "minute")):
        if count := minutes // length:
            return f"{count} {unit}{'s' * (count > 1)}"
    return "less than a minute"
