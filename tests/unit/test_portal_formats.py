"""Each format, read back with a tool of its readers, is the table."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from catalunya.portal.formats import EXCEL_ROWS, FORMATS, SLICE, About, Sheet, formats

ISSUED = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)
ABOUT = About(ISSUED, [Sheet("Català", [("Taula", "=Població")], ["Columna"], [["name"], ["count"]])])
TEXTS = ["Sant Hipòlit, l·l", "", None, 'say "hi"', "two\r\nlines", "=1+1", "@home", "-3", "+34", "\ttab", "\rreturn"]
TABLE = pl.DataFrame(
    {
        "name": TEXTS,
        "count": [1, None, -3, 2**53, 5, 6, 7, 8, 9, 10, 11],
        "share": [0.1 + 0.2, None, -1.5, 1e-7, 1e22, 1234567.891, 0.0, 1.0, 2.0, 3.0, 4.0],
        "is_final": [True, False, None, *[True] * 8],
        "day": [date(1714, 9, 11), None, *[date(2026, 8, 3)] * 9],
        "moment": pl.Series(["2026-08-03 04:05:06.789", *[None] * 10]).str.to_datetime(time_unit="ms"),
    },
    schema_overrides={"count": pl.Int64},
)
HOSTILE = [text for text in TEXTS if text and text[0] in "=@-+\t\r"]


def written(name: str, to: Path, table: pl.DataFrame = TABLE) -> bytes:
    """The file of the table in a format."""
    form = next(each for each in FORMATS if each.name == name)
    path = to / f"made{form.ending}"
    form.write(table, path, ABOUT)
    return path.read_bytes()


def test_parquet_has_the_columns_the_types_and_the_values(tmp_path: Path) -> None:
    found = pl.read_parquet(written("parquet", tmp_path))
    assert found.schema == TABLE.schema
    assert found.equals(TABLE, null_equal=True)


def test_csv_is_the_table_exactly(tmp_path: Path) -> None:
    body = written("csv", tmp_path)
    found = pl.read_csv(body, schema=TABLE.schema | {"moment": pl.String})
    assert found.drop("moment").equals(TABLE.drop("moment"), null_equal=True)
    rows = list(csv.reader(io.StringIO(body.decode(), newline="")))
    assert [row[0] for row in rows] == ["name", *(text or "" for text in TEXTS)]
    assert rows[1] == [
        "Sant Hipòlit, l·l",
        "1",
        "0.30000000000000004",
        "true",
        "1714-09-11",
        "2026-08-03T04:05:06.789Z",
    ]


def test_csv_ends_lines_as_rfc_4180_says_and_tells_an_empty_text_from_an_unknown_one(tmp_path: Path) -> None:
    lines = written("csv", tmp_path, TABLE.head(3).drop("moment")).decode().split("\r\n")
    assert lines[0] == "name,count,share,is_final,day"
    assert lines[2:] == ['"",,,false,', ",-3,-1.5,,2026-08-03", ""]


def test_csv_for_excel_has_what_excel_expects_where_the_decimal_sign_is_a_comma(tmp_path: Path) -> None:
    body = written("excel_csv", tmp_path)
    assert body.startswith(b"\xef\xbb\xbfname;count;share;")
    rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert rows[1] == ["Sant Hipòlit, l·l", "1", "0,30000000000000004", "true", "1714-09-11", "2026-08-03 04:05:06"]
    assert rows[3][:3] == ["", "-3", "-1,5"], "a negative number is no formula"


def test_csv_for_excel_has_no_text_that_excel_takes_for_a_formula(tmp_path: Path) -> None:
    body = written("excel_csv", tmp_path).decode("utf-8-sig")
    texts = [row[0] for row in csv.reader(io.StringIO(body, newline=""), delimiter=";")]
    assert texts[1:] == [f"'{text}" if text in HOSTILE else text or "" for text in TEXTS]
    assert len(HOSTILE) == 6


def test_json_is_an_array_of_objects_with_iso_dates(tmp_path: Path) -> None:
    found = json.loads(written("json", tmp_path))
    assert [row["name"] for row in found] == TEXTS
    assert found[0] == {
        "name": "Sant Hipòlit, l·l",
        "count": 1,
        "share": 0.30000000000000004,
        "is_final": True,
        "day": "1714-09-11",
        "moment": "2026-08-03T04:05:06.789Z",
    }
    assert [row["share"] for row in found] == TABLE["share"].to_list()


@pytest.mark.parametrize("count", [0, 1, SLICE, SLICE + 1])
def test_json_of_any_length_is_one_array(count: int, tmp_path: Path) -> None:
    table = pl.DataFrame({"n": range(count), "text": "a\nb"}, schema={"n": pl.Int64, "text": pl.String})
    found = json.loads(written("json", tmp_path, table))
    assert found == table.to_dicts()


def sheets(body: bytes) -> dict[str, list[list[object]]]:
    """Sheet -> rows -> cells of an Excel file: texts, numbers and formulas as they are stored."""
    with zipfile.ZipFile(io.BytesIO(body)) as book:
        tag = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
        shared = ET.fromstring(book.read("xl/sharedStrings.xml"))
        texts = ["".join(each.text or "" for each in item.iter(f"{tag}t")) for item in shared]
        names = re.findall(r'<sheet name="([^"]*)"', book.read("xl/workbook.xml").decode())
        found: dict[str, list[list[object]]] = {}
        for number, name in enumerate(names, 1):
            tree = ET.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))
            assert not list(tree.iter(f"{tag}f")), "a formula"
            assert not list(tree.iter(f"{tag}hyperlink"))
            found[name] = [
                [
                    texts[int(value)] if cell.get("t") == "s" else float(value)
                    for cell in row
                    if (value := cell.findtext(f"{tag}v"))
                ]
                for row in tree.iter(f"{tag}row")
            ]
        return found


def test_excel_has_the_rows_and_a_sheet_that_describes_them(tmp_path: Path) -> None:
    body = written("xlsx", tmp_path, TABLE.with_columns(pl.col("count").replace(2**53, 4)))
    found = sheets(body)
    assert list(found) == ["data", "Català"]
    assert found["data"][0] == TABLE.columns
    assert found["data"][1][:4] == ["Sant Hipòlit, l·l", 1.0, 0.3, 1.0], "Excel has 16 digits"
    assert [row[0] for row in found["data"][6:8]] == ["=1+1", "@home"], "a text is a text"
    assert found["Català"] == [["Taula", "=Població"], ["Columna"], ["name"], ["count"]]


def test_excel_has_days_before_1900_and_long_numbers_as_texts(tmp_path: Path) -> None:
    days = [date(1, 1, 1), date(1899, 12, 31), None, date(2026, 8, 3)]
    table = pl.DataFrame({"day": days, "id": [2**63 - 1, -(2**63), 9007199254740993, 7], "small": [1, 2, 3, -(10**14)]})
    columns = list(zip(*sheets(written("xlsx", tmp_path, table.drop_nulls()))["data"], strict=True))
    assert columns == [
        ("day", "0001-01-01", "1899-12-31", "2026-08-03"),
        ("id", "9223372036854775807", "-9223372036854775808", "7"),
        ("small", 1.0, 2.0, -1e14),
    ]


def test_excel_says_when_its_data_was_made_not_when_the_file_was(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(written("xlsx", tmp_path))) as book:
        properties = book.read("docProps/core.xml").decode()
    assert set(re.findall(r"\d{4}-\d\d-\d\dT[\d:]+Z", properties)) == {"2026-08-03T12:00:00Z"}


@pytest.mark.parametrize("name", ["json", "xlsx"])
def test_a_number_that_is_none_is_unknown_where_a_format_has_no_such_number(name: str, tmp_path: Path) -> None:
    body = written(name, tmp_path, pl.DataFrame({"n": [float("nan"), float("inf"), 1.5]}))
    if name == "json":
        assert json.loads(body) == [{"n": None}, {"n": None}, {"n": 1.5}]
    else:
        assert sheets(body)["data"] == [["n"], [], [], [1.5]]


def test_only_small_tables_are_written_for_excel() -> None:
    assert "xlsx" in [each.name for each in formats(EXCEL_ROWS - 1)]
    assert "xlsx" not in [each.name for each in formats(EXCEL_ROWS)]


@pytest.mark.parametrize("name", [each.name for each in FORMATS])
def test_the_same_table_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    large = pl.concat([TABLE] * 1000)
    assert written(name, tmp_path, large) == written(name, tmp_path / "again", large.rechunk())


@pytest.mark.parametrize("name", [each.name for each in FORMATS])
def test_a_table_without_rows_has_its_columns(name: str, tmp_path: Path) -> None:
    body = written(name, tmp_path, TABLE.clear())
    assert json.loads(body) == [] if name == "json" else body
