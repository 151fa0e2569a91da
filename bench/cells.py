"""A page of 20,000 JSON-stat cells to a frame of text, beside decoding the same bytes as JSON and nothing else."""

from __future__ import annotations

import json
import time

from catalunya.io.sources.jsonstat import read_cells

TIMES, MUNICIPALITIES, SEXES = 7, 949, 3
CELLS = TIMES * MUNICIPALITIES * SEXES


def page() -> bytes:
    """Seven half-years of all municipalities by sex: what one request of `population` answers. Every tenth cell is `..`."""
    sizes = {"SEMESTER": TIMES, "MUN": MUNICIPALITIES, "SEX": SEXES}
    values = [None if number % 10 == 0 else number for number in range(CELLS)]
    document = {
        "class": "dataset",
        "href": "https://api.idescat.cat/taules/v2/ep/9122/10002/mun/data",
        "updated": "2026-04-30",
        "id": list(sizes),
        "size": list(sizes.values()),
        "role": {"time": ["SEMESTER"], "geo": ["MUN"]},
        "dimension": {n: {"category": {"index": [f"{i:06}" for i in range(size)]}} for n, size in sizes.items()},
        "value": values,
        "status": {str(number): ".." for number in range(0, CELLS, 10)},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def best(work: object, turns: int = 20) -> float:
    """Seconds of the quickest turn."""
    assert callable(work)
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    body = page()
    assert read_cells(body).height == CELLS
    print(json.dumps({"ours": best(lambda: read_cells(body)), "floor": best(lambda: json.loads(body)), "cells": CELLS}))
