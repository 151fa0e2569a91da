"""Guards: a candidate may not differ from the published table by more than its contract allows, unless someone accepts that.

Compared by key are the rows that vanished or are new, and for each column the values that changed or are no longer known. Four rules
keep a guard from standing in the way of a repair:

- What follows from a change that was accepted upstream is accepted too.
- A table may grow when an optional table is there that it was made without.
- If the published version was accepted, one that is within the guards of the last version that passed them by itself is fine.
- Rows and values that only the published version introduced may go again. A version before it that had them counts: a table that goes
  back and forth is refused. An accepted one does not count: what it brought is refused each time.

Here: what is compared, the limits, the message. Not here: checks of rows (`contracts/model/check.py`), duplicates and the tolerated
share (`candidate.py`), guards as checks (`guard_checks.py`). In memory are hashes, a few columns at a time; objects that stayed the same are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, islice

import polars as pl

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.making.guard_checks import GUARDS, Breach, count_guards
from catalunya.assets.making.maker import Candidate, Context
from catalunya.assets.record.ledger import Entry, Stored
from catalunya.assets.record.paths import partition_columns, scan_files
from catalunya.assets.record.versions import find_version, lineage
from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.contract import Contract, Terms
from catalunya.io.errors import ContractError, ObjectMissing
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger
from catalunya.io.safe_text import legible

log = get_logger(__name__)

_KEY, _AFTER = "_key_hash", "._after"
_VALUES_AT_ONCE = 4_000_000
_EXAMPLES, _LENGTH = 3, 40
_NONE = pl.Series(_KEY, [], pl.UInt64)


@dataclass(frozen=True)
class Version:
    """One version of a table: its columns (name -> type), its objects, and where they are, in the same order."""

    columns: dict[str, str]
    objects: tuple[Stored, ...]
    urls: tuple[str, ...]
    options: dict[str, str]

    @property
    def rows(self) -> int:
        return sum(stored.rows for stored in self.objects)

    def scan(self, urls: Sequence[str] | None = None) -> pl.LazyFrame:
        """The rows of all objects, or of these; partition columns are read from the paths, as text."""
        in_path = partition_columns(self.objects[0].path) if self.objects else []
        return scan_files(self.urls if urls is None else urls, in_path, self.options)

    def known(self, column: str, urls: Sequence[str]) -> int:
        """How many values of a column are known in these objects."""
        return int(self.scan(urls).select(pl.col(column).count()).collect(engine="streaming").item()) if urls else 0

    def hashes(self, urls: Sequence[str], key: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
        """A hash of each row's key, and of its value in each of these columns: 0 where it is not known."""
        if not urls:
            return pl.DataFrame(schema={_KEY: pl.UInt64, **dict.fromkeys(columns, pl.UInt32)})
        values = [
            pl.when(pl.col(name).is_not_null())
            .then(pl.col(name).hash() % (2**32 - 1) + 1)
            .otherwise(0)
            .cast(pl.UInt32)
            .alias(name)
            for name in columns
        ]
        return self.scan(urls).select(_hash_of(key), *values).collect(engine="streaming")


@dataclass(frozen=True)
class Comparison:
    """Two versions of a table. `earlier` are those before `before`, newest first, where what only it introduced may go again."""

    asset: Asset
    terms: Terms
    before: Version
    after: Version
    earlier: Sequence[Version] = ()

    @cached_property
    def columns(self) -> list[Column]:
        """The columns that both have, of one type, without the key."""
        return [column for column in self.asset.columns if not column.key and self._is_common(column)]

    @cached_property
    def key(self) -> list[str]:
        """The columns by which a row is recognized. None without a key, and none if a part of it changes by itself (`max_change`)."""
        key = [column for column in self.asset.columns if column.key]
        is_stable = all(self._is_common(column) and column.max_change is None for column in key)
        return [column.name for column in key] if is_stable else []

    @cached_property
    def differing(self) -> tuple[list[str], list[str]]:
        """Where the objects are that only the one or only the other has: rows in the others are the same."""
        sides = (self.before, self.after)
        contents = [{(stored.path, stored.sha256) for stored in side.objects} for side in sides]
        both = contents[0] & contents[1]
        found = [
            [
                url
                for stored, url in zip(side.objects, side.urls, strict=True)
                if (stored.path, stored.sha256) not in both
            ]
            for side in sides
        ]
        return found[0], found[1]

    def breaches(self) -> list[Breach]:
        """All guards that `after` breaks."""
        if not self.differing[0] and not self.differing[1]:
            return []
        return list(self._by_key() if self.key else self._by_count())

    def _by_count(self) -> Iterator[Breach]:
        yield from row_breaches(self.terms, self.before.rows, self.after.rows)
        if not self.before.rows or not self.after.rows:
            return
        for column in self.columns:
            known = self.before.known(column.name, self.before.urls)
            now = self.after.known(column.name, self.after.urls)
            expected = known / self.before.rows * self.after.rows
            if known and self.terms.max_loss < 1 and (not now or now < expected * (1 - self.terms.max_loss)):
                yield from self._loss(column, known, max(round(expected) - now, 0), now, "")

    def _by_key(self) -> Iterator[Breach]:
        sides = self.before.rows, self.after.rows
        vanished, added = _NONE, _NONE
        same = sides[0] - sum(
            s.rows for s, u in zip(self.before.objects, self.before.urls, strict=True) if u in self.differing[0]
        )
        size = max(1, _VALUES_AT_ONCE // max(*sides, 1))
        names = [column.name for column in self.columns]
        known = dict.fromkeys(names, (0, 0))
        counts: dict[str, tuple[int, int]] = {}
        staying = 0
        for start in range(0, max(1, len(names)), size):
            some = names[start : start + size]
            before, after = (
                side.hashes(urls, self.key, some)
                for side, urls in zip((self.before, self.after), self.differing, strict=True)
            )
            pairs = _paired(before, after)
            if start == 0:
                staying = same + pairs.height
                if pairs.height < before.height:
                    vanished = before.filter(~pl.col(_KEY).is_in(pairs[_KEY].implode()))[_KEY]
                if pairs.height < after.height:
                    added = after.filter(~pl.col(_KEY).is_in(pairs[_KEY].implode()))[_KEY]
            for name in some:
                now = pairs[name + _AFTER]
                known[name] = int((before[name] != 0).sum()), int((after[name] != 0).sum())
                counts[name] = int((pairs[name] != now).sum()), int(((pairs[name] != 0) & (now == 0)).sum())
        yield from self._rows(vanished, added, staying)
        if not sides[1]:
            return
        for column in self.columns:
            changed, lost = counts[column.name]
            yield from self._column(column, changed, lost, known[column.name], staying)

    def _rows(self, vanished: pl.Series, added: pl.Series, staying: int) -> Iterator[Breach]:
        """Rows that vanished, and rows that are new. What only `before` introduced or removed does not count."""
        before, terms = self.before.rows, self.terms
        floor = before * (1 - terms.max_shrink)
        gone = vanished
        if len(gone) > before - floor and self.earlier:
            had = pl.concat(self._keys_of(version) for version in self.earlier)
            gone = gone.filter(gone.is_in(had.implode()))
        if terms.max_shrink < 1 and (len(gone) > before - floor or not self.after.rows):
            examples = self._examples(self.before, self.differing[0], gone)
            yield Breach(
                "shrink",
                f"expected at least {max(1, round(floor)):,} rows to stay (previously {before:,}, max_shrink {terms.max_shrink:.0%}), "
                f"found {staying:,}; gone: {examples}",
                max(len(gone), 1),
                sample=examples,
            )
        new = added
        if before and len(new) > before * terms.max_growth and self.earlier:
            new = new.filter(~new.is_in(self._keys_of(self.earlier[0]).implode()))
        if before and len(new) > before * terms.max_growth:
            examples = self._examples(self.after, self.differing[1], new)
            yield Breach(
                "growth",
                f"expected at most {round(before * terms.max_growth):,} new rows (previously {before:,} rows, max_growth "
                f"{terms.max_growth:.0%}), found {len(added):,}; new: {examples}",
                len(added),
                sample=examples,
            )

    def _column(
        self, column: Column, changed: int, lost: int, known: tuple[int, int], staying: int
    ) -> Iterator[Breach]:
        """The values of one column. `known` are counted in the objects that differ: the others are read only if that may decide."""
        name = column.name
        limit = self.terms.max_change if column.max_change is None else column.max_change
        same = [url for url in self.before.urls if url not in self.differing[0]]
        was, now = known
        if (changed > limit * staying or lost > self.terms.max_loss * was or (was and not now)) and same:
            others = self.before.known(name, same)
            was, now = was + others, now + others
        if lost > self.terms.max_loss * was or (was and not now):
            hashes = self._pairs_of(name).filter((pl.col(name) != 0) & (pl.col(name + _AFTER) == 0))[_KEY]
            if self.earlier:  # what only `before` filled in may be unknown again
                once = self._pairs_of(name, self.earlier[0]).filter(pl.col(name) != 0)[_KEY]
                hashes = hashes.filter(hashes.is_in(once.implode()))
            was_empty = bool(self.earlier) and self._is_empty_in(self.earlier[0], name)
            if self.terms.max_loss < 1 and (len(hashes) > self.terms.max_loss * was or not (now or was_empty)):
                examples = self._examples(self.before, self.differing[0], hashes) if len(hashes) else ""
                yield from self._loss(column, was, max(lost, was - now), now, examples)
                return
        if was and changed > limit * staying:
            hashes = self._pairs_of(name).filter(pl.col(name) != pl.col(name + _AFTER))[_KEY]
            examples = self._changes(name, hashes)
            yield Breach(
                "change",
                f"column {name}: expected at most {limit:.0%} of {staying:,} values to change (max_change), found {changed:,} "
                f"({changed / staying:.1%}): {examples}",
                changed,
                name,
                examples,
            )

    def _loss(self, column: Column, was: int, lost: int, now: int, examples: str) -> Iterator[Breach]:
        shares = f"{was:,} known before ({was / self.before.rows:.1%}), {now:,} now ({now / self.after.rows:.1%})"
        yield Breach(
            "loss",
            f"column {column.name}: expected at most {self.terms.max_loss:.0%} of its values to become unknown (max_loss), "
            f"found {'all' if not now else f'{lost:,}'}: {shares}" + (f"; lost: {examples}" if examples else ""),
            max(lost, 1),
            column.name,
            examples,
        )

    def _pairs_of(self, column: str, before: Version | None = None) -> pl.DataFrame:
        """The hashes of one column in both versions, or in another one and `after`."""
        urls = self.differing[0] if before is None else before.urls
        version = before or self.before
        if column not in version.columns:
            return pl.DataFrame(schema={_KEY: pl.UInt64, column: pl.UInt32, column + _AFTER: pl.UInt32})
        after = self.after.hashes(self.differing[1], self.key, [column])
        return _paired(version.hashes(urls, self.key, [column]), after)

    def _is_empty_in(self, version: Version, column: str) -> bool:
        return column in version.columns and not version.known(column, version.urls)

    def _keys_of(self, version: Version) -> pl.Series:
        return version.hashes(version.urls, self.key, [])[_KEY]

    def _examples(self, version: Version, urls: Sequence[str], hashes: pl.Series) -> str:
        """The smallest keys among these, with the names of their columns before them."""
        if hashes.is_empty() or not urls:
            return "all of them"
        chosen = self._smallest(version, urls, hashes)
        return f"{'/'.join(self.key)} {', '.join(_shown(row) for row in chosen.select(self.key).rows())}"

    def _changes(self, column: str, hashes: pl.Series) -> str:
        """The smallest keys among these, with the column's value before and now."""
        old = self._smallest(self.before, self.differing[0], hashes, column)
        new = self._smallest(self.after, self.differing[1], old[_KEY], column)
        values = dict(zip(new[_KEY], new[column], strict=True))
        shown = [
            f"{_shown(row)}: {_value(was)} -> {_value(values.get(hashed))}"
            for row, hashed, was in zip(old.select(self.key).rows(), old[_KEY], old[column], strict=True)
        ]
        return f"{'/'.join(self.key)} {', '.join(shown)}"

    def _smallest(self, version: Version, urls: Sequence[str], hashes: pl.Series, *columns: str) -> pl.DataFrame:
        rows = version.scan(urls).select(*self.key, *columns, _hash_of(self.key))
        return (
            rows.filter(pl.col(_KEY).is_in(hashes.implode())).sort(self.key).head(_EXAMPLES).collect(engine="streaming")
        )

    def _is_common(self, column: Column) -> bool:
        return self.before.columns.get(column.name) == self.after.columns.get(column.name) == column.type


def guarded(context: Context, candidate: Candidate, contract: type[Contract]) -> Candidate:
    """The candidate of a table, if it is within the guards or its change is accepted. Raises ContractError if not."""
    asset, lake, previous = context.asset, context.project.lake, context.previous
    if previous is None:
        guard_rows(context, contract, candidate.rows, [], accept=context.request.accept_change)
        return candidate
    after = Version(
        {column.name: column.type for column in asset.columns},
        tuple(file.stored for file in candidate.files),
        tuple(str(file.local) for file in candidate.files),
        {},
    )
    is_inherited = _is_inherited(context, previous)
    published = _version(lake, previous, [stored.path for stored in previous.objects])
    found = _compared(lake, Comparison(asset, contract.terms(), published, after))
    if found is None:  # damaged objects must not keep the table from being made again
        found = list(row_breaches(contract.terms(), published.rows, after.rows))
    if any(breach.guard == "growth" for breach in found) and (gained := _gained(context, previous)):
        log.info("growth_expected", asset=asset.key, gained=gained)
        found = [breach for breach in found if breach.guard != "growth"]
    why = ""
    if found:
        found, why = _without_repaired(context, contract.terms(), previous, published, after, found)
    if not found:
        count_guards(context, contract, [], list(GUARDS))
        is_same = candidate.objects == previous.objects
        return replace(candidate, is_accepted=is_inherited or (is_same and previous.is_accepted))
    if _is_of_backfill(context) and all(breach.guard == "growth" for breach in found):
        return _accepted(context, contract, candidate, found, "a backfill asked for more rows")
    if context.request.accept_change:
        return _accepted(context, contract, candidate, found, "--accept-change")
    if is_inherited:
        return _accepted(context, contract, candidate, found, "a change upstream was accepted")
    count_guards(context, contract, found, list(GUARDS))
    context.refused = candidate
    raise ContractError(_message(asset.key, found, why, can_restore=True))


def guard_rows(
    context: Context, contract: type[Contract], rows: int, history: Sequence[Entry], *, accept: bool
) -> bool:
    """Check the number of rows of a table that is not compared by key, such as the whole extraction of a source, against the entries of
    its `history`. Returns whether a breach was accepted. Raises ContractError for one that is not."""
    terms, key = contract.terms(), context.asset.key
    made = [entry for entry in reversed(history) if entry.status != "failed" and not entry.window]
    versions = [next(same) for _, same in groupby(made, lambda entry: entry.data_version)]
    before = versions[0] if versions else None
    shrink = [each for each in row_breaches(terms, before.rows if before else 0, rows) if each.guard == "shrink"]
    count_guards(context, contract, [], ["shrink"])
    if not shrink:
        return False
    if before and before.is_accepted:
        reference = next((entry.rows for entry in versions if not entry.is_accepted), None)
    else:  # rows that only the last one introduced may go again
        reference = max((entry.rows for entry in versions[1:3]), default=None)
    if reference and rows and rows >= reference * (1 - terms.max_shrink):
        log.info("guard_repaired", asset=key, rows=rows)
        return False
    count_guards(context, contract, shrink, ["shrink"], is_accepted=accept)
    if not accept:
        raise ContractError(_message(key, shrink, can_restore=False))
    return True


def row_breaches(terms: Terms, before: int, after: int) -> Iterator[Breach]:
    """The guards on rows, where only their number is known."""
    floor = before * (1 - terms.max_shrink)
    if terms.max_shrink < 1 and (not after or after < floor):
        what = f"expected at least {max(1, round(floor)):,} rows (previously {before:,}, max_shrink {terms.max_shrink:.0%}), found {after:,}"
        yield Breach("shrink", what, max(before - after, 1))
    ceiling = before * (1 + terms.max_growth)
    if before and after > ceiling:
        what = f"expected at most {round(ceiling):,} rows (previously {before:,}, max_growth {terms.max_growth:.0%}), found {after:,}"
        yield Breach("growth", what, after - before)


def _compared(lake: Lake, comparison: Comparison) -> list[Breach] | None:
    """The breaches; None if the objects of one of the versions are damaged."""
    try:
        with lake.reading(comparison.asset.prefix):
            return comparison.breaches()
    except (ObjectMissing, FileNotFoundError, pl.exceptions.PolarsError) as error:
        log.warning("version_unreadable", asset=comparison.asset.key, why=legible(str(error).partition("\n")[0], 200))
        return None


def _without_repaired(
    context: Context, terms: Terms, previous: Entry, published: Version, after: Version, found: list[Breach]
) -> tuple[list[Breach], str]:
    """The breaches that remain if the candidate repairs what the published version broke, and what it was compared with, or not."""
    asset, lake, why = context.asset, context.project.lake, ""
    past = lineage(context.project.ledger.history(asset.key), previous)
    if previous.is_accepted:
        good = next((entry for entry in past if not entry.is_accepted), None)
        if good is None:
            return found, ""
        paths = find_version(lake, asset, good, previous)
        if paths is None:
            if not list(row_breaches(terms, good.rows, after.rows)):
                found = [breach for breach in found if breach.guard not in ("shrink", "growth")]
            return (
                found,
                f"the last version that passed its guards, entry {good.sequence}, has expired: only its number of rows was compared",
            )
        remaining = _compared(lake, Comparison(asset, terms, _version(lake, good, paths), after))
        if remaining:
            why = f"compared with entry {good.sequence}, the last version that passed its guards: {remaining[0].what}"
    else:
        versions = islice(groupby(past, lambda entry: entry.data_version), 1, None)
        passed = (next((entry for entry in same if not entry.is_accepted), None) for _, same in versions)
        before = list(islice(filter(None, passed), 2))
        kept = [(entry, find_version(lake, asset, entry, previous)) for entry in before]
        earlier = [_version(lake, entry, paths) for entry, paths in kept if paths]
        if len(earlier) < len(before) or not earlier:
            return found, ""
        key = {column.name: column.type for column in asset.columns if column.key}
        if any(version.columns.get(name) != kind for version in earlier for name, kind in key.items()):
            return found, ""
        remaining = _compared(lake, Comparison(asset, terms, published, after, earlier))
    if remaining is None or remaining:
        return found, why
    log.info("guard_repaired", asset=asset.key, undone=[breach.what for breach in found][:3])
    return [], ""


def _is_inherited(context: Context, previous: Entry) -> bool:
    """Whether an upstream's version was accepted, or restored, since the one that the published table was made from."""
    for up in context.asset.upstream:
        known = previous.versions.get(up)
        for entry in context.project.ledger.recent(up) if known else ():
            if entry.status == "failed":
                continue
            if entry.data_version == known:
                break
            if entry.is_accepted:
                return True
    return False


def _gained(context: Context, entry: Entry) -> list[str]:
    """The optional tables that are there now, and that this version, or one that it was made from, was made without."""
    asset, ledger = context.project.graph[entry.asset], context.project.ledger
    found = [up for up in context.state.gaps(entry) if context.state.known(up)]
    for up in asset.upstream:
        version = entry.versions.get(up) if context.project.graph[up].layer is Layer.MARTS else None
        made = (each for each in ledger.recent(up) if each.status != "failed" and each.data_version == version)
        if version and (source := next(made, None)):
            found += _gained(context, source)
    return sorted(set(found))


def _is_of_backfill(context: Context) -> bool:
    """Whether the table is made from a backfill's batch, or from the first whole one after backfills."""
    for up in context.project.graph.upstream(context.asset.key):
        if up.layer is not Layer.LANDING:
            continue
        if context.made(up.key).window:
            return True
        batches = [entry for entry in context.project.ledger.history(up.key) if entry.status != "failed"]
        if len(batches) > 1 and all(entry.window for entry in batches[:-1]):
            return True
    return False


def _accepted(
    context: Context, contract: type[Contract], candidate: Candidate, found: Sequence[Breach], by: str
) -> Candidate:
    count_guards(context, contract, found, list(GUARDS), is_accepted=True)
    log.warning("change_accepted", asset=context.asset.key, by=by, breaches=[breach.what for breach in found][:3])
    return replace(candidate, is_accepted=True)


def _message(key: str, found: Sequence[Breach], why: str = "", *, can_restore: bool) -> str:
    shown = "; ".join(breach.what for breach in found[:3])
    more = f"; and {len(found) - 3} more guards" if len(found) > 3 else ""
    message = (
        f"{key}: {shown}{more}{f' ({why})' if why else ''}. Nothing was published; if the change is right, run `catalunya materialize {key} "
        "--force --accept-change`"
    )
    return (
        f"{message}; if the published table is the wrong one, `catalunya restore-version {key}`"
        if can_restore
        else message
    )


def _version(lake: Lake, entry: Entry, paths: Sequence[str]) -> Version:
    return Version(entry.columns, entry.objects, tuple(lake.url(path) for path in paths), lake.scan_options)


def _paired(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The rows that both have, by the hash of their key: mostly all, in the same order."""
    renamed = after.rename({name: name + _AFTER for name in after.columns if name != _KEY})
    if before[_KEY].equals(after[_KEY]):
        return pl.concat([before, renamed.drop(_KEY)], how="horizontal")
    return before.join(renamed, on=_KEY)


def _hash_of(key: Sequence[str]) -> pl.Expr:
    return pl.struct(list(key)).hash().alias(_KEY)


def _shown(key: tuple[object, ...]) -> str:
    return "/".join(legible(value, _LENGTH) for value in key)


def _value(value: object) -> str:
    return "unknown" if value is None else repr(legible(value, _LENGTH))
