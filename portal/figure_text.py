"""How a figure is written: its values, and its unit, in a language.

Not here: numbers in general (`language.py`), what figures are called (`assets/graph/titles.py`).
"""

from __future__ import annotations

from catalunya.assets.graph.titles import titles
from catalunya.contracts.model.columns import Column
from catalunya.portal.declaration import Figure
from catalunya.portal.language import Language


def is_percentage(figure: Figure) -> bool:
    """Whether each value is written with its unit, which is %."""
    return figure.style in {"percent", "change"}


def value_text(language: Language, figure: Figure, value: float | None) -> str:
    """A value with the digits, the sign and the % that its figure asks for; a dash if it is not known."""
    if is_percentage(figure):
        return language.percent(value, figure.digits, signed=figure.style == "change")
    return language.number(value, figure.digits)


def unit_text(language: Language, figure: Figure, column: Column) -> str:
    """The unit of a figure; "" for none. One that has no name in the language is as in the contract."""
    unit = "%" if is_percentage(figure) else figure.unit or column.unit or ""
    return titles().get(f"unit.{unit}", {}).get(language.code, unit)
