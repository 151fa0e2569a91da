"""How one raw page of a staging table becomes checked rows: normalized, through the staging function, through the contract.

Here: what is found in one page, what is found across all of them (`across`), and the reason for each rejected row. Not here: reading
pages and the table as a whole (`staging.py`, `candidate.py`), the rules themselves (`contracts/model`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.assets.making.candidate import check_partition_values
from catalunya.assets.making.drift import RowTypes
from catalunya.assets.making.expressions import look_up
from catalunya.assets.making.notes import Notes
from catalunya.assets.making.references import known_values
from catalunya.assets.making.unpivot import Shape
from catalunya.contracts.model.check import REASON, ROW, add_reason, conform, name_unclassified, renamed, split_rows
from catalunya.contracts.model.columns import NESTED
from catalunya.contracts.model.results import CheckTally
from catalunya.contracts.model.text import Text, clean_text
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.sources.json_types import TYPE
from catalunya.io.sources.pages import FLAW

READABLE, ACCEPTED = "rows can be read", "rows are accepted by the staging function"
"""The checks before those of the contract: broken text and contradicting values, and what the staging function rejects."""


@dataclass
class PageChecker:
    """Checks the raw pages of one staging table. Several threads may use it.

    `reads` are the tables that the declaration reads, in its order; `declared` the types that the source declares, by raw field;
    `across` what the declaration's function of that name found in all pages (None: in each page for itself). The rows that fail each
    check are counted in the `tally`.
    """

    declaration: StagingDeclaration
    reads: Sequence[pl.LazyFrame] = ()
    declared: Mapping[str, str] = field(default_factory=dict)
    across: pl.DataFrame | None = None
    notes: Notes = field(default_factory=Notes)
    tally: CheckTally = field(default_factory=CheckTally)

    def __post_init__(self) -> None:
        self.shape = Shape.of(self.declaration, self.declared)
        self.kinds = self.shape.kinds(source_kinds(self.declaration, self.declared))
        self.types = RowTypes(self.declaration, self.kinds)

    @cached_property
    def known(self) -> dict[str, pl.Series]:
        """The values of the columns that the contract references, which are in the tables it reads."""
        tables = dict(zip((read.name for read in self.declaration.reads), self.reads, strict=False))
        return known_values(self.declaration.asset, tables)

    def check(self, page: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        """The good rows of a page (a long one, with `unpivot`), the bad ones as received with their reason, and how many rows were left out:
        by the staging function, or because they have no value."""
        checked = self._transformed(self.types.taken(page), self.tally)
        self.notes.add(checked.text, checked.unclassified)
        good, bad = self._split(checked.frame, self.tally)
        rejected = bad.join(checked.received.with_row_index(ROW), on=ROW, how="left").drop(ROW) if bad.height else bad
        return good, rejected, page.height - checked.frame.height

    def received(self, page: pl.DataFrame, positions: pl.Series) -> pl.DataFrame:
        """The raw rows behind the good rows of a page at these positions. The page is checked again, so that no other page has to
        carry along where its rows came from."""
        checked = self._transformed(_without_types(page))
        numbers = checked.frame[ROW]
        _, bad = self._split(checked.frame)
        good = numbers.filter(~numbers.is_in(bad[ROW].implode())) if bad.height else numbers
        return checked.received[good.gather(positions)]

    def find_across(self, page: pl.DataFrame) -> pl.DataFrame:
        """What the declaration's `across` selects from one page, each row once. Raises DeclarationError when it has no key or no values."""
        across, key = self.declaration.across, self.declaration.asset.key
        assert across
        found = (
            across(renamed(self.shape.with_values(_without_types(page)), self.declaration.contract)).collect().unique()
        )
        if not self.across_key(found) or not self.across_values(found):
            raise DeclarationError(
                f"{key}: expected `across` to return raw fields, as the key of its rows, and new columns, found "
                f"{', '.join(found.columns) or 'no columns'}; fix {across.__name__}"
            )
        return found

    @cached_property
    def fields(self) -> list[str]:
        """The raw fields of a page."""
        return self.shape.fields

    def empty(self) -> pl.DataFrame:
        """A page without rows."""
        return pl.DataFrame(schema=dict.fromkeys(self.fields, pl.String))

    def across_key(self, found: pl.DataFrame) -> list[str]:
        """The columns that `across` found its rows by."""
        return [name for name in found.columns if name in self.fields]

    def across_values(self, found: pl.DataFrame) -> list[str]:
        """The columns that `across` adds."""
        return [name for name in found.columns if name not in self.fields]

    def _transformed(self, raw: pl.DataFrame, tally: CheckTally | None = None) -> _Checked:
        """What the staging function makes of a page, conformed to the contract, in the order of the raw rows."""
        declaration, contract = self.declaration, self.declaration.contract
        raw = self.shape.with_values(raw)
        flaw = raw[FLAW] if FLAW in raw.columns else None
        fields = raw if flaw is None else raw.drop(FLAW)
        text = clean_text(fields)
        arguments, received = list(self.reads), raw
        if declaration.across:
            found = self.find_across(raw) if self.across is None else self.across
            single, contradictions = self._single(text.frame, found)
            arguments.append(single.lazy())
            beside = look_up(text.frame.lazy(), single.lazy(), on=self.across_key(found)).collect()
            flaw = _joined(flaw, contradictions)
            # A replay finds both beside the rows: the rows they came from are gone by then.
            received = raw.with_columns(
                *beside.select(self.across_values(found)), *([flaw.alias(FLAW)] if flaw is not None else [])
            )
        page = renamed(fields, contract, text)
        made = conform(declaration.asset.key, declaration.function(page, *arguments), contract, self.kinds)
        frame = made.collect(engine="in-memory")  # a quarter less CPU than streaming what is in memory already
        if not frame[ROW].is_sorted():  # a join may shuffle; the same rows must give the same bytes
            frame = frame.sort(ROW)
        if frame[ROW].n_unique() != frame.height or frame.height > raw.height:
            raise DeclarationError(
                f"{declaration.asset.key}: expected at most one row per raw row, but the staging function duplicated rows; "
                "does it join on a key that is not unique?"
            )
        own = frame[REASON]
        # After the staging function, so that no reason of its own takes the place of this one.
        reason = _joined(flaw, text.broken)
        if reason is not None:
            reason = reason.gather(frame[ROW])
            frame = add_reason(frame, reason)
        frame, unclassified = name_unclassified(frame, contract)
        if tally is not None:
            self._count(tally, own, reason, unclassified)
        return _Checked(check_partition_values(frame, declaration.asset, tally), received, text, unclassified)

    def _count(
        self, tally: CheckTally, own: pl.Series, unreadable: pl.Series | None, unclassified: Mapping[str, Counter[str]]
    ) -> None:
        """Count what came before the contract's rules. A reason may quote any field, so none is shown if one is personal."""
        is_personal = any(raw.personal for raw in self.declaration.landing.contract.fields())
        for name, reasons in ((READABLE, unreadable), (ACCEPTED, own)):
            rows = 0 if reasons is None else reasons.len() - reasons.null_count()
            sample = reasons.drop_nulls().cast(pl.String).min() if rows and reasons is not None else ""
            tally.count(name, "contract", rows, sample, personal=is_personal)
        for column in self.declaration.contract.columns():
            if column.classifies:
                names = unclassified.get(column.name, Counter[str]())
                tally.count(
                    f"{column.name}: its rules know every {column.classifies}",
                    "contract",
                    names.total(),
                    min(names, default=""),
                    column=column.name,
                    severity="error" if column.otherwise is None else "warning",
                    personal=column.personal,
                )

    def _split(self, frame: pl.DataFrame, tally: CheckTally | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
        return split_rows(frame, self.declaration.contract, self.kinds, self.known, tally)

    def _single(self, page: pl.DataFrame, found: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
        """What `across` found without the keys that have different values, and a reason to reject the rows of the page with these."""
        key = self.across_key(found)
        is_single = found.select(key).is_unique()
        if is_single.all():
            return found, None
        values = [
            pl.concat_str(
                pl.lit(f"{name}: contradicting values "),
                pl.col(name).cast(pl.String).fill_null("null").unique().sort().head(3).str.join(" and "),
            )
            for name in self.across_values(found)
        ]
        reasons = found.filter(~is_single).group_by(key).agg(pl.concat_str(values, separator="; ").alias(FLAW))
        return found.filter(is_single), look_up(page.select(key).lazy(), reasons.lazy(), on=key).collect()[FLAW]


@dataclass(frozen=True, slots=True)
class _Checked:
    """A page after the staging function: its conformed rows, the raw rows to quarantine, its text, and the names that no rule knows."""

    frame: pl.DataFrame
    received: pl.DataFrame
    text: Text
    unclassified: dict[str, Counter[str]]


def source_kinds(declaration: StagingDeclaration, declared: Mapping[str, str]) -> dict[str, str]:
    """Raw field -> its type at the source: as the source declared it, else as the landing contract does.

    Raises ContractError when a column is to be read from a field that holds objects: no text of it is right.
    """
    kinds = {f.name: f.kind for f in declaration.landing.contract.fields() if f.kind} | dict(declared)
    for column in declaration.contract.columns():
        kind = kinds.get(column.source or "")
        if kind in NESTED:
            raise ContractError(
                f"{declaration.asset.key}: column {column.name} reads the field {column.source}, expected a value, found that the source "
                f"declares it as {kind}, an object; take the column out of {declaration.contract.__name__}, or read its parts from other fields"
            )
    return kinds


def _joined(*reasons: pl.Series | None) -> pl.Series | None:
    """The reasons for each row as one text, null where there is none; None if there is none at all."""
    some = [reason.alias(str(number)) for number, reason in enumerate(reasons) if reason is not None]
    if not some:
        return None
    joined = pl.concat_str(some, separator="; ", ignore_nulls=True).replace("", None)
    return pl.select(joined.alias(FLAW)).to_series()


def _without_types(page: pl.DataFrame) -> pl.DataFrame:
    return page.drop(name for name in page.columns if name.startswith(TYPE))
