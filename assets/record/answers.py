"""The answer of a function: one small object in the lake for each invocation, so that no one waits on a connection for up to 15 minutes.

The caller of a function names the answer and lets Lambda queue the event. The function creates the object when it starts, rewrites
it while it works, as it renews a lease, and ends by writing its result into it. So the one who waits reads one object: as long as there
is none, the function has not started; one that stays the same for longer than it lasts is of a function that died (killed, out
of memory, cut off). No clocks are compared.

The ledger says what a table is, whatever an answer says. An answer also tells what leaves no entry: that nothing was to be made, a
part of a source's pages, an error before there is a lease. Here: the object, and its two sides. Not here: what the functions do
(`ops/lambdas.py`), who invokes them (`dags/functions.py`). S3 deletes answers after a day (`cdk/buckets.py`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.lease import Renewal, host
from catalunya.io.errors import FunctionLost, LakeUnavailable, UsageError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger

log = get_logger(__name__)

FOLDER = "_answers"
QUEUED_S = 180
"""How long Lambda keeps an event that it cannot start: because it throttles, or has an error of its own. Then Airflow tries again."""
STARTS_S = QUEUED_S + 60.0
"""When a function that has not started will not any more: it was queued, and then had to be loaded."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _SLOWING = 0.5, 10.0, 1.5
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How an invocation ended: `error` is the class of io/errors.py if it failed, `entry` the summary of the ledger entry if it has one.

    Raises ValueError if it contradicts itself: a failure without an error would end its task as skipped, and no one would hear of it.
    """

    status: Literal["materialized", "skipped", "deferred", "failed"]
    why: str
    error: str | None = None
    entry: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if (self.status == "failed") != bool(self.error) or (self.status == "materialized" and self.entry is None):
            raise ValueError(f"a result that is {self.status}, with the error {self.error} and the entry {self.entry}")

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The object: who works on it, and for how many `seconds` it lasts unless it changes. `beat` counts the changes."""

    request_id: str
    host: str
    token: str
    seconds: Annotated[float, msgspec.Meta(gt=0, le=900)]  # no function works for longer than Lambda's maximum
    beat: int = 0
    result: Result | None = None


def new_name(key: str) -> str:
    """A name for the answer to one invocation for this asset."""
    return f"{key}-{secrets.token_hex(8)}"


def answer_path(layer: Layer, name: str) -> str:
    """Where the answer of that name is. Raises UsageError for a name that could be another place."""
    if not (0 < len(name) <= 200 and _NAME.issuperset(name) and name.strip(".")):
        raise UsageError(
            f"expected the name of an answer, found {name[:80]!r}; correct the event that invokes the function"
        )
    return f"{FOLDER}/{layer}/{name}.json"


@dataclass(slots=True)
class Answering:
    """The function's side: `begin`, and later `end`, or die in between."""

    lake: Lake
    path: str
    answer: Answer
    renewal: Renewal | None = None

    @classmethod
    def of(cls, lake: Lake, path: str, request_id: str, seconds: float) -> Answering:
        """Answer at this path, by an object that lasts `seconds` whenever it is written."""
        return cls(lake, path, Answer(request_id=request_id, host=host(), token=secrets.token_hex(8), seconds=seconds))

    def begin(self) -> bool:
        """Say that the function has started. Returns False if another delivery of the event was first: Lambda delivers at least once."""
        if not self.lake.create(self.path, self._encoded()):
            return False
        self.renewal = Renewal(self._beat, self.answer.seconds, self.path)
        self.renewal.start()
        return True

    def end(self, result: Result) -> None:
        """Write the result. Raises what the lake raises; then the caller asks the ledger."""
        assert self.renewal is not None
        self.renewal.stop()
        self.answer = msgspec.structs.replace(self.answer, result=result)
        self.lake.put(self.path, self._encoded())

    def _beat(self) -> None:
        self.answer = msgspec.structs.replace(self.answer, beat=self.answer.beat + 1)
        self.lake.put(self.path, self._encoded())

    def _encoded(self) -> bytes:
        return msgspec.json.encode(self.answer)


def pauses() -> Iterator[float]:
    """The seconds between two looks at an answer, without end."""
    pause = _FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(pause * _SLOWING, _LONGEST_PAUSE_S)


async def wait(lake: Lake, path: str, function: str, starts_s: float = STARTS_S) -> Result:
    """The result of the function, read at growing intervals. Does not block the event loop.

    Raises FunctionLost when the function does not start within `starts_s`, or dies, and LakeError when the answer cannot be read for a
    reason that does not pass. While the lake does not answer, nothing is known of the function, and it is waited for.
    """
    seen, since, lasts = None, time.monotonic(), starts_s
    for pause in pauses():
        try:
            found = await asyncio.to_thread(lake.find, path)
        except LakeUnavailable as error:
            log.warning("answer_not_read", path=path, why=str(error))
            since = time.monotonic()
        else:
            if found != seen:
                answer = _decoded(found, lake.url(path))
                # Longer than it lasts, so that the lease of a function that died is over too.
                seen, since, lasts = found, time.monotonic(), answer.seconds * 1.5
                if answer.result:
                    return answer.result
            elif time.monotonic() - since > lasts:
                raise _lost(function, None if seen is None else _decoded(seen, path), lasts)
        await asyncio.sleep(pause)
    raise AssertionError  # the pauses have no end


def _decoded(content: bytes | None, where: str) -> Answer:
    try:
        return json_decoder(Answer).decode(content or b"")
    except BROKEN_JSON as error:
        raise FunctionLost(f"the answer {where} cannot be read ({error}); try again") from None


def _lost(function: str, answer: Answer | None, seconds: float) -> FunctionLost:
    if answer is None:
        return FunctionLost(
            f"the function {function} did not start within {seconds:.0f} s: it is throttled, cannot be loaded, or may not write its answer; "
            "see its log, and its event in the dead-letter queue"
        )
    return FunctionLost(
        f"the function {function} stopped working without an answer: killed, out of memory, or cut off at its time limit; "
        f"search for request {answer.request_id} in its log (stream {answer.host})"
    )
