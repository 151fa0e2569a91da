"""Which changes between two versions of the graph break the readers of its tables, or the extractions that fill them.

Here: comparing two graph documents (plain JSON, as `docs/graph.json` holds it), and the rules of what breaks. Not here: making a
graph document (`assets/graph/document.py`), finding an earlier one in git (`ops/commands/comparing.py`).

A change is breaking when a query that was correct can now fail or silently return something else: it meets a null, a value,
a unit or a duplicate row that the contract ruled out. The only safe change of type is `integer` to `bigint`: `double` divides
differently and is exact only up to 2^53, and a `timestamp` does not equal its `date`. In landing, requiring more of the source
is breaking too. Raising the contract's version declares a breaking change; `retired.py` declares that a table was removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

GraphDocument = Mapping[str, Any]
"""What `docs/graph.json` holds."""
_Described = Mapping[str, Any]

_WIDENS = frozenset({("integer", "bigint")})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference in an asset or in one of its columns. `breaks` says what breaks; None if nothing does.

    `declared`: the change is breaking, and the contract's version was raised (or the table retired) to declare it.
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


def compare(was: GraphDocument, now: GraphDocument) -> list[Change]:
    """All changes from one graph document to another, by asset; table-level changes come before those of its columns."""
    before, after = was["assets"], now["assets"]
    retired = now.get("retired", {})
    changes: list[Change] = []
    for key in sorted(before.keys() | after.keys()):
        if key not in after:
            changes.append(_removed_table(key, before, after, key in retired))
        elif key not in before:
            changes.append(Change(key, "new table"))
        else:
            changes += _asset_changes(key, before[key], after[key])
    return changes


def undeclared(changes: Sequence[Change]) -> list[Change]:
    """The breaking changes that were not declared."""
    return [change for change in changes if change.verdict == "breaking"]


def _removed_table(key: str, before: _Described, after: _Described, declared: bool) -> Change:
    names = set(before[key].get("columns", before[key].get("fields", ())))
    added = [other for other in after if other not in before and other.partition(".")[0] == key.partition(".")[0]]
    similar = [
        other for other in added if names and names <= set(after[other].get("columns", after[other].get("fields", ())))
    ]
    hint = _renamed(similar or get_close_matches(key, added, n=1, cutoff=0.7))
    return Change(key, f"table removed{hint}", breaks="queries on it fail", declared=declared)


def _asset_changes(key: str, was: _Described, now: _Described) -> list[Change]:
    version = was.get("version", 1), now.get("version", 1)
    found = [*_table_changes(key, was, now), *_column_changes(key, was, now), *_field_changes(key, was, now)]
    raised = version[1] > version[0]
    changes = [replace(change, declared=change.breaks is not None and raised) for change in found]
    if version[0] != version[1]:
        back = None if raised else "a published version number now means something else"
        changes.insert(0, Change(key, "version", *version, breaks=back))
    return changes


def _table_changes(key: str, was: _Described, now: _Described) -> Iterator[Change]:
    old, new = ([name for name, column in one.get("columns", {}).items() if column.get("key")] for one in (was, now))
    if set(old) != set(new):
        yield Change(key, "key", old, new, breaks="joins and counts by the old key duplicate or lose rows")
    for name in sorted((was.keys() | now.keys()) - {"version", "columns", "fields"}):
        before, after = was.get(name), now.get(name)
        if before != after:
            yield Change(key, name.replace("_", " "), before, after, breaks=_table_breaks(name, before, after))


def _table_breaks(name: str, was: Any, now: Any) -> str | None:
    if name == "partition_by":
        return "paths and partition filters that readers use no longer work"
    if name == "keep_days" and (now or 0) < (was or 0):
        return "past versions are deleted sooner"
    return None


def _column_changes(key: str, was: _Described, now: _Described) -> Iterator[Change]:
    before, after = was.get("columns", {}), now.get("columns", {})
    yield from _added_and_removed(key, before, after, "column", "type")
    common = [name for name in before if name in after]
    if common != [name for name in after if name in before]:
        yield Change(key, "order of columns", list(before), list(after))
    for name in common:
        old, new = before[name], after[name]
        # A change of the key is reported once, for the table.
        for attribute in sorted((old.keys() | new.keys()) - {"key"}):
            values = old.get(attribute), new.get(attribute)
            if values[0] != values[1]:
                yield Change(key, attribute, *values, column=name, breaks=_column_breaks(attribute, *values))


def _column_breaks(attribute: str, was: Any, now: Any) -> str | None:  # noqa: PLR0911  one rule, one line
    """Why changing one attribute of a column breaks readers. An attribute that is absent (None) promises nothing."""
    match attribute:
        case "type" if (was, now) not in _WIDENS:
            return "casts, comparisons and sums on it fail or give other results"
        case "nullable" if now:
            return "readers meet nulls where there were none"
        case "unique" if was:
            return "a join on it may duplicate rows"
        case "unit" if was:
            return "the same number means a different amount"
        case "accepted" if was:
            return _accepted_breaks(was, now)
        case "references" if was:
            return "an inner join with the referenced table may lose rows"
        case "personal":
            return "data protection law applies to it differently"
    return None


def _accepted_breaks(was: Sequence[str], now: Sequence[str] | None) -> str | None:
    if now is None:
        return "any value may appear, and a reader's cases may miss it"
    added, removed = sorted(set(now) - set(was)), sorted(set(was) - set(now))
    reasons = [f"a reader's cases miss {', '.join(added)}"] if added else []
    reasons += [f"a filter on {', '.join(removed)} finds nothing"] if removed else []
    return "; ".join(reasons) or None


def _field_changes(key: str, was: _Described, now: _Described) -> Iterator[Change]:
    """Landing: what is required of the source, and what staging gets of it."""
    before, after = was.get("fields", {}), now.get("fields", {})
    yield from _added_and_removed(key, before, after, "field", "kind")
    for name in (name for name in before if name in after):
        for attribute in sorted(before[name].keys() | after[name].keys()):
            values = before[name].get(attribute), after[name].get(attribute)
            if values[0] != values[1]:
                yield Change(key, attribute, *values, column=name, breaks=_field_breaks(attribute, *values))


def _field_breaks(attribute: str, was: Any, now: Any) -> str | None:
    match attribute:
        case "required" if now:
            return "the extraction fails when the source omits it, which was allowed before"
        case "required":
            return "staging meets nulls where there were none"
        case "kind" if was and now:
            return "staging reads values that the source writes differently"
        case "personal" if now:
            return "it no longer leaves landing"
        case "personal":
            return "personal data leaves landing"
    return None


def _added_and_removed(key: str, before: _Described, after: _Described, kind: str, type_of: str) -> Iterator[Change]:
    added = [name for name in after if name not in before]
    for name in (name for name in before if name not in after):
        similar = [other for other in added if after[other].get(type_of) == before[name].get(type_of)]
        hint = _renamed(similar if len(similar) == 1 else get_close_matches(name, similar, n=1, cutoff=0.5))
        yield Change(key, f"{kind} removed{hint}", before[name].get(type_of), column=name, breaks="queries on it fail")
    for name in added:
        is_required = kind == "field" and after[name].get("required")
        breaks = "the extraction fails when the source omits it" if is_required else None
        yield Change(key, f"new {kind}", None, after[name].get(type_of), column=name, breaks=breaks)


def _renamed(candidates: Sequence[str]) -> str:
    return f" (renamed to {candidates[0]}?)" if len(candidates) == 1 else ""
