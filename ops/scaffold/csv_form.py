"""How a file is written, by its beginning: of CSV encoding, delimiter, lines above the header, whether there is a header.

Here: what can be seen in the first lines; a declaration by a person always wins. Not here: reading files (`io/sources/file_formats.py`).
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

DELIMITERS = ",;\t|"
LINES = 50
_Record = tuple[int, list[str]]
_YEAR = re.compile(r"(?:19|20)\d\d")
_VALUE = re.compile(r"[-+]?\d+(?:[.,]\d+)*|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")


def form_of(beginning: bytes) -> dict[str, Any]:
    """The options of `File` that differ from the usual ones. Empty if the beginning is no text of several columns."""
    if beginning[:4] == b"PAR1":
        return {"format": "parquet"}
    if beginning.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"{":
        return {"format": "jsonl"}
    if beginning[:2] in {b"PK", b"\x1f\x8b"}:  # packed: only the whole tells
        return {}
    text, encoding = _decoded(beginning)
    delimiter, width, records = _delimiter(text)
    if width < 2:
        return encoding
    at = next(at for at, (_, cells) in enumerate(records) if len(cells) == width)
    skip, header = records[at][0], [cell.strip() for cell in records[at][1]]
    below = [cells for _, cells in records[at + 1 :] if len(cells) == width]
    found: dict[str, Any] = {**encoding}
    if delimiter != ",":
        found["delimiter"] = delimiter
    if not _is_header(header, below):
        found["header"] = False
        above = records[at - 1][1] if at else []
        if len(above) == width - 1 and _is_header(above, below):  # rows end with a delimiter, the header does not
            found["names"] = _different([*above, ""])
    elif len(set(header)) < len(header):  # no field can be called as another
        found |= {"header": False, "names": _different(header)}
        skip = records[at + 1][0] if at + 1 < len(records) else skip + 1
    if skip:
        found["skip"] = skip
    return found


def _decoded(beginning: bytes) -> tuple[str, dict[str, str]]:
    """The text, and its encoding if it is not UTF-8. The last character may be cut off."""
    for cut in range(4):
        try:
            return beginning[: len(beginning) - cut].decode("utf-8-sig"), {}
        except UnicodeDecodeError:
            continue
    return beginning.decode("windows-1252", errors="replace"), {"encoding": "windows-1252"}


def _delimiter(text: str) -> tuple[str, int, list[_Record]]:
    """The delimiter by which most records have the same number of cells, more than one; that number, and the records."""
    best: tuple[str, int, list[_Record]] = (",", 1, [])
    score = (0, 0)
    for delimiter in DELIMITERS:
        records = _records(text, delimiter)
        widths = Counter(len(cells) for _, cells in records)
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        if width > 1 and (count, width) > score:
            best, score = (delimiter, width, records), (count, width)
    return best


def _records(text: str, delimiter: str) -> list[_Record]:
    """The first records that are not blank, each with the number of lines above it. A quoted cell may have line breaks in it."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[_Record] = []
    above = 0
    try:
        for cells in lines:
            if any(cell.strip() for cell in cells):
                found.append((above, cells))
            above = lines.line_num
            if len(found) == LINES:
                break
    except csv.Error:  # a quote that is never closed makes a cell of all the rest
        pass
    return found


def _is_header(cells: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is names: most are there, and none is a number or a day, but for years above what are no years. A name may be
    there twice only above numbers: `Vic;Vic;Osona` is a row of places."""
    cells = [cell.strip() for cell in cells]
    named = [cell for cell in cells if cell]
    values = [at for at, cell in enumerate(cells) if _VALUE.fullmatch(cell)]
    is_years = all(
        _YEAR.fullmatch(cells[at]) and below and not all(_YEAR.fullmatch(row[at].strip()) for row in below)
        for at in values
    )
    is_different = len(set(named)) == len(named) or any(
        all(_VALUE.fullmatch(row[at].strip()) for row in below) for at in range(len(cells) if below else 0)
    )
    return 2 * len(named) > len(cells) and len(values) < len(named) and is_years and is_different


def _different(cells: Sequence[str]) -> tuple[str, ...]:
    """The names of a header, with a number behind those that were there before: Any, Total, Total_2."""
    found: dict[str, None] = {}
    for at, cell in enumerate(cells, start=1):
        name, number = cell or f"column_{at}", 1
        while (name if number == 1 else f"{name}_{number}") in found:
            number += 1
        found[name if number == 1 else f"{name}_{number}"] = None
    return tuple(found)
