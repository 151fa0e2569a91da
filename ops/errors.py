"""Any error as one line for a person, and whether it is a bug of ours.

Here: what is no `CatalunyaError` and yet nobody's mistake, a full disk before all. Not here: the errors themselves
(`io/errors.py`).
"""

from __future__ import annotations

from catalunya.io.errors import CatalunyaError
from catalunya.io.safe_text import safe_text


def one_line(error: BaseException) -> tuple[str, bool]:
    """The error in words, and whether it is one that nobody foresaw."""
    if isinstance(error, CatalunyaError):
        return str(error), False
    text = safe_text(error)
    if "No space left" in text or "os error 28" in text:
        place = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return (
            f"no space left on the device{place}; free some, or point CATALUNYA_SCRATCH and CATALUNYA_LAKE at another disk",
            False,
        )
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return (
            f"cannot use{where}: {(error.strerror or text).lower()}; make it readable and writable, or configure another",
            False,
        )
    return f"this is a bug: {type(error).__name__}: {text}", True
