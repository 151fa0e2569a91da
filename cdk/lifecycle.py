"""What S3 itself deletes in the lake, as plain data: one rule for each place, derived from the assets' retention.

The pipeline deletes by the ledger's time (`assets/record/retention.py`), which S3 does not know: a superseded object may be older
than the day it was replaced, and one that is needed is as old as it is. So S3 deletes what a table holds never; it deletes former
versions of objects, which the pipeline cannot see, and what nobody needs after a while, whoever left it. Not here: the buckets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.paths import quarantine_folder
from catalunya.assets.record.retention import LEDGER_DAYS
from catalunya.assets.record.superseded import prefix_of
from catalunya.io.environment import Settings
from catalunya.io.warehouse.athena_build import FOLDER as CANDIDATES

LEFT_OVERS_DAYS = 7
"""Results of dbt's queries, and candidates of runs that were killed."""
UNDELETE_DAYS = 7
"""What retention deleted on purpose can be had back for so long."""
UPLOAD_DAYS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Days after which objects below a prefix go: `former` versions, and `current` ones where they may."""

    name: str
    prefix: str
    former: int
    current: int | None = None


def rules(assets: Iterable[Asset], settings: Settings) -> Iterator[Rule]:
    """The rules of the lake of these assets, the last of them for whatever lies nowhere else."""
    found = list(_of_places(assets, settings))
    yield from found
    # Where two rules meet, S3 goes by the shorter one.
    yield Rule(name="rest", prefix="", former=max(rule.former for rule in found))


def _of_places(assets: Iterable[Asset], settings: Settings) -> Iterator[Rule]:
    for asset in assets:
        if asset.layer is Layer.LANDING:
            # A batch is deleted once it is used; it holds personal fields, so nothing of it stays. One that nobody used is
            # landed again when somebody does.
            yield Rule(name=asset.key, prefix=f"{asset.prefix}/", former=1, current=asset.keep_days)
            continue
        yield Rule(name=asset.key, prefix=f"{asset.prefix}/", former=asset.keep_days)
        yield Rule(name=f"superseded.{asset.key}", prefix=f"{prefix_of(asset)}/", former=UNDELETE_DAYS)
        yield Rule(name=f"quarantine.{asset.key}", prefix=f"{quarantine_folder(asset)}/", former=UNDELETE_DAYS)
    yield Rule(name="ledger", prefix="_ledger/", former=LEDGER_DAYS)
    yield Rule(name="leases", prefix="_leases/", former=1)
    yield Rule(name="candidates", prefix=f"{CANDIDATES}/", former=1, current=LEFT_OVERS_DAYS)
    results = settings.athena_results.removeprefix(f"{settings.lake.rstrip('/')}/")
    if "://" not in results:  # else it is another bucket's business
        yield Rule(name="athena", prefix=results, former=1, current=LEFT_OVERS_DAYS)
