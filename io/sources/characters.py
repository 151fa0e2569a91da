"""Half of a character in JSON: `\\ud83d` without its other half, as a text leaves it that was cut between the two.

Here: making it a replacement character, which is how the text is known to be broken. Not here: what happens to such rows
(`contracts/model/text.py`).
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF = re.compile(
    rb"(?<!\\)((?:\\\\)*)(?:(\\u[dD][89abAB]..\\u[dD][c-fC-F]..)|\\u[dD][89a-fA-F][0-9a-fA-F]{2})", re.DOTALL
)


def whole_characters(body: bytes | bytearray) -> bytes | bytearray:
    """The JSON text with U+FFFD for every half of a character; the same object if there is none.

    Some decoders refuse the whole document for it, others put a control character in its place.
    """
    if b"\\" not in body or not _ESCAPE.search(body):  # nearly all have no escape at all, and this is found at once
        return body
    return _HALF.sub(lambda found: found[1] + (found[2] or rb"\ufffd"), body)
