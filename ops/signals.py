"""Being told to stop: SIGTERM and SIGHUP end a command as Ctrl-C does, so that everything is tidied up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: somebody ends this process."""


LIKE_CTRL_C = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def like_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Terminated within the block. Only in the main thread, as for all signals."""

    def terminate(_: int, __: FrameType | None) -> None:
        raise Terminated

    former = {number: signal.signal(number, terminate) for number in LIKE_CTRL_C}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
