"""Terminal output: tables that fit the terminal, JSON documents, and numbers, sizes and times for people.

Text from sources passes through `legible`, so that it cannot move the cursor or fake a line. Here: how things look. Not here: what is
shown (`commands/`). rich is imported only when something is drawn.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, TextIO

from catalunya.io.safe_text import LINE, NAME, escaped_json, legible, legible_lines

if TYPE_CHECKING:
    from rich.console import Console

    from catalunya.assets.record.ledger import Entry

# Wide enough that no column is lost in a pipe.
PIPE_WIDTH = 500
CELL_WIDTH = 40
TEXT = 100_000  # characters of one text, which may have many lines
GAP = 2
ROOM = 24
STYLES = {
    "fresh": "green",
    "materialized": "green",
    "skipped": "dim",
    "unchanged": "dim",
    "deferred": "yellow",
    "stopped": "yellow",
    "running": "cyan",
    "stale": "yellow",
    "missing": "yellow",
    "overdue": "yellow",
    "failed": "red",
    "landing": "blue",
    "staging": "cyan",
    "marts": "magenta",
}


def console(*, stderr: bool = False) -> Console:
    """A rich console on the current stdout (or stderr); very wide in a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else int(columns) if re.fullmatch("[1-9][0-9]{0,4}", columns) else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False)


def say(text: str = "", *, style: str | None = None) -> None:
    """Print text on stdout. Square brackets are text, not markup."""
    console().print(legible_lines(text, TEXT), style=style, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print text on stderr."""
    console(stderr=True).print(legible_lines(text, TEXT), markup=False, soft_wrap=True)


def emit_json(data: Any) -> None:
    """Print one JSON document on stdout, with null for the floats that JSON has no number for."""
    import json

    def document(data: Any) -> str:
        return json.dumps(data, default=_plain, indent=2, ensure_ascii=not takes_unicode(sys.stdout), allow_nan=False)

    try:
        text = document(data)
    except ValueError:  # NaN or infinity, which are rare: else nothing is copied
        text = document(_with_json_numbers(data))
    sys.stdout.write(escaped_json(text) + "\n")


def _with_json_numbers(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _with_json_numbers(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_with_json_numbers(value) for value in data]
    if is_dataclass(data) or hasattr(data, "__struct_fields__"):
        return _with_json_numbers(_plain(data))
    return None if isinstance(data, float) and not isfinite(data) else data


def takes_unicode(stream: TextIO) -> bool:
    """Whether the stream can show any character, so that JSON needs no escapes."""
    return (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")


def table(columns: Mapping[str, str] | Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table on stdout. Empty columns are left out; a last column of text wraps, or goes below if there is no room.

    `columns` are the headings, with "right" for numbers. A cell that starts with one of STYLES gets its color.
    """
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.text import Text

    sides = dict(columns) if isinstance(columns, Mapping) else dict.fromkeys(columns, "left")
    cells = [["" if cell is None else legible(cell, LINE) for cell in row] for row in rows]
    used = [at for at in range(len(sides)) if at == 0 or any(row[at] for row in cells)]
    names, right = list(sides), [side == "right" for side in sides.values()]
    *fixed, last = used if len(used) > 1 and not right[used[-1]] else [*used, len(sides)]
    widths = {at: max(cell_len(text) for text in [names[at], *(row[at] for row in cells)]) for at in fixed}
    target, indent = console(), sum(widths.values()) + GAP * len(fixed)
    beside = target.width - indent >= ROOM

    def line(row: Sequence[str], style: str = "") -> Text:
        text = Text()
        for at in fixed:
            room = " " * (widths[at] - cell_len(row[at]))
            cell = room + row[at] if right[at] else row[at] + room
            text.append(cell, style or STYLES.get(re.split(r"[ .]", row[at])[0], "")).append(" " * GAP)
        return text

    def draw(row: Sequence[str], style: str = "") -> None:
        text, more = line(row, style), row[last] if last < len(row) else ""
        if beside and target.width - indent >= cell_len(more):
            text.append(more, style)
            text.rstrip()
            target.print(text, soft_wrap=True)
        elif beside:
            lines = Text(more).wrap(target, target.width - indent)
            target.print(Text("\n" + " " * indent).join([text + lines[0], *lines[1:]]), soft_wrap=True)
        else:
            text.rstrip()
            target.print(text, soft_wrap=True)
            if more and not style:
                target.print(Padding(Text(more, style="dim"), (0, 0, 0, 4)))

    draw(names, "bold")
    for row in cells:
        draw(row)


def grid(names: Sequence[str], rows: Sequence[Sequence[Any]], *, numeric: Iterable[str] = ()) -> None:
    """Print rows of data on stdout, one line each: as many columns as fit, and the names of the others."""
    from rich.table import Table
    from rich.text import Text

    names, numeric = [legible(name, NAME) for name in names], [legible(name, NAME) for name in numeric]
    target = console()
    cut = CELL_WIDTH if sys.stdout.isatty() else PIPE_WIDTH
    cells = [[_cell(value, cut) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[at]) for row in cells)]) for at, name in enumerate(names)]
    shown, room = 0, target.width
    while shown < len(names) and (shown == 0 or room - widths[shown] - 2 >= 0):
        room -= widths[shown] + 2
        shown += 1
    drawn = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    right = set(numeric)
    for name in names[:shown]:
        drawn.add_column(name, justify="right" if name in right else "left", no_wrap=True, overflow="ellipsis")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row[:shown]))
    target.print(drawn)
    if shown < len(names):
        say(f"and {len(names) - shown} more columns: {', '.join(names[shown:])}", style="dim")


def aligned(pairs: Mapping[str, str]) -> None:
    """Print commands and what they do, indented and aligned."""
    width = max(map(len, pairs))
    for name, what in pairs.items():
        say(f"  {name:<{width}}  {what}")


def entry_facts(entry: Entry, seconds: float | None = None) -> str:
    """What a materialization made, in one line: `20,412 rows, 1.2 MB, 3.2 s, 5 quarantined`."""
    facts = [f"{entry.rows:,} rows", size(entry.bytes), f"{entry.seconds if seconds is None else seconds:.1f} s"]
    return ", ".join([*facts, *([f"{entry.quarantined:,} quarantined"] if entry.quarantined else [])])


def first_sentence(text: str) -> str:
    """The text up to the first full stop, colon or semicolon that ends a clause."""
    return re.split(r"(?<=\w)[.:;] ", text, maxsplit=1)[0].rstrip(".")


def number(value: float | None) -> str:
    """20412 -> 20,412; empty for None."""
    return "" if value is None else f"{value:,}"


def counted(count: int, noun: str) -> str:
    """1, object -> 1 object; 20412, row -> 20,412 rows."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: float | None) -> str:
    """1234567 -> 1.2 MB; empty for None."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def hours(count: float) -> str:
    """36 -> 36 h; 400 -> 17 d."""
    return f"{count:.0f} h" if count < 72 else f"{count / 24:.0f} d"


def ago(then: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in one unit: `3 h ago`; empty for None."""
    if then is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    for span, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= span * (1 if unit != "d" else 3):
            return f"{seconds / span:.0f} {unit} ago"
    return "just now"


def _cell(value: Any, cut: int) -> str:
    if value is None:
        return ""
    text = legible(f"{value:,.6g}" if isinstance(value, float) else str(value), 2 * PIPE_WIDTH)
    return text if len(text) <= cut else text[: cut - 1] + "…"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "__struct_fields__"):  # a check in a ledger entry
        return {name: getattr(value, name) for name in value.__struct_fields__}
    return str(value)
