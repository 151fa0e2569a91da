"""All errors of this project. Each message says what happened, what was expected and found, and what to do next.

    CatalunyaError                    one line for a person; the CLI exits with `exit_code`
    ├── TransientError                trying again later may help
    │   ├── SourceUnavailable         the API does not answer
    │   │   └── DeadlineReached       the extraction ran out of time; the next one resumes it
    │   ├── SourceChanged             the source was updated during the extraction
    │   ├── LakeUnavailable           the lake does not answer
    │   ├── LeaseHeld                 another run is making this asset
    │   ├── LeaseLost                 another run took this asset over
    │   ├── BackfillBlocked           the table must be rebuilt from the whole source first
    │   ├── CatalogError              Glue's catalog lags behind the ledger
    │   └── Unhealthy                 a process of the deployment fails its health check
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
    ├── BadBodyError                  an answer with status 200 is damaged: ask again
    ├── TooLargeError                 the API refuses so large a request: ask for less
    ├── MovedError                    a page is not of the state the extraction started with
    └── BatchClosedError              the batch accepts no more pages

Airflow's retry policy and the Lambda functions tell transient from permanent by the class. Here: the classes, and how an error
crosses a process boundary or is shown. Not here: an exception raised and caught within one module.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from catalunya.io.safe_text import safe_text

MESSAGE = 4000
"""Maximum length of a message in characters: it goes into the ledger, Airflow's log and a Lambda response."""


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
    """The lake does not answer, or answers that it cannot now: the network, a busy S3."""


class LeaseHeld(TransientError):
    """Another run is making this asset."""


class LeaseLost(TransientError):
    """Another run took this asset over while it was being made here; nothing was recorded."""


class BackfillBlocked(TransientError):
    """A table must be made from the whole source before some of its periods can be read again."""


class CatalogError(TransientError):
    """The catalog does not show what was recorded; the record stands, and the next run updates the catalog."""


class Unhealthy(TransientError):
    """A process does not answer, or its last heartbeat is too old."""


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
    """The lake cannot be read or written (permissions, no space, missing objects)."""


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
    """An answer with status 200 is truncated or malformed: the client asks again."""


class TooLargeError(ControlFlow):
    """The API does not answer so large a request; the message quotes its refusal."""


class MovedError(ControlFlow):
    """A page is not of the state the extraction started with; the message says how it differs."""


class BatchClosedError(ControlFlow):
    """A page comes too late: its batch was sealed, with another answer to the same request."""


# What Lambda reports of a function that was cut off or could not start: another attempt may succeed.
_TRANSIENT = (
    "Sandbox.",  # Sandbox.Timedout
    "Runtime.ExitError",  # killed, usually out of memory
    "Runtime.OutOfMemory",
    "TooManyRequestsException",
    "Throttling",
    "ServiceException",
    "ServiceUnavailable",
    "EC2Throttled",
    "EC2Unexpected",
    "ENILimitReached",
    "ConnectionError",
    "MemoryError",
    "TimeoutError",
)


def from_function(payload: object) -> CatalunyaError:
    """The error a Lambda function ended with, from what Lambda reports: {"errorType": ..., "errorMessage": ...}.

    A class of this tree comes back as itself. Any other becomes a TransientError if it may pass (a timeout, out of memory,
    throttling), else a PermanentError.
    """
    report = payload if isinstance(payload, Mapping) else {"errorMessage": str(payload)}
    kind, message = str(report.get("errorType") or ""), str(report.get("errorMessage") or "no reason given")
    known = globals().get(kind)
    if isinstance(known, type) and issubclass(known, CatalunyaError):
        return known(message)
    is_transient = kind.startswith(_TRANSIENT) or "Task timed out" in message
    advice = "try again" if is_transient else "see the function's log for the traceback"
    text = f"the Lambda function failed: {f'{kind}: ' if kind else ''}{message[:1000]}; {advice}"
    return TransientError(text) if is_transient else PermanentError(text)


def reportable(error: Exception) -> CatalunyaError:
    """The error as the nearest class of this module: its class name is all Lambda reports about its kind.

    An unforeseen error becomes what Airflow would make of Lambda's report, so its text is bounded and without secrets too.
    """
    if not isinstance(error, CatalunyaError):
        return from_function({"errorType": type(error).__name__, "errorMessage": str(error)})
    public: type[CatalunyaError] = next(kind for kind in type(error).__mro__ if globals().get(kind.__name__) is kind)
    return error if public is type(error) else public(str(error))


def one_line(error: BaseException) -> tuple[str, bool]:
    """Any error as one line for a person, and whether it is a bug of ours (and not, say, a full disk)."""
    if isinstance(error, CatalunyaError):
        return str(error), False
    text = safe_text(error)
    if "No space left" in text or "os error 28" in text:
        place = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        advice = "free some, or point CATALUNYA_SCRATCH and CATALUNYA_LAKE at another disk"
        return f"no space left on the device{place}; {advice}", False
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else " a file"
        reason = (error.strerror or text).lower()
        return f"cannot use{where}: {reason}; make it readable and writable, or configure another", False
    return f"this is a bug: {type(error).__name__}: {text}", True
