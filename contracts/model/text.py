"""The text of a source in one spelling: normalized, rejected if it was read in the wrong encoding, and folded for comparison.

The same word is the same characters, whatever keyboard, form or program it came through. Here: what is normalized, what looks like a
wrong encoding, what counts as the same word. Not here: which words mean "no value" and what a column's type is (`check.py`), what
happens to a broken row (`assets/making`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import polars as pl

from catalunya.io.safe_text import legible

QUOTED = 80
"""How much of a broken text a reason quotes, in characters."""
SAMPLE, FEW = 1_000, 500
"""A column with at most FEW different values among its first SAMPLE rows is looked at value by value, not row by row."""

# A text without any of these is normalized and not broken. Nearly all are, so that one pass over them is all they cost.
_STOPPED = r"l\.l|L\.L"
_UNUSUAL = rf"[^!-~ ÀÁÄ-ÿ·]|[`?]|  |^ | $|{_STOPPED}"

_SPACES = r"[\p{White_Space}--[ ]]\p{White_Space}*| \p{White_Space}+"  # not the single spaces, which are most
# Control characters; zero-width and bidirectional ones, soft hyphens, byte order marks, tags (Cf); variation selectors, fillers.
_IGNORED = r"[[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]--\p{White_Space}]+"
_APOSTROPHES = "[’‘‛ʼꞌ＇]"
_APOSTROPHE_IN_WORD = r"(\pL)[`´′ʹ](\pL)"  # elsewhere these are accents, minutes, and quotation marks of code

# The ways to write l·l that mean nothing else: two letters of one case around a dot, or the letter that has the dot (U+0140, U+013F).
_DOTS = "[•‧∙⋅・･●⸱⸳ꞏ˙․]"
_GEMINATES = {f"(l){_DOTS}(l)|(L){_DOTS}(L)": "$1$3·$2$4", "ŀ·?(l)": "l·$1", "Ŀ·?([lL])": "L·$1"}
# A full stop does so between vowels in a word, not in abbreviations (S.L.L.), addresses (sol.lleida.cat) and names of files.
_MARKS = rf"{_APOSTROPHES}|[`´′ʹŀĿ]|{_DOTS}|{_STOPPED}"
_VOWEL = "[aeiouàáèéíïòóúüAEIOUÀÁÈÉÍÏÒÓÚÜ]"
_STOP = rf"(^| )((?:[^ ./:@\\_][^ .:@\\_]*)?{_VOWEL})(?:(l)\.(l)|(L)\.(L))({_VOWEL}[^ .:@\\_]*[.,;:!?…]*)( |$)"
_FILE = r"(?i)l\.(?:log|lock?|local|lan|live|link|lua|less)\b"

# Only a text with one of these can be broken: what UTF-8 becomes in another encoding is not letters alone.
_SUSPECT = r"[\x{80}-\x{9f}\x{fffd}ÂÃ├┬√¬]|[Ä-ÿ](?:[^\x00-\x7f\pL\pM]|[ƒˆŠŒŽšœžŸ])|\pL\?\pL"
# What ftfy leaves open because other languages write it, and Catalan names need: `Ã’dena`, `AÌ€ger`, `SebastiÃ` without its last byte.
_BROKEN = re.compile(r"Ã’\w|[a-zà-öø-ÿ][ÂÃ]|\bÃ[ \u00a0-\u00bf](?=[a-z])|Ì[€\u0080-\u008f\u00a7ƒˆ‚„Š]")
# And Windows-1252 read as Latin-1, which makes letters and the apostrophe of a word control characters.
_CONTROL = re.compile(r"[\u008a\u008c\u008e\u009a\u009c\u009e](?=[a-zß-ÿ])|(?<=[^\W\d_])[\u0091\u0092](?=[^\W\d_])")
# A letter that became a question mark, in a word that is no address.
_LOST, _ADDRESS = re.compile(r"[^\W\d_]\?[^\W\d_]"), frozenset("/:=&@.")
# What only looks broken: other control characters on their own, and the Ã at the end of a Portuguese word in capitals.
_HARMLESS = re.compile(r"(?<![\u0080-\u00bfÂ-ß])[\u0080-\u009f](?![\u0080-\u00bf])|(?<=[A-ZÀ-Þ]{2}Ã)\u00a0(?![a-zß-ÿ])")

_FOLDED_GEMINATE = rf"l(?:{_DOTS}|[·.-])l"
_ENDING = r"\b(\w{2,}?)(?:[aeios]*[aeiou]ns?|[aeios]+)\b"
"""What number, and -a of the feminine, change at the end of a Catalan word: addicció, addiccions; pis, pisos; família, famílies."""
_SPELLING = {r"qu\b": "c", r"gu\b": "g", r"j\b": "g", r"d\b": "t"}
"""And what they change before it: bàsica, bàsiques; amiga, amigues; platja, platges; discapacitat, discapacitades."""


@dataclass(frozen=True, slots=True)
class Text:
    """One raw page, normalized.

    `changed` is the number of rows that normalizing changed, by field; `broken` has a reason for each row with a broken text, null
    for all others (None: there is no such row).
    """

    frame: pl.DataFrame
    changed: dict[str, int] = field(default_factory=dict)
    broken: pl.Series | None = None


def clean_text(raw: pl.DataFrame) -> Text:
    """Normalize all columns of a page of text, and look for broken ones. Costs little for a column in which nothing is unusual."""
    columns, changed, reasons = {}, {}, []
    texts = [column for column in raw.iter_columns() if column.dtype == pl.String]
    unusual = raw.select(_unusual(column) for column in texts)
    for column in texts:
        hits = unusual[column.name][0]
        if hits.is_empty():
            continue
        at, found, clean = _cleaned(column, hits)
        differs = found != clean
        if differs.any():
            # A clone, because `scatter` writes in place.
            columns[column.name] = column.clone().scatter(at.filter(differs), clean.filter(differs))
            changed[column.name] = int(differs.sum())
        suspects = found.filter(found.str.contains(_SUSPECT)).unique()
        why = {text: f"{column.name}: '{legible(text, QUOTED)}' {what}" for text in suspects if (what := flaw(text))}
        if why:
            reasons.append(column.replace_strict(list(why), list(why.values()), default=None, return_dtype=pl.String))
    broken = None
    if reasons:
        each = [reason.alias(str(number)) for number, reason in enumerate(reasons)]
        broken = pl.select(pl.concat_str(each, separator="; ", ignore_nulls=True).replace("", None)).to_series()
    return Text(raw.with_columns(**columns) if columns else raw, changed, broken)


def _unusual(column: pl.Series) -> pl.Expr:
    """The texts of a column that may have to be normalized: where they are or, if the column has few different ones, which these are."""
    text = pl.col(column.name)
    if column.head(SAMPLE).n_unique() > FEW:
        return text.str.contains(_UNUSUAL).fill_null(value=False).arg_true().implode()
    different = text.unique(maintain_order=True)
    return different.filter(different.str.contains(_UNUSUAL).fill_null(value=False)).implode()


def _cleaned(column: pl.Series, unusual: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series]:
    """The positions of the unusual texts, these texts, and the same normalized. `unusual` is what `_unusual` found: positions, or texts."""
    if unusual.dtype != pl.String:
        found = column.gather(unusual)
        return unusual, found, normalized(found)
    at = column.is_in(unusual.implode()).fill_null(value=False).arg_true()
    found = column.gather(at)
    return at, found, found.replace(unusual, normalized(unusual))


def normalized(text: pl.Series) -> pl.Series:
    """Texts in Unicode NFC, with single spaces, without characters that are not seen, one apostrophe and one `l·l`. Idempotent."""
    seen = pl.first().str.replace_all(_IGNORED, "").str.normalize("NFC")
    plain = text.to_frame().select(seen.str.replace_all(_SPACES, " ").str.strip_chars(" ")).to_series()
    marked = plain.str.contains(_MARKS).fill_null(value=False).arg_true()
    return plain.scatter(marked, _spelled(plain.gather(marked))) if len(marked) else plain


def _spelled(text: pl.Series) -> pl.Series:
    text = text.str.replace_all(_APOSTROPHES, "'")
    for _ in range(2):  # neighbors share a letter, and a match takes its own
        text = text.str.replace_all(_APOSTROPHE_IN_WORD, "$1'$2")
        for pattern, spelling in _GEMINATES.items():
            text = text.str.replace_all(pattern, spelling)
    if not text.str.contains(_STOPPED).any():
        return text
    with_dot = text
    for _ in range(2):
        with_dot = with_dot.str.replace_all(_STOP, "$1$2$3$5·$4$6$7$8")
    return with_dot.zip_with(~text.str.contains(_FILE), text)


def flaw(text: str) -> str | None:
    """What is broken in a text as received: it was UTF-8 and read as something else, or letters were lost. None if nothing is."""
    from ftfy.badness import is_bad  # 15 ms, and most pages need it not

    words = text.split() if _LOST.search(text) else ()
    if "\ufffd" in text or any(_LOST.search(word) and _ADDRESS.isdisjoint(word.strip(".,;:")) for word in words):
        return "has replacement characters where letters were"
    if _CONTROL.search(text):
        return "looks like Windows-1252 read as Latin-1"
    text = _HARMLESS.sub(" ", text)
    return "looks like UTF-8 read as Latin-1 or Windows-1252" if _BROKEN.search(text) or is_bad(text) else None


def folded(text: pl.Expr, *, number: bool = False) -> pl.Expr:
    """The words of a text, for comparison only: without case, accents, punctuation and the dot of `l·l`, between single spaces.

    With `number`, singular and plural are the same too (of Catalan words, and not of names: Pineda is not Pinedes).
    """
    text = text.str.to_lowercase().str.normalize("NFKD").str.replace_all(r"\pM|" + _IGNORED, "")
    text = text.str.replace_all(_FOLDED_GEMINATE, "ll").str.replace_all(r"[^\pL\pN]+", " ").str.strip_chars(" ")
    if number:
        text = text.str.replace_all(_ENDING, "$1")
        for pattern, spelling in _SPELLING.items():
            text = text.str.replace_all(pattern, spelling)
    return text
