"""Text as numbers, days and moments: read as exactly its value, or not at all."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catalunya.contracts.model.check import REASON, ROW, conform, split_rows
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.contracts.model.values import Locale, read
from catalunya.io.errors import DeclarationError

EXAMPLES = settings(max_examples=150, derandomize=True, database=None)
NO_LOCALE, CATALAN, ENGLISH = Locale(), Locale(",", ".", "%d/%m/%Y"), Locale(".", ",")


def real(text: str, kind: str | None = None, locale: Locale = NO_LOCALE) -> float | None:
    return pl.select(read(pl.lit(text), pl.Float64(), locale, kind)).item()  # type: ignore[no-any-return]


def whole(
    text: str, kind: str | None = None, locale: Locale = NO_LOCALE, dtype: pl.DataType | None = None
) -> int | None:
    return pl.select(read(pl.lit(text), dtype or pl.Int64(), locale, kind)).item()  # type: ignore[no-any-return]


def day(text: str, locale: Locale = NO_LOCALE, kind: str | None = None) -> date | None:
    return pl.select(read(pl.lit(text), pl.Date(), locale, kind)).item()  # type: ignore[no-any-return]


def moment(text: str, locale: Locale = NO_LOCALE) -> datetime | None:
    return pl.select(read(pl.lit(text), pl.Datetime("ms"), locale, None)).item()  # type: ignore[no-any-return]


NEVER_NUMBERS = (
    *("NaN", "nan", "inf", "-Infinity", "infinity", "1e999", "-1e999", "1e-999", "0x10", "1_000", "+1", " 1", "1 ", "1 000", "--1", "-"),
    *("", ".5", "5.", "1e", "e5", "1.2.3", "٠١", "１２", "१", "²", "Ⅷ", "−1", "1-", "(1)", "1€", "1%", "true", "null", "1d", "1f", "0b1", "0o7"),
    *(f"0.{'0' * 400}1", "9" * 400),
)  # fmt: skip


@pytest.mark.parametrize("kind", [None, "text", "number", "money", "percent", "double"])
@pytest.mark.parametrize("text", NEVER_NUMBERS)
def test_what_is_no_number_is_never_read_as_one(text: str, kind: str | None) -> None:
    assert (real(text, kind), whole(text, kind)) == (None, None)


@pytest.mark.parametrize("locale", [CATALAN, ENGLISH, Locale(","), Locale("."), Locale(",", " "), Locale(",", "'")])
@pytest.mark.parametrize("text", [text for text in NEVER_NUMBERS if text != "1 000"])
def test_not_with_a_declared_locale_either(text: str, locale: Locale) -> None:
    assert (real(text, None, locale), whole(text, None, locale)) == (None, None)


@pytest.mark.parametrize(
    "text", ["1.000", "12.345", "999.999", "-1.500", "1.234.567", "12.345,6", "1,000", "1,5", "1,234.5", "1.000.000"]
)
@pytest.mark.parametrize("kind", [None, "text"])
def test_a_text_that_may_mean_two_numbers_is_none(text: str, kind: str | None) -> None:
    assert (real(text, kind), whole(text, kind)) == (None, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12.0), ("-0.5", -0.5), ("007", 7.0), ("2.17", 2.17), ("41.3874", 41.3874), ("1234.567", 1234.567), ("0.125", 0.125), ("00.125", 0.125)],
)  # fmt: skip
def test_a_text_that_can_only_be_one_number_is_read(text: str, value: float) -> None:
    assert real(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("1.000", 1.0), ("12.345", 12.345), ("1.5e3", 1500.0), ("1E-2", 0.01), ("-0", 0.0), ("007", None), ("1,5", None)]
)  # fmt: skip
def test_a_field_that_the_source_declares_as_a_number_is_read_as_json(text: str, value: float | None) -> None:
    assert real(text, "number") == value
    assert real(text, "number", CATALAN) == value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        *(("12.0", None, 12), ("12.00", "text", 12), ("12.000", None, None), ("12.000", "number", 12), ("4.5", None, None)),
        *(("1e3", "number", 1000), ("1.5e1", "number", 15), ("1.55e1", "number", None), ("1e3", None, None), ("1e30", "number", None)),
        *((str(2**63 - 1), None, 2**63 - 1), (str(2**63), None, None), (str(-(2**63)), None, -(2**63))),
        *(("9007199254740993", "number", 2**53 + 1), ("1.00000000000000000001e3", "number", None)),
    ],
)  # fmt: skip
def test_a_whole_number_may_end_in_zeros_and_must_fit(text: str, kind: str | None, value: int | None) -> None:
    assert whole(text, kind) == value


def test_a_number_beyond_its_type_is_none() -> None:
    assert whole(str(2**31), dtype=pl.Int32()) is None
    assert whole(str(2**31 - 1), dtype=pl.Int32()) == 2**31 - 1


@pytest.mark.parametrize(
    ("locale", "text", "value"),
    [
        *((CATALAN, *pair) for pair in (("1.000", 1000.0), ("12.345,6", 12345.6), ("1234,5", 1234.5), ("-1.234.567", -1234567.0))),
        *((CATALAN, text, None) for text in ("12.5", "1.00", "1.0000", "1,234.5", "0.123", "1.23.456", "1,", ",5", "1.234,567.8", "12345.678")),
        *((ENGLISH, *pair) for pair in (("1,000", 1000.0), ("12,345.6", 12345.6), ("1.000", 1.0))),
        *((ENGLISH, text, None) for text in ("12,5", "1.234,5", "1,00")),
        *((Locale("."), *pair) for pair in (("1.000", 1.0), ("12.345", 12.345), ("1,000", None))),
        *((Locale(","), *pair) for pair in (("1,000", 1.0), ("1.000", None))),
        *((Locale(",", " "), *pair) for pair in (("1 234 567,5", 1234567.5), ("1 23", None), ("1.000", None))),
        *((Locale(".", "'"), *pair) for pair in (("1'234.5", 1234.5), ("1’234.5", 1234.5))),
    ],
)  # fmt: skip
def test_a_declared_locale_is_read_strictly(locale: Locale, text: str, value: float | None) -> None:
    assert real(text, None, locale) == value


def written(number: Decimal, decimal: str, thousands: str) -> str:
    return f"{number:,f}".translate(str.maketrans({",": thousands, ".": decimal}))


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=None).map(
    lambda number: Decimal(f"{number:.6f}").normalize()
)
NOTATIONS = st.sampled_from(
    [
        "{:f}",
        "{}",
        "{:e}",
        "{:E}",
        "{:,f}",
        "{:+f}",
        " {:f}",
        "{:.1f}",
        "{:.3f}",
        "{:010.2f}",
        "0x{:f}",
        "{:f}%",
        "{:f}f",
    ]
)


@EXAMPLES
@given(NUMBERS, NOTATIONS, st.sampled_from([None, "text", "number"]))
def test_a_number_in_any_notation_is_read_exactly_or_not_at_all(
    number: Decimal, notation: str, kind: str | None
) -> None:
    text = notation.format(number)
    meant = Decimal(re.sub("[,_ %f]", "", text)) if not text.startswith("0x") else None
    found = real(text, kind)
    assert found is None or (meant is not None and found == float(meant)), f"{text!r} was read as {found}"
    count = whole(text, kind)
    assert count is None or count == meant, f"{text!r} was read as {count}"
    if notation == "{:f}" and kind == "number":
        assert found == float(number)


@EXAMPLES
@given(NUMBERS, st.sampled_from([CATALAN, ENGLISH, Locale(","), Locale("."), Locale(",", " "), Locale(".", "'")]))
def test_a_number_as_its_locale_writes_it_is_read_exactly(number: Decimal, locale: Locale) -> None:
    assert real(written(number, locale.decimal or ".", locale.thousands or ""), None, locale) == float(number)


@EXAMPLES
@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([repr, "{:e}".format, "{:f}".format, "{:.17g}".format, "{:,}".format]),
)
def test_a_double_as_a_program_prints_it_is_read_exactly_or_not_at_all(
    number: float, as_text: Callable[[float], str]
) -> None:
    text = as_text(number)
    for kind in (None, "number"):
        found = real(text, kind)
        assert found is None or found == float(text.replace(",", "")), f"{text!r} was read as {found}"
    if math.isfinite(number) and as_text is repr and "." in text:
        assert real(text, "number") == number


@EXAMPLES
@given(st.text(alphabet="0123456789.,-+eE _'’٣１\u00a0", max_size=12), st.sampled_from([NO_LOCALE, CATALAN, ENGLISH]))
def test_no_text_at_all_is_read_as_a_number_that_another_reader_could_not_read_in_it(text: str, locale: Locale) -> None:
    found = real(text, None, locale)
    if found is not None:
        plain = text.replace(locale.thousands or "\0", "").replace(locale.decimal or ".", ".")
        assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", plain)
        assert found == float(plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decimal": ",", "thousands": ","}, "decimal and thousands to differ"),
        ({"thousands": "."}, "decimal and thousands to differ"),
        ({"decimal": ";"}, "decimal as . or , found ';'"),
        ({"decimal": ""}, "decimal as . or , found ''"),
        ({"decimal": ",", "thousands": ".."}, "thousands as . or , or a space or '"),
        ({"date": "%d/%m"}, "date with %d, %m and %Y once each"),
        ({"date": "%d/%m/%y"}, "date with %d, %m and %Y once each"),
        ({"date": "%d%m%Y%d"}, "date with %d, %m and %Y once each"),
        ({"date": "%d %B %Y"}, "date with %d, %m and %Y once each"),
        ({"date": "dd/mm/yyyy"}, "date with %d, %m and %Y once each"),
    ],
)
def test_a_locale_that_makes_no_sense_cannot_be_declared(options: dict[str, str], message: str) -> None:
    with pytest.raises(DeclarationError, match=rf"contract Local: expected .*{re.escape(message)}"):

        class Local(Contract, **options):
            """A contract with this locale."""


@pytest.mark.parametrize(
    ("text", "value"),
    [("31/12/2024", date(2024, 12, 31)), ("1/2/2024", date(2024, 2, 1)), ("31/12/2024T00:00:00.000", date(2024, 12, 31))]
    + [(text, None) for text in ("30/02/2024", "2024-12-31", "12/31/2024", "31-12-2024", "31/12/24", "31/12/12024", "٣١/12/2024")],
)  # fmt: skip
def test_a_day_is_read_as_the_contract_says_it_is_written(text: str, value: date | None) -> None:
    assert day(text, CATALAN) == value


def test_a_field_that_the_source_declares_as_a_date_is_read_as_iso_8601() -> None:
    assert day("2024-12-31T00:00:00.000", CATALAN, "calendar_date") == date(2024, 12, 31)
    assert day("31/12/2024", CATALAN, "calendar_date") is None


@pytest.mark.parametrize(
    "text", ["2024-02-30", "2023-02-29", "2024-13-01", "12007-02-07", "2024-01-01T24:00:00", "2024-01-01T13:00:00", "2024", "٢٠٢٤-01-01", "0000-00-00"]
)  # fmt: skip
def test_a_day_that_does_not_exist_is_none(text: str) -> None:
    assert day(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2025-09-23T11:40:00.795Z", datetime(2025, 9, 23, 11, 40, 0, 795000, UTC)),
        ("2025-09-23T11:40:00+02:00", datetime(2025, 9, 23, 9, 40, tzinfo=UTC)),
        ("2025-01-01T00:30:00.5+0100", datetime(2024, 12, 31, 23, 30, 0, 500000, UTC)),
        ("2025-09-23T11:40:00-03:30", datetime(2025, 9, 23, 15, 10, tzinfo=UTC)),
        ("2025-09-23 11:40", datetime(2025, 9, 23, 11, 40, tzinfo=UTC)),
        *((text, None) for text in ("2025-09-23", "2025-09-23T24:00:00", "2025-09-23T23:59:60", "2025-09-23T11:40:00+25:00", "2025-02-30T11:40:00")),
        *((text, None) for text in ("2025-09-23T11:40:00 CET", "2025-09-23T11:60:00", "T11:40:00", "12007-02-07T00:00:00")),
    ],
)  # fmt: skip
def test_a_moment_is_read_as_utc(text: str, value: datetime | None) -> None:
    assert moment(text) == (value and value.replace(tzinfo=None))


def test_a_moment_is_read_as_the_contract_says_its_day_is_written() -> None:
    assert moment("31/12/2024 13:45", CATALAN) == datetime(2024, 12, 31, 13, 45)  # noqa: DTZ001  UTC without a zone, as Hive keeps it


@EXAMPLES
@given(
    st.datetimes(datetime(1000, 1, 2), datetime(2999, 12, 30)),  # noqa: DTZ001  the zone is drawn
    st.integers(-14 * 60 + 1, 14 * 60 - 1),
)
def test_every_moment_with_an_offset_is_read_exactly(at: datetime, minutes: int) -> None:
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    text = at.replace(tzinfo=timezone(timedelta(minutes=minutes))).isoformat()
    assert moment(text) == at - timedelta(minutes=minutes)


@EXAMPLES
@example("+2024-01-01", NO_LOCALE)
@example("-2024-01-01", NO_LOCALE)
@example("24-01-01", NO_LOCALE)
@given(
    st.from_regex(r"[+-]?[0-9]{1,5}[-/.][0-9]{1,3}[-/.][0-9]{1,3}([T ][0-9:.]{0,9}Z?)?", fullmatch=True)
    | st.text(alphabet="0123456789-/T: Z+.٣", max_size=12),
    st.sampled_from([NO_LOCALE, CATALAN]),
)
def test_no_text_at_all_is_read_as_another_day(text: str, locale: Locale) -> None:
    found = day(text, locale)
    if found is None:
        return
    numbers = [int(number) for number in re.findall("[0-9]+", re.sub("[T ]00:00.*", "", text))]
    assert [found.year, found.month, found.day] == (numbers if locale is NO_LOCALE else numbers[::-1])
    assert re.match("[0-9]{4}-|[0-9]{1,2}/", text)


class RawVisits(LandingContract):
    """Visits as their source has them."""

    codi: str = raw("Code")
    quan: str = raw("When")


class Visits(Contract):
    """Visits, with every type that has implausible values."""

    visit_id: str = column("Code", source="codi", key=True)
    visited_at: datetime = column("When, UTC", source="quan", nullable=True)
    visit_date: date = column("The day", source="dia", nullable=True)
    born_date: date = column("A day of long ago", source="neix", nullable=True, ge=date(1, 1, 1), le=date(1900, 1, 1))
    share: float = column("Share", source="part", nullable=True)
    visitors: int = column("People", source="gent", nullable=True)


def checked(**columns: pl.Series) -> tuple[pl.DataFrame, list[str]]:
    """Good rows and reasons for a frame with these columns; the others are null."""
    rows = len(next(iter(columns.values())))
    schema = Visits.polars_schema()
    frame = pl.DataFrame(
        {name: columns.get(name, pl.Series([None] * rows, dtype=schema[name])) for name in schema}
    ).with_columns(
        pl.int_range(rows).cast(pl.String).alias("visit_id"),
        pl.int_range(rows, dtype=pl.UInt32).alias(ROW),
        pl.lit(None, pl.String).alias(REASON),
    )
    good, bad = split_rows(conform("marts.visits", frame.lazy(), Visits).collect(), Visits)
    assert good.schema == schema
    return good, bad[REASON].to_list()


def test_a_datetime_is_declared_as_datetime_and_kept_in_milliseconds() -> None:
    assert Visits.polars_schema()["visited_at"] == pl.Datetime("ms")
    assert [found.type for found in Visits.columns() if found.name == "visited_at"] == ["timestamp"]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Madrid"])
def test_a_moment_of_any_unit_and_zone_becomes_utc_in_milliseconds(unit: str, zone: str | None) -> None:
    at = pl.Series([datetime(2025, 7, 1, 12, tzinfo=UTC)]).dt.cast_time_unit(unit)  # type: ignore[arg-type]
    at = at.dt.convert_time_zone(zone) if zone else at.dt.replace_time_zone(None)
    good, reasons = checked(visited_at=at)
    assert (good["visited_at"].to_list(), reasons) == ([datetime(2025, 7, 1, 12)], [])  # noqa: DTZ001


@pytest.mark.parametrize("text", ["0007-02-07", "0999-12-31", "3000-01-01", "9999-99-99", "24-01-01", "-2024-01-01"])
def test_a_day_in_a_year_that_cannot_be_right_is_quarantined(text: str) -> None:
    good, reasons = checked(visit_date=pl.Series([text, "2024-01-01"]))
    assert good.height == 1
    assert re.search(r"visit_date: '.*' is not (in the years 1000 to 2999|a valid date)", reasons[0])


@pytest.mark.parametrize("column", ["visit_date", "visited_at"])
def test_a_typed_day_or_moment_is_checked_too(column: str) -> None:
    dtype = Visits.polars_schema()[column]
    days = pl.select(pl.date(pl.Series([12007, 2024]), 2, 7).cast(dtype)).to_series()
    good, reasons = checked(**{column: days})
    assert good.height == 1
    assert "is not in the years 1000 to 2999" in reasons[0]


def test_a_bound_of_the_contract_replaces_the_default_years() -> None:
    good, reasons = checked(born_date=pl.Series([date(212, 5, 1), date(2024, 1, 1)]))
    assert good["born_date"].to_list() == [date(212, 5, 1)]
    assert "less_than_or_equal_to" in reasons[0]


def test_a_float_that_is_no_number_is_quarantined_wherever_it_comes_from() -> None:
    good, reasons = checked(share=pl.Series([math.nan, math.inf, -math.inf, 0.5, None]))
    assert good["share"].to_list() == [0.5, None]
    assert reasons == ["share: NaN is not a number", "share: inf is not a number", "share: -inf is not a number"]


def test_a_number_that_another_type_cannot_hold_is_quarantined() -> None:
    good, reasons = checked(visitors=pl.Series([4.7, math.nan, 1e30, 5.0, None]))
    assert good["visitors"].to_list() == [5, None]
    assert reasons == [f"visitors: '{text}' is not a valid bigint" for text in ("4.7", "NaN", "1e+30")]
    good, _ = checked(share=pl.Series(["0.1", "12345678901.1234567"]).cast(pl.Decimal(38, 10)))
    assert good["share"].to_list() == [0.1, 12345678901.1234567]
    good, reasons = checked(share=pl.Series([2**53 + 1, 3]))
    assert (good["share"].to_list(), reasons) == ([3.0], ["share: '9007199254740993' is not a valid double"])


def test_the_reason_says_how_to_declare_what_the_source_writes() -> None:
    _, reasons = checked(share=pl.Series(["1.000", "12.345,6", "many"]))
    advice = ': declare decimal="," and thousands=".", or decimal=".", in Visits'
    assert reasons == [
        f"share: '1.000' is not a valid double{advice}",
        f"share: '12.345,6' is not a valid double{advice}",
        "share: 'many' is not a valid double",
    ]
