"""Another source of the same table, for the day on which the first one dies, and which of them is read.

Here: declaring an alternative, what its raw fields are called and become, and the choice in `assets/project.toml`. Not here: changing that
choice (`ops/commands/sources.py`), reading a source (`io/sources`). Importing this costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from catalunya.io.errors import DeclarationError
from catalunya.io.project_folder import FILE
from catalunya.io.safe_text import few, is_pattern

if TYPE_CHECKING:
    import polars as pl

    from catalunya.io.sources.extraction import Source

SECTION = "sources"
"""The table of `assets/project.toml` that names the alternative in use: `[sources]`, `population = "pmh"`."""


FIRST = "first"
"""What the source that a table is declared with is called among its alternatives."""


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A source that has the same table under other names or in other words.

    - `fields`: field of the landing contract -> its name at this source, where the two differ.
    - `rows`: a function from its raw rows (text, under the contract's names) to rows as the first source has them, such as
      `2023` -> `2023-H1`. It returns the same rows in the same order (`with_columns`).
    """

    source: Source[Any]
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    rows: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None

    def renamed(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What this source says of its fields, under the contract's names."""
        ours = {theirs: name for name, theirs in self.fields.items()}
        return {ours.get(name, name): value for name, value in found.items()}

    def theirs(self, names: Iterable[str]) -> list[str]:
        """What fields of the contract are called at this source."""
        return [self.fields.get(name, name) for name in names]

    def named(self, page: pl.DataFrame) -> pl.DataFrame:
        """A page of this source under the contract's names."""
        from catalunya.io.sources.json_types import TYPE  # with polars, which a declaration does without

        names = [(each + theirs, each + name) for name, theirs in self.fields.items() for each in ("", TYPE)]
        return page.rename({theirs: name for theirs, name in names if theirs in page.columns})

    def read(self, page: pl.DataFrame, key: str) -> pl.DataFrame:
        """A page of this source as a page of the first one. Raises DeclarationError when `rows` breaks its rules."""
        page = self.named(page)
        if self.rows is None:
            return page
        made = self.rows(page.lazy()).collect()
        if made.schema != page.schema or made.height != page.height:
            raise DeclarationError(
                f"{key}: expected `rows` of the alternative {self.source.describe()} to return the same rows and columns, as text, found "
                f"{made.height:,} of {page.height:,} rows with {', '.join(made.columns)}; use with_columns"
            )
        return made


def checked(key: str, found: Mapping[str, Source[Any] | Alternative], own: Source[Any]) -> dict[str, Alternative]:
    """The alternatives of a landing table. Raises DeclarationError for a name that is none, a field that cannot be read, or a dataset that is
    there twice."""
    named = {name: each if isinstance(each, Alternative) else Alternative(source=each) for name, each in found.items()}
    if wrong := [name for name in named if not name.isidentifier() or name == FIRST]:
        raise DeclarationError(
            f"{key}: expected a word other than {FIRST!r} as the name of an alternative, found {wrong[0]!r}; rename it"
        )
    for name, each in named.items():
        if patterns := [field for pair in each.fields.items() for field in pair if is_pattern(field)]:
            raise DeclarationError(
                f"{key}: alternative {name}: expected `fields` with names, found {few(patterns)}, which polars takes for a pattern of names; leave "
                "the field out"
            )
    datasets = [own.describe(), *(each.source.describe() for each in named.values())]
    if twice := [name for name in datasets if datasets.count(name) > 1]:
        raise DeclarationError(f"{key}: {twice[0]} is declared twice; a row could not say which of the two it is from")
    return named


def chosen(key: str, known: Iterable[str], name: str) -> str:
    """The name of the alternative in use, as `assets/project.toml` gives it. Raises DeclarationError if it is none of the table's."""
    if name in known:
        return name
    table = key.partition(".")[2]
    raise DeclarationError(f"{FILE}: [{SECTION}] {table} = {name!r}: {unknown(key, known, name)}")


def unknown(key: str, known: Iterable[str], name: str) -> str:
    """A sentence for a name that is no alternative of a table, with the nearest one."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"expected an alternative of {key} ({', '.join(names) or 'it has none'}), found {name!r}{hint}"
