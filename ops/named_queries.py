"""The saved queries of the project, one file each in `assets/queries/`: a title in the first line, then SQL that runs on both engines.

Here: finding them; a query is named after its file. Not here: running one (`commands/query.py`), saving them in Athena's work group
(`cdk/catalog.py` at deployment, `commands/catalog.py` if they differ later).
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from catalunya.io.errors import DeclarationError, UsageError
from catalunya.io.project_folder import active

if TYPE_CHECKING:
    from pathlib import Path

    from catalunya.io.warehouse.athena import Athena, NamedQuery

FOLDER = "assets/queries"


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query with a name: what it answers, and its SQL over `staging.x` and `marts.y`."""

    name: str
    title: str
    sql: str


def saved_queries() -> list[SavedQuery]:
    """All saved queries, by name. Raises DeclarationError for a file without a title."""
    return [_read(file) for file in sorted((active().folder / FOLDER).glob("*.sql"))]


def for_work_group(athena: Athena) -> list[NamedQuery]:
    """All saved queries as named queries of a work group."""
    from catalunya.io.warehouse.athena import NamedQuery

    return [NamedQuery(each.name, each.title, athena.translate(each.sql)) for each in saved_queries()]


def saved_query(name: str) -> SavedQuery:
    """The saved query of that name. Raises UsageError, with the nearest names, when there is none."""
    known = {each.name: each for each in saved_queries()}
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.6)
        advice = f"; did you mean {' or '.join(near)}?" if near else ";"
        raise UsageError(f"there is no saved query {name!r}{advice} `catalunya query --list` shows all")
    return known[name]


def _read(file: Path) -> SavedQuery:
    title, _, sql = file.read_text(encoding="utf-8").partition("\n")
    if not title.startswith("-- "):
        raise DeclarationError(
            f"{file.name}: expected a first line with `-- ` and what the query answers, found {title!r}; add it"
        )
    return SavedQuery(file.stem, title.removeprefix("-- ").strip(), sql.strip())
