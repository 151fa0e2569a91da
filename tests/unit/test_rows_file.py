"""A page of rows that is checked while it is written: the same verdict as about the whole, however it comes."""

from __future__ import annotations

import hashlib
import itertools
import json
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalunya.io.json_text import BROKEN_JSON, AnyObject, json_decoder
from catalunya.io.sources.rows_file import RowsFile

ROWS = st.lists(st.dictionaries(st.text(max_size=3), st.text('a,\n]}[{"\\ù', max_size=5), max_size=3), max_size=6)
MIB = 1024 * 1024
LINES = [b'[{"a":"1"}', b'\n,{"a":"\xc3\xa0"}', b'\n,{"b":"]"}', b"]\n"]


def written(body: bytes, cuts: list[int]) -> RowsFile:
    """A file that got these bytes in pieces."""
    file, edges = RowsFile(BytesIO()), [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in itertools.pairwise(edges):
        file.write(body[start:end])
    return file


def counted(body: bytes) -> int | None:
    """The number of rows by the whole; None if it is no array of objects in UTF-8."""
    try:
        body.decode()
        return len(json_decoder(list[AnyObject]).decode(body))
    except BROKEN_JSON:
        return None


@given(ROWS, st.lists(st.integers(0, 500), max_size=6))
def test_a_row_per_line_is_counted_however_it_is_cut(rows: list[dict[str, str]], cuts: list[int]) -> None:
    body = ("[" + "\n,".join(json.dumps(row, ensure_ascii=False) for row in rows) + "]\n").encode()
    file = written(body, cuts)
    assert (file.rows(), file.sha256) == (len(rows), hashlib.sha256(body).hexdigest())


@given(
    st.lists(st.sampled_from([*LINES, b"\n,", b"[", b",", b" ", b"\xc3", b"{}"]), max_size=7),
    st.lists(st.integers(0, 80), max_size=4),
)
def test_what_is_counted_is_an_array_with_so_many_rows(pieces: list[bytes], cuts: list[int]) -> None:
    body = b"".join(pieces)
    rows = written(body, cuts).rows()
    assert rows is None or rows == counted(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[]\n,]",
        b"[\n,{}]",
        b"[{}\n,]",
        b"[{}\n,{}",
        b"[{}]\n,{}]",
        b"[{}\n,1]",
        b'[{"a":"\xc3"}\n,{}]',
        b"<html>",
    ],
)
def test_what_is_broken_is_left_to_the_whole(body: bytes) -> None:
    assert written(body, []).rows() is None
    assert counted(body) is None


def test_what_has_no_row_per_line_is_left_to_the_whole() -> None:
    body = b"[" + b",".join([b'{"a":"%s"}' % (b"x" * 1000)] * 9000) + b"]"
    assert (written(body, [*range(0, len(body), MIB)]).rows(), counted(body)) == (None, 9000)
    assert (written(b" [{}]", []).rows(), counted(b" [{}]")) == (None, 1)


def test_it_can_be_written_again_from_its_start() -> None:
    content = BytesIO()
    file = RowsFile(content)
    file.write(b"[{}\n,{")
    file.seek(0)
    file.truncate()
    file.write(b"[{}]\n")
    assert (content.getvalue(), file.rows()) == (b"[{}]\n", 1)
    assert file.sha256 == hashlib.sha256(b"[{}]\n").hexdigest()
