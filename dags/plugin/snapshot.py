"""What a page reads, once per request: the graph, the ledger, the findings, and which assets this user may see.

Reading is the index of the ledger, one listing and the few entries that are new (`assets/record/index.py`); of a large ledger, only the index and
the ledgers of the tables that the page is about.
Here: reading. Not here: what a page makes of it (`*_page.py`), how the user is known (`app.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from catalunya.assets.graph.discovery import compiled_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.index import Index, last_index, read_index
from catalunya.assets.record.ledger import MERGED, Entry, Ledger
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.environment import load_settings
from catalunya.io.errors import LedgerError
from catalunya.ops.watching.findings import SILENT, Board, Finding, Kind, read_board

MANY = 6000
"""Entries in the index from which on a page lists only the ledgers of the tables that it is about: a listing of all is a request per 1,000."""
RECENT = 20
"""Entries that the history of a page lists; the charts show all that the index has."""
OF_THE_PIPELINE = frozenset(
    {
        Kind.PROCESS_SILENT,
        Kind.RECONCILE_SILENT,
        Kind.WATCH_SILENT,
        Kind.BACKUP_OLD,
        Kind.PAGES_OLD,
        Kind.CLOCK_WRONG,
        Kind.DISK_FULL,
    }
)
"""Findings about no table and no DAG: everyone who may log in sees them, as they see Airflow's own health."""

WATCH = "ops.watch"

_compiling = Lock()
_fallback: dict[Path, AssetGraph] = {}


class EntrySummary(NamedTuple):
    """One entry of the ledger, in brief."""

    sequence: int
    status: str
    recorded_at: datetime
    seconds: float
    rows: int
    quarantined: int

    @classmethod
    def of(cls, entry: Entry) -> EntrySummary:
        return cls(entry.sequence, entry.status, entry.recorded_at, entry.seconds, entry.rows, entry.quarantined)


_SUMMARY = EntrySummary._fields


@dataclass(frozen=True)
class Snapshot:
    """The pipeline at one moment, as far as one user may see it. `readable` are the DAGs that the user may read.

    `is_of_last_look`: the ledger is large, and assets that the page is not about are as the watch last saw them.
    """

    project: Project
    index: Index
    state: State
    readable: frozenset[str]
    board: Board
    is_of_last_look: bool

    @property
    def now(self) -> datetime:
        return self.state.now

    @property
    def graph(self) -> AssetGraph:
        return self.project.graph

    def assets(self) -> list[Asset]:
        """The assets that the user may see, in dependency order."""
        return [asset for asset in self.graph if asset.key in self.readable]

    def findings(self, key: str | None = None) -> list[Finding]:
        """The open findings that the user may see: all, or those about one asset or something that it is made from."""
        chosen = self.board.open if key is None else self.board.of(key)
        return [replace(each, cause=self.shown(each.cause)) for each in chosen if self._may_see(each)]

    def closed(self) -> list[Finding]:
        """The findings that were closed lately and that the user may see, the last closed first."""
        found = [each for each in self.board.findings if each.closed_at and self._may_see(each)]
        return sorted(found, key=lambda each: each.closed_at or self.now, reverse=True)

    def _may_see(self, finding: Finding) -> bool:
        subject = finding.subject
        if finding.kind is Kind.SOURCE_MISMATCH and subject not in self.graph:
            subject = subject.rpartition(".")[
                0
            ]  # of a source that its table could be read from: `landing.population.pmh`
        # What is about no DAG, such as a channel or a broken import, is for those who may read the DAG that finds it.
        is_of_dag = subject in self.graph or subject.startswith("ops.")
        readable = subject if is_of_dag else WATCH
        return readable in self.readable or finding.kind in OF_THE_PIPELINE

    def shown(self, text: str) -> str:
        """A text about an asset, without the errors of assets that the user may not read: those quote their rows and sources."""
        for error in self._hidden_errors:
            text = text.replace(error, "(you may not see this error)")
        return text

    @cached_property
    def _hidden_errors(self) -> list[str]:
        hidden = (self.state.failure(asset.key) for asset in self.graph if asset.key not in self.readable)
        return sorted({found.error for found in hidden if found and found.error}, key=len, reverse=True)

    def history(self, key: str) -> list[EntrySummary]:
        """The last entries of an asset, oldest first: up to 40 of the index, and what was recorded since."""
        kept = [EntrySummary(*row) for row in self.index.history(key).select(_SUMMARY).iter_rows()]
        last = kept[-1].sequence if kept else 0
        return kept + [EntrySummary.of(entry) for entry in self._read(key, [n for n in self._numbers(key) if n > last])]

    def recent(self, key: str, count: int = RECENT) -> list[Entry]:
        """The last entries of an asset, newest first."""
        return self._read(key, self._numbers(key)[-count:])[::-1]

    def _numbers(self, key: str) -> list[int]:
        return [number for number in self.project.ledger.numbers(key) if number != MERGED]

    def _read(self, key: str, numbers: list[int]) -> list[Entry]:
        """These entries; those that cannot be read are left out, which the asset's state says."""

        def read(number: int) -> Entry | None:
            with suppress(LedgerError):
                return self.project.ledger.read(key, number)
            return None

        with ThreadPoolExecutor(8) as pool:
            return [entry for entry in pool.map(read, numbers) if entry]

    def entry_of_run(self, key: str, run_id: str) -> Entry | None:
        """What a run recorded of an asset, if it recorded anything. Raises LedgerError when that cannot be read."""
        ledger = self.project.ledger
        for (sequence,) in self.index.history(key).filter(run_id=run_id).select("sequence").iter_rows():
            return ledger.read(key, sequence)
        return next((entry for entry in reversed(ledger.history(key)) if entry.run_id == run_id), None)

    def made(self, key: str, version: str, before: datetime) -> Entry | None:
        """The entry that said what an asset was, at a moment at which it had this version."""
        found = (entry for entry in self.project.ledger.recent(key) if entry.started_at <= before)
        return next((entry for entry in found if entry.status != "failed" and entry.data_version == version), None)


def take_snapshot(
    readable: Callable[[], Iterable[str]], project: Project | None = None, about: str | None = None
) -> Snapshot:
    """Read the pipeline now, exactly where the page is `about`. `readable` gives the DAG ids that the user may read.

    Raises LakeError, or what is wrong with the declarations.
    """
    project = project or _project()
    now, board = datetime.now(UTC), read_board(project.lake)
    is_watched = board.at is not None and now - board.at < SILENT
    index = last_index(project.ledger) if is_watched else None
    is_large = index is not None and index.rows.height > MANY
    if index is None or not is_large:
        index = read_index(project.ledger, [asset.key for asset in project.graph])
    listing = index.listing
    if is_large and listing is not None and about is not None and about in project.graph:
        graph = project.graph
        exact = [about, *graph.ancestors(about), *(down.key for down in graph.downstream(about))]
        with ThreadPoolExecutor(8) as pool:
            listing = {**listing, **dict(pool.map(lambda key: _listed(project, key), exact))}
    return Snapshot(project, index, project.state(now, listing), frozenset(readable()), board, is_large)


def _listed(project: Project, key: str) -> tuple[str, Sequence[int]]:
    return Ledger.folder(key), project.ledger.numbers(key)


def _project() -> Project:
    """This process's environment, with the graph as last compiled; only where there is none, it is compiled here, once."""
    settings = load_settings()
    project, graph = Project(settings), compiled_graph(settings)
    if graph is None:
        with _compiling:
            graph = _fallback.setdefault(settings.cache, _fallback.get(settings.cache) or project.graph)
    project.graph = graph
    return project
