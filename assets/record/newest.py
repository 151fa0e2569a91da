"""The newest entries of every table in one object: what looking at a thousand tables takes, without reading a thousand entries.

Of each table it has the entry that says how the table is, and the failures since then, without their `objects`: how a table is, not where.
Entries never change, so one that is here need not be read in the ledger; which of them are the newest, only the ledger's listing says. It
is only a cache: what it lacks is read in the ledger. The watch keeps it up to date, with the rest of the index (`index.py`). Importing this
costs nothing: `catalunya status` and `plan` need no more. Not here: what follows for a table (`state.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from catalunya.assets.record.ledger import Entry, Ledger, decode
from catalunya.io.errors import LakeError, LedgerError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger

log = get_logger(__name__)

NEWEST = "_watch/newest.jsonl"


class _Named(msgspec.Struct):
    """What says whose entry a line is."""

    asset: str
    sequence: int


def read_newest(ledger: Ledger) -> list[Entry]:
    """What was kept. The ledger's own reading of these entries then costs no request; a line that cannot be read is left out."""
    where, found = ledger.lake.url(NEWEST), []
    try:
        lines = (ledger.lake.find(NEWEST) or b"").splitlines()
    except LakeError as error:
        log.warning("index_unreadable", path=where, error=str(error), advice="the ledger is read instead")
        return []
    for number, line in enumerate(lines, start=1):
        try:
            named = json_decoder(_Named).decode(line)
            path = ledger.path(named.asset, named.sequence)
            found.append(decode(line, f"in line {number} of {where}", path))
        except (LedgerError, *BROKEN_JSON) as error:
            log.warning("index_unreadable", path=where, line=number, error=str(error)[:300])
        else:
            ledger.preload(path, found[-1])
    return found


def keep_newest(lake: Lake, entries: Iterable[Entry]) -> None:
    """Keep them in place of those before. Raises LakeError."""
    without = (replace(entry, objects=()) for entry in sorted(entries, key=lambda each: (each.asset, each.sequence)))
    lake.put(NEWEST, msgspec.json.Encoder().encode_lines(list(without)))
