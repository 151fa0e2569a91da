"""Text of a source: one spelling whatever form it comes in, broken encodings recognized, ordinary text left alone."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalunya.contracts.model.text import FEW, clean_text, flaw, folded, normalized

REAL = os.environ.get("CATALUNYA_REAL_DATA")

# Ordinary text of many languages, in NFC: names, punctuation, addresses, quantities.
ORDINARY = (
    *("Bisbal d'Empordà, la", "Castell d'Aro, Platja d'Aro i s'Agaró", "l'Hospitalet de l'Infant", "paral·lel", "COL·LEGI", "Vall-llobrega"),
    *("Ceuta y Peñíscola", "¿Qué? ¡Sí!", "1.ª planta, n.º 3", "Mª Ángeles", "Val d'Aran, era Bordeta, Les e Bossòst", "Montgarri, Gèssa, Salardú"),
    *("Île-de-France", "Œuvres complètes", "« Café »", "L'ÉCOLE «ÉTÉ»", "São João", "IRMÃ", "IRMÃ DE JESUS", "“IRMÔ", "CORAÇÃO", "GUIMARÃES"),
    *("À la carte", "L'ÂGE D'OR", "Città di Castello", "Straße", "MÜNCHEN", "Ångström", "MALMÖ", "ÅSE", "Ærøskøbing", "Þórður Ð", "ØRSTED 3"),
    *("Łódź", "Żółć", "Škoda", "Žižek", "Țară", "Győr", "İstanbul", "Şişli Ğ", "Nguyễn Ấn", "TIẾNG VIỆT", "Đặng Thị Ngọc", "Ελλάς", "Ёлка", "ТОВ «Київ»"),
    *("المدينة المنورة", "שלום", "北京市", "日本語テスト", "한국어", "हिन्दी", "ภาษาไทย", "🏛 🎉", "20 °C", "3 × 4", "½ pensió", "50 €", "±5", "NESTLÉ®", "«É»"),
    *("S.L.L.", "A.L.L.A.", "Fundació X, S.L.", "www.sol.lleida.cat", "a@mail.lloret.cat", "http://x.cat/al.lo", "manual.log", "v1.l.l", "Sol.Lleida"),
    *("hotel.lloret", "col.legi.pdf", "C/ Major, 3 - 1r 2a", "5′ 3″", "x?y=1&z=2", "https://x.cat/a?b=c", "Vols?", "(93) 123 45 67", "a_b", "#1", "-1.5e3", ""),
)  # fmt: skip

# Characters that no one sees, and white space: one of each kind, and of each block that has some.
IGNORED = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202a\u202e\u2066\u2069\u061c\u180e\u034f\ufe0f\ufe00\u115f\u3164\uffa0"
    "\U000e0001\U000e0061\U000e0100\x00\x01\x07\x08\x0e\x1b\x1c\x1f\x7f\x80\x9f\ufff9\ufffe"
)
SPACES = " \t\n\x0b\x0c\r\x85\u00a0\u1680\u2000\u2002\u2003\u2007\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

GEMINATES = ("l·l", "l.l", "l•l", "l‧l", "l∙l", "l⋅l", "l・l", "ŀl", "l\u0387l", "ŀ·l", "l\u200b·\u200bl")


often = settings(max_examples=100, derandomize=True, database=None)


def clean(*texts: str | None) -> list[str | None]:
    return normalized(pl.Series(texts, dtype=pl.String)).to_list()


def same(*texts: str, number: bool = False) -> bool:
    return pl.DataFrame({"text": texts}).select(folded(pl.col("text"), number=number)).n_unique() == 1


texts = st.text(max_size=30) | st.lists(st.sampled_from([*ORDINARY, *GEMINATES, *"’`´′ŀl.L•·ài ", *IGNORED, *SPACES]), max_size=8).map("".join)  # fmt: skip


@often
@given(texts)
def test_normalizing_twice_changes_nothing_more(text: str) -> None:
    once = clean(text)
    assert clean(*once) == once


@often
@given(texts)
def test_normalized_text_is_nfc_with_single_spaces_and_nothing_unseen(text: str) -> None:
    (found,) = clean(text)
    assert found is not None
    assert unicodedata.is_normalized("NFC", found)
    assert found == " ".join(found.split())
    assert not [c for c in found if unicodedata.category(c) in ("Cc", "Cf") or c in IGNORED]


@often
@given(st.sampled_from(ORDINARY) | texts, st.data())
def test_however_a_text_is_written_it_is_the_same_text(text: str, data: st.DataObject) -> None:
    (expected,) = clean(text)
    assert expected is not None
    form = data.draw(st.sampled_from(["NFC", "NFD"]))
    between = st.text(st.sampled_from(IGNORED), max_size=2)
    written = data.draw(st.text(st.sampled_from(SPACES), max_size=2))
    for character in unicodedata.normalize(form, expected):
        space = data.draw(st.text(st.sampled_from(SPACES), min_size=1, max_size=3)) if character == " " else character
        written += data.draw(between) + space.replace("'", data.draw(st.sampled_from("'’‘ʼ＇")))
    written += data.draw(between) + data.draw(st.text(st.sampled_from(SPACES), max_size=2))
    assert clean(written) == [expected]


@often
@given(st.lists(texts | st.sampled_from(ORDINARY) | st.none(), min_size=1, max_size=12), st.booleans())
def test_a_page_is_normalized_as_each_of_its_texts_is(rows: list[str | None], is_varied: bool) -> None:
    column = pl.Series("nom", [*map(str, range(2 * FEW)), *rows] if is_varied else rows, dtype=pl.String)
    page = column.to_frame().with_columns(codi=pl.lit("ok"))
    read, expected = clean_text(page), normalized(column)
    assert read.frame["nom"].to_list() == expected.to_list()
    assert read.frame["codi"].to_list() == page["codi"].to_list()
    assert page["nom"].to_list() == column.to_list(), "the page as received was changed"
    assert read.changed.get("nom", 0) == (column != expected).sum()
    broken = [] if read.broken is None else column.filter(read.broken.is_not_null()).to_list()
    assert all(map(flaw, broken))


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_and_is_not_broken(text: str) -> None:
    assert clean(text) == [text]
    assert not flaw(text)


@pytest.mark.parametrize("written", GEMINATES)
@pytest.mark.parametrize(
    "word",
    ["intel·lectual", "Col·legi", "col·lectius;", "(paral·lela)", "física/intel·lectual", "al·lot al·lota al·lots"],
)
def test_every_way_to_write_the_geminate_l_becomes_one(word: str, written: str) -> None:
    assert clean(word.replace("l·l", written), word.upper().replace("L·L", written.upper())) == [word, word.upper()]


@pytest.mark.parametrize("text", ["a\x85b", "Café\x85Bar", "\x9b31mred", "Forn\x80", "nul\x00", "\x1b[31m", "Re\x81us"])
def test_a_control_character_on_its_own_is_no_broken_text(text: str) -> None:
    assert flaw(text) is None


def test_apostrophes_become_one_and_other_marks_stay() -> None:
    assert clean("l’Hort", "L‘Hort", "d´Aro", "D`en", "sʼAgaró", "d′Olot", "d´e´l") == [
        *("l'Hort", "L'Hort", "d'Aro", "D'en", "s'Agaró", "d'Olot", "d'e'l"),
    ]
    assert clean("`codi`", "5′ 3″", "a ´ b") == ["`codi`", "5′ 3″", "a ´ b"]
    assert clean(None, "\u200b ") == [None, ""]


# How text breaks: its bytes are UTF-8, and someone reads them as something else, once or twice.


def as_latin_1(text: str) -> str:
    return text.encode().decode("latin-1")


def as_windows_1252(text: str) -> str:
    return "".join(
        chr(byte) if byte in b"\x81\x8d\x8f\x90\x9d" else bytes([byte]).decode("cp1252") for byte in text.encode()
    )


def decomposed(text: str) -> str:
    return as_windows_1252(unicodedata.normalize("NFD", text))


BREAKS: list[Callable[[str], str]] = [
    *(as_latin_1, as_windows_1252, decomposed),
    lambda text: as_latin_1(as_latin_1(text)),
    lambda text: as_windows_1252(as_windows_1252(text)),
    lambda text: as_latin_1(unicodedata.normalize("NFD", text)),
    lambda text: text.encode("latin-1", "replace").decode("utf-8", "replace"),
    lambda text: text.encode("ascii", "replace").decode(),
]
WORDS = (
    "Residència", "ADMINISTRACIÓ", "Sebastià", "intel·lectual", "España", "Genèric", "Òdena", "Àger", "VALLÈS", "Països Catalans",
)  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("broken", BREAKS[:6])
def test_utf_8_read_as_another_encoding_is_recognized(word: str, broken: Callable[[str], str]) -> None:
    assert flaw(broken(word))
    assert clean_text(pl.DataFrame({"nom": ["bé", broken(word)]})).broken is not None


@pytest.mark.parametrize(
    "text",
    [
        *("ResidÃ¨ncia", "ADMINISTRACIÃ“", "SebastiÃ\u00a0", "SebastiÃ ", "SebastiÃ", "lâ€™Hospitalet", "lâ\x80\x99Hospitalet", "IntelÂ·lectual"),
        *("EspaÃ±a", "GenÃƒÂ¨ric", "aÌ€", "AÌ€GER", "Resid\ufffdncia", "Resid?ncia", "RESID?NCIA", "l\x92Hospitalet", "Ã\u00a0rea", "Ã  la carta", "Ã€rea"),
        *("\x8akoda", "BOSSÃ’ST", "PENÃ\x8dNSULA", "Â«CasaÂ»", "1Âª planta", "50 â‚¬", "ï»¿Nom", "Å\x81ódÅº", "Ð¡Ð°Ð½Ñ‚", "ðŸ˜€", "Resid√®ncia", "RESIDÃ¨NCIA"),
    ],
)  # fmt: skip
def test_broken_text_is_recognized(text: str) -> None:
    assert flaw(text)
    broken = clean_text(pl.DataFrame({"nom": ["bé", text]})).broken
    assert broken is not None
    assert broken[0] is None
    assert broken[1].startswith("nom: '")


def real_texts() -> Iterator[str]:
    """Every text in the real files: names, types, labels and whatever else the portals publish."""
    assert REAL
    for path in sorted(Path(REAL).rglob("*")):
        if path.suffix == ".csv":
            with path.open(encoding="utf-8") as opened:
                yield from (value for row in csv.reader(opened) for value in row)
        elif path.suffix == ".json":
            yield from _texts(json.loads(path.read_text(encoding="utf-8")))


def _texts(document: object) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for part in document.values() if isinstance(document, dict) else document:
            yield from _texts(part)


@pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA names no folder with the portals' files")
def test_no_real_text_is_taken_for_broken_and_each_is_recognized_once_broken() -> None:
    real = {text for text in real_texts() if len(text) < 300}
    assert len(real) > 3_000
    assert {text for text in real if flaw(text)} == set()
    names = [
        text
        for text in real
        if not text.isascii() and set(text) <= set(ORDINARY[0] + "".join(map(chr, range(32, 256))))
    ]
    assert len(names) > 400
    page = pl.DataFrame({"nom": [broken(name) for name in names for broken in BREAKS[:6]]})
    found = clean_text(page).broken
    assert found is not None
    assert page.filter(found.is_null())["nom"].to_list() == []


def test_folding_ignores_case_accents_apostrophes_and_the_geminate() -> None:
    assert same("Residència d'intel·lectuals", "RESIDENCIA D’INTEL.LECTUALS", "residència  d´intel•lectuals", "RESIDE\u0300NCIA D'INTEŀLECTUALS")  # fmt: skip
    assert not same("Pineda", "Pinedes")
    assert not same("Llacuna", "Lacuna")


@pytest.mark.parametrize(
    "forms",
    [
        *(("residència", "residències"), ("centre", "centres"), ("addicció", "addiccions"), ("bàsic", "bàsica", "bàsics", "bàsiques")),
        *(("jove", "joves"), ("pis", "pisos"), ("llar", "llars"), ("família", "famílies"), ("servei", "serveis"), ("dia", "dies")),
        *(("discapacitat", "discapacitats", "discapacitada", "discapacitades"), ("gran", "grans"), ("impost", "impostos")),
        *(("indústria", "indústries"), ("plaça", "places"), ("platja", "platges"), ("amiga", "amigues"), ("procés", "processos")),
        *(("germà", "germans"), ("camí", "camins"), ("origen", "orígens"), ("comerç", "comerços"), ("euro", "euros"), ("menor", "menors")),
    ],
)  # fmt: skip
def test_folding_with_number_makes_singular_and_plural_the_same(forms: tuple[str, ...]) -> None:
    assert same(*forms, *(form.upper() for form in forms), number=True)


def test_folding_with_number_keeps_different_words_apart() -> None:
    words = ["família", "familiar", "residència", "residencial", "casa", "casal", "centre", "central", "jove", "dia", "valoració", "orientació"]  # fmt: skip
    assert pl.DataFrame({"word": words}).select(folded(pl.col("word"), number=True)).n_unique() == len(words)
