"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.io.errors import UsageError

FLAG = Parameter(negative=(), show_default=False)
AsJson = Annotated[bool, FLAG, Parameter("--json", help="Print one JSON document.")]
Select = Annotated[
    str,
    Parameter(
        help="Assets to select: a key (staging.population), a bare name (population), a pattern (landing.*), layer:staging or "
        "source:gdp. A leading + adds everything upstream, a trailing + everything downstream. Several terms are combined."
    ),
]
Key = Annotated[str, Parameter(help="The key of one asset, such as staging.population.")]
Workers = Annotated[int, Parameter(validator=Number(gte=1, lte=16), help="Number of assets made at the same time.")]
Force = Annotated[bool, FLAG, Parameter(help="Make the assets even if they are up to date.")]
DryRun = Annotated[bool, FLAG, Parameter(help="Only show what would be done.")]
Real = Annotated[
    Path | None,
    Parameter(help="A folder of Socrata and JSON-stat files for the mock APIs to serve; see `catalunya mock --help`."),
]


def selection(terms: tuple[str, ...]) -> str:
    """The selection that a command's arguments make; everything if there are none. Raises UsageError on an empty argument."""
    if not all(term.strip() for term in terms):
        raise UsageError(
            "expected names of assets, found an empty argument (an unset variable?); leave it out to select everything"
        )
    return " ".join(terms) or "*"
