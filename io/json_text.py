"""JSON as it comes from outside, where parsers differ or hide what they met.

Here: reading JSON as a type, and what that raises if it is damaged; objects that have one name twice, as `{"a": 1, "a": 2}`, of
which parsers keep one value without reporting it, and not all the same one; half of a character, `\\ud83d` without its other half, as a
text leaves it that was cut between the two. Not here: what follows from any of them.
"""

from __future__ import annotations

import codecs
import json
import re
import threading
from collections.abc import Collection
from typing import Any, TypeVar

import msgspec

from catalunya.io.errors import BadBodyError

BROKEN_JSON = (ValueError, RecursionError)
"""What `json` and `msgspec.json` raise for bytes that are no JSON of the expected type: cut off, not UTF-8, nested without end."""

T = TypeVar("T")
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}
_ONE_AT_A_TIME = threading.Lock()
_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF = re.compile(
    rb"(?<!\\)((?:\\\\)*)(?:(\\u[dD][89abAB]..\\u[dD][c-fC-F]..)|\\u[dD][89a-fA-F][0-9a-fA-F]{2})", re.DOTALL
)


class AnyObject(msgspec.Struct, gc=False):
    """Any JSON object. Its fields are parsed and discarded: 50,000 of them in 30 ms."""


def json_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """What reads JSON as this type, in any thread. Its methods raise one of BROKEN_JSON.

    `msgspec.json.decode` is not for us: it learns a class when it first reads one, and other threads use what it has learnt so far, which ends the
    process (SIGSEGV; msgspec 0.22, one of ten first looks at a ledger on a busy machine).
    """
    if kind not in _DECODERS:
        with _ONE_AT_A_TIME:
            _DECODERS[kind] = msgspec.json.Decoder(kind)
    return _DECODERS[kind]


def repeated_names(body: bytes | str, among: Collection[str] | None = None) -> list[str]:
    """The names that an object of this JSON has more than once, at any depth; only of those in `among`, if given.

    Raises ValueError or RecursionError if it is not JSON. For pages of rows, which are too large for this, see `pages.py`.
    """
    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = dict(pairs)
        if len(names) < len(pairs):
            given = [name for name, _ in pairs]
            found.extend(name for name in names if given.count(name) > 1 and (among is None or name in among))
        return names

    json.loads(body, object_pairs_hook=look)
    return found


def check_utf8(body: bytes) -> None:
    """Raise BadBodyError for what msgspec skips. In chunks, because the decoded page would be a second copy in memory."""
    utf8, view = codecs.getincrementaldecoder("utf-8")(), memoryview(body)
    try:
        for start in range(0, len(view), 65536):
            utf8.decode(view[start : start + 65536])
        utf8.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise BadBodyError(f"not UTF-8: {error.reason}") from error


def whole_characters(body: bytes) -> bytes:
    """The JSON text with U+FFFD for every half of a character; the same object if there is none.

    Some decoders refuse the whole document for it, others put a control character in its place.
    """
    if b"\\" not in body or not _ESCAPE.search(body):  # nearly all have no escape at all, and this is found at once
        return body
    return _HALF.sub(lambda found: found[1] + (found[2] or rb"\ufffd"), body)
