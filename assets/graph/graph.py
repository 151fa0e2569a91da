"""The asset graph: lineage, order and selection over plain assets.

Here: what follows from keys and edges alone. Not here: where the assets come from (`discovery.py`), what is stale
(`assets/record/state.py`). Importing this costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.io.errors import DeclarationError, UsageError


class AssetGraph:
    """Assets by key, and how they depend on each other. Iterates in dependency order, by key within it."""

    def __init__(self, assets: Iterable[Asset]) -> None:
        by_key: dict[str, Asset] = {}
        for asset in sorted(assets, key=lambda a: a.key):
            if asset.key in by_key:
                raise DeclarationError(
                    f"{asset.key} is declared twice, in {by_key[asset.key].module} and {asset.module}; rename one"
                )
            by_key[asset.key] = asset
        for asset in by_key.values():
            unknown = [key for key in asset.upstream if key not in by_key]
            if unknown:
                raise DeclarationError(
                    f"{asset.key} reads {', '.join(unknown)}, which is not declared{_nearest(unknown[0], by_key)}"
                )
        for asset in by_key.values():
            _check_references(asset, by_key)
        sorter = TopologicalSorter({asset.key: asset.upstream for asset in by_key.values()})
        try:
            self._assets = {key: by_key[key] for key in sorter.static_order()}
        except CycleError as error:
            raise DeclarationError(
                f"assets depend on each other in a cycle: {' -> '.join(error.args[1])}; remove one of these dependencies"
            ) from None
        self._downstream: dict[str, list[str]] = {key: [] for key in self._assets}
        for asset in self._assets.values():
            for key in asset.upstream:
                self._downstream[key].append(asset.key)

    def __iter__(self) -> Iterator[Asset]:
        return iter(self._assets.values())

    def __len__(self) -> int:
        return len(self._assets)

    def __contains__(self, key: object) -> bool:
        return key in self._assets

    def __getitem__(self, key: str) -> Asset:
        if key not in self._assets:
            raise UsageError(f"there is no asset {key}{_nearest(key, self._assets)}")
        return self._assets[key]

    def upstream(self, key: str) -> list[Asset]:
        """The assets that `key` reads."""
        return [self._assets[up] for up in self[key].upstream]

    def downstream(self, key: str) -> list[Asset]:
        """The assets that read `key`."""
        return [self._assets[down] for down in self._downstream[self[key].key]]

    def ancestors(self, key: str) -> set[str]:
        """All keys that `key` depends on, without itself."""
        return self._walk(key, lambda k: self._assets[k].upstream)

    def required(self, key: str) -> set[str]:
        """The keys that `key` cannot be made without, without itself: its ancestors by other ways than an optional table."""
        return self._walk(key, lambda k: [up for up in self._assets[k].upstream if up not in self._assets[k].optional])

    def descendants(self, key: str) -> set[str]:
        """All keys that depend on `key`, without itself."""
        return self._walk(key, lambda k: self._downstream[k])

    def select(self, expression: str | Iterable[str] = "*") -> list[Asset]:
        """The assets an expression names, in dependency order.

        Terms, separated by spaces or commas, are added up: a key (`staging.population`), a bare name (`population`), a
        pattern (`landing.*`), `layer:staging`, `source:gdp` (the landing and staging tables of a source); `+` before a
        term adds all it depends on, behind it all that depends on it. Raises UsageError, with the nearest names, when a
        term names nothing.
        """
        if not self._assets:
            raise UsageError("the project has no tables yet; `catalunya new source ADDRESS` adds the first")
        terms = expression.replace(",", " ").split() if isinstance(expression, str) else list(expression)
        chosen: set[str] = set()
        for term in terms:
            core = term.removeprefix("+").removesuffix("+")
            found = self._match(core)
            if not found:
                raise UsageError(f"{core!r} names no asset{_nearest(core, self._assets)}")
            chosen |= found
            for key in found:
                chosen |= self.ancestors(key) if term.startswith("+") else set()
                chosen |= self.descendants(key) if term.endswith("+") else set()
        return [asset for asset in self if asset.key in chosen]

    def _match(self, core: str) -> set[str]:
        method, _, value = core.rpartition(":")
        if method == "layer":
            return {a.key for a in self if a.layer == value}
        if method == "source":
            return {a.key for a in self if a.layer is not Layer.MARTS and fnmatchcase(a.name, value)}
        if method:
            raise UsageError(f"{core!r}: expected layer:NAME or source:NAME; write the key or a pattern otherwise")
        return {a.key for a in self if fnmatchcase(a.key, value) or ("." not in value and fnmatchcase(a.name, value))}

    def _walk(self, key: str, step: object) -> set[str]:
        assert callable(step)
        seen: set[str] = set()
        waiting = [self[key].key]
        while waiting:
            for near in step(waiting.pop()):
                if near not in seen:
                    seen.add(near)
                    waiting.append(near)
        return seen


def _check_references(asset: Asset, by_key: Mapping[str, Asset]) -> None:
    """Raise DeclarationError when a column references one that does not exist, or has another type."""
    for column in asset.columns:
        if not column.references:
            continue
        table, _, field = column.references.partition(".")
        types = {found.name: found.type for found in by_key[f"{asset.layer}.{table}"].columns}
        if types.get(field) != column.type:
            raise DeclarationError(
                f"{asset.key}: column {column.name} ({column.type}) references {column.references}, expected a column of that table with "
                f"the same type, found {types.get(field) or 'only ' + ', '.join(types)}; correct the contract"
            )


def _nearest(key: str, known: Iterable[str]) -> str:
    """A hint with the names nearest to a typo, or where to look."""
    keys = list(known)
    bare = {k.partition(".")[2]: k for k in keys}
    near = get_close_matches(key, keys, n=3, cutoff=0.5) or [
        bare[m] for m in get_close_matches(key.rpartition(":")[2], list(bare), n=3, cutoff=0.5)
    ]
    return f"; did you mean {' or '.join(near)}?" if near else "; `catalunya ls` lists them"
