"""Binding: which dimension of a statistical table is which column, and what its categories are called, as a source declares it.

Here: finding dimensions by role, id and label, and categories by code and label, so that a table of another shape, or with other codes,
has the same columns. Not here: the layout of JSON-stat (`jsonstat.py`), what the columns mean (the contracts). Importing this is cheap:
asset files declare with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.periods import read_periods
from catalunya.io.sources.jsonstat import ROLES, Axis
from catalunya.io.words import words

if TYPE_CHECKING:
    from catalunya.io.periods import PeriodKind
    from catalunya.io.sources.jsonstat import Dataset

METRIC = "metric"
SHOWN = 12
"""How many categories a message lists."""


@dataclass(frozen=True, slots=True)
class By:
    """How the dimension of a column is found, and its categories; see `by`."""

    names: tuple[str, ...]
    codes: str
    labels: tuple[tuple[str, tuple[str, ...]], ...]
    only: str

    def is_named(self, text: str) -> bool:
        """Whether one of the names is in the words of a dimension's id and label."""
        return any(_has(text, name) for name in self.names)

    def category(self, code: str, label: str) -> tuple[str, str] | None:
        """The declared code of a category and its label without a code before it; None if it is not declared."""
        for ours, phrases in self.labels:
            if code.casefold() == ours.casefold() or any(_has(label, phrase) for phrase in phrases):
                return ours, label
        if not self.codes:
            return None if self.labels else (code, label)
        before = re.match(rf"({self.codes})[\W_]+(?=\w)", label)
        name = label[before.end() :] if before else label
        if re.fullmatch(self.codes, code):
            # "A Agricultura" under the code B: either may be meant.
            return (code, name) if not before or before[1] == code else None
        return (before[1], name) if before else None


def by(*names: str, codes: str = "", labels: Mapping[str, Sequence[str]] | None = None, only: str = "") -> By:
    """Declare how the dimension of a column is found, and what its categories are called in that column.

    - `names`: words of its id or label, in any case, accents or not. `geo` and `metric` are found by their role.
    - `labels`: a code -> phrases in the label of its category (`^`: at the beginning); the first that fits. The category may have that
      very code, too.
    - `codes`: a pattern of all other codes. A code may also stand before the label: "A Agricultura" is A, "Agricultura".
    - `only`: the code for a table's only metric, whatever it is called there, or if it is not called anything.

    With `labels` or `codes`, a category that is none of them is an error; with `labels` alone, a dimension without a known name is
    found by them.
    """
    named = tuple((code, tuple(phrases)) for code, phrases in (labels or {}).items())
    return By(names, codes, named, only)


def bind(dataset: Dataset, declared: Mapping[str, By], periods: PeriodKind | None = None) -> dict[str, Axis]:
    """Dimension -> what it is in the page: those declared under their column, the others by role or id, time in one spelling.

    Raises DeclarationError if a declared column fits no dimension or several, a category is not declared or a code is there twice, or
    time codes can be read in several ways; ContractError if the dataset contradicts itself.
    """
    axes = dataset.axes()
    for column, one in declared.items():
        if column != METRIC:
            name = _dimension_of(dataset, axes, column, one)
            axes[name] = _axis(dataset, name, column, one)
    if METRIC in declared:
        axes = _with_metric(dataset, axes, declared[METRIC])
    bound = {axis.column for axis in axes.values()} & {*declared, *ROLES}
    left = [name for name, axis in axes.items() if axis.column not in bound and len(axis.codes) > 1]
    if declared and left:
        raise DeclarationError(
            f"expected each dimension of several categories to be a column, found {_shown(dataset, left)}; declare its column"
        )
    if time := next((name for name, axis in axes.items() if axis.column == "time"), None):
        axes[time] = _in_time(dataset, time, axes[time], periods)
    return axes


def are_periods_apart(dataset: Dataset, axes: Mapping[str, Axis], periods: PeriodKind | None) -> bool:
    """Whether each time code is read the same without the others, so that a page may have only some of them."""
    time = next((name for name, axis in axes.items() if axis.column == "time"), None)
    if time is None:
        return True
    labels, name = dataset.dimension[time].category.labels(), f"{time} {dataset.dimension[time].label}"
    try:
        alone = [read_periods({code: label}, name, periods).get(code, code) for code, label in labels.items()]
        return alone == list(axes[time].codes)
    except ContractError:
        return False


def _dimension_of(dataset: Dataset, axes: Mapping[str, Axis], column: str, one: By) -> str:
    """The dimension of a declared column. Raises DeclarationError."""
    if column in ROLES:
        found = [name for name, axis in axes.items() if axis.column == column]
        expected = f"one dimension with the role {column}"
    else:
        free = [name for name, axis in axes.items() if axis.kind not in {"time", "geo"}]
        named = [name for name in free if one.is_named(f"{name} {dataset.dimension[name].label}")]
        found = [name for name in free if name.casefold() == column.casefold()] or named
        if len(found) != 1 and one.labels and not one.codes:  # letters fit sexes as well as sections
            found = _with_several(dataset, [name for name in found or free if _fits(dataset, name, one)])
        expected = f"one dimension called {' or '.join([column, *one.names])}"
    if len(found) != 1:
        raise DeclarationError(
            f"dimensions[{column!r}]: expected {expected}, found {_shown(dataset, found or dataset.id)}; correct its names"
        )
    return found[0]


def _with_metric(dataset: Dataset, axes: Mapping[str, Axis], one: By) -> dict[str, Axis]:
    """The axes with `metric` in place of the dimensions of that role: the one whose categories are declared, or `only`.

    Two dimensions of that role are normal, one of them with a single category: what both together say, the other one says.
    """
    metrics = [name for name, axis in axes.items() if axis.kind == METRIC]
    found = _with_several(
        dataset, [name for name in metrics if (one.labels or one.codes) and _fits(dataset, name, one)]
    )
    left = [name for name in metrics if name not in found and len(axes[name].codes) > 1]
    others = {name: axis for name, axis in axes.items() if name not in metrics}
    if len(found) == 1 and not left:
        return others | {found[0]: _axis(dataset, found[0], METRIC, one)}
    if not found and not left and one.only:
        return others | {metrics[0] if len(metrics) == 1 else METRIC: Axis(METRIC, METRIC, [one.only], None)}
    known = [code for code, _ in one.labels] or [one.only]
    raise DeclarationError(
        f"dimensions['metric']: expected one dimension of metrics with the categories {', '.join(known)}, "
        f"found {_shown(dataset, found or left or metrics or dataset.id)}; correct its labels"
    )


def _axis(dataset: Dataset, name: str, column: str, one: By) -> Axis:
    """A dimension under its column, with the declared codes. Raises DeclarationError."""
    found = {code: one.category(code, label) for code, label in dataset.dimension[name].category.labels().items()}
    if unknown := [code for code, category in found.items() if category is None]:
        raise DeclarationError(
            f"dimensions[{column!r}]: expected all categories of {name} to be declared, found {_categories(dataset, name, unknown)}; "
            "add them to its labels or codes"
        )
    known = {code: category for code, category in found.items() if category}
    ours = Counter(code for code, _ in known.values())
    if twice := [code for code, category in known.items() if ours[category[0]] > 1]:
        raise DeclarationError(
            f"dimensions[{column!r}]: expected one category of {name} for {known[twice[0]][0]}, "
            f"found {_categories(dataset, name, twice)}; correct its labels"
        )
    codes, labels = [code for code, _ in known.values()], [label for _, label in known.values()]
    kind = column if column in ROLES else "dimension"
    return Axis(column, kind, codes, None if column in ROLES else labels)


def _in_time(dataset: Dataset, name: str, axis: Axis, periods: PeriodKind | None) -> Axis:
    """The time dimension, with its codes in one spelling; codes that are no periods stay as they are. Raises DeclarationError."""
    dimension = dataset.dimension[name]
    try:
        read = read_periods(dimension.category.labels(), f"{name} {dimension.label}".strip(), periods)
    except ContractError as error:
        raise DeclarationError(
            f"{error}; declare what they count, as in periods='month' or periods='quarter'"
        ) from None
    return replace(axis, codes=[read.get(code, code) for code in axis.codes])


def _fits(dataset: Dataset, name: str, one: By) -> bool:
    """Whether all categories of a dimension are declared."""
    return all(one.category(*each) for each in dataset.dimension[name].category.labels().items())


def _with_several(dataset: Dataset, names: Sequence[str]) -> list[str]:
    """Of several dimensions those that have more than one category, if there are such: the others tell nothing apart."""
    return [name for name in names if len(dataset.dimension[name].category.codes()) > 1] or list(names)


def _has(text: str, phrase: str) -> bool:
    """Whether the words of a phrase follow each other in a text; at its beginning, if the phrase starts with `^`."""
    found, wanted = _spaced(text), _spaced(phrase)
    return found.startswith(wanted) if phrase.startswith("^") else wanted in found


@lru_cache(2000)
def _spaced(text: str) -> str:
    """The words of a text with a space before and behind each. Every label is compared with several phrases, each of them with every label."""
    return f" {' '.join(words(text))} "


def _shown(dataset: Dataset, names: Iterable[str]) -> str:
    """Dimensions for a message: id, label, role and number of categories."""
    roles, each = dataset.roles(), []
    for name in names:
        dimension = dataset.dimension[name]
        said = [dimension.label, roles.get(name, ""), _counted(len(dimension.category.codes()))]
        each.append(f"{name} ({', '.join(filter(None, said))})")
    return ", ".join(each) or "none"


def _counted(categories: int) -> str:
    """How many categories there are, in words."""
    return f"{categories} categor{'y' if categories == 1 else 'ies'}"


def _categories(dataset: Dataset, name: str, codes: Sequence[str]) -> str:
    """Categories for a message: code and label of a few of them."""
    labels = dataset.dimension[name].category.labels()
    more = f" and {len(codes) - SHOWN} more" if len(codes) > SHOWN else ""
    return ", ".join(f"{code!r} ({labels[code]})" for code in codes[:SHOWN]) + more
