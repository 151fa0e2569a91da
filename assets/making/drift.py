"""Drift in the rows of a source: values whose JSON type is not the one that the source declares for their field, or that they had before.

`8001` in place of `"08001"` is the usual one: the leading zero is lost. Here: finding it in pages that were read, and what follows.
Not here: JSON types (`io/sources/json_types.py`), the fields that a source declares (`contracts/model/check.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.assets.record.ledger import Entry
from catalunya.contracts.model.values import NUMBER_KINDS
from catalunya.io.errors import ContractError
from catalunya.io.log import get_logger
from catalunya.io.safe_text import NAME, legible
from catalunya.io.sources.json_types import TYPE

log = get_logger(__name__)

_BOOLEAN_KINDS = frozenset({"checkbox", "boolean"})


@dataclass
class RowTypes:
    """The JSON types, other than text, that the pages of one batch hold: field and type -> rows. Several threads may add pages."""

    declaration: StagingDeclaration
    kinds: Mapping[str, str]
    pages: list[Counter[tuple[str, str]]] = field(default_factory=list)

    def taken(self, page: pl.DataFrame) -> pl.DataFrame:
        """The page without its columns of types, which are counted. Raises ContractError for a field that holds objects."""
        columns = [name for name in page.columns if name.startswith(TYPE)]
        found: Counter[tuple[str, str]] = Counter()
        for name in columns:
            known = page[name].drop_nulls().value_counts()
            found.update({(name.removeprefix(TYPE), kind): rows for kind, rows in known.iter_rows()})
        objects = [name for name, kind in found if kind == "object"]
        if objects:
            raise ContractError(
                f"{self.declaration.key}: expected a value in the field {legible(objects[0], NAME)}, found a JSON object or array in "
                f"{_rows(found[objects[0], 'object'])} of a page; declare its kind in {self.declaration.landing.contract.__name__} "
                '(kind="point"), and it is left out'
            )
        self.pages.append(found)
        return page.drop(columns) if columns else page  # polars copies nothing, but takes its time to find that out

    @property
    def fields(self) -> dict[str, str]:
        """Field -> the types its values have that are not text."""
        kinds: dict[str, set[str]] = {}
        for name, kind in self._counted():
            kinds.setdefault(legible(name, NAME), set()).add(kind)
        return {name: ", ".join(sorted(found)) for name, found in sorted(kinds.items())}

    def drift(self, previous: Entry | None) -> str:
        """What differs from the types that the source declares or, where it declares none, from those of the previous table.

        As shown in messages and the ledger. Raises ContractError under `freeze`.
        """
        changes = []
        for (name, kind), rows in sorted(self._counted().items()):
            declared = self.kinds.get(name)
            if declared is None:
                is_known = previous is None or kind in previous.fields.get(legible(name, NAME), "")
            else:
                is_known = declared in (NUMBER_KINDS if kind == "number" else _BOOLEAN_KINDS)
            if not is_known:
                changes.append(f"{legible(name, NAME)} was {declared or 'text'}, is a JSON {kind} in {_rows(rows)}")
        drift, policy = "; ".join(changes), self.declaration.landing.contract.terms().drift
        if not drift or policy == "discard":
            return ""
        key = self.declaration.key
        if policy == "freeze":
            raise ContractError(
                f"{key}: the rows do not have the types of {self.declaration.landing.contract.__name__}: {drift}. "
                "Nothing was published; if the source changed on purpose, update the contract"
            )
        log.warning("source_drift", asset=key, drift=drift, policy=policy)
        return drift

    def _counted(self) -> Counter[tuple[str, str]]:
        return sum(self.pages, Counter())


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
