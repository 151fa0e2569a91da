"""Setting aside what `verify` found damaged, so that runs can go on. Nothing is deleted: everything moves to `_aside`.

An entry's number is never used twice: the place of an entry that is set aside is taken by one that says so, as a failure.
Not here: finding the damage (`verify.py`), making tables again (`materialize.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
import structlog

from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import FOLDER, REPAIRED, Entry, Ledger, new_run_id
from catalunya.assets.record.project import Project
from catalunya.assets.record.verify_objects import Finding

log = structlog.get_logger(__name__)


def repair(project: Project, findings: Iterable[Finding]) -> dict[str, str]:
    """Move what the findings say out of the way, asset by asset, under each one's lease.

    Returns old path -> new path. Safe to kill and to run again. Raises LeaseHeld while another run makes the asset.
    """
    run_id = new_run_id(datetime.now(UTC))
    by_asset: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.asset and (finding.aside or finding.numbers):
            by_asset.setdefault(finding.asset, []).append(finding)
    moved: dict[str, str] = {}
    for key, of_asset in by_asset.items():
        with lease(project.lake, key, run_id, project.settings.lease_s):
            for finding in of_asset:
                moved |= _set_aside(project, finding, run_id)
    return moved


def _set_aside(project: Project, finding: Finding, run_id: str) -> dict[str, str]:
    lake = project.lake
    there = [path for path in finding.aside if lake.exists(path)]
    moved = {path: _aside_path(path, run_id) for path in there}
    for path, beside in moved.items():
        lake.put(beside, lake.get(path))
    lake.sync(list(moved.values()))
    places = [Ledger.path(finding.asset, number) for number in finding.numbers]
    for number, place in zip(finding.numbers, places, strict=True):
        lake.put(place, msgspec.json.format(msgspec.json.encode(_in_its_place(finding, number, run_id)), indent=1))
    lake.sync(places)
    lake.delete([path for path in there if path not in places])
    for path, beside in moved.items():
        log.warning("set_aside", asset=finding.asset, kind=finding.kind, path=path, to=beside, why=finding.what)
    return moved


def _aside_path(path: str, run_id: str) -> str:
    if path.startswith(f"{FOLDER}/"):
        return f"{FOLDER}/_aside/{run_id}/{path.removeprefix(f'{FOLDER}/')}"
    return f"_aside/{run_id}/{path}"


def _in_its_place(finding: Finding, number: int, run_id: str) -> Entry:
    """The entry that takes the number: a failure of a code nobody has, so that nothing is held back by it."""
    return Entry(
        asset=finding.asset,
        sequence=number,
        status="failed",
        run_id=run_id,
        correlation_id=run_id,
        reason=REPAIRED,
        started_at=datetime.now(UTC),
        seconds=0.0,
        code_version="",
        versions={},
        error=f"{finding.what}; it was set aside" if finding.aside else finding.what,
    )
