"""Reading a whole table of a source that may move meanwhile: pass after pass until one is of a single state.

Here: what every source does around its passes, and how an extraction ends. Not here: one pass (socrata.py, idescat.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import structlog

from catalunya.io.errors import SourceChanged
from catalunya.io.sources.base import Extraction, HttpSettings, Landed, Page, Source, SourceState

log = structlog.get_logger(__name__)

RESTARTS = 2


async def until_of_one_state(
    source: Source, http: HttpSettings, landed: Landed, read: Callable[[], Awaitable[str | None]]
) -> None:
    """Await `read`, one pass which tells why its pages are not one whole state of the table, until it tells nothing.

    What is `landed` is forgotten after a pass in vain. Raises SourceChanged after RESTARTS more of these.
    """
    flaw: str | None = None
    for again in range(RESTARTS + 1):
        if again:  # a publisher at work needs a moment
            await asyncio.sleep(min(http.backoff_max_s, http.backoff_initial_s * 4**again))
        flaw = await read()
        if not flaw:
            return
        log.warning("extraction_inconsistent", source=source.describe(), found=flaw, attempt=again + 1)
        landed.forget()
    raise SourceChanged(
        f"{source.describe()} at {source.url(http.base_url)}: {flaw}; read {RESTARTS + 1} times. "
        "Nothing of it is to be published; try again when the source is at rest."
    )


def extracted(
    source: Source, state: SourceState, pages: Sequence[Page], requests: int, started_at: datetime
) -> Extraction:
    """The extraction that ends now, with a line in the log."""
    done = Extraction(state, tuple(pages), requests, started_at, datetime.now(UTC))
    log.info(
        "source_extracted",
        source=source.describe(),
        rows=done.rows,
        pages=len(pages),
        bytes=done.bytes,
        requests=requests,
        version=state.version,
    )
    return done
