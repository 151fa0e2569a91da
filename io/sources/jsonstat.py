"""JSON-stat 2.0 datasets (json-stat.org/full): their cells as one row each, without a loop over them.

Here: the layout of a dataset, and reading it as text. Not here: where it comes from and whether it is what was asked for
(`idescat.py`), what its columns mean (the contracts). Importing this does not load polars.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from catalunya.io.errors import ContractError
from catalunya.io.json_text import BROKEN_JSON, json_decoder, repeated_names, whole_characters

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

ROLES = ("time", "geo", "metric")
OWN = {"value": "number", "status": "text", "table": "text", "updated": "date"}
"""The columns that are not of a dimension, and their kinds."""
NO_VALUE = ".."  # confidential, unreliable or not available; never zero

MAX_TEXT = 1000
"""Maximum length of a code, a label or a status, because a column repeats it for each of up to 20,000 cells."""

MAX_CELLS = 100_000_000
"""Maximum number of cells in a table: for more, even the list of requests would fill up the memory."""

_Scalar = int | float | str | None
_TABLE = re.compile(r"/taules/v2/((?:[^/?#]+/){3}[^/?#]+?)(?:/data)?/?(?:[?#]|$)")
_SCALAR_TEXT = r'"(?:[^"\\]|\\.)*"|[^\s,:"]+'  # one scalar of an array or object that is known to be JSON
_NUMBER = r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"


class Category(msgspec.Struct):
    """The categories of a dimension, in order; `index` may be missing if there is only one."""

    index: list[str] | dict[str, int] | None = None
    label: dict[str, str] = {}

    def codes(self) -> list[str]:
        """The codes in the order of the cells. Raises ContractError if their order is not defined."""
        check_lengths("a category's code", self.index or self.label)
        check_lengths("a category's label", self.label.values())
        if self.index is None:
            found = list(self.label)
            if len(found) != 1:
                raise ContractError(f"expected an index for more than one category, found only {len(found)} labels")
            return found
        if isinstance(self.index, dict):
            found = sorted(self.index, key=self.index.__getitem__)
            if [self.index[code] for code in found] != list(range(len(found))):
                raise ContractError(
                    f"expected an index from 0 to {len(found) - 1}, found {sorted(self.index.values())[:20]}"
                )
            return found
        if len(set(self.index)) != len(self.index):
            raise ContractError(
                f"expected each category once, found {len(self.index) - len(set(self.index))} duplicates"
            )
        return self.index

    def labels(self) -> dict[str, str]:
        """Code -> label, in the order of the cells: without a label, the code is the label, says the format."""
        return {code: self.label.get(code, code) for code in self.codes()}


class Dimension(msgspec.Struct):
    category: Category
    label: str = ""
    extension: msgspec.Raw = msgspec.Raw()


class Role(msgspec.Struct):
    time: list[str] = []
    geo: list[str] = []
    metric: list[str] = []


@dataclass(frozen=True, slots=True)
class Axis:
    """What a dimension is in a frame: the column of its codes, of which `kind`, and, unless that is a role, one of its labels.

    Codes and labels are in the order of the cells.
    """

    column: str
    kind: str
    codes: Sequence[str]
    labels: Sequence[str] | None

    def columns(self) -> dict[str, str]:
        """Its columns -> the kind of each."""
        return {self.column: self.kind} | ({f"{self.column}_label": "text"} if self.labels is not None else {})


class Dataset(msgspec.Struct, rename={"class_": "class"}):
    """A dataset as JSON. Metadata are the same without `value`."""

    class_: Literal["dataset"]
    id: list[str]
    size: list[int]
    dimension: dict[str, Dimension]
    role: Role | None = None
    label: str = ""
    source: str | list[str] = ""
    href: str = ""
    updated: str | None = None
    value: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()

    @property
    def cells(self) -> int:
        return prod(self.size)

    @property
    def publisher(self) -> str:
        """Whom it names as its source: a text, or several."""
        return self.source if isinstance(self.source, str) else " ".join(self.source)

    @property
    def table(self) -> str | None:
        """statistic/node/table/territory, from the dataset's own address; None if it is not the address of a table."""
        found = _TABLE.search(self.href)
        return found[1] if found else None

    def codes(self) -> dict[str, list[str]]:
        """Dimension -> its codes, both in the order of the cells. Raises ContractError if the sizes do not match."""
        if (
            len(self.id) != len(self.size)
            or len(set(self.id)) != len(self.id)
            or not set(self.id) <= set(self.dimension)
        ):
            raise ContractError(
                f"expected a size and categories for each dimension of {self.id}, "
                f"found sizes {self.size} and categories of {list(self.dimension)}"
            )
        check_lengths("a dimension's id", self.id)
        found = {}
        for name, size in zip(self.id, self.size, strict=True):
            try:
                found[name] = self.dimension[name].category.codes()
            except ContractError as error:
                raise ContractError(f"dimension {name}: {error}") from None
            if len(found[name]) != size:
                raise ContractError(f"dimension {name}: expected {size} categories, found {len(found[name])}")
        if self.cells > MAX_CELLS:
            raise ContractError(f"expected at most {MAX_CELLS:,} cells, found sizes {self.size}")
        return found

    def axes(self) -> dict[str, Axis]:
        """Dimension -> what it is in a frame: its column is its role if no other dimension has it, else its id, with labels beside it.

        Raises ContractError if a dimension has several roles, or a column would appear twice.
        """
        roles, codes = self.roles(), self.codes()
        counts = Counter(roles.values())
        found = {}
        for name in self.id:
            role = roles.get(name, "dimension")
            if counts[role] == 1:
                found[name] = Axis(role, role, codes[name], None)
            else:
                found[name] = Axis(name, role, codes[name], list(self.dimension[name].category.labels().values()))
        columns = Counter([*(each for axis in found.values() for each in axis.columns()), *OWN])
        if twice := sorted(name for name, count in columns.items() if count > 1):
            raise ContractError(f"expected each column once, found {', '.join(twice)} twice, in dimensions {self.id}")
        return found

    def every_role(self) -> dict[str, str]:
        """Dimension -> its role, "dimension" if it has none. Raises as `roles`."""
        return dict.fromkeys(self.id, "dimension") | self.roles()

    def roles(self) -> dict[str, str]:
        """Dimension -> its role, of those that have one; where roles are not given, of those whose id is one.

        Raises ContractError if a dimension has several, or does not exist.
        """
        if self.role is None:
            return {name: name.lower() for name in self.id if name.lower() in ROLES}
        found: dict[str, str] = {}
        for role in ROLES:
            for name in getattr(self.role, role):
                if name in found or name not in self.id:
                    raise ContractError(
                        f"expected dimensions of {self.id}, each with one role, found {name!r} with the role {role}"
                        + (f" and {found[name]}" if name in found else "")
                    )
                found[name] = role
        return found


class _Places(msgspec.Struct):
    value: list[_Scalar] | dict[int, _Scalar]
    status: str | list[str | None] | dict[int, str | None] | None = None


class _Extension(msgspec.Struct):
    status: dict[str, str] = {}


def decode(body: bytes, kind: type[T]) -> T:
    """The body as `kind`. Raises ContractError if it is not JSON, or not of that type."""
    try:
        return json_decoder(kind).decode(whole_characters(body))
    except BROKEN_JSON as error:
        raise ContractError(
            f"expected JSON-stat, found {error}; {len(body)} bytes, beginning {bytes(body[:60])!r}"
        ) from None


def check_lengths(what: str, texts: Iterable[str | None]) -> None:
    """Raise ContractError if one of the texts is too long to be repeated in every cell."""
    longest = max((len(text) for text in texts if text), default=0)
    if longest > MAX_TEXT:
        raise ContractError(f"expected {what} of at most {MAX_TEXT:,} characters, found one of {longest:,}")


def check_names(body: bytes) -> None:
    """Raise ContractError if an object of the dataset has a name twice: a category, a position, `value`."""
    try:
        twice = repeated_names(body)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"expected JSON-stat, found {error}") from None
    if twice:
        raise ContractError(f"expected each name once in an object, found {', '.join(twice[:20])} twice")


def check_places(body: bytes, cells: int) -> None:
    """Raise ContractError if values and statuses are not for this many cells. Cheap: no frame is built."""
    places = decode(body, _Places)
    for what, given in (("value", places.value), ("status", places.status)):
        if isinstance(given, list) and len(given) != cells:
            raise ContractError(f"expected {cells} items in {what}, the product of the sizes, found {len(given)}")
        if isinstance(given, dict) and given and not (min(given) >= 0 and max(given) < cells):
            raise ContractError(f"expected positions 0 to {cells - 1} in {what}, found {min(given)} to {max(given)}")


def read_cells(
    body: bytes, axes: Callable[[Dataset], Mapping[str, Axis]] = Dataset.axes, table: str | None = None
) -> pl.DataFrame:
    """One row per cell, in the dataset's order; all columns are text.

    What `axes` makes of each dimension: by default the column `time`, `geo` or `metric` if it alone has that role, else its codes under
    its id and `<ID>_label`. Of axes that are no dimension of the dataset, their only code. Then
    `value` (the number as written, integers without `.0`; null for `..`), `status` (the cell's, else the one of its whole category,
    else null), `table` (the given one, else that of its address: "ep/9122/10002/mun") and `updated` (the day).
    Raises ContractError, with a one-line message, if the body is not a dataset or contradicts itself.
    """
    import polars as pl

    body = bytes(whole_characters(body))
    dataset = decode(body, Dataset)
    # Of values and statuses, whose positions are checked below, only that they are not there twice.
    check_names(_without(_without(body, dataset.value), dataset.status))
    codes, shown, cells = dataset.codes(), axes(dataset), dataset.cells
    table = table or dataset.table
    if not table:
        raise ContractError(f"expected an href with the table (…/taules/v2/…), found {dataset.href!r}")
    value = _values(dataset.value, cells)
    status = _scalars(dataset.status, cells, "status")
    position = pl.int_range(cells, dtype=pl.UInt32, eager=True)
    columns: dict[str, pl.Series] = {
        axis.column: pl.Series(axis.codes, dtype=pl.String).new_from_index(0, cells)
        for name, axis in shown.items()
        if name not in codes
    }
    labels, stride = {}, cells
    for name, own in codes.items():
        stride //= max(1, len(own))
        place = position // max(1, stride) % max(1, len(own))
        if axis := shown.get(name):
            columns[axis.column] = pl.Series(axis.codes, dtype=pl.String).gather(place)
            if axis.labels is not None:
                labels[f"{axis.column}_label"] = pl.Series(axis.labels, dtype=pl.String).gather(place)
        if by_code := _category_status(dataset.dimension[name]):
            default = pl.Series([by_code.get(code) for code in own], dtype=pl.String).gather(place)
            status = default.zip_with(status.is_null(), status)
    return pl.DataFrame(columns | labels | {"value": value, "status": status}).with_columns(
        table=pl.lit(table, pl.String), updated=pl.lit(_day(dataset.updated), pl.String)
    )


def _without(body: bytes, raw: msgspec.Raw) -> bytes:
    """The body, with null in place of this value."""
    return body.replace(bytes(raw), b"null", 1) if len(bytes(raw)) > MAX_TEXT else body


def _values(raw: msgspec.Raw, cells: int) -> pl.Series:
    import polars as pl

    text = _scalars(raw, cells, "value")
    if text.str.contains(r"\.0+$").any():
        text = text.str.replace(r"\.0+$", "")
    if text.str.contains("[eE]").any():  # 1.6E6: some servers write large numbers so
        number = text.cast(pl.Float64, strict=False)
        is_whole = (number == number.round()) & (number.abs() < 2**53) & (number != 0) & text.str.contains("[eE]")
        text = number.cast(pl.Int64, strict=False).cast(pl.String).zip_with(is_whole.fill_null(value=False), text)
    return text.set(text == NO_VALUE, None)


def _scalars(raw: msgspec.Raw, cells: int, what: Literal["value", "status"]) -> pl.Series:
    """An array, an object keyed by position or (status) one text for all cells, as text; null where there is none."""
    import polars as pl

    try:
        text = bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise ContractError(f"expected {what} in UTF-8, found {error.reason}") from None
    if what == "status" and text in {"", "null"}:
        return pl.Series([None], dtype=pl.String).new_from_index(0, cells)
    if what == "status" and text.startswith('"'):
        check_lengths("a status", [text])
        return _read(pl.Series([text]), what).new_from_index(0, cells)
    if text[:1] not in {"[", "{"}:
        raise ContractError(f"expected {what} as an array or an object, found {text[:60] or 'none'}")
    tokens = pl.Series([text[1:-1]]).str.extract_all(_SCALAR_TEXT).explode().drop_nulls()
    if text.startswith("["):
        if len(tokens) != cells:
            raise ContractError(f"expected {cells} items in {what}, the product of the sizes, found {len(tokens)}")
        return _read(tokens, what)
    keys = tokens.gather_every(2).str.strip_chars('"')
    places = keys.cast(pl.UInt32, strict=False)
    wrong = keys.filter(places.is_null() | (places >= cells) | places.is_duplicated())
    if len(wrong):
        raise ContractError(f"expected positions 0 to {cells - 1} in {what}, each once, found {wrong[0]!r}")
    order = pl.int_range(cells, dtype=pl.UInt32, eager=True).to_frame("place")
    return order.join(
        pl.DataFrame({"place": places, "text": _read(tokens.gather_every(2, 1), what)}),
        on="place", how="left", maintain_order="left",
    )["text"]  # fmt: skip


def _read(tokens: pl.Series, what: Literal["value", "status"]) -> pl.Series:
    """JSON scalars as text."""
    import polars as pl

    is_text = tokens.str.starts_with('"')
    is_valid = is_text | (tokens == "null")
    if what == "value":
        is_valid |= tokens.str.contains(_NUMBER)
    if not is_valid.all():
        kind = "numbers" if what == "value" else "texts"
        raise ContractError(f"expected {kind} in {what}, found {tokens.filter(~is_valid)[0]!r}")
    if is_text.any():
        escaped = tokens.str.contains(r"\\")
        plain = tokens.str.strip_chars('"')
        tokens = (
            tokens.set(~escaped, None).str.json_decode(pl.String).zip_with(escaped, plain) if escaped.any() else plain
        )
    return tokens.set(~is_text & (tokens == "null"), None)


def _category_status(dimension: Dimension) -> dict[str, str]:
    """Category -> the status of all its cells, which IDESCAT gives in an extension: `{"status": {"2021": "p"}}`."""
    try:
        found = json_decoder(_Extension).decode(dimension.extension).status if dimension.extension else {}
    except BROKEN_JSON:  # the format leaves the layout of an extension open
        return {}
    check_lengths("a status", found.values())
    return found


def _day(updated: str | None) -> str | None:
    """The day as the publisher writes it: midnight in Madrid is still the day before in UTC."""
    if updated is None:
        return None
    return moment(updated).date().isoformat()


def moment(updated: str) -> datetime:
    """When a dataset was updated; midnight if only a day is given. Raises ContractError if it is not an ISO 8601 date."""
    try:
        return datetime.fromisoformat(updated)
    except ValueError:
        raise ContractError(f"expected updated as a date (2024-12-19), found {updated!r}") from None


def instant(updated: str) -> datetime:
    """The same in UTC, which is also taken for the zone of one without any. Raises ContractError."""
    at = moment(updated)
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        raise ContractError(f"expected updated as a date (2024-12-19), found {updated!r}") from None
