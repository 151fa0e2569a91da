"""Which changes between two states of the graph break those who read its tables, or the source that fills them.

Here: comparing two snapshots (plain JSON, as `docs/graph.json` holds it), and the rules of what breaks. Not here: making a
snapshot (`assets/graph/document.py`), finding an earlier one in git (`ops/commands/comparing.py`).

A change breaks when a query that was right can now fail or silently say something else: it meets a null, a value, a unit
or a row twice that it was promised not to meet. Only `integer` to `bigint` widens harmlessly: integers divide as integers,
`double` does not and ends at 2^53, a `timestamp` is not equal to its `date`. At landing it also breaks what asks more of
the source. Such a change is meant when the contract's version was raised; a table that goes is named in `retired.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

Snapshot = Mapping[str, Any]
_Described = Mapping[str, Any]

_WIDENS = frozenset({("integer", "bigint")})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: of an asset, or of one of its columns. `breaks` says whom and how; None: nobody.

    `declared`: it breaks, and the contract's version was raised (or the table was retired) to say that this is meant.
    """

    asset: str
    what: str
    was: Any = None
    now: Any = None
    column: str | None = None
    breaks: str | None = None
    declared: bool = False

    @property
    def verdict(self) -> str:
        """`compatible`, `declared` or `breaking`."""
        if self.breaks is None:
            return "compatible"
        return "declared" if self.declared else "breaking"


def compare(was: Snapshot, now: Snapshot) -> list[Change]:
    """All changes from one snapshot to another: by asset, those of the table before those of its columns."""
    before, after = was["assets"], now["assets"]
    retired = now.get("retired", {})
    changes: list[Change] = []
    for key in sorted(before.keys() | after.keys()):
        if key not in after:
            changes.append(_gone_table(key, before, after, key in retired))
        elif key not in before:
            changes.append(Change(key, "new table"))
        else:
            changes += _of_asset(key, before[key], after[key])
    return changes


def undeclared(changes: Sequence[Change]) -> list[Change]:
    """Those that break and that nobody said are meant."""
    return [change for change in changes if change.verdict == "breaking"]


def _gone_table(key: str, before: _Described, after: _Described, declared: bool) -> Change:
    names = set(before[key].get("columns", before[key].get("fields", ())))
    new = [other for other in after if other not in before and other.partition(".")[0] == key.partition(".")[0]]
    alike = [
        other for other in new if names and names <= set(after[other].get("columns", after[other].get("fields", ())))
    ]
    hint = _renamed(alike or get_close_matches(key, new, n=1, cutoff=0.7))
    return Change(key, f"table gone{hint}", breaks="whoever reads it finds nothing", declared=declared)


def _of_asset(key: str, was: _Described, now: _Described) -> list[Change]:
    version = was.get("version", 1), now.get("version", 1)
    found = [*_of_table(key, was, now), *_of_columns(key, was, now), *_of_fields(key, was, now)]
    raised = version[1] > version[0]
    changes = [replace(change, declared=change.breaks is not None and raised) for change in found]
    if version[0] != version[1]:
        back = None if raised else "a version that was given to readers comes to mean something else"
        changes.insert(0, Change(key, "version", *version, breaks=back))
    return changes


def _of_table(key: str, was: _Described, now: _Described) -> Iterator[Change]:
    old, new = ([name for name, column in one.get("columns", {}).items() if column.get("key")] for one in (was, now))
    if set(old) != set(new):
        yield Change(key, "key", old, new, breaks="joins and counts by the old key double or lose rows")
    for name in sorted((was.keys() | now.keys()) - {"version", "columns", "fields"}):
        before, after = was.get(name), now.get(name)
        if before != after:
            yield Change(key, name.replace("_", " "), before, after, breaks=_table_breaks(name, before, after))


def _table_breaks(name: str, was: Any, now: Any) -> str | None:
    if name == "partition_by":
        return "paths and partition filters that readers use are no more"
    if name == "keep_days" and (now or 0) < (was or 0):
        return "what readers could still go back to is deleted sooner"
    return None


def _of_columns(key: str, was: _Described, now: _Described) -> Iterator[Change]:
    before, after = was.get("columns", {}), now.get("columns", {})
    yield from _came_and_went(key, before, after, "column", "type")
    common = [name for name in before if name in after]
    if common != [name for name in after if name in before]:
        yield Change(key, "order of columns", list(before), list(after))
    for name in common:
        old, new = before[name], after[name]
        # Whether a column is part of the key is said once, of the table.
        for part in sorted((old.keys() | new.keys()) - {"key"}):
            said = old.get(part), new.get(part)
            if said[0] != said[1]:
                breaks = _column_breaks(part, *said)
                yield Change(key, part, *said, column=name, breaks=breaks)


def _column_breaks(part: str, was: Any, now: Any) -> str | None:  # noqa: PLR0911  one rule, one line
    """Why a change of one part of a column breaks readers. A part that is not said (None) promises nothing."""
    match part:
        case "type" if (was, now) not in _WIDENS:
            return "casts, comparisons and sums on it fail or say something else"
        case "nullable" if now:
            return "readers meet nulls where there were none"
        case "unique" if was:
            return "a join on it may double rows"
        case "unit" if was:
            return "the same number means another amount"
        case "accepted" if was:
            return _accepted_breaks(was, now)
        case "references" if was:
            return "an inner join with what it pointed to may lose rows"
        case "personal":
            return "what may be done with it by law is another thing"
    return None


def _accepted_breaks(was: Sequence[str], now: Sequence[str] | None) -> str | None:
    if now is None:
        return "any value may come, a reader's cases miss it"
    new, gone = sorted(set(now) - set(was)), sorted(set(was) - set(now))
    said = [f"a reader's cases miss {', '.join(new)}"] if new else []
    said += [f"who asks for {', '.join(gone)} finds nothing"] if gone else []
    return "; ".join(said) or None


def _of_fields(key: str, was: _Described, now: _Described) -> Iterator[Change]:
    """Landing: what is asked of the source, and what staging is given of it."""
    before, after = was.get("fields", {}), now.get("fields", {})
    yield from _came_and_went(key, before, after, "field", "kind")
    for name in (name for name in before if name in after):
        for part in sorted(before[name].keys() | after[name].keys()):
            said = before[name].get(part), after[name].get(part)
            if said[0] != said[1]:
                yield Change(key, part, *said, column=name, breaks=_field_breaks(part, *said))


def _field_breaks(part: str, was: Any, now: Any) -> str | None:
    match part:
        case "required" if now:
            return "an extraction fails when the source does not give it, which it was free to do"
        case "required":
            return "staging meets nulls where there were none"
        case "kind" if was and now:
            return "staging reads values that the source writes in another way"
        case "personal" if now:
            return "it does not leave landing any more"
        case "personal":
            return "personal data leaves landing"
    return None


def _came_and_went(key: str, before: _Described, after: _Described, kind: str, type_of: str) -> Iterator[Change]:
    new = [name for name in after if name not in before]
    for name in (name for name in before if name not in after):
        alike = [other for other in new if after[other].get(type_of) == before[name].get(type_of)]
        hint = _renamed(alike if len(alike) == 1 else get_close_matches(name, alike, n=1, cutoff=0.5))
        yield Change(key, f"{kind} gone{hint}", before[name].get(type_of), column=name, breaks="whoever reads it fails")
    for name in new:
        demanded = kind == "field" and after[name].get("required")
        breaks = "an extraction fails when the source does not give it" if demanded else None
        yield Change(key, f"new {kind}", None, after[name].get(type_of), column=name, breaks=breaks)


def _renamed(candidates: Sequence[str]) -> str:
    return f" (renamed to {candidates[0]}?)" if len(candidates) == 1 else ""
