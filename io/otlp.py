"""OpenTelemetry's protocol over HTTP (OTLP): one request for each signal, to where the standard's variables say.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set, or that variable for one of the signals. A backend that is down, hangs or refuses costs one
warning and at most LIMIT_S seconds; then this process leaves it alone for a while. Nothing is sent twice: metrics are sent
again by the next look of the watch anyway.

Here: the variables, the request and its limits. Not here: what a body is made of (`otlp_messages.py`). Imports nothing heavy until something is sent.
"""

from __future__ import annotations

import gzip
import os
import ssl
import time
from collections.abc import Callable, Sequence
from urllib.parse import unquote, urlsplit

from catalunya.io.log import get_logger
from catalunya.io.otlp_messages import Signal
from catalunya.io.safe_text import register_secret, safe_text
from catalunya.io.time_limit import failure_within

log = get_logger(__name__)

Body = Callable[[], bytes]
SIGNALS: tuple[Signal, ...] = ("traces", "metrics")
LIMIT_S = 3.0
"""The longest time that one call of `send` waits, whatever the backend does."""
REST_S = 300.0
"""How long this process leaves a backend alone that did not take what was sent."""
_ANSWERED = "it "  # how a reason begins that the backend itself gave
_SHOWN = 300  # characters of a refusal that are shown
_LARGEST = 2**16  # bytes of an answer that are read

_resting: dict[
    str, float
] = {}  # endpoints that refused, servers that did not answer, and until when they are left alone


def is_on(signal: Signal | None = None) -> bool:
    """Whether a signal is sent anywhere; without an argument, whether any is."""
    if signal is None:
        return any(is_on(each) for each in SIGNALS)
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    is_off = is_off or os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none"
    return not is_off and bool(endpoint(signal))


def endpoint(signal: Signal) -> str:
    """Where a signal is sent; empty: nowhere (OpenTelemetry Protocol Exporter, Endpoint URLs for OTLP/HTTP)."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    return own or (f"{base.rstrip('/')}/v1/{signal}" if base else "")


def send(bodies: Sequence[tuple[Signal, Body]]) -> None:
    """Send each signal that is on, within LIMIT_S seconds in all. Never raises: the worst is one warning for each."""
    ends_at = time.monotonic() + LIMIT_S
    for signal, body in bodies:
        url, began = endpoint(signal), time.monotonic()
        server = _server(url)
        if not is_on(signal) or max(_resting.get(url, 0.0), _resting.get(server, 0.0)) > began:
            continue
        if began >= ends_at:
            return
        try:
            left = ends_at - began
            why = failure_within(left, "otlp", _request(signal, url, body(), left))
        except Exception as error:  # noqa: BLE001  a wrong variable, a certificate that is not there
            why = f"{type(error).__name__}: {error}"
        if why:
            _resting[url if why.startswith(_ANSWERED) else server] = time.monotonic() + REST_S
            seconds = round(time.monotonic() - began, 3)
            log.warning("telemetry_not_sent", signal=signal, to=_shown(url), error=safe_text(why), seconds=seconds)


def _request(signal: Signal, url: str, body: bytes, seconds: float) -> Callable[[], str]:
    """Sends the body when called; returns why it failed, or nothing. Raises ValueError for a variable that makes no sense."""
    import httpx

    try:
        httpx.URL(url)
    except httpx.InvalidURL:  # its text may quote a part of a password
        raise ValueError("OTEL_EXPORTER_OTLP_ENDPOINT (value not shown): expected a URL") from None
    protocol = _setting(signal, "PROTOCOL") or "http/protobuf"
    if protocol != "http/protobuf":
        raise ValueError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: expected http/protobuf, the only one that is sent here"
        )
    headers = {"Content-Type": "application/x-protobuf", "Accept-Encoding": "identity", **_headers(signal)}
    if _setting(signal, "COMPRESSION") == "gzip":
        headers["Content-Encoding"], body = "gzip", gzip.compress(body)
    limit = min(float(_setting(signal, "TIMEOUT") or seconds * 1000) / 1000, seconds)
    verify = _tls(signal) if url.startswith("https:") else False  # 20 ms to make, for nothing without TLS

    def post() -> str:
        ends_at = time.monotonic() + limit
        with (
            httpx.Client(verify=verify, timeout=limit) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            content = b""
            for part in answer.iter_bytes():
                content += part
                if len(content) > _LARGEST or time.monotonic() > ends_at:
                    break  # no backend has that much to say; this thread does not listen for ever
        if not answer.is_success:
            return f"{_ANSWERED}answered {answer.status_code} {content.decode(errors='replace')[:_SHOWN]}".rstrip()
        return _rejected(signal, content) if len(content) <= _LARGEST else f"{_ANSWERED}answered without an end"

    return post


def _rejected(signal: Signal, answer: bytes) -> str:
    """Why a backend that took the rest of it rejected some (OTLP, Partial Success)."""
    if not answer:
        return ""
    from catalunya.io.otlp_messages import rejected

    return rejected(signal, answer)


def _setting(signal: Signal, name: str) -> str:
    """A variable of the exporter, its own for the signal first."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", "").strip()
    return own or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()


def _headers(signal: Signal) -> dict[str, str]:
    """Pairs name=value, separated by commas, as in W3C Baggage. Values may be tokens: they are never shown."""
    pairs = [pair.partition("=") for pair in _setting(signal, "HEADERS").split(",") if pair.strip()]
    found = {name.strip(): unquote(value.strip()) for name, equals, value in pairs if equals}
    for value in found.values():
        register_secret(value)
    return found


def _tls(signal: Signal) -> ssl.SSLContext:
    authority, own = _setting(signal, "CERTIFICATE"), _setting(signal, "CLIENT_CERTIFICATE")
    context = ssl.create_default_context(cafile=authority or None)
    if own:
        context.load_cert_chain(own, _setting(signal, "CLIENT_KEY") or None)
    return context


def _server(url: str) -> str:
    """The server of an address; the whole, if it is none."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return url


def _shown(url: str) -> str:
    """The address without user and password, and without what follows the path."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none (not shown)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
