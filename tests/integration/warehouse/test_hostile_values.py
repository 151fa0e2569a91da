"""Values of a source pass through dbt as rows, never as SQL or Jinja; a failure is reported in one short line."""

from __future__ import annotations

import re

import pytest

from catalunya.io.errors import WarehouseError
from catalunya.io.safe_text import escaped
from small.warehouse import Warehouse, municipality

HOSTILE = [
    "'; drop table staging.municipalities; --", 'a "quoted" name', "{{ 1 + 1 }}{% raw %}", "${x} $(touch x)", "../../etc/passwd",
    "line\nend\r", "\x1b[2J\x1b[31m", "\u202etxt", "%s {0}", "x" * 10_000_000,
]  # fmt: skip
CODES = ["080193", "080018", "080023", "080039", "080044", "080057", "080060", "080076", "080082", "080095"]


def test_hostile_names_pass_through_a_mart_unchanged(warehouse: Warehouse) -> None:
    rows = [municipality(code, name, "13", "Barcelonès") for code, name in zip(CODES, HOSTILE, strict=True)]
    warehouse.write("municipalities", rows)
    built = warehouse.build("dim_municipalities")
    assert dict(built.select("municipality_id", "municipality_name").iter_rows()) == dict(
        zip(CODES, HOSTILE, strict=True)
    )

    warehouse.write("municipalities", [*rows, *rows])
    with pytest.raises(WarehouseError, match="break it, the first") as raised:
        warehouse.build("dim_municipalities", as_of="2026-08-04")
    assert escaped(str(raised.value)) == str(raised.value)
    assert len(str(raised.value)) < 2000
    assert not re.search("x{2000}", str(raised.value))
