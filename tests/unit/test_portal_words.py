"""The words of the pages: every word is used, every word used exists, and the languages say the same things."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

from catalunya.portal import about_page, table_checks
from catalunya.portal.check_words import Meaning, Refused
from catalunya.portal.language import WORDS, Language, words

LANGUAGES = ("ca", "es", "en")
PORTAL = WORDS.parent
CODE = {
    path.relative_to(PORTAL).as_posix(): path.read_text(encoding="utf-8")
    for pattern in ("**/*.py", "templates/*", "static/*.js")
    for path in sorted(PORTAL.glob(pattern))
}
CALLED = re.compile(r"""\bt\(\s*["']([a-z]+\.\w+)["']\s*[,)]""")
"""A word that is looked up by its whole name."""
LITERAL = re.compile(r"""["']([a-z]+\.\w+)["']""")
BEGUN = re.compile(r"""["']([a-z]+\.\w*)["']\s*~|\bf["']([a-z]+\.\w*)\{""")
"""The beginning of a name that a template or a module completes."""
FAMILIES: dict[str, Iterable[str]] = {
    "about.meaning_": about_page.TERMS,
    "about.method_": about_page.METHOD,
    "about.step_": about_page.METHOD,
    "about.term_": about_page.TERMS,
    "check.": re.findall(r'^    \("(\w+)", r"', CODE["table_checks.py"], re.MULTILINE),
    "quality.reason_": get_args(Meaning),
    "quality.refused_": get_args(Refused),
}
"""The names that begin so and are completed by these."""


def text_of(key: str, code: str) -> list[str]:
    """The forms of a word."""
    word = words(code)[key]
    return [word] if isinstance(word, str) else list(word.values())


def begun() -> set[str]:
    """All beginnings of names."""
    sections = {key.partition(".")[0] for key in words("ca")}
    found = {each for text in CODE.values() for pair in BEGUN.findall(text) for each in pair}
    return {each for each in found if each.partition(".")[0] in sections}


def test_every_word_that_is_used_exists() -> None:
    missing = {
        f"{name}: {key}" for name, text in CODE.items() for key in CALLED.findall(text) if key not in words("ca")
    }
    assert missing == set()
    for prefix in begun():
        assert any(key.startswith(prefix) for key in words("ca")), f"{prefix}… begins no word"


def test_every_word_is_used() -> None:
    literal = {key for text in CODE.values() for key in LITERAL.findall(text)}
    quoted = {name for text in CODE.values() for name in re.findall(r"""["'](\w+)["']""", text)}
    beginnings = {prefix for prefix in begun() if not prefix.endswith(".") and prefix not in FAMILIES}
    whole = tuple(prefix for prefix in begun() if prefix.endswith(".") and prefix not in FAMILIES)
    family = {f"{prefix}{name}" for prefix, names in FAMILIES.items() for name in names}

    def is_used(key: str) -> bool:
        name = key.partition(".")[2]
        by_section = key.startswith(whole) and name in quoted
        return key in literal | family or key.startswith(tuple(beginnings)) or by_section

    # `t(each.title ~ "_about")` is the description of what `t(each.title)` names.
    unused = [key for key in words("ca") if not is_used(key) and not is_used(key.removesuffix("_about"))]
    assert not unused, " ".join(unused)


@pytest.mark.parametrize("prefix", FAMILIES)
def test_a_family_of_words_has_a_word_for_each_of_its_names(prefix: str) -> None:
    assert {f"{prefix}{name}" for name in FAMILIES[prefix]} - words("ca").keys() == set()


def test_checks_are_read_from_the_module_that_names_them() -> None:
    assert Path(table_checks.__file__).name in CODE
    assert len(list(FAMILIES["check."])) > 20


@pytest.mark.parametrize("key", sorted(words("ca")))
def test_a_word_has_the_same_values_and_forms_in_every_language(key: str) -> None:
    def values(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    found = {code: set().union(*map(values, text_of(key, code))) for code in LANGUAGES}
    assert found["ca"] == found["es"] == found["en"]
    forms = {code: words(code)[key] for code in LANGUAGES}
    assert len({isinstance(form, str) for form in forms.values()}) == 1
    for form in forms.values():
        if not isinstance(form, str):
            assert {"one", "other"} <= set(form) <= {"one", "many", "other"}


@pytest.mark.parametrize("code", LANGUAGES)
def test_words_are_written_as_text(code: str) -> None:
    for key in words(code):
        for text in text_of(key, code):
            assert text == text.rstrip(), key
            assert "  " not in text, key
            assert not re.search(r"<\w|&\w+;", text), f"{key}: markup belongs in templates"


def test_no_sentence_is_the_same_in_two_languages() -> None:
    """Short words may be (`Total`), sentences may not: they were not translated."""
    same = [
        (key, one)
        for key in words("ca")
        for one, other in (("ca", "es"), ("ca", "en"), ("es", "en"))
        if max(map(len, text_of(key, one))) > 25 and text_of(key, one) == text_of(key, other)
    ]
    assert same == []


def test_a_number_stands_beside_a_noun_only_in_a_word_with_a_form_for_one() -> None:
    """`1 tables` is a mistake in each of the languages. Before `more` and `most` nothing has to agree."""
    counted = re.compile(r"\{(n|all|count|shown|upstream|downstream)\} (?!de \{|of \{|més|más|more)\w")
    plain = [(code, key) for code in LANGUAGES for key, word in words(code).items() if isinstance(word, str)]
    assert [each for each in plain if counted.search(str(words(each[0])[each[1]]))] == []


@pytest.mark.parametrize(
    ("code", "at_one", "at_thirteen"),
    [
        ("ca", "1 de desembre de 2026 a la 01:54 UTC", "1 de desembre de 2026 a les 13:54 UTC"),
        ("es", "1 de diciembre de 2026 a la 01:54 UTC", "1 de diciembre de 2026 a las 13:54 UTC"),
        ("en", "1 December 2026 at 01:54 UTC", "1 December 2026 at 13:54 UTC"),
    ],
)
def test_one_o_clock_is_singular_where_the_language_says_so(code: str, at_one: str, at_thirteen: str) -> None:
    moments = [datetime(2026, 12, 1, hour, 54, tzinfo=UTC) for hour in (1, 13)]
    assert [Language(code).moment(at) for at in moments] == [at_one, at_thirteen]


def test_a_plural_is_chosen_by_the_number() -> None:
    assert Language("ca").t("quality.problems", 1) != Language("ca").t("quality.problems", 2)
