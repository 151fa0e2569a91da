"""Applies a contract to rows: casts a frame to the declared types, and separates the rows that break a rule, with a reason for each.

Here: checks of rows and of a source's fields. Not here: what follows from them (quarantine, failure), which is up to the
materialization (`assets/making`).
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandera.polars as pa
import polars as pl

from catalunya.contracts.model import values
from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.contract import Contract, LandingContract
from catalunya.contracts.model.results import CheckTally
from catalunya.contracts.model.rules import reference_rule, rules, type_rule
from catalunya.contracts.model.text import Text, clean_text
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.safe_text import NAME, few, legible

ROW = "_row"
REASON = "_reason"
_TEXT = "_text."
LONGEST_REASON = 300
"""Longest reason, in characters, that a staging function may give for rejecting a row."""
SHOWN = 20
"""How many names of each kind a drift message lists."""

REQUIRED, AS_DECLARED = "required fields are present", "fields are as declared"
"""The checks of a source's fields."""

_NUMBERS = ("integer", "bigint", "double")
_BOUNDS_BELOW = {"greater_than", "greater_than_or_equal_to", "in_range", "isin", "equal_to"}
_BOUNDS_ABOVE = {"less_than", "less_than_or_equal_to", "in_range", "isin", "equal_to"}

_CHECKS, _LOADING = "pandera.backends.polars.builtin_checks", threading.Lock()

# Values that stand for "no value": Socrata omits nulls, but the forms that fill its tables do not; IDESCAT prints two dots.
_NO_VALUE = ("", "null", "NULL", "N/A", "..")


@dataclass(frozen=True, slots=True)
class FieldDrift:
    """How a source's fields differ from its landing contract."""

    new: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    retyped: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.new or self.missing or self.retyped)

    def __str__(self) -> str:
        """As shown in messages, the ledger and asset events. The names are the source's, so they are escaped and their number is limited."""
        changes = [f"new {few(sorted(self.new), SHOWN)}"] if self.new else []
        changes += [f"missing {few(self.missing, SHOWN)}"] if self.missing else []
        changes += [f"{name} was {was}, is {legible(now, NAME)}" for name, (was, now) in self.retyped.items()]
        return "; ".join(changes)


def check_fields(
    asset: str,
    contract: type[LandingContract],
    found: Mapping[str, str],
    known: Mapping[str, str] | None = None,
    tally: CheckTally | None = None,
) -> FieldDrift:
    """Compare the fields a source declares (name -> type) with its landing contract, and where that gives no type, with what the
    source declared before (`known`).

    Returns the drift to record, and counts both checks in the `tally`. Raises ContractError when a required field is missing, or on any
    drift under `freeze`.
    """
    declared = {f.name: f for f in contract.fields()}
    before = {name: f.kind or (known or {}).get(legible(name, NAME)) for name, f in declared.items()}
    drift = FieldDrift(
        new={name: kind for name, kind in found.items() if name not in declared},
        missing=tuple(name for name in declared if name not in found),
        retyped={
            name: (kind, found[name])
            for name, kind in before.items()
            if kind and name in found and kind not in (found[name], legible(found[name], NAME))
        },
    )
    required = [name for name in drift.missing if declared[name].required]
    if tally is not None:
        tally.put(REQUIRED, "contract", len(required), ", ".join(required))
        if contract.terms().drift != "discard":
            is_frozen = contract.terms().drift == "freeze"
            differing = len(drift.new) + len(drift.missing) + len(drift.retyped)
            tally.put(AS_DECLARED, "contract", differing, drift, severity="error" if is_frozen else "warning")
    if required or (drift and contract.terms().drift == "freeze"):
        raise ContractError(
            f"{asset}: the source's fields do not match {contract.__name__}: {drift}. "
            f"Nothing was published; if the source changed on purpose, update the contract"
            + (f" ({_renaming(required[0], declared[required[0]].kind, drift)})" if required and drift.new else "")
        )
    return FieldDrift() if contract.terms().drift == "discard" else drift


def _renaming(missing: str, kind: str | None, drift: FieldDrift) -> str:
    """What may have become of a missing field. A dimension that alone had a role is named by it; of several, each by its own name."""
    found = drift.new | {name: now for name, (_, now) in drift.retyped.items()}
    alike = [name for name, now in found.items() if kind and now == kind]
    if len(alike) > 1:
        return f"several dimensions are of the kind {kind}: declare {few(alike, SHOWN)} in place of {missing}, with kind={kind!r}"
    return f"is {missing} now called {few((alike or list(drift.new))[:1])}?"


def renamed(raw: pl.DataFrame, contract: type[Contract], text: Text | None = None) -> pl.LazyFrame:
    """The raw page, normalized (`text`, if that was done already), with the contract's columns added beside the raw ones: words for "no value" made null.

    Adds `_row` (the row's position in the page) and `_reason` (null). A staging function gets this frame, keeps these two
    columns, and sets `_reason` on the rows it rejects.
    """
    raw = (text or clean_text(raw)).frame
    columns = [
        no_value_as_null(pl.col(column.source)).alias(column.name)
        for column in contract.columns()
        if column.source in raw.columns
    ]
    missing = [
        pl.lit(None, pl.String).alias(c.name) for c in contract.columns() if c.source and c.source not in raw.columns
    ]
    return raw.lazy().with_columns(
        *columns, *missing, pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW), pl.lit(None, pl.String).alias(REASON)
    )


def conform(
    asset: str, frame: pl.LazyFrame, contract: type[Contract], kinds: Mapping[str, str] | None = None
) -> pl.LazyFrame:
    """Select the contract's columns in order and cast text to their types. `kinds` are the types that the source declares, by raw field.

    The result also has `_row`, `_reason`, and for each column that was cast its text as `_text.<column>`, so that `split_rows`
    can find values that could not be cast. Raises DeclarationError when the frame lacks a column of the contract, or has one
    whose type can be neither read as the declared type nor converted to it.
    """
    kinds = kinds or {}
    found = frame.collect_schema()
    absent = [name for name in (*contract.polars_schema(), ROW, REASON) if name not in found]
    if absent:
        raise DeclarationError(
            f"{asset}: expected the columns of {contract.__name__}, found no {', '.join(absent)}. "
            "Give the column a source field, or add it in the staging function (with_columns, not select)"
        )
    columns, texts = [], []
    for column in contract.columns():
        name, dtype = column.name, contract.polars_schema()[column.name]
        if found[name] == dtype:
            columns.append(pl.col(name))
        elif found[name] in (pl.String, pl.Null):
            text = pl.col(name).cast(pl.String)
            columns.append(
                values.read(text, dtype, contract.terms().locale, kinds.get(column.source or "")).alias(name)
            )
            texts.append(text.alias(_TEXT + name))
        elif found[name].is_numeric() and dtype.is_numeric():
            value, lost = values.converted(pl.col(name), found[name], dtype)
            columns.append(value.alias(name))
            texts.append(lost.alias(_TEXT + name))
        elif isinstance(own := found[name], pl.Datetime) and isinstance(dtype, pl.Datetime):
            columns.append(values.as_utc(pl.col(name), own, dtype))
        else:
            raise DeclarationError(
                f"{asset}: column {name} is {found[name]}, {contract.__name__} declares {dtype}; fix the staging function"
            )
    # A staging function quotes source values in its reasons, and these may be of any length.
    reason = pl.col(REASON).cast(pl.String).str.slice(0, LONGEST_REASON)
    return frame.select(*columns, pl.col(ROW).cast(pl.UInt32), reason, *texts)


def name_unclassified(frame: pl.DataFrame, contract: type[Contract]) -> tuple[pl.DataFrame, dict[str, Counter[str]]]:
    """A conformed frame in which what no rule classified has the column's `otherwise`, or a reason if there is none.

    Also returns the names of these rows and how often each occurs, by column.
    """
    unknown = {}
    for column in (column for column in contract.columns() if column.classifies):
        name = pl.col(str(column.classifies))
        is_unknown = pl.col(column.name).is_null() & name.is_not_null()
        names = frame.filter(is_unknown & pl.col(REASON).is_null()).group_by(name).len()
        if names.height:
            unknown[column.name] = Counter(dict(names.iter_rows()))
        if column.otherwise is not None:
            frame = frame.with_columns(pl.col(column.name).fill_null(column.otherwise))
            continue
        why = pl.format(f"{column.name}: no rule knows '{{}}'", name.str.slice(0, 80))
        frame = add_reason(frame, pl.when(is_unknown).then(why))
    return frame, unknown


def add_reason(frame: pl.DataFrame, why: pl.Expr | pl.Series) -> pl.DataFrame:
    """The frame with another reason to reject each row for which there is one."""
    reasons = pl.concat_str(REASON, why, separator="; ", ignore_nulls=True)
    return frame.with_columns(pl.when(reasons != "").then(reasons).alias(REASON))


def split_rows(
    frame: pl.DataFrame,
    contract: type[Contract],
    kinds: Mapping[str, str] | None = None,
    references: Mapping[str, pl.Series] | None = None,
    tally: CheckTally | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a conformed frame into the rows that pass (contract columns only) and `_row` and `_reason` of those that do not.

    `kinds` as in `conform`; `references` are the values that a column with `references=` may have. How many rows break each rule is
    counted in the `tally`: among the rejected rows only, so that it costs nothing where all is well. A row that breaks one of the
    rules that every contract has (types, references) is not checked further.
    """
    names = list(contract.polars_schema())
    breaches = [
        *_unparsed(frame, contract, kinds or {}),
        *_not_values(contract),
        *(_unknown(c, references[c.name]) for c in contract.columns() if references and c.name in references),
    ]
    is_bad = frame.select(bad=pl.any_horizontal(pl.col(REASON).is_not_null(), *(breach.is_so for breach in breaches)))[
        "bad"
    ]
    broken = frame.filter(is_bad)
    if tally is not None:
        _count_rules(tally, contract)
        _count_breaches(tally, broken, breaches)
    bad = broken.select(
        ROW,
        pl.concat_str(
            REASON,
            *(pl.when(breach.is_so).then(breach.reason) for breach in breaches),
            separator="; ",
            ignore_nulls=True,
        ).alias(REASON),
    )
    rest = frame if bad.is_empty() else frame.filter(~is_bad)
    values_of_rest = rest.select(names)
    if keeps_all(values_of_rest, contract):
        return values_of_rest, bad
    try:
        contract.to_schema().validate(values_of_rest, lazy=True)
    except pa.errors.SchemaErrors as errors:
        if tally is not None:
            _count_failures(tally, errors.failure_cases, contract)
        failing = _broken_rules(errors.failure_cases, contract, rest[ROW])
        rest = rest.filter(~pl.col(ROW).is_in(failing[ROW].implode()))
        bad = pl.concat([bad, failing]).sort(ROW)
    return rest.select(names), bad


def _load_checks() -> None:
    """Load pandera's own checks, which it would do at the first one. They import hypothesis, for examples of rows, which are not
    used here: where it is installed for tests, a tenth of a second. So they load as where it is not."""
    with _LOADING:
        if _CHECKS in sys.modules:
            return
        if is_without_hypothesis := "hypothesis" not in sys.modules:
            sys.modules["hypothesis"] = None  # type: ignore[assignment]
        importlib.import_module(_CHECKS)
        if is_without_hypothesis:
            del sys.modules["hypothesis"]


def keeps_all(rows: pl.DataFrame, contract: type[Contract]) -> bool:
    """Whether pandera would find nothing wrong with these rows, which have no NaN, by its own checks. False where that is uncertain.

    `validate` looks for the rows that break a rule, column by column: several times the work, for pages of which nearly all have none.
    """
    _load_checks()
    schema, frame = contract.to_schema(), rows.lazy()
    columns = schema.columns.items()
    if rows.schema != contract.polars_schema() or any(
        (not column.nullable and rows[name].null_count()) or (column.unique and rows[name].is_duplicated().any())
        for name, column in columns
    ):
        return False
    try:
        passed = [
            check(frame, name).check_passed
            for name, checks in [*((name, column.checks) for name, column in columns), (None, schema.checks)]
            for check in checks
        ]
        return all(one.item() for one in pl.collect_all(passed))
    except Exception:  # noqa: BLE001 - a check that is wrong itself: `validate` says which
        return False


@dataclass(frozen=True, slots=True)
class _Breach:
    """A rule that every contract has: which rows break it, never null, the reason for those, and the value that breaks it, as text."""

    column: Column
    is_so: pl.Expr
    reason: pl.Expr
    value: pl.Expr


def _count_rules(tally: CheckTally, contract: type[Contract]) -> None:
    """Each rule ran."""
    for rule in rules(contract):
        tally.count(rule.name, "contract", column=rule.column.name if rule.column else "")


def _count_breaches(tally: CheckTally, broken: pl.DataFrame, breaches: Sequence[_Breach]) -> None:
    """The rejected rows by the rule that every contract has and that they break."""
    counts: Sequence[int] = [0] * len(breaches)
    if breaches and broken.height:
        counts = broken.select(breach.is_so.sum().alias(str(at)) for at, breach in enumerate(breaches)).row(0)
    for breach, rows in zip(breaches, counts, strict=True):
        column, is_reference = breach.column, isinstance(breach, _UnknownValue)
        tally.count(
            reference_rule(column, tally.layer) if is_reference else type_rule(column),
            "reference" if is_reference else "contract",
            rows or 0,
            broken.filter(breach.is_so).select(breach.value.min()).item() if rows else "",
            column=column.name,
            personal=column.personal,
        )


def _count_failures(tally: CheckTally, cases: pl.DataFrame, contract: type[Contract]) -> None:
    """pandera's failure cases by rule. A rule of rows fails with whole rows, which are no sample."""
    known = {(rule.column.name if rule.column else None, rule.pandera): rule for rule in rules(contract)}
    context = pl.col("schema_context") == "Column"
    counted = cases.group_by(pl.when(context).then("column").alias("of"), "check").agg(
        pl.len(), pl.col("failure_case").cast(pl.String).min()
    )
    for of, check, rows, value in counted.iter_rows():
        rule = known.get((of, check))
        column = rule.column if rule else None
        tally.count(
            rule.name if rule else f"{of or 'rows'}: {check}",
            "contract",
            rows,
            value if column else "",
            column=column.name if column else "",
            personal=bool(column and column.personal),
        )


class _UnknownValue(_Breach):
    """The rule that a value is in the table it references."""


def _unparsed(frame: pl.DataFrame, contract: type[Contract], kinds: Mapping[str, str]) -> list[_Breach]:
    """Text that could not be cast."""
    breaches = []
    for column in (column for column in contract.columns() if _TEXT + column.name in frame.columns):
        text = pl.col(_TEXT + column.name)
        is_local = column.type in _NUMBERS and kinds.get(column.source or "") not in values.NUMBER_KINDS
        advice = values.advice(text, contract.__name__, contract.terms().locale) if is_local else pl.lit("")
        reason = pl.format(f"{column.name}: '{{}}' is not a valid {column.type}{{}}", _shown(text), advice)
        breaches.append(_Breach(column, text.is_not_null() & pl.col(column.name).is_null(), reason, text))
    return breaches


def _not_values(contract: type[Contract]) -> list[_Breach]:
    """Floats that are no numbers, and days and moments in years that cannot be right."""
    breaches = []
    for column in contract.columns():
        value = pl.col(column.name)
        if column.type == "double":
            found = values.not_a_number(value)
            reason = pl.format(f"{column.name}: {{}} is not a number", found)
            breaches.append(_Breach(column, (~value.is_finite()).fill_null(value=False), reason, found))
        elif column.type in ("date", "timestamp"):
            bounds = {check.name for check in contract.to_schema().columns[column.name].checks}
            is_so = values.is_implausible(
                value,
                contract.polars_schema()[column.name],
                bounded_below=bool(bounds & _BOUNDS_BELOW),
                bounded_above=bool(bounds & _BOUNDS_ABOVE),
            )
            text = _shown(value.cast(pl.String))
            years = f"is not in the years {values.FIRST_YEAR} to {values.LAST_YEAR}"
            breaches.append(_Breach(column, is_so, pl.format(f"{column.name}: '{{}}' {years}", text), text))
    return breaches


def _unknown(column: Column, known: pl.Series) -> _Breach:
    """A value that the table it references does not have."""
    value = pl.col(column.name)
    is_so = (~value.is_in(known.implode())).fill_null(value=False)
    text = _shown(value.cast(pl.String))
    reason = pl.format(f"{column.name}: '{{}}' is not in {column.references}", text)
    return _UnknownValue(column, is_so, reason, text)


def _shown(text: pl.Expr) -> pl.Expr:
    return text.str.slice(0, 80)


def _broken_rules(cases: pl.DataFrame, contract: type[Contract], rows: pl.Series) -> pl.DataFrame:
    """pandera's failure cases as `_row` and `_reason`. A failure of the whole table, not of a row, is a mistake in our code."""
    of_the_table = cases.filter(pl.col("index").is_null())
    if not of_the_table.is_empty():
        first = of_the_table.row(0, named=True)
        raise ContractError(
            f"{contract.__name__}: column {first['column']}: {first['check']}: found {first['failure_case']}; "
            "fix the staging function"
        )
    value = pl.col("failure_case").fill_null("null").str.slice(0, 80)
    # polars 2.1 panics in `format` when the columns' chunks differ in size, as they do here for a page read in several batches.
    reasons = cases.rechunk().select(
        pl.col("index").cast(pl.UInt32), pl.format("{}: {} fails {}", "column", value, "check").alias(REASON)
    )
    by_row = reasons.group_by("index").agg(pl.col(REASON).sort().str.join("; "))
    return rows.to_frame().with_row_index("index").join(by_row, on="index").select(ROW, REASON)


def no_value_as_null(text: pl.Expr) -> pl.Expr:
    """The text, or null where it stands for "no value"."""
    return pl.when(~text.is_in(_NO_VALUE)).then(text)
