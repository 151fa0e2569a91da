"""Which fields may hold personal data: by their names, and by what their values look like.

Here: the signs of it, of the whole column and not of a value: eight digits and any letter pass the control of a NIF 1 time in 23. Not here:
what follows; a suspect is declared personal, so that it never leaves landing until a person decides otherwise.
"""

from __future__ import annotations

import re

import polars as pl

from catalunya.ops.scaffold.names import plain

SHARE = 0.5
"""The share of a column's values that must look like it."""

_NAMES = {
    "names of people": r"cognoms?|apellidos?|surname|last_name|first_name|nom_i_cognoms|nombre_y_apellidos|full_name|nom_persona",
    "numbers of identity documents": r"nif|nie|dni|cif|niu|passaport|pasaporte|passport|ssn|tax_id",
    "telephone numbers": r"telefons?|telefonos?|tel|tlf|fax|mobil|movil|phone|telephone|mobile|contact_phone",
    "e-mail addresses": r"e_?mails?|correu(_electronic)?|correo(_electronico)?|mail",
}
_BY_NAME = {what: re.compile(rf"(?:.*_)?(?:{pattern})(?:_\d+)?") for what, pattern in _NAMES.items()}
_EMAIL = r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$"
_PHONE = r"^(?:\+34|0034)?[ .-]?[6789]\d{2}[ .-]?\d{2,3}[ .-]?\d{2,3}[ .-]?\d{0,3}$"
_LIKE_IDENTITY = r"^[\dA-Za-z][\d .-]{6,10}[\dA-Za-z]$"
_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"  # RD 1553/2005, article 11: the number modulo 23
_CIF_LETTERS = "JABCDEFGHI"


def suspicion(field: str, label: str, values: pl.Series) -> str:
    """Why a field may hold personal data: "names of people, by its name"; empty if nothing speaks for it. `values`: text without nulls."""
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
        "telephone numbers": found.str.contains(_PHONE) & found.str.contains(r"[ +.-]").any(),
    }
    likely = [what for what, matches in signs.items() if matches.sum() > SHARE * len(found)]
    return f"{likely[0]}, by its values" if likely else ""


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
