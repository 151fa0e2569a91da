"""Draws `docs/performance.md` from the runs in `bench/history/`: the last run as a table, and each ratio over time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
DRAWN = 30
"""Runs in a chart: the last ones."""

Run = Mapping[str, Any]

INTRODUCTION = """\
# Performance

What `make bench` measured, on one machine in one run, in turns: each side in a process of its own, the best turn counts. What holds on another
machine is the ratio.

- **floor**: the same work as directly as it can be written, without ledger, contract, quarantine or safety against crashes.
- **dagster**, **dlt**: the same table by a short program with Dagster and polars, and with dlt and Arrow ([`bench/peers`](../bench/peers)), installed
  into environments of their own when first used. They check less: no contract with reasons, no quarantine, no manifest.
- All get the million rows from one portal on the same machine, which sends kept answers and so takes little of its time.

```sh
make bench                                            # everything, some minutes; keeps the run in bench/history and draws this page
.venv/bin/python bench/run.py --only pipeline         # one subject, kept nowhere
.venv/bin/python bench/performance.py                 # draws this page again
.venv/bin/python bench/compare.py                     # CPU seconds against the last release, as nightly does
```

Nightly, [`bench/compare.py`](../bench/compare.py) runs the commands that people and Airflow wait for with the last release and with `main`, in turns on
one machine, and fails if one takes 15 % more CPU seconds. The nightly runs are in the branch `bench-history`:
`git fetch origin bench-history && git checkout FETCH_HEAD -- bench/history` brings them here.
"""


def page(runs: Sequence[Run]) -> str:
    """The whole page; `runs` in order of time."""
    parts = [INTRODUCTION]
    if runs:
        last = runs[-1]
        parts.append(f"## The last run\n\n{last['at'][:10]}, commit `{last['commit']}`, {last['machine']}.\n")
        parts.append("\n".join(_rows(last)) + "\n")
    charts = [chart for name in _drawable(runs) if (chart := _chart(name, runs))]
    if charts:
        parts.append("## Over time\n\nOurs divided by the floor, run after run; less is better.\n")
        parts += charts
    return "\n".join(parts)


def _rows(run: Run) -> Iterator[str]:
    yield "| figure | ours | floor and peers | ratio | target | |"
    yield "| --- | ---: | --- | --- | --- | --- |"
    for figure in (figure for figures in run["subjects"].values() for figure in figures):
        beside = {**({"floor": figure["floor"]} if figure["floor"] else {}), **figure["peers"]}
        cells = [
            figure["name"],
            f"{_short(figure['value'])} {figure['unit']}",
            "<br>".join(f"{name} {_short(value)}" for name, value in beside.items()),
            "<br>".join(f"{ratio:.2f} x {name}" for name, ratio in figure["ratios"].items()),
            "<br>".join(figure["targets"]),
            "<br>".join("met" if met else "**missed**" for met in figure["targets"].values()),
        ]
        yield f"| {' | '.join(cells)} |"


def _drawable(runs: Sequence[Run]) -> list[str]:
    """The figures with a floor, in the order of the last run."""
    last = runs[-1]["subjects"].values() if runs else ()
    return [figure["name"] for figures in last for figure in figures if figure["floor"]]


def _chart(name: str, runs: Sequence[Run]) -> str:
    """A figure over its runs; empty if it was measured only once."""
    points = [
        (run["at"][:10], figure["ratios"]["floor"])
        for run in runs[-DRAWN:]
        for figures in run["subjects"].values()
        for figure in figures
        if figure["name"] == name and figure["floor"]
    ]
    if len(points) < 2:
        return ""
    labels = ", ".join(
        f'"{day}"' if day != before else '" "' for before, day in pairwise(["", *(d for d, _ in points)])
    )
    values = ", ".join(f"{ratio:.3g}" for _, ratio in points)
    top = max(ratio for _, ratio in points) * 1.2
    return f"""\
```mermaid
xychart-beta
    title "{name}"
    x-axis [{labels}]
    y-axis "times the floor" 0 --> {top:.3g}
    line [{values}]
```
"""


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def history(folder: Path = HERE / "history") -> list[Run]:
    """The kept runs in order of time."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


if __name__ == "__main__":
    PAGE.write_text(page(history()), encoding="utf-8")
    print(f"written to {PAGE.relative_to(HERE.parent)}")
