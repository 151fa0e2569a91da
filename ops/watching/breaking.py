"""Which tables and columns a field of a source takes with it when it is gone or changes its type.

Here: the fields that a message names (a failed landing, recorded drift, the check of a source), and what is made from them by column lineage.
Not here: finding that a source has changed (`contracts/model/check.py`), the lineage (`assets/graph/column_lineage.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from catalunya.assets.graph.column_lineage import ColumnLineage, load_lineage
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.io.safe_text import few

NAMED = 6
"""How many of the columns are named."""
_RETYPED = re.compile(r"(?P<name>.+) was .+, is .+")
_FIELDS = re.compile(r"do not match \w+: (?P<drift>.+?)\. Nothing was published", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Broken:
    """Fields of a landing table that are gone or have another type, and what that concerns, in dependency order: `columns` are made
    from them; `rows` are the tables whose rows depend on them."""

    gone: tuple[str, ...]
    retyped: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[str, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that are concerned."""
        return tuple(sorted({*(column.rpartition(".")[0] for column in self.columns), *self.rows}))

    @property
    def what(self) -> str:
        """The fields, in words."""
        parts = [f"{', '.join(self.gone)} is gone" if len(self.gone) == 1 else f"{', '.join(self.gone)} are gone"]
        parts = parts if self.gone else []
        return " and ".join([*parts, *([f"the type of {', '.join(self.retyped)} changed"] if self.retyped else [])])

    @property
    def text(self) -> str:
        """What is concerned, in words."""
        made = [f"made from it: {few(self.columns, NAMED)}"] if self.columns else []
        rows = [f"it decides which rows there are in {', '.join(self.rows)}"] if self.rows else []
        return "; ".join([*made, *rows])


def broken(graph: AssetGraph, asset: Asset, drift: Iterable[str]) -> Broken | None:
    """What the changes of a source that these texts describe concern: those of a landing table, or of the one that a staging table is made
    from. None if nothing is made from the fields that they name.
    """
    landing = next((up for up in (asset, *graph.upstream(asset.key)) if up.layer is Layer.LANDING), None)
    if landing is None:
        return None
    names = {column.name for column in landing.columns}
    gone, retyped = list[str](), list[str]()
    for part in (part.strip() for text in drift for part in _parts(text)):
        if part.startswith("missing "):
            listed = re.sub(r" and [0-9,]+ more$", "", part.removeprefix("missing "))
            gone += [name for name in listed.split(", ") if name in names]
        elif (found := _RETYPED.fullmatch(part)) and found["name"] in names:
            retyped.append(found["name"])
    lineage = load_lineage(graph)
    hit = Broken(
        tuple(dict.fromkeys(gone)),
        tuple(dict.fromkeys(retyped)),
        tuple(dict.fromkeys(_columns(lineage, landing.key, [*gone, *retyped]))),
        tuple(dict.fromkeys(key for name in (*gone, *retyped) for key in lineage.row_consumers_of(landing.key, name))),
    )
    return hit if hit.columns or hit.rows else None


def _columns(lineage: ColumnLineage, landing: str, fields: Iterable[str]) -> Iterable[str]:
    return (str(consumer) for field in fields for consumer in lineage.consumers_of(landing, field))


def _parts(text: str) -> list[str]:
    found = _FIELDS.search(text)
    return (found["drift"] if found else text).split("; ")
