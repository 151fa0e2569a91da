"""What the requests to sources came to: how many of each result, how long they took, how many were sent again.

Counted wherever requests are sent, as `Tally`, and kept in the ledger entry of the run as a running total: so a
process without any client for metrics, a function of Lambda say, loses nothing. Here: the counts. Not here: sending requests
(`http.py`), what metrics are made of them (`assets/record/metrics.py`). Imports nothing heavy: every materialization imports it.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0)
"""Upper bounds in seconds of the buckets of durations: those that OpenTelemetry advises for `http.client.request.duration`, and two more,
because a page of 50,000 rows often takes longer than 10 s."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
_Buckets = Annotated[tuple[_Count, ...], msgspec.Meta(max_length=100)]  # an entry with other bounds can be read too


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests to one host with one result: a status, or the name of the error if there was no answer.

    `retries` of them were sent again. `buckets`: how many took at most as long as each of BOUNDS, and longer than the one before.
    """

    host: str
    protocol: str
    method: str
    result: str
    requests: _Count
    retries: _Count
    seconds: _Seconds
    buckets: _Buckets


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


_Key = tuple[str, str, str, str]


@dataclass(slots=True)
class Tally:
    """Counts requests as they are sent, or adds up what was counted."""

    _sums: dict[_Key, _Sum] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False)
    """Held while a count is added: requests are sent from several threads."""

    def sender(self, host: str, protocol: str) -> Sender:
        """Counts the requests of one client."""
        return Sender(self, host, protocol)

    def add(self, counted: Iterable[Traffic]) -> Tally:
        """Add what was counted before, unless it was with other bounds; returns itself."""
        for each in counted:
            if len(each.buckets) != len(BOUNDS) + 1:
                continue
            found = self.sum((each.host, each.protocol, each.method, each.result))
            found.requests += each.requests
            found.retries += each.retries
            found.seconds += each.seconds
            found.buckets = [one + other for one, other in zip(found.buckets, each.buckets, strict=True)]
        return self

    def counted(self) -> tuple[Traffic, ...]:
        """What was counted so far, sorted."""
        return tuple(
            Traffic(
                host=key[0],
                protocol=key[1],
                method=key[2],
                result=key[3],
                requests=found.requests,
                retries=found.retries,
                seconds=round(found.seconds, 3),
                buckets=tuple(found.buckets),
            )
            for key, found in sorted(self._sums.items())
        )

    def sum(self, key: _Key) -> _Sum:
        """The sum of one result."""
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = _Sum()
        return found


@dataclass(frozen=True, slots=True)
class Sender:
    """Counts the requests of one client to one host as they are sent."""

    tally: Tally
    host: str
    protocol: str

    def sent(self, method: str, result: str, seconds: float) -> None:
        """Count one request and how long it took."""
        with self.tally.lock:
            found = self.tally.sum((self.host, self.protocol, method, result))
            found.requests += 1
            found.seconds += seconds
            found.buckets[bisect_left(BOUNDS, seconds)] += 1

    def retried(self, method: str, result: str) -> None:
        """Count that a request with this result is sent again."""
        with self.tally.lock:
            self.tally.sum((self.host, self.protocol, method, result)).retries += 1


_CURRENT: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextmanager
def counting(tally: Tally) -> Iterator[None]:
    """Count the requests that are sent within the block, also in the threads that it starts."""
    token = _CURRENT.set(tally)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Tally:
    """Where requests are counted now; if no one asked for it, into one that is forgotten."""
    found = _CURRENT.get()
    return Tally() if found is None else found
