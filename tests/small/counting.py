"""Counts the requests to a fake AWS account, by caller, service and operation: a layer in front of the server."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

App = Callable[..., Iterable[bytes]]


class Counting:
    """A WSGI app that counts requests and passes them to `inner`. The caller is the access key id in the signature."""

    def __init__(self, inner: App) -> None:
        self._inner, self._lock = inner, threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Reset all counts."""
        with self._lock:
            self.requests: Counter[tuple[str, str, str]] = Counter()
            self.sent: Counter[tuple[str, str]] = Counter()
            self.received: Counter[tuple[str, str]] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Respond as `inner` does; `sent` counts the bytes of requests, `received` those of responses."""
        service, operation = operation_of(environ)
        caller = key_of(environ.get("HTTP_AUTHORIZATION", ""))
        body = list(self._inner(environ, start_response))
        with self._lock:
            self.requests[caller, service, operation] += 1
            self.sent[caller, service] += int(environ.get("CONTENT_LENGTH") or 0)
            self.received[caller, service] += sum(map(len, body))
        return body


def key_of(authorization: str) -> str:
    """The access key id in a signature of version 4, or an empty string."""
    found = re.search(r"Credential=([^/]+)/", authorization)
    return found[1] if found else ""


def operation_of(environ: dict[str, Any]) -> tuple[str, str]:
    """Service and operation: from a header for the JSON APIs, from method and query for S3."""
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
