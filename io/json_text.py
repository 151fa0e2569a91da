"""JSON from outside: what reading it raises when it is damaged, and objects that have one name twice, as `{"a": 1, "a": 2}`.

Parsers keep one of the two values without reporting it, and not all keep the same one. Not here: what follows from either.
"""

from __future__ import annotations

import json
from collections.abc import Collection

BROKEN_JSON = (ValueError, RecursionError)
"""What `json` and `msgspec.json` raise for bytes that are no JSON of the expected type: cut off, not UTF-8, nested without end."""


def repeated_names(body: bytes | bytearray | str, among: Collection[str] | None = None) -> list[str]:
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
