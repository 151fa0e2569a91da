"""IDESCAT's tables in the other forms that they may have: nobody has seen the codes of `afic` and `pibt` yet.

A form changes what is not known (ids, codes, labels, dimensions of metrics), never a value. What it is applied to is a small part of the
mock's own tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalunya.ops.mock.data import tables
from catalunya.ops.mock.idescat import Cube, Document, StatTable

Codes = Callable[[int, int], str]
"""The code or label of a year and a quarter."""


def month(year: int, quarter: int) -> str:
    return f"{year}M{3 * quarter:02}"


@dataclass(frozen=True)
class Form:
    """One form of a table. `labels`: of periods; None: their codes. `categories`: id -> what becomes of a code and label.

    `metrics`: how the dimension of metrics comes: "one" as in the mock, "value": with one nameless category, "two", "second": the measures
    are in the second of two, "none".
    """

    time: str
    period: str
    codes: Codes
    labels: Codes | None = None
    ids: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, Callable[[str, str], tuple[str, str]]] = field(default_factory=dict)
    metrics: str = "one"
    without: str = ""
    """A dimension of one category that is not there."""

    def of(self, cube: Cube) -> Cube:
        """The same cube in this form."""
        document = dict(cube.document)
        dimensions: dict[str, Document] = {}
        roles = {role: list(names) for role, names in document["role"].items()}
        time = roles["time"][0]
        for name in document["id"]:
            known = document["dimension"][name]
            labels = {code: known["category"]["label"][code] for code in known["category"]["index"]}
            if name == time:
                changed = [self._period(code) for code in labels]
            else:
                change = self.categories.get(name, lambda code, label: (code, label))
                changed = [change(code, label) for code, label in labels.items()]
            mine = self.time if name == time else self.ids.get(name, name)
            label = self.period if name == time else self.names.get(name, known["label"])
            dimensions[mine] = _dimension(label, dict(changed))
            roles = {role: [mine if each == name else each for each in names] for role, names in roles.items()}
        self._set_metrics(dimensions, roles)
        if self.without in dimensions:
            del dimensions[self.without]
            roles = {role: [each for each in names if each != self.without] for role, names in roles.items()}
        return Cube(
            document | {"id": list(dimensions), "role": roles, "dimension": dimensions}, cube.values, cube.statuses
        )

    def _period(self, code: str) -> tuple[str, str]:
        year, quarter = int(code[:4]), int(code[5:]) // (3 if code[4] == "M" else 1)
        mine = self.codes(year, quarter)
        return mine, self.labels(year, quarter) if self.labels else mine

    def _set_metrics(self, dimensions: dict[str, Document], roles: dict[str, list[str]]) -> None:
        (concept,) = roles["metric"]
        several = len(dimensions[concept]["category"]["index"]) > 1
        match self.metrics:
            case "value" if not several:
                dimensions[concept] = _dimension("concepte", {"VALUE": "valor"})
            case "two":
                dimensions["INDICATOR"] = _dimension("indicador", {"VALUE_EK": "valor"})
                roles["metric"].append("INDICATOR")
            case "second":
                measures = dimensions.pop(concept)
                dimensions["CONCEPT"] = _dimension("concepte", {"X": "magnitud"})
                dimensions["INDICATOR"] = measures
                roles["metric"] = ["CONCEPT", "INDICATOR"]
            case "none" if not several:
                del dimensions[concept]
                roles["metric"] = []


def _dimension(label: str, categories: Mapping[str, str]) -> Document:
    return {"label": label, "category": {"index": list(categories), "label": dict(categories)}}


def part_of(cube: Cube, keep: Mapping[str, Sequence[str] | slice]) -> Cube:
    """Some categories of some dimensions, by code or position."""
    document, picked = dict(cube.document), {}
    for name in document["id"]:
        index, kept = document["dimension"][name]["category"]["index"], keep.get(name, slice(None))
        places = range(len(index))[kept] if isinstance(kept, slice) else [index.index(code) for code in kept]
        picked[name] = (len(index), list(places), [index[at] for at in places])
    wanted = [0]
    for size, places, _ in picked.values():
        wanted = [start * size + at for start, at in itertools.product(wanted, places)]
    dimensions: dict[str, Any] = {}
    for name, (_, _, codes) in picked.items():
        known = document["dimension"][name]
        labels = {code: known["category"]["label"][code] for code in codes}
        dimensions[name] = {"label": known["label"], "category": {"index": codes, "label": labels}}
    statuses = {at: cube.statuses[was] for at, was in enumerate(wanted) if was in cube.statuses}
    return Cube(document | {"dimension": dimensions}, [cube.values[at] for at in wanted], statuses)


def served(statistic: str, form: Form | None, keep: Mapping[str, Sequence[str] | slice]) -> list[StatTable]:
    """A part of the mock's tables of a statistic, in a form or as they are."""

    def one(table: StatTable) -> StatTable:
        cube = part_of(table.cube(0), keep)
        shown = form.of(cube) if form else cube
        return StatTable(path=table.path, cube=lambda _: shown)

    return [one(table) for table in tables() if table.path.startswith(f"{statistic}/")]
