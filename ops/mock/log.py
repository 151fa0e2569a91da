"""The requests that the mock has answered, so that a test can say how many there were and which.

Only the record. Answering is in exchange.py.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import NamedTuple

KEPT_REQUESTS = 10_000


@dataclass(frozen=True)
class Exchange:
    """A request as it was answered; `fault` is the one that was put on the answer, if any."""

    number: int
    dataset: str
    target: str
    method: str
    path: str
    query: str
    status: int
    fault: str
    app_token: bool
    conditional: bool
    at: float

    def as_dict(self) -> dict[str, object]:
        """The exchange as JSON has it."""
        return asdict(self)


class Number(NamedTuple):
    """A request's number, in the `book` that was begun when the log was last cleared."""

    number: int
    book: int


class Log:
    """The requests that were answered, the last KEPT_REQUESTS of them in full. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._book = 0
        self.clear()

    def clear(self) -> None:
        """Forget all requests, those under way included, and begin to count anew."""
        with self._lock:
            self._book += 1
            self._exchanges: deque[Exchange] = deque(maxlen=KEPT_REQUESTS)
            self._counts: dict[str, dict[str, int]] = {}
            self.total = 0

    def next_number(self, dataset: str, target: str) -> Number:
        """Count a request."""
        with self._lock:
            self.total += 1
            counts = self._counts.setdefault(dataset, {})
            counts[target] = counts.get(target, 0) + 1
            return Number(self.total, self._book)

    def add(self, exchange: Exchange, book: int) -> None:
        """Keep what was answered; not when the log was cleared since it was asked, whose book was another one."""
        with self._lock:
            if book == self._book:
                self._exchanges.append(exchange)

    def exchanges(self) -> list[Exchange]:
        """The requests answered, in that order."""
        with self._lock:
            return list(self._exchanges)

    def counts(self) -> dict[str, dict[str, int]]:
        """Requests by dataset and target."""
        with self._lock:
            return {dataset: dict(counts) for dataset, counts in self._counts.items()}
