"""Reading raw pages: every layout of the same JSON array gives the same rows; broken JSON is an error."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from catalunya.io.errors import ContractError
from catalunya.io.sources.json_types import TYPE
from catalunya.io.sources.pages import FLAW, read_page
from catalunya.io.sources.socrata import Socrata
from small.real import real_data

ROWS = [
    {
        "codi": "01",
        "nom": 'a "quoted" name,\n, with a line break',
        "point": {"type": "Point", "coordinates": [1.0, 2.0]},
    },
    {"codi": "02", "places": 4.5, "obert": True},
    {"codi": "03", "nom": None, "nom2": "[not]\\n,{a row}"},
]
FIELDS = ["codi", "nom", "places", "obert"]
SOURCE = Socrata("ivft-vegh")
EXPECTED = [
    ("01", 'a "quoted" name,\n, with a line break', None, None),
    ("02", None, "4.5", "true"),
    ("03", None, None, None),
]

row_per_line = "[" + "\n,".join(json.dumps(row) for row in ROWS) + "]\n"
LAYOUTS = {
    "one row per line, as Socrata sends": row_per_line,
    "one row per line, trailing commas": "[\n" + ",\n".join(json.dumps(row) for row in ROWS) + "\n]",
    "all on one line": json.dumps(ROWS),
    "indented": json.dumps(ROWS, indent=2),
    "with Windows line ends": row_per_line.replace("\n", "\r\n"),
    "with surrounding whitespace": f"  \n {row_per_line} \n\n",
}


def read(body: bytes) -> pl.DataFrame:
    return read_page(body, "page-7", FIELDS, SOURCE, "landing.x")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_of_the_same_array_gives_the_same_rows(layout: str) -> None:
    assert read(layout.encode()).select(FIELDS).rows() == EXPECTED


@pytest.mark.parametrize("body", [b"[]\n", b"[ ]", b"[\n]\n"])
def test_an_empty_array_is_an_empty_page(body: bytes) -> None:
    frame = read(body)
    assert frame.is_empty()
    assert frame.schema == dict.fromkeys(FIELDS, pl.String)


@pytest.mark.parametrize(
    "body", [b'[{"codi":"01"', b'[{"codi":"01"}\n,{"codi":]\n', b"<html>sorry</html>", b'[{"codi" "01"}]']
)
def test_broken_json_is_an_error_that_names_the_page(body: bytes) -> None:
    if body.startswith(b"<"):
        body = b"[" + body + b"]"
    with pytest.raises(ContractError, match=r"landing\.x: expected a JSON array of rows in page-7"):
        read(body)


@pytest.mark.parametrize("indent", [None, 2])
def test_half_of_a_character_counts_as_a_lost_one_in_every_layout(indent: int | None) -> None:
    texts = ["Vic\ud83d", "\udd56\ud83e", "Vic \U0001f956", "\\ud83d is an escape", "\\\ud83d"]
    rows = [{"codi": str(number), "nom": text} for number, text in enumerate(texts)]
    array = json.dumps(rows, indent=indent).encode()
    line_by_line = b"[" + b"\n,".join(json.dumps(row).encode() for row in rows) + b"]\n"
    expected = ["Vic\ufffd", "\ufffd\ufffd", "Vic 🥖", "\\ud83d is an escape", "\\\ufffd"]
    assert read(array)["nom"].to_list() == read(line_by_line)["nom"].to_list() == expected


def test_if_a_row_among_the_first_has_a_field_twice_all_rows_are_searched() -> None:
    once, twice = b'{"codi":"1","nom":"Vic"}', b'{"codi":"2","nom":"Vic","nom":"Reus"}'
    page = b"[" + b"\n,".join([once, twice, *[once] * 100, twice]) + b"]\n"
    frame = read_page(page, "page-7", FIELDS, SOURCE, "landing.x", searched=200)
    flaw = "nom: found twice in one row: 'Vic' and 'Reus'"
    assert frame[FLAW].to_list() == [None, flaw, *[None] * 100, flaw]


def recorded(*, rows: bool) -> list[Path]:
    """The recorded answers that are arrays of rows, or all others."""
    known = [path for path in sorted(real_data().rglob("*.*")) if path.suffix in {".json", ".txt", ".csv"}]
    small = [path for path in known if path.stat().st_size < 1_000_000]
    return [path for path in small if rows == (path.suffix == ".json" and path.read_bytes().lstrip()[:1] == b"[")]


def test_every_recorded_array_of_rows_is_read_whole() -> None:
    paths = recorded(rows=True)
    assert len(paths) > 5
    for path in paths:
        rows = json.loads(path.read_bytes())
        frame = read_page(path.read_bytes(), path.name, ["codi", "id", "any"], SOURCE, "landing.x")
        assert frame["id"].to_list() == [None if row.get("id") is None else str(row["id"]) for row in rows], path


def test_every_recorded_answer_of_another_kind_is_refused_in_one_line() -> None:
    for path in recorded(rows=False):
        with pytest.raises(ContractError, match="expected a JSON array of rows in") as raised:
            read_page(path.read_bytes(), path.name, ["codi", "id", "any"], SOURCE, "landing.x")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("is_ascii", [True, False], ids=["escaped", "as it is"])
@pytest.mark.parametrize("name", ["població", 'a "name"', "😀", "km/h", "back\\slash", "a.b"])
def test_a_field_that_holds_objects_is_found_however_its_name_is_spelled(name: str, is_ascii: bool) -> None:
    rows = [{name: {"any": 2024}, "codi": "01"}, {name: 5, "codi": "02"}, {name: None, "codi": "03"}]
    body = "[" + "\n,".join(json.dumps(row, ensure_ascii=is_ascii) for row in rows) + "]\n"
    page = read_page(body.encode(), "page-7", [name, "codi"], SOURCE, "landing.x")
    assert page["codi"].to_list() == ["01", "02", "03"]
    assert page[TYPE + name].to_list() == ["object", "number", None]


@pytest.mark.parametrize("colon", [":", " :", ": ", " : ", "\t:\t"])
def test_a_value_that_is_not_text_is_noticed_however_the_source_sets_blanks(colon: str) -> None:
    body = f'[{{"codi"{colon}"01","places"{colon}5}}\n,{{"codi"{colon}"02","places"{colon}"6"}}]\n'
    page = read_page(body.encode(), "page-7", ["codi", "places"], SOURCE, "landing.x")
    assert page[TYPE + "places"].to_list() == ["number", None]
