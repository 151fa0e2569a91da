"""Counting what an account of AWS is asked for: a layer in front of the server, by who asks, which service and which operation."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

App = Callable[..., Iterable[bytes]]


class Counting:
    """A WSGI app that counts and passes on to `inner`. Who asks is told by the id of the key that a request is signed with."""

    def __init__(self, inner: App) -> None:
        self._inner, self._lock = inner, threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self.requests: Counter[tuple[str, str, str]] = Counter()
            self.sent: Counter[tuple[str, str]] = Counter()
            self.received: Counter[tuple[str, str]] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer as `inner` does; bytes sent are those of the request, received those of the answer."""
        service, operation = operation_of(environ)
        who = key_of(environ.get("HTTP_AUTHORIZATION", ""))
        body = list(self._inner(environ, start_response))
        with self._lock:
            self.requests[who, service, operation] += 1
            self.sent[who, service] += int(environ.get("CONTENT_LENGTH") or 0)
            self.received[who, service] += sum(map(len, body))
        return body


def key_of(authorization: str) -> str:
    """The id of the key in a signature of version 4, empty where there is none."""
    found = re.search(r"Credential=([^/]+)/", authorization)
    return found[1] if found else ""


def operation_of(environ: dict[str, Any]) -> tuple[str, str]:
    """Service and operation: those of the JSON APIs say it in a header, S3's is told by method and query."""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        service, _, operation = target.partition(".")
        return {"AmazonAthena": "athena", "AWSGlue": "glue", "AmazonSQS": "sqs"}.get(service, service), operation
    method, query = environ["REQUEST_METHOD"], parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if method == "POST" and environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return "sts", "AssumeRole"
    has_key = environ["PATH_INFO"].strip("/").count("/") > 0
    if method == "POST" and "delete" in query:
        return "s3", "DELETE"
    if method == "GET" and not has_key:
        return "s3", "LIST"
    if method == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return "s3", "COPY"
    return "s3", method
