"""A file for one page of rows, which is hashed, counted and checked as it is written.

Here: a JSON array with a row per line, as Socrata sends it, checked block by block: of what is large, no more than a block is in memory, and
each thread uses the same memory again and again. Not here: what any other layout, or a broken array, is (`http.Reply.decode`, which
needs the whole).
"""

from __future__ import annotations

import codecs
import hashlib
from typing import BinaryIO

from catalunya.io.json_text import BROKEN_JSON, AnyObject, json_decoder

LONGEST = 8 * 1024 * 1024  # bytes of a row, beyond which it is another layout


class RowsFile:
    """What is written goes into the file. It is written from its start, again and again if need be."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._forget()

    def _forget(self) -> None:
        self._sha256, self._utf8 = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
        self._rows, self._rest, self._is_sound = 0, b"", True

    @property
    def sha256(self) -> str:
        """Of what was written, in hex."""
        return self._sha256.hexdigest()

    def write(self, piece: bytes) -> int:
        """Write the next piece."""
        self._file.write(piece)
        self._sha256.update(piece)
        if self._is_sound:
            try:
                self._utf8.decode(piece)
                end = piece.rfind(b"\n,") + 1
                if end:
                    self._count(self._rest + piece[:end])
                self._rest = piece[end:] if end else self._rest + piece
                self._is_sound = len(self._rest) < LONGEST
            except BROKEN_JSON:
                self._is_sound = False
        return len(piece)

    def rows(self) -> int | None:
        """How many rows the array has; None if it is broken, or laid out in another way."""
        try:
            if self._is_sound:
                self._utf8.decode(b"", final=True)
                self._count(self._rest, is_last=True)
                return self._rows
        except BROKEN_JSON:
            pass  # the whole says what is wrong, if anything is
        return None

    def _count(self, lines: bytes, *, is_last: bool = False) -> None:
        """Count the rows of some lines, of which the first begins with the array's bracket or with a comma.

        Raises one of BROKEN_JSON. If none of them does it, the whole is an array: each block has a row at least.
        """
        array = b"".join((b"[", memoryview(lines)[1:], b"" if is_last else b"]"))
        rows = len(json_decoder(list[AnyObject]).decode(array))
        is_empty = is_last and lines[:1] == b"["
        if lines[:1] != (b"," if self._rows else b"[") or not (rows or is_empty):
            raise ValueError("another layout")
        self._rows += rows

    def seek(self, at: int, whence: int = 0) -> int:
        return self._file.seek(at, whence)

    def truncate(self) -> int:
        """Start over."""
        self._forget()
        return self._file.truncate()

    def tell(self) -> int:
        return self._file.tell()

    def read(self) -> bytes:
        return self._file.read()
