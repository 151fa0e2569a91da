"""What an asset is, as plain data, and how one is declared.

Here: `Asset` (what the graph, the DAGs and the CLI read) and the declarations that lead to one: `Landing`, `staging`, `Marts`.
Not here: finding the declarations (`discovery.py`), relations between assets (`graph.py`), making a table (`assets/making`).
Importing this costs nothing: no polars, no pandera.
"""

from __future__ import annotations

import inspect
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from catalunya.assets.graph.alternatives import FIRST, Alternative, checked, chosen
from catalunya.assets.graph.unpivot import Unpivot
from catalunya.contracts.model.columns import NESTED, PROVENANCE, Column
from catalunya.io.errors import DeclarationError
from catalunya.io.project_folder import active
from catalunya.io.safe_text import few, is_pattern

if TYPE_CHECKING:
    import polars as pl

    from catalunya.contracts.model.contract import Contract, LandingContract
    from catalunya.io.sources.extraction import Source

    StagingFunction = Callable[..., pl.LazyFrame]

Clock = Literal["day", "year"]
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FOLDERS = {"dim": "dimensions", "fact": "facts", "agg": "aggregates"}


class Layer(StrEnum):
    """The three layers, in the order data flows."""

    LANDING = "landing"
    STAGING = "staging"
    MARTS = "marts"


FUNCTIONS = {Layer.LANDING: "extract", Layer.STAGING: "transform"}
"""The layers that Lambda functions make, and the handler in `ops/lambdas.py` for each."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the source's own last update may be before its tables count as overdue."""

    hours: float


def months(count: int) -> timedelta:
    """A span of `count` months of 30 days, for retention."""
    return timedelta(days=30 * count)


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One table, as plain data: everything about it that does not need its code.

    - `upstream`: the keys it reads. `optional`: those of them that a mart is also made without, if they failed before they were ever made.
    - `code_version`: changes when its function, contract or SQL changes.
    - `clock`: the part of the date that its rows depend on (`year` for a calendar that ends with next year).
    - `keep_days`: how long superseded data is kept.
    - `portal`: the base URL of the API that a landing asset is read from.
    - `alternatives`: the names of other sources of a landing asset, `in_use` the one that it is read from (None: its first source).
    - `has_periods`: a landing asset whose source can be read by period, so that it can be backfilled.
    - `keeps_history`: what it publishes contains what it published before (an incremental mart).
    """

    key: str
    description: str
    columns: tuple[Column, ...]
    code_version: str
    upstream: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    source: str | None = None
    portal: str | None = None
    alternatives: tuple[str, ...] = ()
    in_use: str | None = None
    schedule: str | None = None
    freshness: Freshness | None = None
    clock: Clock | None = None
    partition_by: tuple[str, ...] = ()
    keep_days: int = 90
    has_periods: bool = False
    keeps_history: bool = False
    module: str = ""

    def __post_init__(self) -> None:
        layer, _, name = self.key.partition(".")
        if layer not in set(Layer) or not _NAME.fullmatch(name):
            raise DeclarationError(
                f"{self.key}: expected `layer.name` with one of the layers {', '.join(Layer)} and a snake_case name; rename the asset"
            )
        if self.layer is Layer.MARTS and name.split("_")[0] not in _FOLDERS:
            raise DeclarationError(
                f"{self.key}: a mart is named {', '.join(f'{prefix}_…' for prefix in _FOLDERS)}; rename its model"
            )
        unknown = set(self.partition_by) - {column.name for column in self.columns}
        if unknown:
            raise DeclarationError(
                f"{self.key}: partition_by names {', '.join(unknown)}, which the contract does not have"
            )
        for key in self.optional:
            if key not in self.upstream:
                near = get_close_matches(key, self.upstream, n=1, cutoff=0.5)
                raise DeclarationError(
                    f"{self.key}: optional names {key}, expected a table that it reads{f'; did you mean {near[0]}?' if near else ''}"
                    f" (it reads {', '.join(self.upstream) or 'nothing'})"
                )
        for column in self.columns:
            table = (column.references or self.name).partition(".")[0]
            if table != self.name and f"{self.layer}.{table}" not in self.upstream:
                raise DeclarationError(
                    f"{self.key}: column {column.name} references {column.references}, expected it to read {self.layer}.{table}, found "
                    f"{', '.join(self.upstream) or 'that it reads nothing'}; add the table to `reads`, or correct the contract"
                )
            if f"{self.layer}.{table}" in self.optional:
                raise DeclarationError(
                    f"{self.key}: column {column.name} references {column.references}, expected a table that is always there, found that "
                    f"{self.layer}.{table} is optional; take one of the two out"
                )

    @property
    def layer(self) -> Layer:
        return Layer(self.key.partition(".")[0])

    @property
    def name(self) -> str:
        return self.key.partition(".")[2]

    @property
    def uri(self) -> str:
        """The asset's identity, the same in every environment."""
        return f"{active().name}://{self.layer}/{self.name}"

    @property
    def prefix(self) -> str:
        """The folder of the lake its objects live in."""
        kind = f"{_FOLDERS[self.name.split('_')[0]]}/" if self.layer is Layer.MARTS else ""
        return f"{self.layer}/{kind}{self.name}"

    @property
    def standbys(self) -> tuple[str, ...]:
        """The names of a landing asset's sources that are not in use; none if it has only one."""
        names = (FIRST, *self.alternatives) if self.alternatives else ()
        return tuple(name for name in names if name != (self.in_use or FIRST))

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that identify a row."""
        return tuple(column.name for column in self.columns if column.key)

    def clock_version(self, now: datetime) -> str | None:
        """The clock's value: one of the versions that an asset with a clock is made from."""
        return {"day": f"{now:%Y-%m-%d}", "year": f"{now:%Y}", None: None}[self.clock]


@dataclass(frozen=True, kw_only=True)
class Declaration(ABC):
    """What all declarations share: a name, a contract, and the asset that follows from them."""

    layer: ClassVar[Layer]
    name: str
    contract: type[Contract]
    module: str

    @property
    def key(self) -> str:
        """The asset's key. (To ask the asset for it hashes its code first.)"""
        return f"{self.layer}.{self.name}"

    @property
    @abstractmethod
    def asset(self) -> Asset:
        """The asset as plain data."""


@dataclass(frozen=True, kw_only=True)
class LandingDeclaration(Declaration):
    """The raw pages of one source, deleted once staging has used them.

    `source` is the one in use: the `first` one, or the alternative named `in_use`.
    """

    layer = Layer.LANDING

    contract: type[LandingContract]
    source: Source[Any]
    first: Source[Any] | None = None
    alternatives: Mapping[str, Alternative] = field(default_factory=dict, hash=False)
    in_use: str = ""
    schedule: str
    freshness: Freshness | None

    @property
    def file(self) -> str:
        """Where it stands, for messages: "assets/employment.py"."""
        return f"{'/'.join(self.module.split('.')[-2:])}.py"

    def using(self, name: str) -> LandingDeclaration:
        """The same table, read from one of its alternatives, or from its first source (""). Raises DeclarationError."""
        first = self.first or self.source
        if not name:
            return replace(self, source=first, first=first, in_use="")
        name = chosen(self.key, self.alternatives, name)
        return replace(self, source=self.alternatives[name].source, first=first, in_use=name)

    def of_dataset(self, described: str) -> LandingDeclaration:
        """The same table, read from the source that is described so; as it is, if none of its sources is."""
        others = (self.using(name) for name in ("", *self.alternatives))
        return next((each for each in (self, *others) if each.source.describe() == described), self)

    @property
    def reading(self) -> Alternative:
        """How the raw fields of the source in use become those of the contract."""
        return self.alternatives[self.in_use] if self.in_use else Alternative(source=self.source)

    @cached_property
    def asset(self) -> Asset:
        """The landing asset; its columns are the raw fields."""
        renamed = [repr(sorted(self.reading.fields.items()))] if self.reading.fields else []
        return Asset(
            key=self.key,
            description=self.contract.description(),
            columns=tuple(
                Column(f.name, "string", f.description, nullable=not f.required, personal=f.personal)
                for f in self.contract.fields()
            ),
            code_version=digest(self.contract.version(), repr(self.source), *renamed),
            source=self.source.describe(),
            portal=self.source.portal or active().portals.get(self.source.kind),
            alternatives=tuple(self.alternatives),
            in_use=self.in_use or None,
            schedule=self.schedule,
            freshness=self.freshness,
            has_periods=self.source.has_periods,
            module=self.module,
        )


@dataclass(frozen=True, kw_only=True)
class StagingDeclaration(Declaration):
    """A clean table made from one source's raw rows, page by page, with other staging tables available as `reads`."""

    layer = Layer.STAGING

    landing: LandingDeclaration
    reads: tuple[StagingDeclaration, ...]
    function: StagingFunction
    across: StagingFunction | None = None
    unpivot: Unpivot | None = None
    partition_by: tuple[str, ...]
    keep: timedelta

    def __post_init__(self) -> None:
        """Raise DeclarationError for a column that would be null in every row: its source is not read."""
        if self.landing.alternatives and not self.has_provenance:
            raise DeclarationError(
                f"staging.{self.name}: {self.landing.key} has alternative sources, expected a column of {self.contract.__name__} that says "
                'which of them a row is from, found none; add one: `column("Dataset that the row is from", source=PROVENANCE)`'
            )
        fields = {field.name: field for field in self.landing.contract.fields()}
        made, gone = self._unpivoted(fields)
        for column in (column for column in self.contract.columns() if column.source not in {None, PROVENANCE, *made}):
            field, raw = fields.get(str(column.source)), self.landing.contract.__name__
            if column.source in gone:
                raise DeclarationError(
                    f"staging.{self.name}: column {column.name} of {self.contract.__name__} reads the field {column.source}, which `unpivot` makes "
                    f"rows of; read {' and '.join(made)}"
                )
            why = f"{raw} does not have; declare it there" if field is None else None
            if field and field.personal:
                why = "is personal and never leaves landing; take the column out"
            if field and field.kind in NESTED:
                why = f"holds objects ({field.kind}), not values; take the column out, or read its parts from other fields"
            if why:
                raise DeclarationError(
                    f"staging.{self.name}: column {column.name} of {self.contract.__name__} reads the field {column.source}, which {why}"
                )

    @property
    def has_provenance(self) -> bool:
        """Whether a column says which dataset each row is from."""
        return any(column.source == PROVENANCE for column in self.contract.columns())

    def _unpivoted(self, fields: Iterable[str]) -> tuple[tuple[str, ...], Collection[str]]:
        """The fields that `unpivot` makes, and those that it takes. Raises DeclarationError."""
        if self.unpivot is None:
            return (), ()
        made = (self.unpivot.names_to, self.unpivot.values_to)
        named = () if isinstance(self.unpivot.columns, str) else self.unpivot.columns
        if patterns := [name for name in (*made, *named) if is_pattern(name)]:
            raise DeclarationError(
                f"staging.{self.name}: unpivot: expected fields with names, found {few(patterns)}, which polars takes for a pattern of names; "
                "give what it makes another name, or leave the column in landing"
            )
        wrong = [f"{name}, which it has already" for name in made if name in fields]
        wrong += [f"{name}, which it does not have" for name in named if name not in fields]
        if wrong:
            raise DeclarationError(
                f"staging.{self.name}: unpivot names the field {'; '.join(wrong)} (by {self.landing.contract.__name__}); correct it"
            )
        return made, self.unpivot.names(fields)

    @cached_property
    def asset(self) -> Asset:
        """The staging asset. Its code is its whole module, so that helper functions count."""
        from catalunya.contracts.model.contract import source_hash  # pandera is heavy; a declaration is light

        if self.landing.asset.has_periods and self.contract.period() is None:
            raise DeclarationError(
                f"staging.{self.name}: its source can be read by period, but no column of {self.contract.__name__} is marked as the "
                "period; declare that column with period=True"
            )
        chosen = self.contract.terms().latest_by
        if chosen and chosen not in self.contract.polars_schema():
            raise DeclarationError(
                f"staging.{self.name}: {self.contract.__name__} chooses among rows of one key by `latest_by={chosen!r}`, which is none of its "
                "columns; name one of them"
            )
        declared = [repr(self.unpivot)] if self.unpivot else []
        declared += [self.landing.in_use] if self.landing.in_use else []
        functions = [self.across, *(each.rows for each in self.landing.alternatives.values())]
        modules = {self.module} | {each.__module__ for each in functions if each}
        return Asset(
            key=self.key,
            description=self.contract.description(),
            columns=self.contract.columns(),
            code_version=digest(
                self.contract.version(), *(source_hash(sys.modules[name]) for name in sorted(modules)), *declared
            ),
            upstream=(self.landing.key, *(read.key for read in self.reads)),
            source=self.landing.asset.source,
            freshness=self.landing.freshness,
            partition_by=self.partition_by,
            keep_days=self.keep.days,
            module=self.module,
        )


@dataclass(frozen=True, kw_only=True)
class MartDeclaration(Declaration):
    """A dimension, fact or aggregate built by one dbt model; upstream, description and code come from dbt's manifest."""

    layer = Layer.MARTS

    upstream: tuple[str, ...]
    sql_version: str
    optional: tuple[str, ...] = ()
    clock: Clock | None = None
    partition_by: tuple[str, ...] = ()
    keeps_history: bool = False
    keep: timedelta = field(default_factory=lambda: months(3))

    @cached_property
    def asset(self) -> Asset:
        """The mart asset."""
        return Asset(
            key=self.key,
            description=self.contract.description(),
            columns=self.contract.columns(),
            code_version=digest(self.contract.version(), self.sql_version),
            upstream=self.upstream,
            optional=self.optional,
            clock=self.clock,
            partition_by=self.partition_by,
            keep_days=self.keep.days,
            keeps_history=self.keeps_history,
            module=self.module,
        )


@dataclass(frozen=True)
class Marts:
    """The marts of a project: a module of contracts, and the dbt models of the same names."""

    module: ModuleType

    @cached_property
    def contracts(self) -> Mapping[str, type[Contract]]:
        """The contracts by the name of their model: DimTime is `dim_time`'s."""
        from catalunya.contracts.model.contract import Contract  # pandera is heavy; a declaration is light

        found = inspect.getmembers(self.module, lambda member: inspect.isclass(member) and issubclass(member, Contract))
        return {model_name(name): contract for name, contract in found if contract.__module__ == self.module.__name__}


def model_name(contract: str) -> str:
    """The dbt model of a contract class: `DimTime` -> `dim_time`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", contract).lower()


def Landing(  # noqa: N802  reads like a class in an asset file
    name: str,
    *,
    source: Source[Any],
    contract: type[LandingContract],
    schedule: str,
    freshness: Freshness | None = None,
    alternatives: Mapping[str, Source[Any] | Alternative] | None = None,
) -> LandingDeclaration:
    """Declare the landing asset of a source: where it comes from, its raw fields, and when it is read (cron, UTC).

    `alternatives`: other sources of the same table by name, for the day on which this one dies; `catalunya sources switch` chooses.
    """
    if len(schedule.split()) != 5 and not schedule.startswith("@"):
        raise DeclarationError(
            f"landing.{name}: expected a cron expression of five fields ('0 5 * * *') or a preset ('@daily'), found {schedule!r}"
        )
    declared = LandingDeclaration(
        name=name,
        source=source,
        alternatives=checked(f"{Layer.LANDING}.{name}", alternatives or {}, source),
        contract=contract,
        schedule=schedule,
        freshness=freshness,
        module=_caller(),
    )
    return declared.using(active().sources.get(name, ""))


def staging(
    landing: LandingDeclaration,
    *,
    contract: type[Contract],
    reads: Sequence[StagingDeclaration] = (),
    across: StagingFunction | None = None,
    unpivot: Unpivot | None = None,
    partition_by: Sequence[str] = (),
    keep: timedelta = months(3),
) -> Callable[[StagingFunction], StagingDeclaration]:
    """Declare a staging asset by the function that makes it.

    The function gets one page of raw rows at a time, with the contract's columns beside them (named, trimmed, as text), and the
    `reads` in order; it returns the page with the columns that the source does not have added (`with_columns`, `filter`). Types,
    checks, deduplication by key and partitions follow from the contract.

    Which rows are in one page is the source's choice. For values that stand in other rows (the total of all municipalities), `across`
    selects them: it gets the same page, and returns a few rows with columns of the page, which are their key, and new ones. What it
    returns for all pages together, each row once, is the function's last argument, for `look_up`. Where two of them have one key
    and different values, none is right: rows of the page with that key are rejected.

    A function keeps rows apart: for a row it returns that row or none. `unpivot` makes several of one, before the function sees them.
    """

    def declare(function: StagingFunction) -> StagingDeclaration:
        return StagingDeclaration(
            name=function.__name__,
            landing=landing,
            contract=contract,
            reads=tuple(reads),
            function=function,
            across=across,
            unpivot=unpivot,
            partition_by=tuple(partition_by),
            keep=keep,
            module=function.__module__,
        )

    return declare


def digest(*parts: str) -> str:
    """SHA-256 of the parts in order, 16 hex digits."""
    import hashlib

    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _caller() -> str:
    """The module that called the function which calls this one."""
    name: Any = sys._getframe(2).f_globals["__name__"]  # noqa: SLF001  the only way to know where a declaration stands
    return str(name)
