"""How a file is written, by its beginning: of CSV encoding, delimiter, lines above the header, whether there is a header.

Here: what can be seen in the first lines; a declaration by a person always wins. Not here: reading files (`io/sources/file_formats.py`).
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

DELIMITERS = ",;\t|"
LINES = 50
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
    lines = text.splitlines()[:LINES]
    delimiter, width = _delimiter(lines)
    if width < 2:
        return encoding
    counts = [_cells(line, delimiter) for line in lines]
    skip = next(at for at, cells in enumerate(counts) if len(cells) == width)
    header = [cell.strip() for cell in counts[skip]]
    found: dict[str, Any] = {**encoding}
    if delimiter != ",":
        found["delimiter"] = delimiter
    if not _is_header(header):
        found["header"] = False
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


def _delimiter(lines: Sequence[str]) -> tuple[str, int]:
    """The delimiter by which most lines have the same number of cells, more than one; and that number."""
    best, score = (",", 1), (0, 0)
    for delimiter in DELIMITERS:
        widths = Counter(len(_cells(line, delimiter)) for line in lines if line.strip())
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        if width > 1 and (count, width) > score:
            best, score = (delimiter, width), (count, width)
    return best


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _is_header(cells: Sequence[str]) -> bool:
    """Whether the first row is names: all there, all different, none a number or a day."""
    named = [cell for cell in cells if cell]
    return len(named) == len(cells) == len(set(named)) and not any(_VALUE.fullmatch(cell) for cell in named)
