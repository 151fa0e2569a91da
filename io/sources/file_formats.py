"""CSV, JSON lines and Parquet: a file of any size cut into pages of whole records, and a page read as text.

Here: encodings, where a record ends, what is wrong with a file. Not here: where files come from and whether they changed
(`files.py`), archives (`archives.py`), what the columns mean (the contracts).

A page of CSV or JSON lines has the bytes of the file, and the file's header first, so that it can be read alone. A page of Parquet is
a Parquet file of its own. A file with a mistake that leaves open where its records end is refused; a row with too many or too few
fields is marked, and becomes quarantined.
"""

from __future__ import annotations

import codecs
import csv
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import msgspec
import polars as pl
from polars import selectors as cs

from catalunya.io.errors import ContractError
from catalunya.io.json_text import BROKEN_JSON, AnyObject, json_decoder, whole_characters
from catalunya.io.safe_text import NAME, escaped, few, legible
from catalunya.io.sources.json_types import TYPE, json_types
from catalunya.io.sources.pages import FLAW, QUOTED, read_rows, with_all

CHUNK = 2 * 1024 * 1024  # characters read at a time
READ_AT_ONCE = 1024 * 1024  # bytes
PAGE_BYTES = 32 * 1024 * 1024
LONGEST = 16 * 1024 * 1024  # characters of one record; a longer one has a quote that is not closed

DELIMITERS = ",;\t|"
_NO_TEXT = {
    b"PAR1": "Parquet",
    b"%PDF": "PDF",
    **dict.fromkeys(
        (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "UTF-16, and only encodings that extend ASCII can be read"
    ),
    b"\xd0\xcf\x11\xe0": "an old Excel file",
}
_PACKED = {b"\x1f\x8b": "gzip within an archive", b"PK\x03\x04": "a ZIP archive within an archive"}


class Layout(Protocol):
    """What is declared of a file (`files.File`), and how its text is decoded."""

    @property
    def format(self) -> str | None: ...
    @property
    def delimiter(self) -> str: ...
    @property
    def quote(self) -> str | None: ...
    @property
    def encoding(self) -> str: ...
    @property
    def decoding(self) -> str: ...
    @property
    def skip(self) -> int: ...
    @property
    def header(self) -> bool: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def null_values(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """One page of a file: its bytes, its rows, and the type of each of its fields."""

    body: bytes
    rows: int
    fields: dict[str, str]


def first_fields(prefix: bytes, file: Layout, *, is_all: bool) -> dict[str, str]:
    """The fields of a CSV file by its first bytes, whose last record may be cut off unless they are all of it; none if they do not hold a
    whole record. Raises ContractError."""
    given = prefix
    try:
        if prefix[:2] == b"\x1f\x8b":
            prefix = zlib.decompressobj(wbits=31).decompress(prefix, 2**20)
        check_text(prefix)
        text = codecs.getincrementaldecoder(file.decoding)().decode(prefix)
    except UnicodeDecodeError as error:
        raise _wrong_encoding(error, file) from None
    except zlib.error as error:
        raise ContractError(f"expected a gzip file, found that it cannot be unpacked: {error}") from None
    is_all = is_all and prefix is given
    cut = text if is_all else text[: text.rfind("\n") + 1]
    records = next(_batches(io.StringIO(cut, newline=""), file, is_part=not is_all), _EMPTY)
    return dict.fromkeys(_Columns.of(file, records).names, "text") if is_all or len(records) else {}


def check_text(head: bytes, *, may_be_packed: bool = False) -> None:
    """Raise ContractError if these first bytes are no table of text, or of an archive that may hold one."""
    begins = head[:512].removeprefix(codecs.BOM_UTF8).lstrip()
    if not begins:
        raise ContractError("expected a table, found an empty file")
    if begins.startswith(b"<"):
        raise ContractError("expected a table, found HTML or XML")
    for magic, what in (_NO_TEXT if may_be_packed else _NO_TEXT | _PACKED).items():
        if begins.startswith(magic):
            raise ContractError(f"expected a table of text, found {what}")


def cut(content: BinaryIO, file: Layout, rows: int) -> Iterator[Cut]:
    """The pages of a file, each of at most `rows` records. Memory holds one of them. Raises ContractError."""
    yield from _cut_parquet(content, rows) if file.format == "parquet" else _cut_text(content, file, rows)


def read(body: bytes, file: Layout, fields: Sequence[str], searched: int) -> pl.DataFrame:
    """The content of one page, as `Source.read` describes it."""
    if file.format == "parquet":
        return _read_parquet(body, fields)
    if file.format == "jsonl":
        lines = _records(body.decode(), None)
        return read_rows(b"[" + "\n,".join(lines.to_list()).encode() + b"\n]", fields, searched)
    records = _records(body.decode(file.decoding), file.quote)
    columns = _Columns.of_page(file, records)
    return _with_all_and_flaw(columns.read(records.slice(1 if file.header else 0)), fields)


def _with_all_and_flaw(frame: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    """The given fields, and the flaws beside them if there are any."""
    found = with_all(frame, fields)
    return found.with_columns(frame[FLAW]) if FLAW in frame.columns else found


def _cut_text(content: BinaryIO, file: Layout, rows: int) -> Iterator[Cut]:
    buffered = io.BufferedReader(cast("io.RawIOBase", content), READ_AT_ONCE)
    check_text(buffered.peek(512))
    text = io.TextIOWrapper(buffered, encoding=file.decoding, newline="")
    pending, columns = _EMPTY, None
    try:
        for batch in _batches(text, file):
            records = batch
            if columns is None and file.format == "csv":
                columns = _Columns.of(file, batch)
                records = batch.slice(1 if file.header else 0)
            pending = pl.concat([pending, records])
            ends, at = pending.str.len_bytes().cum_sum(), 0
            while (to := _end_of_page(ends, at, rows)) < len(pending):
                yield _page(pending.slice(at, to - at), file, columns)
                at = to
            pending = pending.slice(at)
    except UnicodeDecodeError as error:
        raise _wrong_encoding(error, file) from None
    if len(pending):
        yield _page(pending, file, columns)


def _wrong_encoding(error: UnicodeDecodeError, file: Layout) -> ContractError:
    found = bytes(error.object[error.start : error.start + 4])
    return ContractError(
        f"expected text in {file.encoding}, found the bytes {found!r}; declare its `encoding`, for example windows-1252"
    )


def _end_of_page(ends: pl.Series, at: int, rows: int) -> int:
    """Where the page ends that begins at a record: after `rows` of them or PAGE_BYTES, and at least one. `ends`: the bytes up to each."""
    before = int(ends[at - 1]) if at else 0
    fits = int(ends.search_sorted(before + PAGE_BYTES, "right"))
    return min(at + rows, max(at + 1, fits))


def _page(records: pl.Series, file: Layout, columns: _Columns | None) -> Cut:
    """The page of some records."""
    text = "\n".join([*([columns.header] if columns and columns.header is not None else []), *records.to_list(), ""])
    body = text.encode(file.decoding.removesuffix("-sig"))
    if columns:
        _check_encoding(body, file)
        columns.counts(records)
        return Cut(body, len(records), dict.fromkeys(columns.names, "text"))
    try:
        json_decoder(AnyObject).decode_lines(whole_characters(body))
    except BROKEN_JSON as error:
        raise ContractError(f"expected one JSON object on each line, found {str(error)[:200]}") from None
    return Cut(body, len(records), _json_fields(body, records))


def _check_encoding(body: bytes, file: Layout) -> None:
    """Any bytes can be read as Windows-1252; those of UTF-8 text would be read wrong."""
    if codecs.lookup(file.encoding).name.startswith("utf") or body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError:
        return
    raise ContractError(f'expected text in {file.encoding}, found UTF-8; declare encoding="utf-8"')


def _batches(text: io.TextIOBase | io.TextIOWrapper, file: Layout, *, is_part: bool = False) -> Iterator[pl.Series]:
    """The records of a text, some at a time, without blank ones and those to skip. `is_part`: the text may end within a record."""
    quote, buffer = (file.quote if file.format == "csv" else None), ""
    for _ in range(file.skip):
        text.readline()
    while True:
        piece = text.read(CHUNK)
        buffer += piece
        ends = buffer.rfind("\n") + 1
        if not piece and not ends:
            break
        records, left = _whole_records(buffer[:ends], quote) if ends else (_EMPTY, "")
        buffer = left + buffer[ends:]
        if len(records):
            yield records
        if not piece:
            break
        if len(buffer) > LONGEST:
            raise ContractError(
                f"expected records of at most {LONGEST // 2**20} MiB, found a longer one that begins {legible(buffer, QUOTED)!r}; "
                "a quote may not be closed: declare quote=None if quotes are ordinary characters"
            )
    if buffer.strip() and not is_part:
        if quote and buffer.count(quote) % 2:
            raise ContractError(
                f"expected each quote to be closed, found the last record {legible(buffer, QUOTED)!r}; declare quote=None if quotes are "
                "ordinary characters"
            )
        yield _records(buffer, quote)


_EMPTY = pl.Series("record", [], pl.String)


def _records(text: str, quote: str | None) -> pl.Series:
    """The records of a text that ends with a whole one."""
    records, left = _whole_records(text if text.endswith("\n") else text + "\n", quote)
    if left:
        raise ContractError(f"expected each quote to be closed, found {legible(left, QUOTED)!r}")
    return records


def _whole_records(text: str, quote: str | None) -> tuple[pl.Series, str]:
    """The records of a text, without line breaks at their ends and without blank ones; and what follows the last whole one."""
    if "\x00" in text:
        raise ContractError(
            "expected text, found zeros between its characters, as UTF-16 has; only encodings that extend ASCII can be read"
        )
    left, lines = "", pl.Series("record", [text[:-1]]).str.split("\n").explode()
    if quote and quote in text:
        is_open = lines.str.count_matches(quote, literal=True).cum_sum() % 2 == 1
        if is_open.any():
            # What separates records becomes a zero, so that splitting there leaves the line breaks within fields.
            ended = pl.DataFrame([lines, is_open.alias("open")]).select(
                pl.col("record") + pl.when("open").then(pl.lit("\n")).otherwise(pl.lit("\x00"))
            )
            *_, left = (lines := ended["record"].str.join("").str.split("\x00").explode()).tail(1)
            lines = lines.head(len(lines) - 1)
    return lines.filter(lines.str.strip_chars() != ""), left


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a CSV file. `header`: its line, as in the file; None if it has none."""

    file: Layout
    names: tuple[str, ...]
    header: str | None

    @classmethod
    def of(cls, file: Layout, records: pl.Series) -> _Columns:
        """By the first records of the file. Raises ContractError if they are not what is declared."""
        if records.is_empty():
            raise ContractError("expected a header, found no line" if file.header else "expected rows, found no line")
        columns = cls.of_page(file, records)
        found = columns.counts(records.head(100))
        usual, first = int(found.slice(len(found) > 1).mode().max()), records[0]  # type: ignore[arg-type]  # it is not empty
        if found[0] == 1 == usual and (other := [d for d in DELIMITERS if d != file.delimiter and d in first]):
            raise ContractError(
                f"expected fields separated by {file.delimiter!r}, found one field in {legible(first, QUOTED)!r}; "
                f"is the delimiter {' or '.join(map(repr, other))}?"
            )
        if file.header and found[0] != usual:
            at = int((found == usual).arg_max() or 0) + file.skip
            raise ContractError(
                f"expected a header with {usual} fields, as the rows have, found {found[0]} in {legible(first, QUOTED)!r}; declare "
                f"skip with the number of lines above the header (at least {at} that are not blank), or the right delimiter"
            )
        if usual != len(columns.names):
            raise ContractError(
                f"expected {len(columns.names)} fields, as `names` has, found {usual} in {legible(records[-1], QUOTED)!r}; correct `names`"
            )
        return columns

    @classmethod
    def of_page(cls, file: Layout, records: pl.Series) -> _Columns:
        """By the header of a page, or its first record."""
        line = records[0] if len(records) else ""
        own = _fields_of(line, file)
        if not file.header and not file.names:
            own = [f"column_{number}" for number in range(1, len(own) + 1)]
        names = tuple(file.names or (name or f"column_{number}" for number, name in enumerate(own, start=1)))
        if file.names and file.header and len(own) != len(names):
            raise ContractError(
                f"expected the {len(names)} columns of `names`, found {len(own)} in {legible(line, QUOTED)!r}"
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ContractError(
                f"expected each column once, found {few(twice)} twice in the header; declare `names` for all {len(names)} columns"
            )
        return cls(file, names, line if file.header else None)

    def counts(self, records: pl.Series) -> pl.Series:
        """How many fields each record has. Raises ContractError if a quote is where none can be."""
        delimiter, quote = self.file.delimiter, self.file.quote
        plain = records
        if quote and bool((has := records.str.contains(quote, literal=True)).any()):
            begin, q = rf"(^|{_escaped(delimiter)})", _escaped(quote)
            bare = records.filter(has).str.replace_all(rf"{begin}{q}(?:[^{q}]|{q}{q})*{q}", "${1}\x00")
            wrong = bare.str.contains(rf"{q}|\x00[^{_escaped(delimiter)}\r]")
            if wrong.any():
                line = records.filter(has).filter(wrong)[0]
                raise ContractError(
                    f"expected quotes around whole fields only, found {legible(line, QUOTED)!r}; declare quote=None if quotes are "
                    "ordinary characters"
                )
            plain = records.clone().scatter(has.arg_true(), bare)
        return plain.str.count_matches(delimiter, literal=True) + 1

    def read(self, records: pl.Series) -> pl.DataFrame:
        """The fields of the records as text; null for an empty one. Rows with more or fewer fields than columns have a FLAW."""
        if records.is_empty():
            return pl.DataFrame(schema=dict.fromkeys(self.names, pl.String))
        counts = self.counts(records)
        header = self.file.delimiter.join(
            f"c{number}" for number in range(len(self.names))
        )  # else the first row says how many
        frame = pl.read_csv(
            "\n".join([header, *records.to_list()]).encode(),
            separator=self.file.delimiter,
            quote_char=self.file.quote,
            infer_schema=False,
            null_values=list(self.file.null_values) or None,
            truncate_ragged_lines=True,
        )
        if frame.height != len(records):
            raise ContractError(f"expected {len(records)} rows, found {frame.height}; this is a bug, please report it")
        frame = frame.rename(dict(zip(frame.columns, self.names, strict=True)))
        is_ragged = counts != len(self.names)
        if not is_ragged.any():
            return frame
        said = pl.DataFrame(
            {"n": counts, "line": records.str.slice(0, QUOTED).str.replace_all(r"\s+", " ").str.strip_chars()}
        )
        why = pl.format("expected {} fields, found {}: '{}'", pl.lit(len(self.names)), "n", "line")
        flaws = said.with_columns(is_ragged.alias("bad")).select(pl.when("bad").then(why).alias(FLAW))
        return frame.with_columns(flaws[FLAW])


def _fields_of(line: str, file: Layout) -> list[str]:
    """The fields of one record."""
    if not file.quote:
        return line.rstrip("\r").split(file.delimiter)
    try:
        return next(csv.reader([line.rstrip("\r")], delimiter=file.delimiter, quotechar=file.quote), [""])
    except csv.Error:  # a carriage return outside quotes
        raise ContractError(
            f"expected lines that end with a line feed, found {legible(escaped(line), QUOTED)!r}; only carriage returns, as old Macs wrote, cannot "
            "be read"
        ) from None


def _escaped(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"


def _json_fields(body: bytes, lines: pl.Series) -> dict[str, str]:
    try:
        schema = pl.scan_ndjson(body, infer_schema_length=None).collect_schema()
    except pl.exceptions.PolarsError:
        return _mixed_fields(lines)
    return {name: _kind(dtype) for name, dtype in schema.items()}


def _mixed_fields(lines: pl.Series) -> dict[str, str]:
    """The fields of lines in which one of them has values of types that have none in common: it is text. Raises ContractError for what can be
    parsed and not read, such as a number of 400 digits."""
    names: dict[str, None] = {}
    for some in lines.to_frame().iter_slices(1000):
        try:
            rows = json_decoder(list[dict[str, msgspec.Raw]]).decode(f"[{','.join(some.to_series())}]")
        except BROKEN_JSON as error:
            raise ContractError(f"expected one JSON object on each line, found {error}") from None
        names |= dict.fromkeys(chain.from_iterable(rows))
    try:
        read_rows(b"[" + "\n,".join(lines).encode() + b"\n]", list(names), 0)
    except pl.exceptions.PolarsError as error:
        raise ContractError(
            f"expected one JSON object on each line, found {' '.join(str(error).split())[:200]}"
        ) from None
    types = json_types(lines.to_frame(), list(names))
    fields = dict.fromkeys(names, "text")
    for column in types.iter_columns():
        if column.null_count() == 0 and column.n_unique() == 1:
            fields[column.name.removeprefix(TYPE)] = "document" if column[0] == "object" else column[0]
    return fields


def _kind(dtype: pl.DataType) -> str:
    """The type of a column, in the words that contracts use for the types of sources."""
    if dtype == pl.Null:
        return "null"
    if dtype.is_nested():
        return "document"
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Date:
        return "date"
    if isinstance(dtype, pl.Datetime):
        return "fixed_timestamp"
    return "boolean" if dtype == pl.Boolean else "text"


def _cut_parquet(content: BinaryIO, rows: int) -> Iterator[Cut]:
    content.flush()
    # By a path, because what is not a file on disk is read into memory as a whole.
    here = Path(f"/proc/self/fd/{content.fileno()}")
    path = here if here.exists() else Path(f"/dev/fd/{content.fileno()}")
    try:
        fields = {name: _kind(dtype) for name, dtype in pl.read_parquet_schema(path).items()}
        nothing = io.BytesIO()
        pl.scan_parquet(path, glob=False).head(0).collect().write_parquet(nothing)
        yield Cut(nothing.getvalue(), 0, fields)  # says which fields there are where there is no row
        for batch in pl.scan_parquet(path, glob=False).collect_batches(chunk_size=rows, maintain_order=True):
            for at in range(0, batch.height, rows):
                page, body = batch.slice(at, rows), io.BytesIO()
                page.write_parquet(body)
                yield Cut(body.getvalue(), page.height, fields)
    except pl.exceptions.PolarsError as error:
        raise ContractError(f"expected Parquet, found {' '.join(str(error).split())[:200]}") from None


def _read_parquet(body: bytes, fields: Sequence[str]) -> pl.DataFrame:
    schema = pl.read_parquet_schema(io.BytesIO(body))
    frame = pl.read_parquet(io.BytesIO(body), columns=[name for name in schema if name in fields])
    objects = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
    for name in frame.select(cs.binary()).columns:  # some writers do not say that it is text
        try:
            frame[name].cast(pl.String)
        except pl.exceptions.ComputeError:
            raise ContractError(
                f"bytes that are no text in the column {legible(name, NAME)}: leave it out of the contract"
            ) from None
    types = frame.select(pl.lit("object").repeat_by(pl.len()).explode().alias(TYPE + name) for name in objects)
    return with_all(frame.select(_as_text(name, dtype) for name, dtype in frame.schema.items()), fields).hstack(types)


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(name)
    if dtype.is_nested():
        return pl.lit(None, pl.String).alias(name)
    if isinstance(dtype, pl.Datetime):
        value = value.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else value
        return value.dt.to_string("iso:strict")
    if dtype == pl.Duration:
        return value.dt.to_string("iso")
    return value.cast(pl.String)
