"""The interface between the path and the layers: `Maker.make(context, scratch) -> Candidate`.

Here: what a maker is given, what it returns, and what the makers of all layers share. Not here: the three makers (`landing.py`,
`staging.py`, `marts.py`), the order of the steps (`materialize.py`).
"""

from __future__ import annotations

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from catalunya.assets.graph.spec import Asset, Declaration, Layer
from catalunya.assets.making.request import Observer, ProgressEvent, Request, Step
from catalunya.assets.record import catalog_tables, retention
from catalunya.assets.record.ledger import Entry, Stored, is_recordable, new_run_id
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Stale, State
from catalunya.contracts.model.results import CheckTally
from catalunya.io.errors import DeadlineReached
from catalunya.io.periods import Window
from catalunya.io.sources.traffic import Tally

if TYPE_CHECKING:
    from catalunya.io.sources.base import SourceState

Declared = TypeVar("Declared", bound=Declaration)


@dataclass(frozen=True, slots=True)
class File:
    """One file of a candidate: where it is now, and what it becomes once published."""

    local: Path
    stored: Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A checked table, ready to be published, not yet visible to readers.

    `objects` are what the table consists of; `files` are those of them that still have to be put in place (the pages of a landing
    batch already are). `quarantine` is a local Parquet file with the rejected rows, `is_accepted` whether a guard was waived,
    `normalized` the number of rows whose text was normalized, by raw field. The rest describes a landing batch.
    """

    objects: tuple[Stored, ...]
    files: tuple[File, ...] = ()
    rows: int
    duplicates: int = 0
    discarded: int = 0
    quarantined: int = 0
    quarantine: Path | None = None
    is_accepted: bool = False
    drift: str = ""
    normalized: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    source_version: str | None = None
    source_updated_at: datetime | None = None
    batch: str | None = None
    requests: int = 0
    window: Window | None = None


@dataclass(slots=True, kw_only=True)
class Context:
    """One materialization under way: what was asked, and what the ledger says.

    `source_state` is what the source answered when it was asked whether it changed, so that it is not asked twice. `rejected` is the
    object with the rows that made the attempt fail, and how many there were; `refused` the candidate that the guards refused. `recorded`
    is the entry that this run recorded, once it has; `traffic` counts its requests to the source, `checks` has the checks that ran so far.
    """

    project: Project
    asset: Asset
    request: Request
    state: State
    run_id: str
    correlation_id: str
    observer: Observer
    source_state: SourceState | None = None
    rejected: tuple[str, int] | None = None
    refused: Candidate | None = None
    checks: CheckTally = field(default_factory=CheckTally)
    recorded: Entry | None = None
    traffic: Tally = field(default_factory=Tally)
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(cls, project: Project, key: str, request: Request, observer: Observer | None = None) -> Context:
        """The context of a new run. Its correlation id is the request's, else that of the newest upstream data that the asset was not made
        from yet, else its own.

        Both ids may come from outside, and one that cannot be recorded counts as not given.
        """
        asset, state = project.graph[key], project.state(request.now)
        run_id = _if_recordable(request.run_id) or new_run_id(state.now)
        previous = state.known(key)
        before = previous.versions if previous else {}
        found = [entry for up in asset.upstream if (entry := state.known(up))]
        changed = [entry for entry in found if before.get(entry.asset) != entry.data_version]
        inherited = max(changed, key=lambda entry: entry.started_at).correlation_id if changed else None
        return cls(
            project=project,
            asset=asset,
            request=request,
            state=state,
            run_id=run_id,
            correlation_id=_if_recordable(request.correlation_id) or _if_recordable(inherited) or run_id,
            observer=observer or (lambda _: None),
            checks=CheckTally(asset.layer),
        )

    @property
    def maker(self) -> Maker:
        """The maker of the asset's layer. Imports polars or dbt, which a run that only waits for another asset does without."""
        return maker_of(self.asset.layer)

    def declaration(self, kind: type[Declared]) -> Declared:
        """The asset's declaration, which is of this kind."""
        declared = self.project.declarations[self.asset.key]
        assert isinstance(declared, kind)
        return declared

    def made(self, key: str) -> Entry:
        """The entry of an upstream; the gate made sure that there is one."""
        entry = self.state.latest(key)
        assert entry is not None
        return entry

    @property
    def previous(self) -> Entry | None:
        """The entry that says what the asset's table is now."""
        return self.state.latest(self.asset.key)

    def record(self, entry: Entry, *, after: int) -> Entry:
        """Record what this run did as entry `after + 1`; returns it numbered. Raises as `Ledger.append`."""
        last = self.state.last_attempt(entry.asset)
        total = self.traffic.add(last.traffic if last else ()).counted()
        self.recorded = self.project.ledger.append(replace(entry, traffic=total), after=after)
        return self.recorded

    def refresh(self) -> None:
        """Read the ledger again, as of the same time."""
        self.state = self.project.state(self.state.now)

    def report(self, step: Step, done: int = 0, total: int = 0) -> None:
        """Report a step to the observer."""
        self.observer(ProgressEvent(self.asset.key, step, done, total))

    def check_time(self, so_far: str) -> None:
        """Raise DeadlineReached if the time for this attempt is over; for work that cannot be resumed."""
        if self.request.ends_at is not None and time.monotonic() >= self.request.ends_at:
            raise DeadlineReached(
                f"{self.asset.key}: time limit reached; {so_far}, nothing was published, and a retry starts over. "
                "If it keeps failing, give the function more memory (and with it more CPU)"
            )


def _if_recordable(text: str | None) -> str | None:
    return text if is_recordable(text) else None


class Maker(ABC):
    """How the assets of one layer are made. The defaults are those of tables (staging, marts)."""

    resumes: ClassVar[bool] = False
    """Whether the next attempt resumes where this one reached its deadline, so that the deadline is no failure."""

    replays: ClassVar[bool] = False
    """Whether the rows in quarantine can be tried again."""

    def find_new(self, context: Context) -> Stale | None:  # noqa: ARG002
        """Why to make an asset that is up to date by the ledger: a landing asset's source may have changed."""
        return None

    @abstractmethod
    def make(self, context: Context, scratch: Path) -> Candidate:
        """Make and check the table. Nothing that readers see is touched; `scratch` is a local folder, deleted afterwards."""

    def is_unchanged(self, context: Context, entry: Entry) -> bool:  # noqa: ARG002
        """Whether the candidate holds nothing new, so that it is recorded as `unchanged` and dropped."""
        return False

    def publish(self, context: Context, candidate: Candidate, entry: Entry) -> None:
        """Put every object in place, delete those of vanished partitions, and keep copies of what is replaced."""
        lake = context.project.lake
        retention.keep_superseded(lake, context.asset, context.previous, candidate.objects)
        for number, file in enumerate(candidate.files, start=1):
            lake.put(file.stored.path, file.local)
            context.report("publishing", number, len(candidate.files))
        lake.delete_unfinished(context.asset.prefix)
        current = {stored.path for stored in candidate.objects}
        lake.delete([o.path for o in lake.objects(context.asset.prefix) if o.path not in current])
        if candidate.quarantine and entry.quarantine:
            lake.put(entry.quarantine, candidate.quarantine)
            current.add(entry.quarantine)
        lake.sync(sorted(current))

    def clean_up(self, context: Context) -> None:
        """After every record, and again whenever there is nothing to do, so that a kill in between heals: update the catalog."""
        catalog_tables.publish(context.project, context.asset, context.state)


def maker_of(layer: Layer) -> Maker:
    """The maker of a layer. Imports its module, and with it polars or dbt."""
    return cast(Maker, importlib.import_module(f"catalunya.assets.making.{layer}").MAKER)
