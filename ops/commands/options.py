"""Options that several commands share, with their help said once."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

FLAG = Parameter(negative=(), show_default=False)
AsJson = Annotated[bool, FLAG, Parameter("--json", help="Print one JSON document.")]
Select = Annotated[
    str,
    Parameter(
        help="Which assets: a key (staging.population), a bare name, a pattern (landing.*), layer:staging, source:gdp; "
        "+ before a term adds all it depends on, behind it all that depends on it. Several terms are added up."
    ),
]
Key = Annotated[str, Parameter(help="The key of one asset, such as staging.population.")]
Workers = Annotated[int, Parameter(validator=Number(gte=1, lte=16), help="Assets made at once.")]
Force = Annotated[bool, FLAG, Parameter(help="Make it though nothing changed.")]


def selection(terms: tuple[str, ...]) -> str:
    """The selection that the arguments of a command make: everything, when there are none."""
    return " ".join(terms) or "*"
