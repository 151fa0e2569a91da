"""Pages made in several processes: the same pages as in one, one clear error, and no process that outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from catalunya.io.errors import ContractError, TransientError
from catalunya.portal.forks import in_processes
from small.patience import patience

ENDLESS = """
import os, time
from catalunya.portal.forks import in_processes
def make(item):
    while True:
        yield os.getpid(), bytes(100_000)
seen = set()
for pid, _ in in_processes(make, [1, 2], 2):
    if pid not in seen:
        seen.add(pid)
        print(pid, flush=True)
    if len(seen) == 2:
        time.sleep(600)
"""


def squares(numbers: range) -> Iterator[tuple[int, int]]:
    for number in numbers:
        yield number, number * number


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_results_are_the_same_whatever_the_number_of_processes(count: int) -> None:
    items = [range(40), range(40, 41), range(41, 41), range(41, 100)]
    assert sorted(in_processes(squares, items, count)) == list(squares(range(100)))


def test_items_are_made_in_processes_of_their_own() -> None:
    found = set(in_processes(lambda _: [os.getpid()], [1, 2, 3, 4], 2))
    assert len(found) == 2
    assert os.getpid() not in found


class NeedsTwo(Exception):
    """An error that is not made from its text alone."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ContractError("the column city holds a number"), ContractError, "the column city holds a number"),
        (ValueError("no such page"), ValueError, "no such page"),
        (NeedsTwo("this", "that"), RuntimeError, "NeedsTwo: this and that"),
    ],
)
def test_what_a_process_raises_is_raised_here(error: Exception, kind: type[Exception], text: str) -> None:
    def make(number: int) -> Iterator[int]:
        if number == 3:
            raise error
        yield number

    with pytest.raises(kind) as raised:
        list(in_processes(make, [1, 2, 3, 4], 2))
    assert str(raised.value) == text


def test_a_process_that_is_killed_is_an_error_that_is_tried_again() -> None:
    def make(number: int) -> Iterator[int]:
        yield number
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(TransientError, match="ended early, by signal 9; try again"):
        list(in_processes(make, [1, 2], 2))


def test_reading_no_further_ends_the_processes() -> None:
    def make(_: int) -> Iterator[tuple[int, bytes]]:
        while True:
            yield os.getpid(), bytes(100_000)

    found = in_processes(make, [1, 2], 2)
    pid, _ = next(found)
    found.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_process_outlives_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        children = [int(parent.stdout.readline()) for _ in range(2)]
        parent.kill()
    end = time.monotonic() + patience(10)
    while any(map(runs, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(runs, children))


def runs(pid: int) -> bool:
    """Whether the process is there and has not ended: one that ended waits for whoever adopted it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as state:  # noqa: PTH123
            return state.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
