"""The lease: one writer per asset, held in the lake, so that two runs on two machines never mix.

Folders have no conditional update, so a lease is a numbered object, created only if absent: the run that creates number N + 1 after N
expired or was released owns the asset, and only the owner of N writes N.
"""

from __future__ import annotations

import contextvars
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Self

import msgspec
import structlog

from catalunya.io.errors import CatalunyaError, LakeError, LeaseHeld, LeaseLost
from catalunya.io.lake import Lake

log = structlog.get_logger(__name__)


class Held(msgspec.Struct, frozen=True):
    """The content of a lease object."""

    run_id: str
    host: str
    pid: int
    expires_at: datetime
    released: bool = False


class Lease:
    """A lease being held. Call `check()` before anything that others will see."""

    def __init__(self, lake: Lake, key: str, run_id: str, generation: int, seconds: float) -> None:
        self._lake, self._key, self._run_id, self._seconds = lake, key, run_id, seconds
        self.generation = generation
        self._stop = threading.Event()
        # In the holder's context, so that its log lines name the asset and the run.
        renew = contextvars.copy_context().run
        self._renewer = threading.Thread(target=renew, args=(self._renew,), name=f"lease {key}", daemon=True)

    def check(self) -> None:
        """Raise LeaseLost unless this is still the newest generation."""
        newest = _generations(self._lake, self._key)
        if not newest or newest[-1] != self.generation:
            raise LeaseLost(
                f"{self._key}: another run took over the lease of {self._run_id}; nothing was recorded here, run it again"
            )

    def _renew(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                self._lake.put(_path(self._key, self.generation), _held(self._run_id, self._seconds))
            except CatalunyaError as error:
                # The next renewal may succeed; check() decides before anything is published.
                log.warning("lease_not_renewed", asset=self._key, error=str(error))

    def __enter__(self) -> Self:
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._renewer.join()
        self._lake.put(_path(self._key, self.generation), _held(self._run_id, 0, released=True))


@contextmanager
def lease(lake: Lake, key: str, run_id: str, seconds: float) -> Iterator[Lease]:
    """Hold the lease of an asset for the duration of the block. Raises LeaseHeld when another live run has it."""
    generations = _generations(lake, key)
    newest = generations[-1] if generations else 0
    held = _holder(lake, key, generations)
    if held:
        raise LeaseHeld(
            f"{key} is being made by run {held.run_id} on {held.host} (process {held.pid}); "
            f"wait for it, or until its lease ends at {held.expires_at:%H:%M:%S} UTC"
        )
    if not lake.create(_path(key, newest + 1), _held(run_id, seconds)):
        raise LeaseHeld(f"{key}: another run took the lease first; wait for it, then run again")
    lake.delete([_path(key, generation) for generation in generations[:-1]])
    with Lease(lake, key, run_id, newest + 1, seconds) as mine:
        yield mine


def holder(lake: Lake, key: str) -> Held | None:
    """Who is making the asset right now, or None."""
    return _holder(lake, key, _generations(lake, key))


def _holder(lake: Lake, key: str, generations: list[int]) -> Held | None:
    if not generations:
        return None
    path = _path(key, generations[-1])
    try:
        held = msgspec.json.decode(lake.get(path), type=Held)
    except msgspec.MsgspecError as error:
        raise LakeError(
            f"the lease {lake.url(path)} cannot be read ({error}); make sure that no run is making {key}, then delete it"
        ) from None
    return None if held.released or held.expires_at <= datetime.now(UTC) or _is_dead(held) else held


def _generations(lake: Lake, key: str) -> list[int]:
    return [
        int(o.path.rpartition("/")[2].removesuffix(".json")) for o in lake.objects(f"_leases/{key.replace('.', '/')}")
    ]


def _path(key: str, generation: int) -> str:
    return f"_leases/{key.replace('.', '/')}/{generation:010d}.json"


def _held(run_id: str, seconds: float, *, released: bool = False) -> bytes:
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    return msgspec.json.encode(Held(run_id, _host(), os.getpid(), expires, released))


def _host() -> str:
    """The name of this machine. Lambda's machines share a few host names, but each has its own log stream."""
    return os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME") or socket.gethostname()


def _is_dead(held: Held) -> bool:
    """Whether the holder was a process of this machine that has ended: no need to wait for its lease to expire."""
    if held.host != _host():
        return False
    try:
        os.kill(held.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
