"""Which fields may hold personal data: by their names, and by what their values look like.

Here: the signs of it, of the whole column and not of a value: eight digits and any letter pass the control of a NIF 1 time in 23; and hiding
the values in what is kept of the source's answers. Not here: what follows; a suspect is declared personal, so that it never leaves landing
until a person decides otherwise.
"""

from __future__ import annotations

import io
import json
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import polars as pl

from catalunya.ops.scaffold.names import plain

SHARE = 0.5
"""The share of a column's values that must look like it."""

PARQUET = b"PAR1"
"""How a Parquet file begins."""

SHORTEST = 4
"""Shorter values are not hidden, unless they are names of three letters: they are parts of anything."""
_WORDS_OF_JSON = frozenset({"null", "true", "false"})

_NAMES = {
    "names of people": r"cognoms?|apellidos?|surname|last_name|first_name|nom_i_cognoms|nombre_y_apellidos|full_name|nom_persona",
    "numbers of identity documents": r"nif|nie|dni|cif|niu|passaport|pasaporte|passport|ssn|tax_id",
    "telephone numbers": r"telefons?|telefonos?|tel|tlf|fax|mobil|movil|phone(?:_number)?|telephone|mobile|contact_phone",
    "e-mail addresses": r"e_?mails?|correu(_electronic)?|correo(_electronico)?|mail",
    "dates of birth": r"data_(?:de_)?naixement|fecha_(?:de_)?nacimiento|birth_?date|date_of_birth|dob",
    "bank accounts": r"iban|compte_(?:corrent|bancari)|cuenta_(?:corriente|bancaria)",
}
_BY_NAME = {what: re.compile(rf"(?:.*_)?(?:{pattern})(?:_\d+)?") for what, pattern in _NAMES.items()}
_SURNAME = re.compile(r"(?:.*_)?(?:(?:primer|segon|segundo)_)?(?:cognoms?|apellidos?|surname|last_name)(?:_\d+)?")
_FORENAME = re.compile(r"noms?|nombres?|name|forename|given_name")
_EMAIL = r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$"
_PHONE = r"^(?:\+34|0034)?[6789]\d{8}$"
_LIKE_IDENTITY = r"^[\dA-Za-z][\d .-]{6,10}[\dA-Za-z]$"
_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"  # RD 1553/2005, article 11: the number modulo 23
_CIF_LETTERS = "JABCDEFGHI"


Within = Mapping[str, Mapping[str, Sequence[str]]]
"""Values in objects, as text: by field, and by the name that is nearest to each."""


def are_of_people(fields: Iterable[str]) -> bool:
    """Whether there are surnames among the fields: the names beside them are of people, too."""
    return any(_SURNAME.fullmatch(plain(field)) for field in fields)


def suspicion(field: str, label: str, values: pl.Series, *, is_of_people: bool = False) -> str:
    """Why a field may hold personal data: "names of people, by its name"; empty if nothing speaks for it. `values`: text without nulls."""
    if is_of_people and _FORENAME.fullmatch(plain(field)):
        return "names of people, beside surnames"
    for what, pattern in _BY_NAME.items():
        if pattern.fullmatch(plain(field)) or pattern.fullmatch(plain(label)):
            return f"{what}, by its name"
    if values.is_empty():
        return ""
    found = values.unique()
    signs = {
        "e-mail addresses": found.str.contains(_EMAIL),
        "numbers of identity documents": identity_numbers(found.filter(found.str.contains(_LIKE_IDENTITY))),
        # Nine digits are many things: only where some are written as telephone numbers are.
        "telephone numbers": found.str.replace_all(r"[ .-]", "").str.contains(_PHONE)
        & found.str.contains(r"[ +.-]").any(),
    }
    likely = [what for what, matches in signs.items() if matches.sum() > SHARE * len(found)]
    return f"{likely[0]}, by its values" if likely else ""


def values_within(bodies: Iterable[bytes], fields: Collection[str]) -> Within:
    """The values in the objects and lists that these fields hold."""
    found: dict[str, dict[str, list[str]]] = {}
    for document in (each for body in bodies for each in _documents(body)) if fields else ():
        left = deque([("", "", document)])  # no recursion: a source may nest as deep as it likes
        while left:
            field, name, value = left.popleft()
            if isinstance(value, dict):
                for inner, each in value.items():
                    is_field = inner in fields and isinstance(each, dict | list)
                    left.append((field or (inner if is_field else ""), inner, each))
            elif isinstance(value, list):
                left.extend((field, name, each) for each in value)
            elif field and value is not None and not isinstance(value, bool):
                found.setdefault(field, {}).setdefault(name, []).append(str(value))
    return found


def _documents(body: bytes) -> Iterator[Any]:
    """What is JSON of an answer: all of it, or each line."""
    try:
        yield json.loads(body)
    except (ValueError, RecursionError):
        for line in body.splitlines():
            with suppress(ValueError, RecursionError):
                yield json.loads(line)


def suspicion_within(values: Mapping[str, Sequence[str]]) -> str:
    """The same of a field that holds objects, with the values by name: "telephone numbers, by its name, in telefon"."""
    is_of_people = are_of_people(values)
    why = (
        (name, suspicion(name, "", pl.Series(each, dtype=pl.String), is_of_people=is_of_people))
        for name, each in values.items()
    )
    return next((f"{found}, in {name}" for name, found in why if found), "")


def hidden(body: bytes, values: Iterable[str], fields: Collection[str] = ()) -> bytes:
    """An answer with these values made unreadable wherever they are, of the same length and form: `12345678Z` -> `11111111x`.

    `fields`: those that hold the values. In Parquet, whose bytes do not show them, all that the fields hold is; of Socrata's metadata, the
    portal's own profile of the fields is left out, which has more values than the rows that were read.
    """
    if body[:4] == PARQUET:
        return _hidden_in_parquet(body, fields)
    if b'"cachedContents"' in body:
        body = _without_profile(body, fields)
    forms = {form for value in values if _is_telling(value) for form in _spellings(value)}
    if not forms:
        return body
    either = b"|".join(re.escape(each) for each in sorted(forms, key=len, reverse=True))
    return re.sub(rb"(?<![0-9A-Za-z])(?:" + either + rb")(?![0-9A-Za-z])", lambda match: _masked(match[0]), body)


def _is_telling(value: str) -> bool:
    return (len(value) >= SHORTEST or (len(value) == SHORTEST - 1 and value.isalpha())) and value not in _WORDS_OF_JSON


def _hidden_in_parquet(body: bytes, fields: Collection[str]) -> bytes:
    """A Parquet file with the same types, and no value of these fields as it was; what is no text, number or day is null."""
    frame = pl.read_parquet(io.BytesIO(body))
    masked = [
        pl.lit(None, frame.schema[name]).alias(name)
        if frame.schema[name].is_nested()
        else pl.col(name)
        .cast(pl.String, strict=False)
        .str.replace_all(r"\d", "1")
        .str.replace_all(r"\pL", "x")
        .cast(frame.schema[name], strict=False)
        for name in fields
        if name in frame.columns
    ]
    written = io.BytesIO()
    frame.with_columns(masked).write_parquet(written)
    return written.getvalue()


def _without_profile(body: bytes, fields: Collection[str]) -> bytes:
    try:
        view = json.loads(body)
        for entry in view["columns"]:
            if entry["fieldName"] in fields:
                entry.pop("cachedContents", None)
    except (ValueError, KeyError, TypeError):  # not Socrata's metadata
        return body
    return json.dumps(view, ensure_ascii=False, indent=2).encode()


def _spellings(value: str) -> Iterator[bytes]:
    """How a value may be written: as it is, as CSV has it between quotes, or as JSON has it, escapes by PHP and .NET included."""
    for text in (value, value.replace('"', '""')):
        yield text.encode()
        with suppress(UnicodeEncodeError):
            yield text.encode("windows-1252")
    for text in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        for escaped in (text, re.sub(r"(?<=\\u)[0-9a-f]{4}", lambda code: code[0].upper(), text)):
            yield escaped.encode()
            yield escaped.replace("/", "\\/").encode()


def _masked(text: bytes) -> bytes:
    """Digits as 1, with which numbers and days may begin, letters as x; escapes of JSON are letters, too, so that the text stays JSON."""
    text = re.sub(rb"\\u[0-9a-fA-F]{4}", b"x", text)
    text = re.sub(rb"(?i)[a-z]|[\x80-\xff]+", b"x", re.sub(rb"[0-9]", b"1", text))
    return text.replace(b"\\x", b"x")


def identity_numbers(text: pl.Series) -> pl.Series:
    """Whether each text is a NIF, NIE or CIF with the right control character (RD 1553/2005; for the CIF, as python-stdnum has it)."""
    code = text.str.to_uppercase().str.replace_all(r"[\s.-]", "").to_frame("code")
    digits = [pl.col("code").str.slice(at, 1).cast(pl.Int32, strict=False) for at in range(1, 8)]
    number = (
        pl.col("code")
        .str.head(-1)
        .str.replace("^X", "0")
        .str.replace("^Y", "1")
        .str.replace("^Z", "2")
        .cast(pl.Int64, strict=False)
    )
    nif = (number % 23).cast(pl.String).replace_strict(_places(_LETTERS), default=None)
    special = (pl.col("code").str.slice(1, 7).cast(pl.Int64, strict=False) % 23).cast(pl.String)
    total = digits[1] + digits[3] + digits[5]
    for digit in digits[::2]:
        total = total + digit * 2 // 10 + digit * 2 % 10
    control = (10 - total % 10) % 10
    last = pl.col("code").str.tail(1)
    is_right = (
        pl.when(pl.col("code").str.contains(r"^(?:\d{8}|[XYZ]\d{7})[A-Z]$"))
        .then(last == nif)
        .when(pl.col("code").str.contains(r"^[KLM]\d{7}[A-Z]$"))
        .then(last == special.replace_strict(_places(_LETTERS), default=None))
        .when(pl.col("code").str.contains(r"^[ABCDEFGHJNPQRSUVW]\d{7}[\dA-J]$"))
        .then(
            (last == control.cast(pl.String))
            | (last == control.cast(pl.String).replace_strict(_places(_CIF_LETTERS), default=None))
        )
        .otherwise(pl.lit(value=False))
    )
    return code.select(is_right.fill_null(value=False).alias("code")).to_series()


def _places(letters: str) -> dict[str, str]:
    return {str(at): letter for at, letter in enumerate(letters)}
