"""How a pipeline run looks: a table redrawn in place on a terminal, one plain line per change elsewhere; and its summary.

Here: drawing. Not here: what happens in the run (`pipeline_run.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from catalunya.ops import console
from catalunya.ops.local_airflow.pipeline_run import AssetRun

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


class Display(Protocol):
    """Where a run is shown, while the context lasts."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def report(self, text: str) -> None:
        """Show what is going on, in one line."""

    def show(self, assets: Sequence[AssetRun]) -> None:
        """Show the state of all assets."""


def display(*, stderr: bool) -> Display:
    """The display that fits stdout (or stderr): live on a terminal, plain elsewhere."""
    return LiveDisplay(stderr=stderr) if console.console(stderr=stderr).is_terminal else PlainDisplay(stderr=stderr)


class PlainDisplay:
    """One line per change, with the seconds since the start."""

    def __init__(self, *, stderr: bool) -> None:
        self._print = console.warn if stderr else console.say
        self._shown: dict[str, str] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing to restore."""

    def report(self, text: str) -> None:
        """Print one line."""
        self._print(f"{time.monotonic() - self._began:5.1f} s  {text}")

    def show(self, assets: Sequence[AssetRun]) -> None:
        """Print a line for each asset whose state has changed."""
        width = max(len(asset.asset) for asset in assets)
        for asset in assets:
            changed = self._shown.get(asset.asset, "waiting") != asset.state
            self._shown[asset.asset] = asset.state
            if changed:
                made = console.entry_facts(asset.entry) if asset.state == "done" and asset.entry else asset.why
                self.report(f"{asset.asset:<{width}}  {asset.state:<10}  {made}".rstrip())


class LiveDisplay:
    """A table of all assets, redrawn in place."""

    def __init__(self, *, stderr: bool) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        self._spinner = Spinner("dots", style="cyan")
        self._text = ""
        self._assets: Sequence[AssetRun] = ()
        self._began = time.monotonic()
        self._live = Live(
            console=console.console(stderr=stderr), get_renderable=self._draw, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove the table from the terminal."""
        self._live.stop()

    def report(self, text: str) -> None:
        """Set the line below the table."""
        self._text = text

    def show(self, assets: Sequence[AssetRun]) -> None:
        """Set what the table shows."""
        self._assets = assets

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for justify in ("left", "left", "left", "right", "right", "left"):
            table.add_column(justify=justify, no_wrap=True)
        for asset in self._assets:
            style = STYLES.get(asset.state, "dim")
            mark: Any = self._spinner if asset.state == "running" else Text(MARKS[asset.state], style)
            entry, seconds = asset.entry, asset.seconds
            table.add_row(
                mark,
                Text(asset.asset, "" if asset.state != "waiting" else "dim"),
                Text(asset.state, style),
                f"{entry.rows:,} rows" if entry else "",
                f"{seconds:.1f} s" if seconds is not None else "",
                Text(_shortened(asset.why), "dim"),
            )
        clock = Text(f"{time.monotonic() - self._began:4.0f} s  {self._text}", "dim")
        if self._assets:
            return Group(table, clock)
        starting = Table.grid(padding=(0, 2))
        starting.add_row(self._spinner, clock)
        return starting


def summary(assets: Sequence[AssetRun]) -> None:
    """The table at the end, on stdout. An asset that was not made in this run shows its state instead of seconds."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("asset", no_wrap=True)
    for name in ("rows", "size", "seconds", "quarantined"):
        table.add_column(name, justify="right", no_wrap=True)
    for asset in assets:
        table.add_row(*_cells(asset), style=None if asset.is_good else "red")
    console.console().print(table)


def document(assets: Sequence[AssetRun], seconds: float) -> dict[str, object]:
    """The run as one JSON document."""
    return {
        "status": "ok" if all(asset.is_good for asset in assets) else "failed",
        "seconds": round(seconds, 1),
        "assets": [
            {
                "asset": asset.asset,
                "state": asset.state,
                "why": asset.why,
                "rows": asset.entry and asset.entry.rows,
                "bytes": asset.entry and asset.entry.bytes,
                "seconds": asset.seconds,
                "quarantined": asset.entry and asset.entry.quarantined,
            }
            for asset in assets
        ],
    }


def _cells(asset: AssetRun) -> tuple[str, ...]:
    entry = asset.entry
    if entry is None:
        return asset.asset, "", "", asset.state, ""
    seconds = f"{entry.seconds:.1f}" if asset.state == "done" else asset.state
    quarantined = console.number(entry.quarantined or None)
    return asset.asset, console.number(entry.rows), console.size(entry.bytes), seconds, quarantined


def _shortened(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
