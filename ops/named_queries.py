"""The queries that are asked again and again, one file each in `queries/`: a title in its first line, then SQL for both engines.

Here: finding them. The name is the file's. Not here: running one (`commands/query.py`), putting them into Athena's work group
(`cdk/catalog.py` at a deployment, `commands/catalog.py` where they differ since).
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from catalunya.io.errors import DeclarationError, UsageError

if TYPE_CHECKING:
    from catalunya.io.warehouse.athena import Athena, NamedQuery

FOLDER = Path(__file__).parent / "queries"


@dataclass(frozen=True, slots=True)
class Question:
    """A query with a name: what it answers, and its SQL over `staging.x` and `marts.y`."""

    name: str
    title: str
    sql: str


def questions() -> list[Question]:
    """All of them, by name. Raises DeclarationError on a file without a title."""
    return [_read(file) for file in sorted(FOLDER.glob("*.sql"))]


def as_kept(athena: Athena) -> list[NamedQuery]:
    """All of them as a work group is to keep them."""
    from catalunya.io.warehouse.athena import NamedQuery

    return [NamedQuery(each.name, each.title, athena.translate(each.sql)) for each in questions()]


def question(name: str) -> Question:
    """The one of that name. Raises UsageError, with the nearest names, when there is none."""
    known = {each.name: each for each in questions()}
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise UsageError(f"there is no query named {name!r}; there is {', '.join(near)} (`catalunya query --list`)")
    return known[name]


def _read(file: Path) -> Question:
    title, _, sql = file.read_text(encoding="utf-8").partition("\n")
    if not title.startswith("-- "):
        raise DeclarationError(
            f"{file.name}: expected a first line `-- ` and what the query answers, found {title!r}; write it"
        )
    return Question(file.stem, title.removeprefix("-- ").strip(), sql.strip())
