"""The lease: one writer per asset, held in the lake, so that two runs on two machines never mix.

Folders have no conditional update, so a lease is a numbered object, created only if absent: the run that creates number N + 1 after N
expired or was released owns the asset, and only the owner of N writes N.

When a lease ends is decided by the store's clock: so many seconds after the lease object was last written. A holder's clock may be
wrong by years, and a reader's too, which compares itself with an object that it writes. S3's clock never is; a folder's is that of
this machine, and a lease that it dates in the future (the clock was set back since) is dated again, now.
"""

from __future__ import annotations

import contextvars
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

import msgspec

from catalunya.io.errors import CatalunyaError, LakeError, LeaseHeld, LeaseLost
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake, Object
from catalunya.io.log import get_logger

log = get_logger(__name__)


LEASE_S = 900.0
"""How long a lease lasts whose holder does not say: an unreadable one, or one of an earlier release."""
UNKNOWN = "unknown"
"""The run that holds a lease which cannot be read."""
_FOLDER = "_leases"
_LONGEST_S = 86_400.0
_SKEW_S = 2.0  # a folder's times are as coarse as that on some file systems
_GENERATION = re.compile(r"[0-9]{10}\.json")


class Held(msgspec.Struct, frozen=True):
    """The content of a lease object. It lasts `seconds` from when it was last written; `expires_at` is by its holder's clock, for
    people and for earlier releases."""

    run_id: str
    host: str
    pid: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)]
    released: bool = False
    seconds: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_S)] = 0


class Lease:
    """A lease being held. Call `check()` before anything that others will see."""

    def __init__(self, lake: Lake, key: str, run_id: str, generation: int, seconds: float) -> None:
        self._lake, self._key, self._run_id, self._seconds = lake, key, run_id, seconds
        self.generation = generation
        self._renewal = Renewal(self._renew, seconds, f"the lease of {key}")

    def check(self) -> None:
        """Raise LeaseLost unless this is still the newest generation."""
        newest = _newest(self._lake, self._key)
        if newest is None or newest.path != _path(self._key, self.generation):
            raise LeaseLost(
                f"{self._key}: another run took over the lease of {self._run_id}; nothing was recorded here, run it again"
            )

    def _renew(self) -> None:
        self._lake.put(_path(self._key, self.generation), _held(self._run_id, self._seconds))

    def __enter__(self) -> Self:
        self._renewal.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._renewal.stop()
        try:
            self._lake.put(_path(self._key, self.generation), _held(self._run_id, 0, released=True))
        except CatalunyaError as error:
            # It ends by itself, and must not hide how the run ended.
            log.warning("lease_not_released", asset=self._key, error=str(error))


class Renewal:
    """Writes something that lasts `seconds` again, every third of that, in a thread of its own, from `start` to `stop`."""

    def __init__(self, renew: Callable[[], None], seconds: float, what: str) -> None:
        self._renew, self._seconds, self._what = renew, seconds, what
        self._stop = threading.Event()
        # In the holder's context, so that its log lines name the asset and the run.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._repeat,), name=f"renewal of {what}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is being written any more."""
        self._stop.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                self._renew()
            except CatalunyaError as error:
                # The next one may succeed. The holder of a lease checks it before anything is published.
                log.warning("not_renewed", what=self._what, error=str(error))


@contextmanager
def lease(lake: Lake, key: str, run_id: str, seconds: float) -> Iterator[Lease]:
    """Hold the lease of an asset for the duration of the block. Raises LeaseHeld when another live run has it."""
    before = _leases(lake, key)
    newest = before[-1] if before else None
    held = _read(lake, newest, seconds) if newest else None
    if newest and held:
        left = _left(held, newest, _now(lake, key))
        if left > held.seconds + _SKEW_S:
            if content := lake.find(newest.path):
                lake.put(newest.path, content)
            left = held.seconds
        if left > 0:
            who = f"run {held.run_id} on {held.host} (process {held.pid})"
            if held.run_id == UNKNOWN:
                who = f"another run, whose lease {lake.url(newest.path)} cannot be read"
            ends_at = datetime.now(UTC) + timedelta(seconds=left)
            raise LeaseHeld(
                f"{key} is being made by {who}; wait for it, or until its lease ends at {ends_at:%Y-%m-%d %H:%M:%S} UTC"
            )
    generation = _number(newest) + 1 if newest else 1
    if not lake.create(_path(key, generation), _held(run_id, seconds)):
        raise LeaseHeld(f"{key}: another run took the lease first; wait for it, then run again")
    lake.delete([found.path for found in before[:-1]])
    with Lease(lake, key, run_id, generation, seconds) as mine:
        yield mine


def holder(lake: Lake, key: str, seconds: float = LEASE_S) -> Held | None:
    """Who is making the asset right now, or None. Nothing is written, so this machine's clock has to do.

    A lease that cannot be read is held by `UNKNOWN`, until it ends. One that is dated in the future, or in a folder that cannot be
    listed, counts as ended: the run that tries to take it learns more.
    """
    try:
        newest = _newest(lake, key)
    except LakeError as error:
        log.warning("lease_unreadable", path=_folder(key), why=str(error))
        return None
    held = _read(lake, newest, seconds) if newest else None
    if newest is None or held is None:
        return None
    return held if 0 < _left(held, newest, datetime.now(UTC)) <= held.seconds + _SKEW_S else None


def holders(lake: Lake, seconds: float = LEASE_S) -> dict[str, Held]:
    """Who is making which asset right now, by one listing of all leases. Raises LakeError.

    A live holder writes its lease again every third of what it lasts: one not written for half of that is not looked into.
    """
    newest: dict[str, Object] = {}
    for found in lake.objects(_FOLDER):  # by path, so that the last of an asset is the newest
        folder, _, name = found.path.rpartition("/")
        if _GENERATION.fullmatch(name):
            newest[folder.removeprefix(f"{_FOLDER}/").replace("/", ".")] = found
    since = datetime.now(UTC) - timedelta(seconds=seconds / 2)
    held = {key: holder(lake, key, seconds) for key, found in newest.items() if found.modified > since}
    return {key: who for key, who in held.items() if who}


def _left(held: Held, found: Object, now: datetime) -> float:
    """For how many seconds the lease still lasts.

    If its holder's clock agrees with the store's about when it was written, by the holder's, which is the more precise: S3 only
    knows the second.
    """
    lasts = timedelta(seconds=held.seconds)
    if abs(held.expires_at - lasts - found.modified) < timedelta(seconds=_SKEW_S):
        return (held.expires_at - now).total_seconds()
    rounded = 0 if found.modified.microsecond else 1
    return (found.modified + lasts - now).total_seconds() + rounded


def _read(lake: Lake, found: Object, seconds: float) -> Held | None:
    """Who holds this lease, unless it was released or its process is dead; `seconds` is how long it lasts if it does not say."""
    try:
        content = lake.find(found.path)
        if content is None:
            return None  # replaced since it was listed
        held = json_decoder(Held).decode(content)
    except (LakeError, *BROKEN_JSON) as error:
        log.warning(
            "lease_unreadable", path=found.path, why=str(error), advice=f"it ends by itself after {seconds:.0f} s"
        )
        return Held(UNKNOWN, UNKNOWN, 0, found.modified + timedelta(seconds=seconds), seconds=seconds)
    if held.released or _is_dead(held):
        return None
    if held.seconds:
        return held
    by_its_clock = (held.expires_at - datetime.now(UTC)).total_seconds()
    return msgspec.structs.replace(held, seconds=seconds) if by_its_clock > 0 else None


def _now(lake: Lake, key: str) -> datetime:
    """The time: by this machine's clock if it agrees with the store's, else by the store's."""
    path = f"{_folder(key)}/now-{secrets.token_hex(4)}"
    lake.put(path, b"")
    here = datetime.now(UTC)
    try:
        there = next((found.modified for found in lake.objects(_folder(key)) if found.path == path), here)
    finally:
        lake.delete([path])
    return here if abs(here - there) < timedelta(seconds=_SKEW_S) else there


def _leases(lake: Lake, key: str) -> list[Object]:
    """The leases of an asset, oldest first; whatever else is in their folder is none."""
    folder = _folder(key)
    return [o for o in lake.objects(folder) if _GENERATION.fullmatch(o.path.removeprefix(f"{folder}/"))]


def _newest(lake: Lake, key: str) -> Object | None:
    return next(reversed(_leases(lake, key)), None)


def _number(lease: Object) -> int:
    return int(lease.path.rpartition("/")[2].removesuffix(".json"))


def _folder(key: str) -> str:
    return f"{_FOLDER}/{key.replace('.', '/')}"


def _path(key: str, generation: int) -> str:
    return f"{_folder(key)}/{generation:010d}.json"


def _held(run_id: str, seconds: float, *, released: bool = False) -> bytes:
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    return msgspec.json.encode(Held(run_id, host(), os.getpid(), expires, released, min(seconds, _LONGEST_S)))


def host() -> str:
    """The name of this machine. Lambda's machines share a few host names, but each has its own log stream."""
    return os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME") or socket.gethostname()


def _is_dead(held: Held) -> bool:
    """Whether the holder was a process of this machine that has ended: no need to wait for its lease to expire."""
    if held.host != host():
        return False
    try:
        os.kill(held.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
