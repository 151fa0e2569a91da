"""All errors of this project. Each message says what happened, what was expected and found, and what to do next.

    CatalunyaError                    one line for a person; the CLI exits with `exit_code`
    ├── TransientError                trying again later may help
    │   ├── SourceUnavailable         the API does not answer
    │   │   └── DeadlineReached       the extraction ran out of time; the next one resumes it
    │   ├── SourceChanged             the source was updated during the extraction
    │   ├── LakeUnavailable           the lake does not answer, or a disk is full
    │   ├── BatchDamaged              a landing batch is not what was landed; it is landed again
    │   ├── LeaseHeld                 another run is making this asset
    │   ├── LeaseLost                 another run took this asset over
    │   ├── BackfillBlocked           the table must be rebuilt from the whole source first
    │   ├── CatalogError              Glue's catalog lags behind the ledger
    │   ├── FunctionLost              a Lambda function died, or did not start
    │   └── Unhealthy                 a process of the deployment fails its health check
    │       └── HealthUnknown         its database or broker does not answer (exit code 3)
    ├── PermanentError                trying again changes nothing: someone must act
    │   ├── ConfigurationError        a setting is wrong (exit code 2)
    │   ├── UsageError                a command or request is wrong (exit code 2)
    │   ├── DeclarationError          an asset, a contract or the graph is declared wrong
    │   ├── SourceError               the API refuses the request, or breaks its protocol
    │   ├── ContractError             a table breaks its contract
    │   ├── LakeError                 the lake cannot be read or written
    │   │   ├── ObjectMissing
    │   │   └── ObjectExists
    │   ├── LedgerError               a ledger entry cannot be read, or contradicts the objects
    │   ├── WarehouseError            dbt or a query failed
    │   └── BackupError               a backup cannot be made, read or restored
    └── AirflowError                  Airflow does not start or answer, or refuses a request

    ControlFlow                       from one module to another; always caught, never shown
    ├── BadBodyError                  an answer with status 200 is damaged or something else: ask again
    ├── TooLargeError                 the API refuses so large a request: ask for less
    └── MovedError                    a page is not of the state the extraction started with

Airflow's retry policy and the Lambda functions tell transient from permanent by the class. Here: the classes, and how an error
crosses a process boundary or is shown. Not here: an exception raised and caught within one module.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import ClassVar

from catalunya.io.safe_text import safe_text

MESSAGE = 4000
"""Maximum length of a message in characters: it goes into the ledger, Airflow's log and a function's answer."""


class CatalunyaError(Exception):
    """An error someone can act on; its text is one clear line.

    Whatever goes into the message (a response body, a URL, an AWS error), secrets are redacted, and the line is safe to show and of
    bounded length. The advice stands at the end, which is kept when the line is shortened.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(safe_text(message, MESSAGE))


class TransientError(CatalunyaError):
    """Trying again later may help: the network, a busy source, another writer."""


class PermanentError(CatalunyaError):
    """Trying again changes nothing: someone must act."""


class SourceUnavailable(TransientError):
    """The API does not answer, or answers that it cannot now (429, 5xx, timeout, truncated body)."""


class DeadlineReached(SourceUnavailable):
    """The time allowed is over. Landed pages stay, and the next extraction resumes from them; a table is rebuilt."""


class SourceChanged(TransientError):
    """The source was updated during the extraction: the pages received are not one state of the table."""


class LakeUnavailable(TransientError):
    """The lake, or the scratch folder, cannot be used now: the network, a busy S3, a full disk."""


class BatchDamaged(TransientError):
    """The pages or the manifest of a landing batch are not what was landed. The batch is not used; its source is read again."""


class LeaseHeld(TransientError):
    """Another run is making this asset."""


class LeaseLost(TransientError):
    """Another run took this asset over while it was being made here; nothing was recorded."""


class BackfillBlocked(TransientError):
    """A table must be made from the whole source before some of its periods can be read again."""


class CatalogError(TransientError):
    """The catalog does not show what was recorded; the record stands, and the next run updates the catalog."""


class FunctionLost(TransientError):
    """A Lambda function stopped working without an answer, or did not start; the ledger says how far it came."""


class Unhealthy(TransientError):
    """A process does not answer, or its last heartbeat is too old."""


class HealthUnknown(Unhealthy):
    """A process cannot work, and is not to blame: its database or its broker does not answer."""

    exit_code = 3


class ConfigurationError(PermanentError):
    """A setting is wrong."""

    exit_code = 2


class UsageError(PermanentError):
    """The command was given something it cannot take: an unknown asset, an empty selection."""

    exit_code = 2


class DeclarationError(PermanentError):
    """An asset, a contract or the graph is declared in a way that cannot work."""


class SourceError(PermanentError):
    """The API refuses the request (4xx), or its answer breaks the protocol."""


class ContractError(PermanentError):
    """A table breaks its contract; the published one stays as it was.

    `rejected`: a local Parquet file with the first rows that break it, and how many there are.
    """

    rejected: tuple[Path, int] | None = None


class LakeError(PermanentError):
    """The lake cannot be read or written (permissions, missing objects)."""


class ObjectMissing(LakeError):
    """There is no such object."""


class ObjectExists(LakeError):
    """The object exists already."""


class LedgerError(PermanentError):
    """A ledger entry cannot be read, or contradicts the objects it lists."""


class WarehouseError(PermanentError):
    """dbt or a query failed."""


class BackupError(PermanentError):
    """A backup cannot be made, read or restored."""


class AirflowError(CatalunyaError):
    """Airflow does not start, does not answer, or refuses."""


class ControlFlow(Exception):
    """Raised by one module for another, which always catches it."""


class BadBodyError(ControlFlow):
    """An answer with status 200 is truncated or malformed: the client asks again.

    `shape`: what is wrong with it, if it is complete and still something else than expected. The client asks once more, because
    a proxy may have answered; the same again would come at every attempt.
    """

    def __init__(self, message: str, shape: str = "") -> None:
        super().__init__(message)
        self.shape = shape


class TooLargeError(ControlFlow):
    """The API does not answer so large a request; the message quotes its refusal."""


class MovedError(ControlFlow):
    """A page is not of the state the extraction started with; the message says how it differs."""


def named(kind: str, message: str) -> CatalunyaError:
    """The error of that class and message, as a Lambda function answers it. A class that is not of this tree is a bug: a PermanentError."""
    known = globals().get(kind)
    if isinstance(known, type) and issubclass(known, CatalunyaError):
        return known(message)
    text = f"{kind}: {message[:1000]}" if message else kind
    return PermanentError(f"the Lambda function failed: {text}; see the function's log for the traceback")


def reportable(error: Exception) -> CatalunyaError:
    """The error as the nearest class of this module: its class name is all that a Lambda function answers about its kind.

    An unforeseen error becomes what its caller would make of it, so its text is bounded and without secrets too.
    """
    if not isinstance(error, CatalunyaError):
        return in_passing(error) or named(type(error).__name__, str(error))
    public: type[CatalunyaError] = next(kind for kind in type(error).__mro__ if globals().get(kind.__name__) is kind)
    return error if public is type(error) else public(str(error))


def in_passing(error: BaseException) -> TransientError | None:
    """What passes in an error that is none of ours: a full disk, out of memory or files, a time-out, throttling. Else None.

    Libraries wrap what the system told them in errors of their own, so its text counts, and so does what caused it.
    """
    if isinstance(error, CatalunyaError):
        return error if isinstance(error, TransientError) else None
    text = safe_text(error, 500)
    found = passing(text)
    if found is None and isinstance(error, OSError):
        found = _PASSING_NUMBERS.get(error.errno or 0)
    if found is None and isinstance(error, MemoryError):
        found = _MEMORY
    if found is None and isinstance(error, TimeoutError | ConnectionError):
        found = (TransientError, "the connection was cut or timed out", "try again later")
    if found is None:
        return in_passing(error.__cause__) if error.__cause__ else None
    kind, reason, advice = found
    place = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
    detail = ": ".join(["", type(error).__name__, *([text] if text else [])]) if kind is TransientError else ""
    return kind(f"{reason}{place}{detail}; {advice}")


def passing(text: str) -> tuple[type[TransientError], str, str] | None:
    """Whether a message of a library says that something passes: the class of error, the reason, and advice."""
    return next((meaning for sign, meaning in _PASSING.items() if sign.search(text)), None)


def warehouse_error(message: str, found: str) -> CatalunyaError:
    """The failure of an engine, a WarehouseError unless what it reports passes."""
    known = passing(found)
    return known[0](f"{known[1]}: {message}; {known[2]}") if known else WarehouseError(message)


_Passing = tuple[type[TransientError], str, str]
_FULL: _Passing = (
    LakeUnavailable,
    "no space left on the device",
    "free some, or point CATALUNYA_SCRATCH and CATALUNYA_LAKE at another disk",
)
_FILES: _Passing = (
    LakeUnavailable,
    "too many open files",
    "close some, or raise the limit of this process (`ulimit -n 4096`)",
)
_MEMORY: _Passing = (TransientError, "out of memory", "try again with fewer --workers or more memory")
_BUSY: _Passing = (TransientError, "the service is throttled or busy", "try again later")

_PASSING: dict[re.Pattern[str], _Passing] = {
    re.compile(r"No space left|Disk quota exceeded|os error (28|122)\b|no space left on the device"): _FULL,
    re.compile(r"Too many open files|os error (23|24)\b"): _FILES,
    re.compile(r"(?i)\bout of memory\b|cannot allocate memory|could not allocate|os error 12\b"): _MEMORY,
    re.compile(
        r"Throttling|TooManyRequests|SlowDown|ServiceUnavailable|InternalServerException|RequestTimeout\b|RequestLimitExceeded"
        r"|exhausted resources|EndpointConnectionError|ConnectTimeout|ReadTimeout|ConnectionClosedError|HIVE_CURSOR_ERROR: .*(?:timed? ?out|503)"
    ): _BUSY,
}
_PASSING_NUMBERS: dict[int, _Passing] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: _MEMORY,
}


def one_line(error: BaseException) -> tuple[str, bool]:
    """Any error as one line for a person, and whether it is a bug of ours (and not, say, a full disk)."""
    if isinstance(error, CatalunyaError):
        return str(error), False
    if found := in_passing(error):
        return str(found), False
    text = safe_text(error)
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else " a file"
        reason = (error.strerror or text).lower()
        advice = _ADVICE.get(error.errno or 0, "make it readable and writable, or configure another")
        return f"cannot use{where}: {reason}; {advice}", False
    return f"this is a bug: {type(error).__name__}: {text}", True


_ADVICE = {
    errno.EFBIG: "the file system does not take files of this size: raise `ulimit -f`, or configure another place",
    errno.EROFS: "it is mounted read-only: configure another place",
    errno.ENAMETOOLONG: "configure a place with a shorter path",
    errno.ENOTDIR: "a file is where a folder is needed: move it, or configure another place",
}
