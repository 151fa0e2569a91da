"""Recorded answers of sources, as HTTP Archive files (HAR 1.2), which browsers and HTTP tools read too.

Here: writing what was asked and answered, and reading it again. A request is kept without its headers, which may hold a token. Not here:
sending requests (`http.py`), serving what was recorded (`ops/mock/recorded.py`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from catalunya.io.errors import ConfigurationError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.safe_text import HIDDEN, known_secrets

ENDING = ".har"
_NOT_KEPT = frozenset({"set-cookie", "content-encoding", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. `body` is decompressed; `sent` is the body of a POST."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def write(path: Path, exchanges: list[Exchange]) -> None:
    """Write a recording. Raises ConfigurationError when the folder cannot be written."""
    log = {
        "version": "1.2",
        "creator": {"name": "catalunya", "version": "1"},
        "entries": [_entry(each) for each in exchanges],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode({"log": log}), indent=1))
    except OSError as error:
        raise ConfigurationError(f"cannot record in {path.parent}: {error.strerror}; give another folder") from None


def read(path: Path) -> Iterator[Exchange]:
    """The exchanges of a recording, in order. Raises ConfigurationError if it is none."""
    try:
        entries = json_decoder(dict[str, Any]).decode(path.read_bytes())["log"]["entries"]
        for entry in entries:
            asked, answered = entry["request"], entry["response"]
            content = answered["content"]
            text = content.get("text", "")
            yield Exchange(
                method=asked["method"],
                url=asked["url"],
                status=answered["status"],
                headers={header["name"].lower(): header["value"] for header in answered["headers"]},
                body=base64.b64decode(text) if content.get("encoding") == "base64" else text.encode(),
                sent=asked.get("postData", {}).get("text", ""),
            )
    except (OSError, KeyError, TypeError, AttributeError, *BROKEN_JSON) as error:
        raise ConfigurationError(
            f"{path}: expected a recording (HAR 1.2), found {type(error).__name__}: {error}; record it again with "
            "`catalunya sources check --record`"
        ) from None


def _entry(each: Exchange) -> dict[str, Any]:
    for secret in known_secrets():  # some servers repeat what they were sent
        kept = {name: value.replace(secret, HIDDEN) for name, value in each.headers.items()}
        each = replace(
            each,
            url=each.url.replace(secret, HIDDEN),
            headers=kept,
            body=each.body.replace(secret.encode(), HIDDEN.encode()),
        )
    try:
        text: dict[str, Any] = {"text": each.body.decode()}
    except UnicodeDecodeError:
        text = {"text": base64.b64encode(each.body).decode(), "encoding": "base64"}
    headers = [{"name": n, "value": v} for n, v in each.headers.items() if n.lower() not in _NOT_KEPT]
    kind = next((value for name, value in each.headers.items() if name.lower() == "content-type"), "")
    sent = {"postData": {"mimeType": "", "text": each.sent}} if each.sent else {}
    unknown: dict[str, Any] = {"httpVersion": "", "cookies": [], "headersSize": -1, "bodySize": -1}
    return {
        "startedDateTime": each.at.isoformat(),
        "time": 0,
        "request": {"method": each.method, "url": each.url, "headers": [], "queryString": [], **sent, **unknown},
        "response": {
            "status": each.status,
            "statusText": "",
            "headers": headers,
            "content": {"size": len(each.body), "mimeType": kind, **text},
            "redirectURL": "",
            **unknown,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": 0},
    }
