"""Which source a landing table is read from: changing the choice in `assets/project.toml`, and nothing else in that file.

Here: the edit. Not here: what the choice means (`assets/graph/alternatives.py`), the command (`commands/sources.py`).
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

from catalunya.assets.graph.alternatives import SECTION
from catalunya.io.errors import UsageError

_HEADER = re.compile(rf"^\[\s*{SECTION}\s*\][^\n]*\n?", flags=re.MULTILINE)
_NEXT = re.compile(r"^\s*\[", flags=re.MULTILINE)
_NOTE = "# Landing tables that are not read from their first source: `catalunya sources switch` writes these lines.\n"


def switched(text: str, table: str, name: str) -> str:
    """The text of `project.toml` in which a table is read from the alternative `name`, or from its first source ("").

    Comments and everything else stay. Raises UsageError if the choice is written in another form than a table `[sources]`.
    """
    if "\r\n" in text:  # what is edited has one kind of line endings, and those of the file are put back
        return switched(text.replace("\r\n", "\n"), table, name).replace("\n", "\r\n")
    expected = tomllib.loads(text)
    chosen = dict(expected.get(SECTION, {}))
    chosen.pop(table, None)
    if name:
        chosen[table] = name
    expected = {**expected, SECTION: chosen}
    if not chosen:
        del expected[SECTION]
    made = _edited(text, table, name, is_empty=not chosen)
    if not _says(made, expected):
        raise UsageError(
            f"project.toml: expected a table [{SECTION}] with one line for each landing table, found another form; "
            f"write {table} = {name!r} there by hand"
            if name
            else f"project.toml: [{SECTION}] has another form than one line for each table; take {table} out by hand"
        )
    return made


def _says(text: str, expected: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == expected
    except tomllib.TOMLDecodeError:
        return False


def _edited(text: str, table: str, name: str, *, is_empty: bool) -> str:
    header, line = _HEADER.search(text), f'{table} = "{name}"'
    if header is None:
        return f"{text.rstrip()}\n\n{_NOTE}[{SECTION}]\n{line}\n" if name else text
    end = following.start() if (following := _NEXT.search(text, header.end())) else len(text)
    body = text[header.end() : end]
    at = re.search(
        rf"^[ \t]*{re.escape(table)}[ \t]*=[ \t]*(?:\"[^\"\n]*\"|'[^'\n]*')([^\n]*)\n?", body, flags=re.MULTILINE
    )
    if name and at:
        return f"{text[: header.end()]}{body[: at.start()]}{line}{at[1]}\n{body[at.end() :]}{text[end:]}"
    if name:
        head = text[: header.end()]
        return f"{head if head.endswith(chr(10)) else head + chr(10)}{line}\n{body}{text[end:]}"
    left = f"{body[: at.start()]}{body[at.end() :]}" if at else body
    if is_empty and not left.strip():
        before = text[: header.start()].removesuffix(_NOTE).rstrip()
        return f"{before}\n{chr(10) if text[end:] else ''}{text[end:]}"
    return f"{text[: header.end()]}{left}{text[end:]}"


def read(path: Path) -> str:
    """The text of the file, with its own line endings."""
    return path.read_bytes().decode("utf-8")


def write(path: Path, text: str, *, before: str) -> None:
    """Write the file at once: readers see the old text (`before`) or the new one. A link, the line endings and the file's rights stay.

    Raises UsageError if it cannot be written to, or is not as it was read any more.
    """
    path = path.resolve()
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.open("r+b").close()  # a file that is read-only stays as it is
        if read(path) != before:
            raise UsageError(f"{path} was changed meanwhile, and is left as it is; run the command again")
        beside.write_bytes(text.encode("utf-8"))
        shutil.copymode(path, beside)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(
            f"{path} cannot be written: {error.strerror}; switch in a checkout of the project, review the change and deploy it"
        ) from None
