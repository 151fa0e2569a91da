"""What goes wrong in the lake, as one line each: where, why, and what to do. Which of it may pass if one waits.

Here: reading the errors of a folder and of S3. Not here: what is asked of them (`lake.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

from catalunya.io.errors import LakeError, LakeUnavailable


class ObjectMissing(LakeError):
    """There is no such object."""


class ObjectExists(LakeError):
    """There is such an object already."""


@contextmanager
def told(verb: str, where: str) -> Iterator[None]:
    """Turn what the store raises, or polars that reads from it, into one line that says where and what to do.

    Raises ObjectExists, ObjectMissing, LakeUnavailable for what may pass, LakeError for what does not.
    """
    try:
        yield
    except AlreadyExistsError as error:
        raise ObjectExists(f"{where} exists already") from error
    except (BaseError, OSError, ValueError) as error:
        text = str(error).partition("Debug source:")[0]
        if isinstance(error, ValueError) and _NO_PATH not in text:
            raise
        reason, advice = next((known for sign, known in _REASONS.items() if sign in text), (None, ""))
        if reason is None and isinstance(error, (NotFoundError, FileNotFoundError)):
            raise ObjectMissing(
                f"{where} is not in the lake: run `catalunya verify` to see what else is missing"
            ) from error
        if reason is None and _MAY_PASS.search(text):
            reason = " ".join(text.split())[-200:]
            raise LakeUnavailable(
                f"cannot {verb} {where}: the store does not answer, or cannot now (…{reason}); "
                "try again later, and see that AWS_ENDPOINT_URL, if set, is right"
            ) from error
        reason = reason or text.strip().splitlines()[0][:300]
        raise LakeError(
            f"cannot {verb} {where}: {reason}; {advice or 'see the reason above; nothing was lost'}"
        ) from error


# obstore has tried for a while by then. `builder error` is an address that no request can be made to.
_MAY_PASS = re.compile(
    r"HTTP error: (?!builder error)|status code: (5\d\d|408|409|429)|SlowDown|RequestTimeout|InternalError|timed out"
)
_NO_PATH = "Could not parse path"
_FULL = ("no space left on the device", "free some, or point CATALUNYA_LAKE at another disk")
_NOT_OURS = ("permission denied", "make it writable, or point CATALUNYA_LAKE elsewhere")
_IN_THE_WAY = ("a file stands where a folder is needed", "move it, or point CATALUNYA_LAKE elsewhere")
_READ_ONLY = ("the file system is read-only", "point CATALUNYA_LAKE elsewhere")
_NO_BUCKET = ("no such bucket", "deploy the infrastructure first, or set CATALUNYA_LAKE")
_REFUSED = ("access denied", "check the role's permissions on this prefix and on the key it is encrypted with")
_BAD_KEYS = ("the credentials are not accepted", "renew AWS_ACCESS_KEY_ID and what goes with it, or the role's session")
_ELSEWHERE = ("the bucket lies in another region", "set AWS_REGION to the bucket's")

_REASONS = {
    "No space left": _FULL,
    "os error 28": _FULL,
    "Permission denied": _NOT_OURS,
    "os error 13": _NOT_OURS,
    "Not a directory": _IN_THE_WAY,
    "os error 20": _IN_THE_WAY,
    "Read-only": _READ_ONLY,
    "os error 30": _READ_ONLY,
    "NoSuchBucket": _NO_BUCKET,
    "InvalidAccessKeyId": _BAD_KEYS,
    "SignatureDoesNotMatch": _BAD_KEYS,
    "ExpiredToken": _BAD_KEYS,
    "PermanentRedirect": _ELSEWHERE,
    "Received redirect without LOCATION": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    # After the others: they are also forbidden.
    "AccessDenied": _REFUSED,
    "403 Forbidden": _REFUSED,
    "169.254.": ("there are no credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run under a role"),
    _NO_PATH: ("this is no path of a lake", "see what named it; nothing was touched"),
}
