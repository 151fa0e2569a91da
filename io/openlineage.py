"""OpenLineage events: whether they are sent, where to, and sending them without ever holding up a run.

Configured by OpenLineage's own variables and files, as its client reads them; without any, nothing is imported. A receiver that is down,
hangs or refuses costs one warning and at most LIMIT_S seconds; then this process leaves it alone for a while. Here: the client and its
limits. Not here: what an event says (`assets/record/lineage_events.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalunya.io.log import get_logger
from catalunya.io.safe_text import register_secret, safe_text
from catalunya.io.time_limit import failure_within

if TYPE_CHECKING:
    from collections.abc import Iterator

log = get_logger(__name__)

LIMIT_S = 5.0
"""The longest time that sending the events of one entry may take, the import of the client included."""
REST_S = 300.0
"""How long this process leaves a receiver alone that did not take an event."""
_TRANSPORT = "OPENLINEAGE__TRANSPORT"

_rests_until = 0.0


@dataclass(frozen=True, slots=True)
class Parent:
    """The run of another system that a run is part of, an Airflow task for example, and the one that that is part of."""

    namespace: str
    job: str
    run_id: str
    root_job: str
    root_run_id: str


_parent: ContextVar[Parent | None] = ContextVar("openlineage_parent", default=None)


@contextmanager
def part_of(parent: Parent | None) -> Iterator[None]:
    """What is recorded meanwhile is part of this run."""
    token = _parent.set(parent)
    try:
        yield
    finally:
        _parent.reset(token)


def parent() -> Parent | None:
    """The run that is under way here in another system."""
    return _parent.get()


def is_on() -> bool:
    """Whether events are sent anywhere (OpenLineage, Python client, Configuration): by a variable, or a file where its client looks."""
    if os.environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    variables = any(name.startswith(_TRANSPORT) and value for name, value in os.environ.items())
    return bool(os.environ.get("OPENLINEAGE_URL", "").strip()) or variables or _has_file()


def _has_file() -> bool:
    named = os.environ.get("OPENLINEAGE_CONFIG")
    places = [*([Path(named)] if named else []), Path("openlineage.yml")]
    places.append(Path("~/.openlineage/openlineage.yml").expanduser())
    return any(place.is_file() for place in places)


def send(events: Callable[[], Sequence[Any]]) -> None:
    """Send the events in this order, within LIMIT_S. Never raises: the worst is one warning."""
    global _rests_until  # noqa: PLW0603  the state of this process
    began = time.monotonic()
    if not is_on() or _rests_until > began:
        return
    if why := failure_within(LIMIT_S, "openlineage", lambda: _emit(events)):
        _rests_until = time.monotonic() + REST_S
        log.warning("lineage_not_sent", error=safe_text(why, 300), seconds=round(time.monotonic() - began, 3))


def _emit(events: Callable[[], Sequence[Any]]) -> str:
    """Raises if an event is not taken; there is nothing else to say."""
    if client := _client():
        _restrict(client)
        for event in events():
            client.emit(event)
        client.close(LIMIT_S)
    return ""


def _client() -> Any:
    """The client; None if a file that configures it names no transport: it would print the events."""
    from openlineage.client import OpenLineageClient

    url = os.environ.get("OPENLINEAGE_URL", "").strip()
    register_secret(os.environ.get("OPENLINEAGE_API_KEY"))
    before = set(os.environ)
    try:
        if url and not any(name.startswith(_TRANSPORT) for name in before):
            return OpenLineageClient(transport=_http(url))
        client = OpenLineageClient()
        return client if client.config.transport else None
    finally:
        for name in [name for name in os.environ if name.startswith(_TRANSPORT) and name not in before]:
            del os.environ[name]  # the client writes its URL there, under other names


def _restrict(client: Any) -> None:
    """A redirect is an error: the event would be sent with GET, and its headers to a server that no one chose. Answers are not read."""
    session = getattr(client.transport, "session", None)
    if session is not None:
        session.max_redirects, session.stream = 0, True


def _http(url: str) -> Any:
    """The transport of the simple variables. The client's own tries for minutes, and reports no failure."""
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    key = os.environ.get("OPENLINEAGE_API_KEY")
    return HttpTransport(
        HttpConfig.from_dict(
            {
                "url": url,
                "endpoint": os.environ.get("OPENLINEAGE_ENDPOINT") or "api/v1/lineage",
                "timeout": LIMIT_S / 2,
                "retry": {"total": 1, "read": 0, "connect": 1},
                **({"auth": {"type": "api_key", "api_key": key}} if key else {}),
            }
        )
    )
