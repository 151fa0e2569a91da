"""The one hierarchy of errors. Every message says what, what was expected, what was found and what to do next.

Raised anywhere below `catalunya`; the CLI prints the message as one line and exits with `exit_code`, Airflow's retry
policy and Lambda tell transient from permanent by the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from catalunya.io.safe_text import safe_text

MESSAGE = 4000
"""Characters of a message: it goes into the ledger, into Airflow's log, over Lambda's wire."""


class CatalunyaError(Exception):
    """Something a person can act upon; its text is one clear line.

    Whatever is put into it (what a source said, the address that was asked, what AWS answered), the line is without secrets,
    safe to show and of bounded length. What it says to do stands at the end, which is kept.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(safe_text(message, MESSAGE))


class TransientError(CatalunyaError):
    """Trying again later may help: the network, a busy source, another writer."""


class PermanentError(CatalunyaError):
    """Trying again changes nothing: a person has to act."""


class ConfigurationError(PermanentError):
    """A setting is wrong."""

    exit_code = 2


class UsageError(PermanentError):
    """The command was given something it cannot take: an unknown asset, an empty selection."""

    exit_code = 2


class DeclarationError(PermanentError):
    """An asset, a contract or the graph is declared in a way that cannot hold."""


class SourceUnavailable(TransientError):
    """The API does not answer, or answers that it cannot now (429, 5xx, time-out, cut-off body)."""


class LakeUnavailable(TransientError):
    """The lake does not answer, or answers that it cannot now: the network, a busy S3."""


class DeadlineReached(SourceUnavailable):
    """The time allowed is over. Pages that are landed stay, and the next extraction goes on from there; a table is made anew."""


class SourceChanged(TransientError):
    """The source moved under the extraction: what was received is not one state of the table."""


class BackfillBlocked(TransientError):
    """A table has to be made of the whole source before some periods of it may be read again."""


class SourceError(PermanentError):
    """The API refuses the request (4xx) or answers something that is not the protocol."""


class ContractError(PermanentError):
    """A table breaks its contract; the published one stays as it was."""


class LakeError(PermanentError):
    """The lake cannot be read or written (permissions, no space, missing objects)."""


class LedgerError(PermanentError):
    """A ledger entry cannot be read, or does not agree with the objects it speaks of."""


class LeaseHeld(TransientError):
    """Another run is making this asset."""


class LeaseLost(TransientError):
    """Another run took this asset over while it was being made here; nothing was recorded."""


class CatalogError(TransientError):
    """The catalog does not say what was recorded; the record stands, and the next run brings the catalog up to date."""


class WarehouseError(PermanentError):
    """dbt or a query failed."""


# What Lambda itself says of a function that was cut off, or could not be started: another attempt may fare better.
_PASSING = (
    "Sandbox.",  # Sandbox.Timedout
    "Runtime.ExitError",  # killed: out of memory, as a rule
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
    """The error that a Lambda function ended with, from what Lambda reports: {"errorType": ..., "errorMessage": ...}.

    One of this hierarchy comes back as what it was. Of others, those that may pass (a time-out, no memory left, throttling)
    are a TransientError, the rest a PermanentError.
    """
    given = payload if isinstance(payload, Mapping) else {"errorMessage": str(payload)}
    kind, message = str(given.get("errorType") or ""), str(given.get("errorMessage") or "it does not say why")
    known = globals().get(kind)
    if isinstance(known, type) and issubclass(known, CatalunyaError):
        return known(message)
    passing = kind.startswith(_PASSING) or "Task timed out" in message
    todo = "try again" if passing else "see the function's log, and mend it"
    said = f"the function was expected to answer, found {f'{kind}: ' if kind else ''}{message[:1000]}; {todo}"
    return TransientError(said) if passing else PermanentError(said)


def reportable(error: Exception) -> CatalunyaError:
    """The error as one of this module's classes, the nearest: its class name is all that Lambda reports of what it was.

    One that nobody foresaw is as Airflow would read it off Lambda's report: its text is bounded and without secrets too.
    """
    if not isinstance(error, CatalunyaError):
        return from_function({"errorType": type(error).__name__, "errorMessage": str(error)})
    public: type[CatalunyaError] = next(kind for kind in type(error).__mro__ if globals().get(kind.__name__) is kind)
    return error if public is type(error) else public(str(error))
