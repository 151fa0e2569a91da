"""Files by URL: whether one changed, pages of whole records in little memory, and one clear line for what is no table."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from catalunya.assets.graph.spec import Landing as LandingAsset
from catalunya.assets.graph.spec import staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import DeclarationError, SourceChanged, SourceError, SourceUnavailable, UsageError
from catalunya.io.periods import window
from catalunya.io.sources.base import Extraction, SourceState
from catalunya.io.sources.file_formats import cut
from catalunya.io.sources.files import BEGINNING, File
from catalunya.io.sources.pages import FLAW
from catalunya.io.sources.protocols import recognize
from catalunya.ops.mock import samples, serve
from catalunya.ops.mock.exchange import Answer
from catalunya.ops.mock.file import PublishedFile
from catalunya.ops.mock.server import MockServer
from small.apis import Landing, fast
from small.http_server import Asked, Server

URL = "https://example.org/dades/pisos.csv"
REAL = os.environ.get("CATALUNYA_REAL_DATA")
needs_real_data = pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA is not set")


class Served:
    """A file behind the mock, and what a client of it sees."""

    def __init__(self, server: MockServer, **http: Any) -> None:
        self.server, self.http = server, fast(f"{server.url}/example.org", **http)
        self.landing = Landing()

    def probe(self, source: File, known: str | None = None) -> SourceState | None:
        return source.probe(self.http, known)

    def extract(self, source: File, state: SourceState | None = None, **http: Any) -> Extraction:
        state = state or self.probe(source)
        assert state
        self.landing = Landing()
        return source.extract(replace(self.http, **http), state, self.landing)

    def rows(self, source: File, done: Extraction) -> pl.DataFrame:
        fields = list(done.state.fields)
        return pl.concat(
            [source.read(self.landing.files[page.name], fields, 1000) for page in done.pages], how="diagonal"
        )


@contextmanager
def serving(content: bytes, url: str = URL, gzip: bool = False, **http: Any) -> Iterator[Served]:
    with serve(datasets=[PublishedFile(address=url, content=content)], gzip=gzip) as server:
        yield Served(server, **http)


def read(content: bytes, url: str = URL, page_rows: int = 2, **options: Any) -> pl.DataFrame:
    """The rows of a file, by a whole extraction in small pages."""
    source = File(url, **options)
    with serving(content, url, page_rows=page_rows) as served:
        return served.rows(source, served.extract(source))


def refusal(content: bytes, url: str = URL, **options: Any) -> str:
    with pytest.raises(SourceError) as caught:
        read(content, url, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert "example.org/dades/" in message
    return message


TABLE = b'codi,nom,places\r\n08001,Abrera,12\r\n08002,"Aguilar, de\r\nSegarra",\r\n\r\n08003,"El ""Pla""",1\r\n'
ROWS = [("08001", "Abrera", "12"), ("08002", "Aguilar, de\r\nSegarra", None), ("08003", 'El "Pla"', "1")]


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.csv", content)
    return packed.getvalue()


def parquet(frame: pl.DataFrame) -> bytes:
    body = io.BytesIO()
    frame.write_parquet(body)
    return body.getvalue()


# What is read


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (TABLE, {}),
        (b"\xef\xbb\xbf" + TABLE, {}),
        (TABLE.rstrip(), {}),
        (TABLE.replace(b"\r\n", b"\n").replace(b"de\n", b"de\r\n"), {}),
        (b"T\xc3\xadtol\r\n\r\n" + TABLE, {"skip": 2}),
        (TABLE.partition(b"\n")[2], {"header": False, "names": ("codi", "nom", "places")}),
        (TABLE, {"names": ("codi", "nom", "places")}),
        (gzip.compress(TABLE, mtime=0), {}),
        (gzip.compress(TABLE[:30], mtime=0) + gzip.compress(TABLE[30:], mtime=0), {}),
        (zipped(dades=TABLE), {}),
        (zipped(dades=TABLE, notes=b"x"), {"member": "dades.csv"}),
    ],
    ids=["plain", "BOM", "no last line break", "line breaks", "title block", "no header", "names", "gzip", "two gzips", "zip", "member"],
)  # fmt: skip
def test_a_table_is_the_same_however_it_is_packed(content: bytes, options: dict[str, Any]) -> None:
    found = read(content, **options)
    assert found.columns == ["codi", "nom", "places"]
    assert found.rows() == ROWS


def test_columns_are_named_exactly_as_in_the_file_and_nameless_ones_by_their_place() -> None:
    assert read("Àrea bàsica ;;any_2024\na;b;1\n".encode(), delimiter=";").columns == [
        "Àrea bàsica ",
        "column_2",
        "any_2024",
    ]
    assert read(b"a,b\n", header=False).columns == ["column_1", "column_2"]
    assert read(b"a\tb\n1\t2\n", "https://example.org/dades/x.tsv").rows() == [("1", "2")]


def test_text_in_windows_1252_is_landed_as_received_and_read_as_declared() -> None:
    content = "nom;valor\nVallès;1.234,5\n".encode("windows-1252")
    source = File(URL, delimiter=";", encoding="windows-1252")
    with serving(content) as served:
        done = served.extract(source)
        assert list(served.landing.files.values()) == [content]
        assert served.rows(source, done).rows() == [("Vallès", "1.234,5")]


def test_quotes_may_be_declared_ordinary() -> None:
    assert read(b'a,b\n5" pipe,1\n6" pipe,2\n', quote=None)["a"].to_list() == ['5" pipe', '6" pipe']


def test_declared_texts_stand_for_no_value() -> None:
    assert read(b"a,b\n.,1\n..,2\n", null_values=(".", "..")).rows() == [(None, "1"), (None, "2")]


def test_a_ragged_row_is_marked_with_its_text_and_the_others_are_read() -> None:
    found = read(b"a,b\n1,2\n3,4,5\n6\n7,8\n9,10\n")
    assert found.height == 5
    flaws = dict(zip(found["a"].to_list(), found[FLAW].to_list(), strict=True)) if FLAW in found.columns else {}
    assert flaws["3"] == "expected 2 fields, found 3: '3,4,5'"
    assert flaws["6"] == "expected 2 fields, found 1: '6'"
    assert flaws["1"] is flaws["7"] is None


def test_json_lines_have_the_fields_of_all_lines_and_their_types() -> None:
    content = b'{"a":1,"t":"x\\ny"}\n{"a":null}\n\n{"a":2.5,"ok":true,"deep":{"x":1}}\n'
    source = File("https://example.org/dades/x.jsonl")
    with serving(content, source.address, page_rows=2) as served:
        done = served.extract(source)
        assert done.state.fields == {"a": "number", "t": "text", "ok": "boolean", "deep": "document"}
        assert [page.rows for page in done.pages] == [2, 1]
        pages = [source.read(served.landing.files[page.name], ["a", "t", "ok"], 1000) for page in done.pages]
        assert [row[:3] for page in pages for row in page.rows()] == [
            ("1", "x\ny", None),
            (None, None, None),
            ("2.5", None, "true"),
        ]


def test_parquet_is_read_as_text_with_its_types() -> None:
    frame = pl.DataFrame({
        "n": [1, 2, 3], "x": [1.5, None, -0.25], "d": [date(2024, 1, 31)] * 3, "ok": [True, None, False],
        "t": pl.Series([datetime(2024, 1, 1, 12, tzinfo=UTC)] * 3).dt.convert_time_zone("Europe/Madrid"), "s": ["é", "", None],
    })  # fmt: skip
    source = File("https://example.org/dades/x.parquet")
    with serving(parquet(frame), source.address, page_rows=2) as served:
        done = served.extract(source)
        assert [page.rows for page in done.pages] == [2, 1]
        kinds = {"n": "number", "x": "number", "d": "date", "ok": "boolean", "t": "fixed_timestamp", "s": "text"}
        assert done.state.fields == kinds
        found = served.rows(source, done)
    assert found["x"].to_list() == ["1.5", None, "-0.25"]
    assert found["t"].str.slice(0, 16).unique().to_list() == ["2024-01-01T12:00"]
    assert found.select("n", "d", "ok").row(0) == ("1", "2024-01-31", "true")


@hypothesis_settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=8)] * 2), min_size=1, max_size=12),
    size=st.integers(1, 5),
)  # fmt: skip
def test_whatever_a_field_holds_the_pages_have_every_record_once(rows: list[tuple[str, str]], size: int) -> None:
    text = "a,b\n" + "".join(",".join('"' + field.replace('"', '""') + '"' for field in row) + "\n" for row in rows)
    source = File(URL)
    pages = list(cut(io.BytesIO(text.encode()), source, size))
    found = [row for page in pages for row in source.read(page.body, ["a", "b"], 1000).rows()]
    assert found == rows
    assert all(page.rows <= size for page in pages)
    assert "".join(page.body.decode().removeprefix("a,b\n") for page in pages) == text.removeprefix("a,b\n")


def test_long_records_make_smaller_pages() -> None:
    content = b"a,b\n" + b"".join(b"%d,%s\n" % (at, b"x" * 1_000_000) for at in range(70))
    pages = list(cut(io.BytesIO(content), File(URL), 50))
    assert [page.rows for page in pages] == [33, 33, 4]


def test_a_sample_is_the_first_page_and_is_served_as_the_file(tmp_path: Path) -> None:
    content = b"Title\n\n" + TABLE
    source = File(URL, skip=2)

    with serving(content, page_rows=2) as served, source.connect(served.http) as client:
        plan = source.plan(client, source.read_state(client), None)
        page = bytes(source.fetch(client, plan.requests[0])[1].body)
    described = samples.Described(kind="file", arguments=[URL], options={"skip": 2}, recorded_at=samples.now())
    samples.write(tmp_path / "pisos", described, [], [samples.RecordedAnswer("/dades/pisos.csv", "text/csv", page)])
    published = samples.published(tmp_path)["example.org/dades/pisos.csv"]
    with serve(datasets=[published]) as server:
        again = Served(server)
        assert again.rows(source, again.extract(source)).rows() == ROWS[:2]


def test_a_file_that_was_moved_is_followed() -> None:
    def reply(asked: Asked) -> Answer:
        return Answer(TABLE) if asked.path == "/new.csv" else Answer(b"", 302, {"Location": "/new.csv"})

    with Server(reply).running() as server:
        state = File(URL).probe(fast(server.url))
    assert state
    assert list(state.fields) == ["codi", "nom", "places"]


# What is refused


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (b"a;b\n1;2\n", {}, "is the delimiter ';'?"),
        (b"a,a,b\n1,2,3\n", {}, "found a twice in the header; declare `names` for all 3 columns"),
        (b"T\xc3\xadtol\n\na,b\n1,2\n3,4\n", {}, "found 1 in 'Títol'; declare skip"),
        (b"<!DOCTYPE html><html>", {}, "expected a table, found HTML or XML"),
        (b"", {}, "expected a table, found an empty file"),
        (b"PAR1xxxx", {}, "expected a table of text, found Parquet"),
        ("nom\nVallès\n".encode("latin-1"), {}, "declare its `encoding`, for example windows-1252"),
        ("nom\nVallès\n".encode(), {"encoding": "windows-1252"}, 'found UTF-8; declare encoding="utf-8"'),
        ("a,b\n1,2\n".encode("utf-16"), {}, "expected a table of text, found UTF-16"),
        (b'a,b\n"1,2\n3,4\n', {}, "expected each quote to be closed"),
        (b'a,b\n5" x,1\n6" y,2\n', {}, "declare quote=None if quotes are ordinary characters"),
        (b"1,2\n3,4\n", {"header": False, "names": ("a",)}, "expected 1 fields, as `names` has, found 2"),
        (zipped(a=TABLE, b=TABLE), {}, "found a.csv, b.csv; declare one as `member`"),
        (zipped(a=TABLE), {"member": "c.csv"}, "expected c.csv in the ZIP archive, found a.csv"),
        (b"a,b\r1,2\r3,4\r", {}, "expected lines that end with a line feed"),
        (gzip.compress(TABLE, mtime=0)[:-6], {}, "cannot be unpacked"),
    ],
    ids=range(16),
)  # fmt: skip
def test_what_is_no_table_is_refused_in_one_line(content: bytes, options: dict[str, Any], expected: str) -> None:
    assert expected in refusal(content, **options)


def test_a_file_that_unpacks_to_too_much_is_refused_in_one_line() -> None:
    packed = gzip.compress(b"a,b\n" + (b"1," + b"1" * 100_000 + b"\n") * 900)
    assert "unpacks to more than 64 MiB" in refusal(packed)


def test_lines_that_are_not_json_and_a_damaged_parquet_file_are_refused() -> None:
    assert "expected one JSON object on each line" in refusal(b"a,b\n1,2\n", "https://example.org/dades/x.jsonl")
    assert "expected Parquet" in refusal(b"PAR1 and no more PAR1", "https://example.org/dades/x.parquet")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"delimiter": ";;"}, "`delimiter` to be one ASCII sign"),
        ({"encoding": "utf-16"}, "cannot be cut into pages"),
        ({"encoding": "klingon"}, "`encoding` known to Python"),
        ({"names": "codi"}, "`names` as a tuple of texts"),
        ({"skip": -1}, "`skip` of 0 or more"),
        ({"format": "parquet", "skip": 1}, "skip for CSV only"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(DeclarationError, match=expected.replace("`", ".")):
        File(URL, **options)


def test_a_url_without_an_ending_needs_a_format() -> None:
    with pytest.raises(DeclarationError, match="expected `format`"):
        File("https://example.org/export?id=4")
    assert File("https://example.org/export?id=4", format="csv").path == "/export?id=4"


def test_a_file_has_no_periods() -> None:
    with pytest.raises(UsageError, match="has no periods"), serving(TABLE) as served:
        File(URL).extract(
            served.http, SourceState("1", datetime.now(UTC), {}), Landing(), window=window("2024", "2024")
        )


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://example.org/a/b.csv?v=2", File("https://example.org/a/b.csv?v=2")),
        ("https://example.org/a.jsonl.gz", File("https://example.org/a.jsonl.gz", format="jsonl")),
        ("https://example.org/a.PARQUET", File("https://example.org/a.PARQUET", format="parquet")),
        ("https://example.org/a.csv.zip", File("https://example.org/a.csv.zip")),
        ("https://data.ny.gov/resource/39hk-dx4f.csv", None),
        ("https://example.org/a.html", None),
        ("a.csv", None),
    ],
)
def test_a_url_of_a_file_is_recognized_by_its_ending(address: str, expected: File | None) -> None:
    assert File.recognize(address) == expected
    if expected:
        assert recognize(address) == expected


# Whether it changed


def test_an_unchanged_file_costs_one_request_for_its_beginning() -> None:
    large = b"a,b\n" + b"x" * 20 + b",1\n" * 1
    with serving(large + b"1,2\n" * 300_000) as served:
        state = served.probe(File(URL))
        assert state
        served.server.clear_requests()
        assert served.probe(File(URL), state.version) is None
        assert len(served.server.requests) == 1
        served.server.advance()
        assert served.probe(File(URL), state.version) is not None


def test_without_validators_the_content_is_compared() -> None:
    with serving(TABLE * 1 + b"1,2,3\n" * BEGINNING) as served:
        served.server.faults("no-validators")
        state = served.probe(File(URL))
        assert state
        assert served.probe(File(URL), state.version) is None
        done = served.extract(File(URL), state)
        assert done.state.version == state.version
        served.server.advance()
        assert served.probe(File(URL), state.version) is not None


def test_an_etag_is_the_same_however_the_answer_is_compressed() -> None:
    with serving(TABLE) as served:
        plain = served.probe(File(URL))
        served.server.reply(
            lambda _, answer: replace(
                answer, headers=answer.headers | {"ETag": f'W/"{answer.headers["ETag"][1:-1]}--gzip"'}
            )
        )
        assert served.probe(File(URL)) == plain


def test_a_last_modified_that_is_the_time_of_the_answer_says_nothing() -> None:
    def now(_: object, answer: Any) -> Any:
        headers = {name: value for name, value in answer.headers.items() if name != "ETag"}
        stamp = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return replace(answer, headers=headers | {"Last-Modified": stamp, "Date": stamp})

    with serving(TABLE) as served:
        served.server.reply(now)
        state = served.probe(File(URL))
        assert state
        assert served.probe(File(URL), state.version) is None


def test_a_file_that_changes_during_each_download_is_not_published() -> None:
    with serving(TABLE * 20) as served:
        state = served.probe(File(URL))
        served.server.faults("moving-rows")
        with pytest.raises(SourceChanged, match="changed during each of 3 downloads"):
            served.extract(File(URL), state)
        assert served.landing.files == {}


def test_a_file_that_changed_once_is_downloaded_again() -> None:
    with serving(b"a,b\n" + b"1,2\n" * 50) as served:
        state = served.probe(File(URL))
        served.server.faults("moving-rows:times=1")
        done = served.extract(File(URL), state)
        assert state
        assert (done.rows, done.state.version != state.version) == (49, True)


# Failures on the way


def test_a_broken_download_continues_where_it_broke() -> None:
    content = b"a,b\n" + b"1,2\n" * 100_000
    with serving(content) as served:
        state = served.probe(File(URL))
        served.server.faults("cut-off:times=1")
        assert served.extract(File(URL), state).rows == 100_000
        ranges = [asked.headers["range"] for asked in served.server.requests if "range" in asked.headers]
        assert len(ranges) == 1
        assert ranges[0] != "bytes=0-"


def test_a_broken_download_starts_over_where_it_cannot_continue() -> None:
    with serving(b"a,b\n" + b"1,2\n" * 100_000) as served:
        state = served.probe(File(URL))
        served.server.faults("no-validators", "cut-off:times=1")
        assert served.extract(File(URL), state).rows == 100_000


def test_a_file_that_is_always_cut_off_is_unavailable() -> None:
    with serving(TABLE) as served:
        state = served.probe(File(URL))
        served.server.faults("cut-off")
        with pytest.raises(SourceUnavailable, match="failed at all of 3 attempts"):
            served.extract(File(URL), state)


def test_html_in_place_of_the_file_is_asked_for_again_once() -> None:
    with serving(TABLE) as served:
        state = served.probe(File(URL))
        served.server.faults("wrong-json:body=html:times=1")
        assert served.extract(File(URL), state).rows == 3
        served.server.faults("wrong-json:body=html")
        with pytest.raises(SourceError, match="found HTML or XML"):
            served.extract(File(URL), state)


def test_a_compressed_answer_is_the_same_file() -> None:
    with serving(TABLE, gzip=True) as served:
        assert served.extract(File(URL)).rows == 3


def test_temporary_files_are_gone_afterwards(tmp_path: Path) -> None:
    with serving(gzip.compress(TABLE, mtime=0), scratch=tmp_path) as served:
        served.extract(File(URL))
        assert list(tmp_path.iterdir()) == []


def test_memory_is_of_a_page_not_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("w") as file:
        file.write("id,name,text\n")
        for start in range(0, 600_000, 1000):
            file.write("".join(f'{at},"name {at}",{"abcdefgh" * 4}\n' for at in range(start, start + 1000)))
    size = path.stat().st_size
    tracemalloc.start()
    with path.open("rb") as opened:
        pages = [page.rows for page in cut(opened, File(URL), 20_000)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pages == [20_000] * 30
    assert size > 30_000_000
    assert peak < 20_000_000


# To a table


class RawRates(LandingContract):
    """Rates by town."""

    Municipi: str = raw("Town", required=True)
    Taxa: str = raw("Rate")


class Rates(Contract, decimal=",", thousands=".", tolerate=0.5):
    """Rates by town."""

    town: str = column("Town", source=RawRates.Municipi, key=True)
    rate: float = column("Rate", source=RawRates.Taxa, nullable=True)


def test_a_file_becomes_a_table_with_its_ragged_rows_in_quarantine(settings: Settings) -> None:
    content = "Taxes 2024\r\n\r\nMunicipi;Taxa\r\nVallès;1.234,5\r\nAlella;.\r\nNota: provisional\r\n".encode(
        "windows-1252"
    )
    source = File(URL, delimiter=";", encoding="windows-1252", skip=2, null_values=(".",))
    landing = LandingAsset("rates", source=source, contract=RawRates, schedule="0 5 * * *")

    @staging(landing, contract=Rates)
    def rates(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw

    with serving(content) as served:
        project = Project(settings.model_copy(update={"mock_url": served.server.url}), [landing, rates])
        materialize(project, "landing.rates")
        entry = materialize(project, "staging.rates").entry
        assert materialize(project, "landing.rates").why == "up to date"
    assert entry
    table = scan_table(project.lake, project.graph["staging.rates"], entry).collect()
    assert sorted(table.rows()) == [("Alella", None), ("Vallès", 1234.5)]
    assert entry.quarantined == 1
    assert entry.quarantine
    reason = pl.read_parquet(project.lake.get(entry.quarantine))["_reason"].item()
    assert "expected 2 fields, found 1: 'Nota: provisional'" in reason


@needs_real_data
@pytest.mark.parametrize(
    ("path", "options", "rows"),
    [
        ("new_york/national_register.ny.cut.csv", {"delimiter": ";", "header": False}, 300),
        ("new_york/bicycle_counts.uczf-rk3c.csv", {}, None),
        ("recordings/socrata-v2/resource-uczf-rk3c.csv", {}, 1000),
        ("codes/municipis_947.csv", {}, 947),
        ("codes/ccae_2009.csv", {}, 1010),
        ("codes/areas_2023.csv", {}, 947),
    ],
)
def test_real_files_are_read_as_polars_reads_them(path: str, options: dict[str, Any], rows: int | None) -> None:
    content = Path(str(REAL), path).read_bytes()
    found = read(content, page_rows=50, **options)
    known = pl.read_csv(
        content, separator=options.get("delimiter", ","), has_header=options.get("header", True), infer_schema=False
    )
    assert found.rows() == known.rows()
    assert rows in (None, found.height)
    assert FLAW not in found.columns
