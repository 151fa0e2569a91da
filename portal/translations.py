"""The contracts' texts in the other languages of the pages: `assets/translations/{language}.toml`, by the English text.

A text that changes in its contract has no translation any more, so that no page shows what is no longer true: it is English until it is translated
again. Not here: names (`assets/graph/titles.py`), the words of the pages themselves (`language.py`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from catalunya.io.errors import ConfigurationError
from catalunya.io.project_folder import active

FOLDER = "assets/translations"
ORIGINAL = "en"
"""The language in which contracts are written."""


def translated(text: str, language: str) -> tuple[str, str]:
    """The text in a language if it is translated, and the language that it is in. Raises ConfigurationError."""
    found = None if language == ORIGINAL else translations(language).get(text)
    return (text, ORIGINAL) if found is None else (found, language)


def translations(language: str) -> Mapping[str, str]:
    """All translations into a language: English text -> text. Raises ConfigurationError."""
    return _read(active().folder / FOLDER / f"{language}.toml")


@cache
def _read(path: Path) -> Mapping[str, str]:
    try:
        content = path.read_text(encoding="utf-8") if path.exists() else ""
        return msgspec.convert(tomllib.loads(content), type=dict[str, str])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(
            f"{path}: expected a translation by English text, found {error}; correct the file"
        ) from None
