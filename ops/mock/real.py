"""The recorded tables of `--real DIR`: read from its folder `soda`, served as they are at version 0.

Later versions change, add and drop a row or two, as those of the generated tables do. Nothing is written to DIR.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from catalunya.io.errors import ConfigurationError
from catalunya.ops.mock import generate_municipalities, generate_usage
from catalunya.ops.mock.datasets import MUNICIPALITIES, REGISTER, USAGE
from catalunya.ops.mock.noise import number
from catalunya.ops.mock.tables import Dataset, SmallTable, from_rows

MUNICIPALITIES_FILE = "9aju-tpwc.resource.derived.json"
MUNICIPALITIES_VIEW = "9aju-tpwc.views.json"
USAGE_FILE = "yavr-pn8q.json"
REGISTER_FILES = ("ivft-vegh.anonymised_full_rows.json", "ivft-vegh.partial_real.json")


def real_tables(folder: Path) -> tuple[list[SmallTable], dict[str, dict[str, Any]]]:
    """The three tables, and the recorded metadata by dataset id. Raises ConfigurationError where a file is missing."""
    register = [row for name in REGISTER_FILES for row in _read(folder, name)]
    tables = [
        SmallTable(
            MUNICIPALITIES, _frame(MUNICIPALITIES, _read(folder, MUNICIPALITIES_FILE)), generate_municipalities.step
        ),
        SmallTable(REGISTER, _frame(REGISTER, register), _register_step),
        SmallTable(USAGE, _frame(USAGE, _read(folder, USAGE_FILE)), generate_usage.step),
    ]
    return tables, {MUNICIPALITIES.id: _read(folder, MUNICIPALITIES_VIEW)}


def _read(folder: Path, name: str) -> Any:
    path = folder / "soda" / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The mock's real data: expected JSON in {path}, found {error}. Give the folder that holds soda/{name}."
        ) from error


def _frame(dataset: Dataset, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return from_rows(dataset, [{name: _text(value) for name, value in row.items()} for row in rows])


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _register_step(frame: pl.DataFrame, version: int) -> pl.DataFrame:
    """One service has a place more, one is closed, one opens: a copy of another under a new number."""
    rows = frame.to_dicts()
    changed, closed = (number(version, 96, role) % len(rows) for role in range(2))
    rows[changed]["capacitat"] = str(int(rows[changed]["capacitat"] or 0) + 1)
    opened = rows[changed] | {"registre": f"S{90000 + version:05}"}
    if closed == changed:
        closed = (closed + 1) % len(rows)
    return from_rows(REGISTER, [*rows[:closed], *rows[closed + 1 :], opened])
