"""The recorded table of `--real DIR`: read from its folder `idescat`, served as it is at version 0.

Later versions add a year, a little beside the one before it and provisional; the year that was so becomes final.
Nothing is written to DIR.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from catalunya.io.errors import ConfigurationError
from catalunya.ops.mock.idescat.cube import MISSING, PROVISIONAL, Cells, Dimension, Head, StatTable
from catalunya.ops.mock.idescat.document import GEOGRAPHIES
from catalunya.ops.mock.noise import number

PATH = "pmh/446/477/mun"
FILE = "pmh_446_477_mun.data.reconstructed.json"
_STATISTIC = "Padró municipal d'habitants"


def recorded_table(folder: Path) -> StatTable:
    """Population by municipality, 2019 to 2023. Raises ConfigurationError where the file is missing."""
    path = folder / "idescat" / FILE
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The mock's real data: expected JSON in {path}, found {error}. Give the folder that holds idescat/{FILE}."
        ) from error
    head = Head(
        path=PATH,
        statistic=_STATISTIC,
        label=recorded["label"].removesuffix(f". {GEOGRAPHIES['mun'][0]}"),
        source=recorded["source"],
        updated=date.fromisoformat(recorded["updated"]),
    )
    first = tuple(_dimension(recorded, code) for code in recorded["id"])
    return StatTable(head, lambda version: _dimensions(first, version), lambda version: _cells(recorded, version))


def _dimension(recorded: dict[str, Any], code: str) -> Dimension:
    told = recorded["dimension"][code]
    category = told["category"]
    role = next((role for role in ("time", "geo", "metric") if code in recorded["role"].get(role, [])), "")
    return Dimension(
        code,
        told["label"],
        role,  # type: ignore[arg-type]
        {each: category["label"][each] for each in category["index"]},
        {metric: unit["decimals"] for metric, unit in category.get("unit", {}).items()},
        told.get("extension", {}),
    )


def _dimensions(first: tuple[Dimension, ...], version: int) -> tuple[Dimension, ...]:
    if not version:
        return first
    years = dict(first[0].categories)
    for _ in range(version):
        year = str(int(list(years)[-1]) + 1)
        years[year] = year
    newest = {"status": {list(years)[-1]: PROVISIONAL}}
    return (Dimension(first[0].code, first[0].label, "time", years, extension=newest), *first[1:])


def _cells(recorded: dict[str, Any], version: int) -> Cells:
    values: list[int | None] = list(recorded["value"])
    statuses = {int(at): str(status) for at, status in recorded.get("status", {}).items()}
    a_year = len(values) // recorded["size"][0]
    for step in range(1, version + 1):
        final = [value and value + number(step, 99, at) % 3 for at, value in enumerate(values[-a_year:])]
        before = len(values) - a_year
        values[before:] = final
        statuses = {at: status for at, status in statuses.items() if at < before or status == MISSING}
        # Catalonia, the last of a year, is left as it is: without a figure where there was none.
        new = [value and value * (1004 - number(step, 98, at) % 9) // 1000 for at, value in enumerate(final)]
        statuses |= {len(values) + at: PROVISIONAL if value is not None else MISSING for at, value in enumerate(new)}
        values += new
    return Cells([json.dumps(value) for value in values], statuses)
