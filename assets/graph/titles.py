"""What the project, its tables and what is shown of them are called, in each language of the public pages: `assets/titles.toml`.

Here: reading the names. Not here: whole texts (`assets/translations`), what the names are used for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from catalunya.io.errors import ConfigurationError
from catalunya.io.project_folder import active

FILE = "assets/titles.toml"
PROJECT = "project"


def titles() -> Mapping[str, Mapping[str, str]]:
    """Names by what they name ("project", an asset's key, `figure.NAME`, `level.NAME`, `subject.NAME`, `rights.NAME`, `value.VALUE`) and language.

    Raises ConfigurationError.
    """
    return _read(active().folder)


@cache
def _read(folder: Path) -> Mapping[str, Mapping[str, str]]:
    path = folder / FILE
    try:
        content = path.read_text(encoding="utf-8") if path.exists() else ""
        return msgspec.convert(tomllib.loads(content), type=dict[str, dict[str, str]])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(
            f"{path}: expected a title by table and language, found {error}; correct the file"
        ) from None


def title_of(name: str, language: str) -> str:
    """What something is called in a language; what has no title there goes by its name, the project by its own title."""
    return titles().get(name, {}).get(language) or (active().title if name == PROJECT else name)
