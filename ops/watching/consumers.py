"""What the people who use the published tables should know of the open findings: which, since when, which tables, and in what words.

Here: the choice and the words, as data, in each language of `consumers.toml`. Not here: the page that shows them (`portal/quality_page.py`), what
those who run the pipeline are sent (`notify.py`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import msgspec

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.ops.watching.findings import SILENT, Board, Finding, Kind, Severity

FILE = Path(__file__).with_name("consumers.toml")


class KindRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a kind of finding is published: with which text, when, and whether it concerns all tables."""

    text: str
    after_hours: float = 0
    concerns_all: bool = False


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text in one language: what is wrong, and what still holds."""

    title: str
    what: str
    meanwhile: str


class _Unpublished(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kinds: frozenset[Kind]


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All texts: by kind of finding, then by language."""

    kinds: Mapping[Kind, KindRule]
    unpublished: _Unpublished
    texts: Mapping[str, Mapping[str, Words]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that readers should know, until when if it is over. `tables`: those that have a page, marts first; empty for all of them.
    `source`: the dataset it is about, if it is about one.
    """

    text: str
    since: datetime
    until: datetime | None = None
    tables: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that readers should know now: what is open, the oldest first, and what is over, the newest first. `is_checked`: whether someone
    has looked lately.
    """

    notices: tuple[Notice, ...]
    resolved: tuple[Notice, ...]
    checked_at: datetime | None
    is_checked: bool


@cache
def texts() -> Texts:
    """The texts of `consumers.toml`."""
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), type=Texts)


def situation(graph: AssetGraph, board: Board, now: datetime) -> Situation:
    """What readers should know by the board."""
    found = {notice for each in board.findings if (notice := _notice(each, graph, each.closed_at or now))}
    return Situation(
        notices=tuple(sorted((each for each in found if each.until is None), key=_order)),
        resolved=tuple(sorted((each for each in found if each.until), key=_order, reverse=True)),
        checked_at=board.at,
        is_checked=board.at is not None and now - board.at < SILENT,
    )


def _order(notice: Notice) -> tuple[datetime, str, tuple[str, ...]]:
    return notice.until or notice.since, notice.text, notice.tables


def _notice(found: Finding, graph: AssetGraph, now: datetime) -> Notice | None:
    """What readers see of a finding at a time; None if that is nothing, or not yet."""
    rule, since = texts().kinds.get(found.kind), found.since or found.opened_at
    if rule is None or (found.severity is Severity.WARNING and now - since < timedelta(hours=rule.after_hours)):
        return None
    concerned = {found.subject, *found.affected}
    shown = [asset for asset in graph if asset.layer is not Layer.LANDING and asset.key in concerned]
    tables = tuple(asset.key for asset in sorted(shown, key=lambda asset: asset.layer is not Layer.MARTS))
    if not tables and not rule.concerns_all:
        return None
    sources = {asset.key: asset.source or "" for asset in graph if asset.layer is Layer.LANDING}
    return Notice(
        text=rule.text,
        since=since,
        until=found.closed_at,
        tables=() if rule.concerns_all else tables,
        source=sources.get(found.subject, ""),
    )
