"""Who is notified and when: what `CATALUNYA_NOTIFY` and `CATALUNYA_QUIET_HOURS` say, and which parts of a channel's address are secret.

Here: text only, so that a mistake is one line when a process starts. Not here: whether a service accepts the address, and sending
(`ops/watching/channels.py`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

TOPIC = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}", flags=re.ASCII)
"""The ARN of a standard SNS topic. A FIFO topic (`.fifo`) takes no e-mail subscriptions, and is refused."""
CONNECTION = re.compile(r"connection:(?P<id>[\w.-]{1,200})", flags=re.ASCII)
"""A connection of Airflow, or of its secrets backend, whose password is the address."""
MOST = 20
"""The most channels."""
_WEBHOOKS = frozenset(["form", "forms", "json", "jsons", "xml", "xmls"])
"""Schemes of Apprise after which a host comes; that of many services is followed by a token instead."""
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,31})://\S", flags=re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}", flags=re.ASCII)
_QUIET = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)\s+(\S{1,64})", flags=re.ASCII)
_OPTIONS = ("url", "name", "severity", "select")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where messages go.

    - `name`: what logs call it, and the record of what it was sent.
    - `url`: its address, which contains secrets: a URL of Apprise, the ARN of an SNS topic, or the name of a connection that has it.
    - `severity`: the lowest severity it is notified of. `select`: the tables it is notified of, as on the command line; empty: everything.
    """

    name: str
    url: str = field(repr=False)
    severity: Literal["warning", "error"] = "warning"
    select: str = ""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` to `end` every day, by the clocks of the time zone; over midnight if the end is before the start."""

    start: time
    end: time
    zone: ZoneInfo

    def cover(self, moment: datetime) -> bool:
        """Whether the moment is in the quiet hours. They end when the clocks there show `end`, whatever the clocks did in between."""
        shown = moment.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end


def parse_channels(text: str) -> tuple[Channel, ...]:
    """The channels that `CATALUNYA_NOTIFY` lists. Raises ValueError in one line, which quotes no address."""
    found = tuple(_named(list(_items(text.strip()))))
    if len(found) > MOST:
        raise ValueError(f"expected {MOST} channels at most, found {len(found)}")
    twice = [name for name, count in Counter(channel.name for channel in found).items() if count > 1]
    if twice:
        raise ValueError(f"two channels are named {twice[0]!r}; give each its own name")
    return found


def parse_quiet_hours(text: str) -> QuietHours | None:
    """The quiet hours, such as `22:00-07:00 Europe/Madrid`; None if the text is empty. Raises ValueError in one line."""
    if not text.strip():
        return None
    found = _QUIET.fullmatch(text.strip())
    try:
        start, end = (time.fromisoformat(found[at]) for at in (1, 2)) if found else (time(), time())
        zone = ZoneInfo(found[3]) if found else None
    except (ValueError, KeyError, OSError):  # a folder of the time zone database is an OSError
        zone = None
    if zone is None or start == end:
        raise ValueError("expected two different times of day and a time zone, such as 22:00-07:00 Europe/Madrid")
    return QuietHours(start, end, zone)


def secrets_of(text: str) -> list[str]:
    """What must never be shown of `CATALUNYA_NOTIFY`: the whole, each address, and its passwords, tokens and keys.

    Libraries quote parts of an address in their errors: the path, one parameter. An ordinary word of it (`hooks`) is no secret, nor is
    the host of a webhook, or it would be redacted everywhere.
    """
    try:
        channels = parse_channels(text)
    except ValueError:
        return [text]
    found = [text]
    for url in (channel.url for channel in channels if "://" in channel.url):
        parts, rest = urlsplit(url), url.partition("://")[2]
        login, _, host = parts.netloc.rpartition("@")
        is_webhook = parts.scheme in _WEBHOOKS
        found += [url] if is_webhook and rest.rstrip("/") == host else [url, rest]
        pieces = [*([] if is_webhook else host.split(":")), *parts.path.split("/"), *login.split(":")[:1]]
        pieces += [value for _, value in parse_qsl(parts.query)]
        found += [piece for piece in pieces if _is_random(piece)]
        found += login.split(":", 1)[1:]
    return [*found, *(unquote(each) for each in found)]


def _items(text: str) -> Iterator[dict[str, str]]:
    if not text.startswith("["):
        yield from ({"url": url} for url in text.split())
        return
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(
            'expected a JSON list, such as ["mailto://…", {"url": "slack://…", "severity": "error"}]'
        ) from None
    for at, item in enumerate(items, 1):
        options = {"url": item} if isinstance(item, str) else item
        if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
            raise ValueError(f"channel {at}: expected an address, or an object of texts: {', '.join(_OPTIONS)}")
        if unknown := options.keys() - set(_OPTIONS):
            raise ValueError(f"channel {at}: expected the options {', '.join(_OPTIONS)}, found {len(unknown)} other")
        yield options


def _named(items: list[dict[str, str]]) -> Iterator[Channel]:
    counts: Counter[str] = Counter()
    for at, options in enumerate(items, 1):
        url, severity = options.get("url", "").strip(), options.get("severity", "warning")
        scheme = _SCHEME.match(url) if _can_be_split(url) else None
        if TOPIC.fullmatch(url):
            kind = "sns"
        elif CONNECTION.fullmatch(url):
            kind = "connection"
        elif scheme and scheme[1].lower() != "sns":
            kind = re.sub(r"[^a-z0-9_-]", "-", scheme[1].lower())
        else:
            raise ValueError(
                f"channel {at}: expected an address such as mailto://…, slack://…, json://… (all services: docs/watching.md), the ARN of "
                "a standard SNS topic, arn:aws:sns:…, or connection:ID"
            )
        if severity not in {"warning", "error"}:
            raise ValueError(f"channel {at}: severity: expected warning or error")
        if not (name := options.get("name", "")):
            counts[kind] += 1
            name = kind if counts[kind] == 1 else f"{kind}-{counts[kind]}"
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"channel {at}: name: expected at most 40 lowercase letters, digits, hyphens and underscores"
            )
        yield Channel(
            name=name,
            url=url,
            severity="error" if severity == "error" else "warning",
            select=options.get("select", "").strip(),
        )


def _can_be_split(url: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError:  # its text may quote a password
        return False
    return True


def _is_random(piece: str) -> bool:
    """Whether a piece of an address looks like a token, not like a word."""
    letters, digits = re.search("[A-Za-z]", piece), re.search(r"\d", piece)
    mixed = re.search("[a-z]", piece) and re.search("[A-Z]", piece[1:])
    is_name = "." in piece or "@" in piece or re.search(r"\s", piece)  # a host, an e-mail address, a text
    return bool(not is_name and len(piece) >= 8 and (len(piece) >= 24 or mixed or (letters and digits)))
