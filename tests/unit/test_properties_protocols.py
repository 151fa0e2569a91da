"""Whatever the number of rows, the size of a page, and what a portal gives at once: the rows of all pages are the rows of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalunya.io.sources.ckan import Ckan
from catalunya.io.sources.extraction import Source
from catalunya.io.sources.opendatasoft import Opendatasoft
from catalunya.io.sources.socrata import Socrata
from catalunya.ops.mock import ckan, opendatasoft, serve
from catalunya.ops.mock.exchange import Published
from catalunya.ops.mock.rows import SmallRows
from catalunya.ops.mock.tables import Dataset, column
from small.apis import Landing, fast
from small.patience import patience

ID = "52696168-d8bc-4707-9a09-a21c6c2669f3"
AT = "2025-09-23T11:13:22+00:00"
TYPES = {"code": "text", "name": "text", "places": "int"}
FIELDS = list(TYPES)

Row = tuple[str, str | None, str | None]
TEXTS = st.none() | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"\\\n\t{}[],:'), min_size=1
)
NUMBERS = st.none() | st.integers(-(10**15), 10**15).map(str)


def socrata(frame: pl.DataFrame) -> Dataset:
    columns = [column(name, name, "number" if kind == "int" else kind) for name, kind in TYPES.items()]
    view = {"id": "ab12-cd34", "columns": columns, "rowsUpdatedAt": 1_700_000_000}
    return Dataset(view=view, rows=SmallRows(frame, ["code"]), key=("code",))


def portal(protocol: str, frame: pl.DataFrame, most: int) -> tuple[Source[Any], Published]:
    """A portal of the protocol with this table, and the source that reads it; `most`: the rows that CKAN gives at once."""
    match protocol:
        case "ckan":
            return Ckan(ID, key=("code",)), ckan.resource(ID, frame, TYPES, modified=AT, key=["code"], most=most)
        case "opendatasoft":
            data = opendatasoft.dataset("stations", frame, TYPES, processed=AT, key=["code"])
            return Opendatasoft("stations", key=("code",)), data
    return Socrata("ab12-cd34", key=("code",), api=int(protocol[-1])), socrata(frame)


def read(source: Source[Any], published: Published, size: int) -> Sequence[Row]:
    landing = Landing()
    with serve(datasets=[published]) as server:
        http = fast(server.url, page_rows=size, app_token="token")
        state = source.probe(http)
        assert state
        done = source.extract(http, state, landing)
    assert sorted(landing.files) == [page.name for page in done.pages]
    frames = [source.read(landing.files[page.name], FIELDS, 2**20).select(FIELDS) for page in done.pages]
    assert [frame.height for frame in frames] == [page.rows for page in done.pages]
    assert done.rows == done.state.rows == sum(frame.height for frame in frames)
    return [row for frame in frames for row in frame.iter_rows()]


@pytest.mark.parametrize("protocol", ["socrata-2", "socrata-3", "ckan", "opendatasoft"])
@settings(max_examples=25, deadline=patience(5000))
@given(
    rows=st.lists(st.tuples(TEXTS, NUMBERS), max_size=30),
    size=st.integers(1, 40),
    most=st.integers(1, 40),
)
def test_the_rows_of_all_pages_are_the_rows_of_the_table(
    protocol: str, rows: list[tuple[str | None, str | None]], size: int, most: int
) -> None:
    expected = [(f"{at:03}", *row) for at, row in enumerate(rows)]
    frame = pl.DataFrame(expected, schema=dict.fromkeys(FIELDS, pl.String), orient="row")
    assert read(*portal(protocol, frame, most), size) == expected
