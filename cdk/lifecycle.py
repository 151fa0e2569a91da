"""What S3 deletes in the lake, derived from the assets: days by prefix, as data.

The pipeline deletes by the ledger's time (`assets/record/retention.py`), which S3 does not know: a superseded object may be older
than the day it was replaced, and one that is still needed is as old as it is. So S3 never deletes an object that a table consists of. It
deletes old versions of objects, which the pipeline cannot see, and leftovers that no one needs after a while.
Not here: the buckets that have these rules (`buckets.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.answers import FOLDER as ANSWERS
from catalunya.assets.record.paths import quarantine_folder
from catalunya.assets.record.retention import LEDGER_DAYS, superseded_folder
from catalunya.io.environment import PORTAL as PAGES
from catalunya.io.warehouse.athena_build import FOLDER as CANDIDATES
from catalunya.ops.watching.findings import FOLDER as WATCH

LEFTOVER_DAYS = 7
"""Candidates of killed runs."""
ANSWER_DAYS = 1
"""The caller of a function has its answer, or has given up, within minutes."""
UNDELETE_DAYS = 7
"""How long objects that retention deleted can be restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Days after which S3 deletes below a prefix: old `versions` of objects, and, where it may, `objects` themselves."""

    name: str
    prefix: str
    versions: int
    objects: int | None = None


def rules(assets: Iterable[Asset]) -> Iterator[Rule]:
    """The lifecycle rules of a lake with these assets; the last is for all other prefixes."""
    found = list(_rules_of_places(assets))
    yield from found
    # Where two rules apply, S3 uses the shorter one.
    yield Rule(name="rest", prefix="", versions=max(rule.versions for rule in found))


def _rules_of_places(assets: Iterable[Asset]) -> Iterator[Rule]:
    for asset in assets:
        if asset.layer is Layer.LANDING:
            # A batch is deleted once it is used, and its personal fields with it. One that was never used can be fetched again.
            yield Rule(name=asset.key, prefix=f"{asset.prefix}/", versions=1, objects=asset.keep_days)
            continue
        yield Rule(name=asset.key, prefix=f"{asset.prefix}/", versions=asset.keep_days)
        yield Rule(name=f"superseded.{asset.key}", prefix=f"{superseded_folder(asset)}/", versions=UNDELETE_DAYS)
        yield Rule(name=f"quarantine.{asset.key}", prefix=f"{quarantine_folder(asset)}/", versions=UNDELETE_DAYS)
    yield Rule(name="ledger", prefix="_ledger/", versions=LEDGER_DAYS)
    yield Rule(name="leases", prefix="_leases/", versions=1)
    # Written again every few minutes; what was before is of no use.
    yield Rule(name="watch", prefix=f"{WATCH}/", versions=1)
    yield Rule(name="pages", prefix=f"{PAGES}/", versions=1)
    yield Rule(name="answers", prefix=f"{ANSWERS}/", versions=1, objects=ANSWER_DAYS)
    yield Rule(name="candidates", prefix=f"{CANDIDATES}/", versions=1, objects=LEFTOVER_DAYS)
