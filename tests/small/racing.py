"""Processes that race for one object of a lake: of all that create it at the same moment, who was told that it is theirs."""

from __future__ import annotations

from multiprocessing.synchronize import Barrier
from pathlib import Path

from catalunya.io.lake import Lake
from small.killing import FORKS, elsewhere
from small.patience import patience


def race(root: str, rounds: int, processes: int, folder: Path) -> list[list[int]]:
    """For each round, the numbers of the processes that `Lake.create` told that the object `race/{round}` is theirs."""
    start = FORKS.Barrier(processes)
    results = [folder / f"{number}.txt" for number in range(processes)]
    runners = [elsewhere(_run, root, number, rounds, start, results[number]) for number in range(processes)]
    for runner in runners:
        runner.join(patience(120))
        assert runner.exitcode == 0
    told = [result.read_text().split() for result in results]
    return [[number for number in range(processes) if str(round_) in told[number]] for round_ in range(rounds)]


def _run(root: str, number: int, rounds: int, start: Barrier, result: Path) -> None:
    lake, won = Lake(root), []
    for round_ in range(rounds):
        start.wait(patience(60))
        if lake.create(f"race/{round_}", f"{number} of round {round_}".encode()):
            won.append(str(round_))
    result.write_text(" ".join(won), encoding="utf-8")
