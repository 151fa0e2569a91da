"""gzip and zip: the content of a downloaded file, out of its archive.

Here: which member of an archive is read, and how much may come out of it. Not here: what is in the content (`file_formats.py`).
"""

from __future__ import annotations

import gzip
import io
import tempfile
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from catalunya.io.errors import ContractError
from catalunya.io.safe_text import few

if TYPE_CHECKING:
    from pathlib import Path

UNPACKED_AT_ONCE = 1024 * 1024
MAX_RATIO, SUSPECT_BYTES = 200, 64 * 1024 * 1024
"""Tables compress to a tenth or a twentieth. More than this, of what is already large, is made to fill up a disk."""
_BROKEN = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


class Packed(Protocol):
    """What is declared of a file that may be packed (`files.File`)."""

    @property
    def format(self) -> str | None: ...
    @property
    def member(self) -> str | None: ...


def unpacked(spool: BinaryIO, file: Packed, scratch: Path | None) -> BinaryIO:
    """The content of a downloaded file, out of gzip or zip where its first bytes say so. Raises ContractError."""
    spool.seek(0)
    magic = spool.read(4)
    packed = spool.seek(0, io.SEEK_END)
    spool.seek(0)
    if magic[:2] == b"\x1f\x8b":
        opened = cast("BinaryIO", gzip.GzipFile(fileobj=spool))
    elif magic in {b"PK\x03\x04", b"PK\x05\x06"}:  # the second of an empty one
        opened = _member(spool, file.member)
    else:
        if file.member:
            raise ContractError(f"expected a ZIP archive with {file.member}, found a file that begins with {magic!r}")
        opened = spool
    if opened is spool:
        return spool
    bounded = cast("BinaryIO", io.BufferedReader(_Bounded(opened, packed), UNPACKED_AT_ONCE))
    if file.format != "parquet":
        return bounded
    # Its end is read first. It is gone when nothing refers to it any more.
    whole = cast("BinaryIO", tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115
    while piece := bounded.read(UNPACKED_AT_ONCE):
        whole.write(piece)
    return whole


def _member(spool: BinaryIO, name: str | None) -> BinaryIO:
    try:
        archive = zipfile.ZipFile(spool)
        names = [each.filename for each in archive.infolist() if not each.is_dir()]
        members = [each for each in names if not each.startswith("__MACOSX/")]  # what macOS adds beside each file
        if name is None and len(members) != 1:
            raise ContractError(f"expected one file in the ZIP archive, found {few(members)}; declare one as `member`")
        if name is not None and name not in members:
            raise ContractError(f"expected {name} in the ZIP archive, found {few(members)}; correct `member`")
        return cast("BinaryIO", archive.open(name or members[0]))
    except _BROKEN as error:
        raise ContractError(f"expected a ZIP archive that can be opened, found {error}") from None


class _Bounded(io.RawIOBase):
    """What is read out of an archive, up to what a table can be. Raises ContractError."""

    def __init__(self, opened: BinaryIO, packed: int) -> None:
        self._opened, self._most, self._read = opened, max(MAX_RATIO * packed, SUSPECT_BYTES), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            piece = self._opened.read(len(buffer))
        except _BROKEN as error:
            raise ContractError(f"expected a whole archive, found that it cannot be unpacked: {error}") from None
        self._read += len(piece)
        if self._read > self._most:
            raise ContractError(
                f"expected a table, found an archive that unpacks to more than {self._most // 2**20:,} MiB, over {MAX_RATIO} times its size"
            )
        buffer[: len(piece)] = piece
        return len(piece)
