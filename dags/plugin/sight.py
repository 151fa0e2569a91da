"""What a page reads, once per request: the graph, the ledger, the findings, and which assets this user may see.

Reading is the index of the ledger, one listing and the few entries that are new (`assets/record/index.py`), whatever the number of tables.
Not here: what a page makes of it (`*_page.py`), how the user is known (`app.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from threading import Lock

from catalunya.assets.graph.discovery import compiled_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.index import Index, read_index
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.environment import Settings, load_settings
from catalunya.ops.watching.findings import Board, Finding, Kind, read_board

RECENT = 20
"""Entries that the history of a page lists; the charts show all that the index has."""
OF_THE_PIPELINE = frozenset(
    {Kind.PROCESS_SILENT, Kind.RECONCILE_SILENT, Kind.WATCH_SILENT, Kind.BACKUP_OLD, Kind.CLOCK_WRONG, Kind.DISK_FULL}
)
"""Findings about no table and no DAG: everyone who may log in sees them, as they see Airflow's own health."""

_compiling = Lock()
_fallback: dict[Path, AssetGraph] = {}


@dataclass(frozen=True)
class Sight:
    """The pipeline at one moment, as far as one user may see it. `readable` are the DAGs that the user may read."""

    project: Project
    index: Index
    state: State
    readable: frozenset[str]
    board: Board

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
        return [each for each in chosen if self._may_see(each)]

    def closed(self) -> list[Finding]:
        """The findings that were closed lately and that the user may see, the last closed first."""
        found = [each for each in self.board.findings if each.closed_at and self._may_see(each)]
        return sorted(found, key=lambda each: each.closed_at or self.now, reverse=True)

    def _may_see(self, finding: Finding) -> bool:
        return finding.subject in self.readable or finding.kind in OF_THE_PIPELINE

    def recent(self, key: str, count: int = RECENT) -> list[Entry]:
        """The last entries of an asset, newest first."""
        return list(islice(self.project.ledger.recent(key), count))

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


def open_sight(readable: Callable[[], Iterable[str]] = tuple, settings: Settings | None = None) -> Sight:
    """Read the pipeline now. `readable` gives the DAG ids that the user may read. Raises LakeError, or what is wrong with the declarations."""
    settings = settings or load_settings()
    project = Project(settings)
    project.graph = _graph(settings)
    index = read_index(project.ledger, [asset.key for asset in project.graph])
    state = project.state(datetime.now(UTC), index.listing)
    return Sight(project, index, state, frozenset(readable()), read_board(project.lake))


def _graph(settings: Settings) -> AssetGraph:
    """The graph as last compiled; only where there is none, it is compiled here, once."""
    found = compiled_graph(settings)
    if found is not None:
        return found
    with _compiling:
        if settings.cache not in _fallback:
            _fallback[settings.cache] = Project(settings).graph
        return _fallback[settings.cache]
