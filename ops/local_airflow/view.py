"""How a wave looks: a table that is drawn anew in place on a terminal, else one plain line per change; and its summary.

Here: drawing. Not here: what is going on (`wave.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from catalunya.ops import console
from catalunya.ops.local_airflow.wave import Line, seconds_of

if TYPE_CHECKING:
    from rich.console import RenderableType

STYLES = {
    "running": "cyan",
    "retrying": "yellow",
    "deferred": "yellow",
    "done": "green",
    "up to date": "green",
    "failed": "red",
}
MARKS = {"waiting": " ", "queued": "·", "retrying": "↻", "deferred": "…", "done": "✓", "up to date": "✓", "failed": "✗"}


class View(Protocol):
    """Where a wave is shown, while the context lasts."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def stop(self) -> None:
        """Leave the terminal to others."""

    def tell(self, text: str) -> None:
        """What is going on, in one line."""

    def show(self, lines: Sequence[Line]) -> None:
        """The state of all assets."""


def view(*, stderr: bool) -> View:
    """The view that fits stdout (or stderr): live on a terminal, plain elsewhere."""
    return Live(stderr=stderr) if console.console(stderr=stderr).is_terminal else Plain(stderr=stderr)


class Plain:
    """One line per change, with the seconds since the start."""

    def __init__(self, *, stderr: bool) -> None:
        self._say = console.warn if stderr else console.say
        self._shown: dict[str, str] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Lines take nothing from anybody."""

    def tell(self, text: str) -> None:
        """One line."""
        self._say(f"{time.monotonic() - self._began:5.1f} s  {text}")

    def show(self, lines: Sequence[Line]) -> None:
        """A line for each asset whose condition is another than before."""
        width = max(len(line.asset) for line in lines)
        for line in lines:
            changed = self._shown.get(line.asset, "waiting") != line.condition
            self._shown[line.asset] = line.condition
            if changed:
                self.tell(f"{line.asset:<{width}}  {line.condition:<10}  {_told(line)}".rstrip())


class Live:
    """A table of all assets, drawn anew in place."""

    def __init__(self, *, stderr: bool) -> None:
        from rich.live import Live as RichLive
        from rich.spinner import Spinner

        self._spinner = Spinner("dots", style="cyan")
        self._text = ""
        self._lines: Sequence[Line] = ()
        self._began = time.monotonic()
        self._live = RichLive(
            console=console.console(stderr=stderr), get_renderable=self._draw, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the table away."""
        self._live.stop()

    def tell(self, text: str) -> None:
        """The line below the table."""
        self._text = text

    def show(self, lines: Sequence[Line]) -> None:
        """The table's next state."""
        self._lines = lines

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for justify in ("left", "left", "left", "right", "right", "left"):
            table.add_column(justify=justify, no_wrap=True)
        for line in self._lines:
            style = STYLES.get(line.condition, "dim")
            mark: Any = self._spinner if line.condition == "running" else Text(MARKS[line.condition], style)
            entry, seconds = line.entry, seconds_of(line)
            table.add_row(
                mark,
                Text(line.asset, "" if line.condition != "waiting" else "dim"),
                Text(line.condition, style),
                f"{entry.rows:,} rows" if entry else "",
                f"{seconds:.1f} s" if seconds is not None else "",
                Text(_shortened(line.why), "dim"),
            )
        clock = Text(f"{time.monotonic() - self._began:4.0f} s  {self._text}", "dim")
        if self._lines:
            return Group(table, clock)
        starting = Table.grid(padding=(0, 2))
        starting.add_row(self._spinner, clock)
        return starting


def summary(lines: Sequence[Line]) -> None:
    """The table at the end, on stdout; what was not made in this wave has a word in place of its seconds."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("asset", no_wrap=True)
    for name in ("rows", "size", "seconds", "quarantined"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*_cells(line), style=None if line.is_settled and line.condition != "failed" else "red")
    console.console().print(table)


def document(lines: Sequence[Line], seconds: float) -> dict[str, object]:
    """The wave as one JSON document."""
    failed = any(not line.is_settled or line.condition == "failed" for line in lines)
    return {
        "status": "failed" if failed else "ok",
        "seconds": round(seconds, 1),
        "assets": [
            {
                "asset": line.asset,
                "state": line.condition,
                "why": line.why,
                "rows": line.entry and line.entry.rows,
                "bytes": line.entry and line.entry.bytes,
                "seconds": seconds_of(line),
                "quarantined": line.entry and line.entry.quarantined,
            }
            for line in lines
        ],
    }


def _cells(line: Line) -> tuple[str, ...]:
    entry = line.entry
    if entry is None:
        return line.asset, "", "", line.condition, ""
    took = f"{entry.seconds:.1f}" if line.condition == "done" else line.condition
    quarantined = console.number(entry.quarantined) if entry.quarantined else ""
    return line.asset, console.number(entry.rows), console.size(entry.bytes), took, quarantined


def _told(line: Line) -> str:
    if line.entry is None or line.condition != "done":
        return line.why
    entry = line.entry
    parts = [f"{entry.rows:,} rows", console.size(entry.bytes), f"{entry.seconds:.1f} s"]
    return ", ".join([*parts, *([f"{entry.quarantined:,} quarantined"] if entry.quarantined else [])])


def _shortened(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
