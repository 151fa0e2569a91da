"""What the people who use the published tables should know of the open findings: which, since when, which tables, and in what words.

Here: the choice and the words, as data, in each language of `consumers.toml`; what the tables are called is the project's
(`assets/titles.toml`). Not here: how that looks (`notice_page.py`), what those who run the pipeline are sent (`notify.py`).
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
from catalunya.assets.record.project import Project
from catalunya.ops.watching.findings import Board, Finding, Kind, Severity

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


class PageWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words around the notices, and how a day is written, in one language."""

    language: str
    title: str
    skip: str
    languages: str
    fine: str
    one: str
    many: str
    checked: str
    never_checked: str
    unchecked: str
    problems: str
    since: str
    rely: str
    tables: str
    all_tables: str
    source: str
    state: str
    state_caption: str
    table: str
    updated: str
    problem: str
    yes: str
    no: str
    never: str
    date: str
    time: str
    months: tuple[str, ...]

    def day(self, at: datetime) -> str:
        """A day (UTC) in words."""
        return self.date.format(day=at.day, month=self.months[at.month - 1], year=at.year)

    def moment(self, at: datetime) -> str:
        """A day and time (UTC) in words."""
        return self.time.format(date=self.day(at), hour=f"{at:%H}", minute=f"{at:%M}")


class _Unpublished(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kinds: frozenset[Kind]


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All texts: by kind of finding, then by language."""

    kinds: Mapping[Kind, KindRule]
    unpublished: _Unpublished
    texts: Mapping[str, Mapping[str, Words]]
    page: Mapping[str, PageWords]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that readers should know. `tables` are marts; empty for all of them. `source`: the dataset it is about, if it is about one."""

    text: str
    since: datetime
    tables: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published table, and when it was last updated; None if it never was."""

    key: str
    updated_at: datetime | None
    has_problem: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that readers should know now. `is_checked`: whether someone has looked lately."""

    notices: tuple[Notice, ...]
    tables: tuple[Published, ...]
    checked_at: datetime | None
    is_checked: bool


@cache
def texts() -> Texts:
    """The texts of `consumers.toml`."""
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), type=Texts)


def situation(project: Project, board: Board, now: datetime, *, silent: timedelta) -> Situation:
    """What readers should know by the board. `silent`: how old it may be. Raises LakeError."""
    marts = [asset.key for asset in project.graph if asset.layer is Layer.MARTS]
    notices = [notice for found in board.open if (notice := _notice(found, project.graph, now))]
    hit = {key for notice in notices for key in notice.tables or marts}
    made = {key: project.ledger.latest(key) for key in marts}
    return Situation(
        notices=tuple(sorted(set(notices), key=lambda notice: (notice.since, notice.text, notice.tables))),
        tables=tuple(
            Published(key=key, updated_at=entry.recorded_at if (entry := made[key]) else None, has_problem=key in hit)
            for key in marts
        ),
        checked_at=board.at,
        is_checked=board.at is not None and now - board.at < silent,
    )


def _notice(found: Finding, graph: AssetGraph, now: datetime) -> Notice | None:
    """What readers see of a finding; None if that is nothing, or not yet."""
    rule, since = texts().kinds.get(found.kind), found.since or found.opened_at
    if rule is None or (found.severity is Severity.WARNING and now - since < timedelta(hours=rule.after_hours)):
        return None
    concerned = {found.subject, *found.affected}
    tables = tuple(asset.key for asset in graph if asset.layer is Layer.MARTS and asset.key in concerned)
    if not tables and not rule.concerns_all:
        return None
    landings = {asset.key: asset.source or "" for asset in graph if asset.layer is Layer.LANDING}
    source = landings.get(found.subject, "")
    return Notice(text=rule.text, since=since, tables=() if rule.concerns_all else tables, source=source)
