"""Declaring that a wide table is read as a long one.

Here: which columns become rows, and what the two fields made of them are called. Not here: doing it (`assets/making/unpivot.py`).
Importing this costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from catalunya.io.errors import DeclarationError


@dataclass(frozen=True, kw_only=True)
class Unpivot:
    """A wide table made long: one row for each of some columns, such as years (`any_2023`, `any_2024`).

    - `columns`: the raw fields, by name, or by a pattern of their whole names: with it, columns that the source adds later are read too,
      if its contract lets the source evolve.
    - `names_to`: the field that says which column a row is of: what the pattern's group matches, else the column's name.
    - `values_to`: the field with its value. `keep_empty`: whether there is a row for a column without a value.

    Contract columns read these two as any raw field: `source="any"`.
    """

    columns: str | tuple[str, ...]
    names_to: str
    values_to: str
    keep_empty: bool = False

    def __post_init__(self) -> None:
        flaw = "names_to and values_to that differ" if self.names_to == self.values_to else ""
        if isinstance(self.columns, str):
            try:
                groups = re.compile(self.columns).groups
                flaw = flaw or (f"a pattern with one group at most, found {groups}" if groups > 1 else "")
            except re.error as error:
                flaw = f"a pattern of column names, found {self.columns!r} ({error})"
        elif not self.columns or len(set(self.columns)) < len(self.columns):
            flaw = f"the names of columns, each once, found {self.columns!r}"
        if flaw:
            raise DeclarationError(f"unpivot: expected {flaw}; correct the declaration")

    def names(self, fields: Iterable[str]) -> dict[str, str]:
        """Of these fields, those that become rows, in order -> what `names_to` says of each."""
        if not isinstance(self.columns, str):
            return {name: name for name in fields if name in self.columns}
        found = ((name, re.fullmatch(self.columns, name)) for name in fields)
        return {name: match[match.re.groups] for name, match in found if match}
