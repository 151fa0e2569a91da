"""Files at servers that do not do as they should: ranges of another content, an ETag for each answer, archives as they are found."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.io.errors import ContractError, SourceChanged, SourceError, SourceUnavailable
from catalunya.io.sources.base import Extraction, SourceState
from catalunya.io.sources.file_formats import cut
from catalunya.io.sources.files import File
from catalunya.ops.mock.exchange import Answer
from small.apis import Landing, fast
from small.http_server import Asked, Server

OLD = b"a,b\n" + b"".join(b"%d,old\n" % n for n in range(100_000))
NEW = OLD.replace(b"old", b"new")
BROKEN_AT = 700_000  # bytes; what a server sends before that arrives


class Host:
    """A server with one file, and what a client of it reads."""

    def __init__(self, server: Server, file: File) -> None:
        self.server, self.file, self.http = server, file, fast(server.url)
        self.landing = Landing()

    def probe(self) -> SourceState:
        state = self.file.probe(self.http)
        assert state
        return state

    def extract(self, **http: Any) -> Extraction:
        self.landing = Landing()
        return self.file.extract(replace(self.http, **http), self.probe(), self.landing)

    def rows(self, *fields: str, **http: Any) -> pl.DataFrame:
        done = self.extract(**http)
        read = [self.file.read(self.landing.files[page.name], fields, 1000) for page in done.pages]
        return pl.concat(read)


@contextmanager
def host(reply: Callable[[Asked], Answer] | bytes, ending: str = "csv", **options: Any) -> Iterator[Host]:
    answer = reply if callable(reply) else lambda _: sent(reply)
    with Server(answer).running() as server:
        yield Host(server, File(f"{server.url}/dades.{ending}", **options))


def sent(content: bytes, etag: str = '"1"', **changed: Any) -> Answer:
    return replace(Answer(content, headers={"ETag": etag, "Accept-Ranges": "bytes"}), **changed)


def rest(content: bytes, etag: str, asked: Asked) -> Answer:
    at = int(asked.headers["range"].removeprefix("bytes=").rstrip("-"))
    span = {"Content-Range": f"bytes {at}-{len(content) - 1}/{len(content)}"}
    return Answer(content[at:], 206, {"ETag": etag, **span})


# Broken downloads


def test_the_rest_of_another_content_is_not_put_behind_the_beginning_of_the_old_one() -> None:
    broke = False

    def reply(asked: Asked) -> Answer:
        """The file is replaced while it is read; the server does not look at If-Range."""
        nonlocal broke
        if "range" in asked.headers:
            return rest(NEW, '"2"', asked)
        if broke:
            return sent(NEW, '"2"')
        broke = len([each for each in source.server.asked if "range" not in each.headers]) == 2
        return sent(OLD, cut=BROKEN_AT if broke else None)

    with host(reply) as source:
        assert source.rows("a", "b")["b"].unique().to_list() == ["new"]


def test_a_file_that_became_shorter_than_what_had_arrived_is_downloaded_from_its_beginning() -> None:
    broke = False

    def reply(asked: Asked) -> Answer:
        nonlocal broke
        if "range" in asked.headers:
            return Answer(b"", 416, {"Content-Range": "bytes */8"})
        if broke:
            return sent(b"a,b\n1,2\n", '"2"')
        broke = len(source.server.asked) == 2
        return sent(OLD, cut=BROKEN_AT if broke else None)

    with host(reply) as source:
        assert source.rows("a", "b").rows() == [("1", "2")]


def test_a_download_that_is_killed_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    """Nothing has a name while pages are cut, so nothing is left if the process ends there."""
    body, seen = io.BytesIO(), []
    pl.DataFrame({"a": range(1000)}).write_parquet(body)
    with host(zipped(a=body.getvalue()), "parquet.zip") as source:
        landing = Landing()

        def sink(name: str) -> Any:
            seen.append(files_in(tmp_path))
            return landing(name)

        http = replace(source.http, scratch=tmp_path, page_rows=100)
        done = source.file.extract(http, source.probe(), sink)
    assert [page.rows for page in done.pages] == [100] * 10
    assert seen == [[]] * 10


# What says that a file changed


def test_an_etag_of_its_own_in_each_answer_is_no_change_if_the_content_is_the_same() -> None:
    with host(lambda _: sent(b"a,b\n1,2\n", f'W/"{len(source.server.asked)}"')) as source:
        assert source.rows("a", "b").rows() == [("1", "2")]


def test_content_that_differs_each_time_is_still_a_source_that_changes() -> None:
    def reply(_: Asked) -> Answer:
        number = len(source.server.asked)
        return sent(b"a,b\n1,%d\n" % number, f'"{number}"')

    with host(reply) as source, pytest.raises(SourceChanged):
        source.extract(backoff_initial_s=0.0)


def test_a_redirect_that_says_not_where_is_reported_as_one() -> None:
    with host(lambda _: Answer(b"", 302)) as source, pytest.raises(SourceError, match="302 Found") as caught:
        source.probe()
    assert "None" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_file_that_was_moved_is_read_while_answers_are_recorded(status: int, tmp_path: Path) -> None:
    with host(
        lambda asked: sent(OLD) if asked.path == "/new.csv" else Answer(b"", status, {"Location": "new.csv"})
    ) as source:
        source.http = replace(source.http, record=tmp_path / "answers.har")
        assert source.probe().fields == {"a": "text", "b": "text"}
    assert (
        OLD[:100].decode()
        in json.loads((tmp_path / "answers.har").read_text())["log"]["entries"][0]["response"]["content"]["text"]
    )


@pytest.mark.parametrize("place", ["/dades.csv", "file:///etc/hostname", "ftp://example.org/dades.csv"])
def test_a_redirect_that_leads_nowhere_is_refused_at_once(place: str) -> None:
    with host(lambda _: Answer(b"", 302, {"Location": place})) as source, pytest.raises(SourceError) as caught:
        source.probe()
    assert not isinstance(caught.value, SourceUnavailable), "asking again would give the same"
    assert "redirects" in str(caught.value)
    assert str(caught.value).endswith("open the URL, and correct the declaration")


# What is in a file


@pytest.mark.parametrize("content", [b"a,b", b"a,b\n", b"\xef\xbb\xbfa,b\r\n"])
def test_a_header_without_rows_says_which_columns_there_are(content: bytes) -> None:
    with host(content) as source:
        assert source.probe().fields == {"a": "text", "b": "text"}
        assert source.extract().rows == 0


def test_one_line_without_an_end_is_a_row_where_there_is_no_header() -> None:
    with host(b"1,2", header=False) as source:
        assert source.rows("column_1", "column_2").rows() == [("1", "2")]


def test_a_header_longer_than_what_is_read_at_first_is_read_from_the_whole_file() -> None:
    names = [f"column_with_a_long_name_{number}" for number in range(4000)]
    with host(f"{','.join(names)}\n{','.join('1' for _ in names)}\n".encode()) as source:
        assert list(source.probe().fields) == names


def test_lines_that_end_with_carriage_returns_only_are_named_as_what_they_are() -> None:
    with host(b"a,b\r1,2\r") as source, pytest.raises(SourceError, match="only carriage returns, as old Macs wrote"):
        source.probe()


def test_parquet_without_rows_says_which_columns_there_are() -> None:
    body = io.BytesIO()
    pl.DataFrame(schema={"a": pl.Int64, "b": pl.Date}).write_parquet(body)
    with host(body.getvalue(), "parquet") as source:
        done = source.extract()
    assert (done.rows, done.pages, done.state.fields) == (0, (), {"a": "number", "b": "date"})


def test_parquet_columns_of_any_type_are_read_as_text_and_bytes_that_are_none_are_refused_by_name() -> None:
    body = io.BytesIO()
    frame = pl.DataFrame({"t": [b"Valls"], "u": [b"\xff"], "l": [[1]]}).with_columns(d=pl.duration(minutes=90))
    frame.write_parquet(body)
    (_, page) = cut(_on_disk(body.getvalue()), File("https://example.org/x.parquet"), 10)
    source = File("https://example.org/x.parquet")
    assert page.fields["l"] == "document"
    assert source.read(page.body, ["t", "d"], 0).rows() == [("Valls", "PT1H30M")]
    with pytest.raises(ContractError, match="no text in the column u"):
        source.read(page.body, ["u"], 0)


def test_a_field_of_json_lines_whose_values_have_no_type_in_common_is_text() -> None:
    lines = b'{"a":1,"b":"x"}\n{"a":2,"b":{"c":3},"d":[1]}\n{"a":3,"b":[4],"d":{"e":1}}\n'
    with host(lines, "jsonl") as source:
        assert source.extract().state.fields == {"a": "number", "b": "text", "d": "text"}
        assert source.rows("a")["a"].to_list() == ["1", "2", "3"]


def test_a_number_that_no_parser_holds_is_refused_in_one_line() -> None:
    with (
        host(b'{"a":1e400}\n', "jsonl") as source,
        pytest.raises(SourceError, match="expected one JSON object on each"),
    ):
        source.extract()


# Archives


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_what_macos_adds_to_an_archive_is_none_of_its_files() -> None:
    with host(zipped(**{"dades.csv": b"a,b\n1,2\n", "__MACOSX/._dades.csv": b"\0\5"}), "csv.zip") as source:
        assert source.rows("a", "b").rows() == [("1", "2")]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (gzip.compress(gzip.compress(b"a,b\n1,2\n")), "gzip within an archive"),
        (gzip.compress(zipped(a=b"a,b\n1,2\n")), "a ZIP archive within an archive"),
        (zipped(a=gzip.compress(b"a,b\n1,2\n")), "gzip within an archive"),
        (zipped(), "expected one file in the ZIP archive, found none"),
    ],
    ids=["gzip twice", "zip in gzip", "gzip in zip", "empty zip"],
)
def test_an_archive_without_a_table_is_named_as_what_it_is(content: bytes, found: str) -> None:
    with host(content) as source, pytest.raises(SourceError, match=found):
        source.extract()


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _on_disk(content: bytes) -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(content)
    return file
