"""A wide raw page made long, as a staging declaration says: one row for each of some columns.

Here: which raw fields are read and which of them become rows, and the page made of those rows. Not here: what the rows mean, and the
checks of them (`page_check.py`), which see a long page like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.assets.graph.unpivot import Unpivot
from catalunya.contracts.model.check import no_value_as_null
from catalunya.contracts.model.columns import NESTED, PROVENANCE
from catalunya.io.errors import ContractError
from catalunya.io.safe_text import NAME, is_pattern, legible
from catalunya.io.sources.json_types import TYPE
from catalunya.io.sources.pages import FLAW


@dataclass(frozen=True, slots=True)
class Shape:
    """The raw fields that are read of a page, and with `unpivot` those that become rows -> what `names_to` says of each.

    `is_marked`: each row also has the dataset that it is from, in the field `PROVENANCE`.
    """

    read: tuple[str, ...]
    unpivot: Unpivot | None
    names: Mapping[str, str]
    is_marked: bool = False

    @classmethod
    def of(cls, declaration: StagingDeclaration, declared: Mapping[str, str]) -> Shape:
        """By the contract and, for a pattern, by what the source declares (`declared`). Raises ContractError if no column becomes a row, or
        two become the same one.

        Fields are read that are values of one cell, and none that are personal, so that they never leave landing; none whose name polars takes
        for a pattern of names.
        """
        contract, unpivot = declaration.landing.contract, declaration.unpivot
        known = {field.name: field for field in contract.fields()}
        read = [name for name, field in known.items() if not field.personal and field.kind not in NESTED]
        if unpivot and contract.terms().drift == "evolve":
            read += [name for name in unpivot.names(declared) if name not in known and declared[name] not in NESTED]
        read = [name for name in read if not is_pattern(name)]
        if unpivot is None:
            return cls(tuple(read), None, {}, declaration.has_provenance)
        names = unpivot.names(read)
        twice = sorted(name for name, count in Counter(names.values()).items() if count > 1)
        if not names or twice:
            found = (
                f"{', '.join(legible(name, NAME) for name in twice)} of several"
                if twice
                else f"none of {len(read)} that is"
            )
            raise ContractError(
                f"{declaration.asset.key}: expected columns like {unpivot.columns!r}, each with a name of its own, found {found}; correct `unpivot`"
            )
        return cls(tuple(read), unpivot, names, declaration.has_provenance)

    @property
    def rows_each(self) -> int:
        """How many rows of a long page are made of each row."""
        return len(self.names) or 1

    @property
    def fields(self) -> list[str]:
        """The raw fields of a long page."""
        made = [self.unpivot.names_to, self.unpivot.values_to] if self.unpivot else []
        return [
            *(name for name in self.read if name not in self.names),
            *made,
            *([PROVENANCE] if self.is_marked else []),
        ]

    def marked(self, page: pl.DataFrame, source: str) -> pl.DataFrame:
        """The page with the dataset that its rows are from, if the table says so."""
        return page.with_columns(pl.lit(source).alias(PROVENANCE)) if self.is_marked else page

    def kinds(self, kinds: Mapping[str, str]) -> dict[str, str]:
        """The types of the fields of a long page: its values have the type that all of their columns have."""
        found = {kinds.get(name) for name in self.names}
        kind = next(iter(found)) if len(found) == 1 else None
        return {**kinds, **({self.unpivot.values_to: kind} if self.unpivot and kind else {})}

    def long(self, page: pl.DataFrame) -> pl.DataFrame:
        """The rows of a page, in their order, one for each column that becomes a row; flaws and JSON types stay beside them."""
        if self.unpivot is None:
            return page
        values = {self.unpivot.values_to: pl.concat_list(pl.col(list(self.names)))}
        if any(TYPE + name in page.columns for name in self.names):
            types = (
                pl.col(TYPE + name) if TYPE + name in page.columns else pl.lit(None, pl.String) for name in self.names
            )
            values[TYPE + self.unpivot.values_to] = pl.concat_list(*types)
        names = pl.lit(pl.Series([list(self.names.values())], dtype=pl.List(pl.String))).first()
        gone = [*self.names, *(TYPE + name for name in self.names if TYPE + name in page.columns)]
        made = [self.unpivot.names_to, *values]
        return page.with_columns(names.alias(self.unpivot.names_to), **values).drop(gone).explode(made)

    def with_values(self, long: pl.DataFrame) -> pl.DataFrame:
        """The long page without rows that have no value, unless they are kept; a row with a flaw always is."""
        if self.unpivot is None or self.unpivot.keep_empty:
            return long
        has_value = no_value_as_null(pl.col(self.unpivot.values_to).str.strip_chars()).is_not_null()
        return long.filter(has_value | pl.col(FLAW).is_not_null() if FLAW in long.columns else has_value)
