"""`verify`: prove that ledger and objects agree, and set aside what does not."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from catalunya.assets.record.project import Project
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Select, selection

if TYPE_CHECKING:
    from catalunya.assets.record.verify import Report


def verify(
    *select: Select,
    quick: Annotated[
        bool, FLAG, Parameter(help="Compare sizes only; by default every object is read and hashed.")
    ] = False,
    repair: Annotated[
        bool,
        FLAG,
        Parameter(
            help="Move damaged ledger entries, damaged batches and unknown objects to _aside; nothing is deleted."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Prove that ledger and objects agree; exit with 1 if they do not."""
    from catalunya.assets.record.verify import repair as set_aside
    from catalunya.assets.record.verify import verify as compare

    project = Project()
    assets = project.graph.select(selection(select)) if select else None
    with ExitStack() as stack:
        tell = None
        if sys.stderr.isatty():
            live = stack.enter_context(console.console(stderr=True).status("verifying"))
            tell = lambda key: live.update(f"verifying {key}")  # noqa: E731
        report = compare(project, assets, quick=quick, on_asset=tell)
    moved: dict[str, str] = {}
    if repair and report.findings:
        from catalunya.ops.logging import configure

        configure(project.settings)
        moved = set_aside(project, report.findings)
    if as_json:
        console.emit_json({**asdict(report), "set_aside": moved})
    else:
        _say(report, moved, quick=quick)
    return int(bool(report.findings))


def _say(report: Report, moved: dict[str, str], *, quick: bool) -> None:
    if report.findings:
        console.table(["asset", "what", "where"], [(f.asset or "(none)", f.what, f.where) for f in report.findings])
    for key in report.busy:
        console.say(f"{key} is being made by another run and was not judged")
    looked = f"{report.assets} assets, {report.objects:,} objects, {console.size(report.bytes)}, {'sizes only' if quick else 'all read'}"
    if not report.findings:
        console.say(f"ledger and objects agree ({looked})")
        return
    console.say(f"{len(report.findings)} findings ({looked})")
    if moved:
        console.say(f"{len(moved)} objects were set aside:")
        for old, new in moved.items():
            console.say(f"  {old} -> {new}")
    repairable = any(finding.damaged or finding.numbers for finding in report.findings)
    first, last = (
        (["catalunya verify --repair"] if repairable and not moved else []),
        (["catalunya verify"] if moved else []),
    )
    console.say("what mends it:")
    for step in dict.fromkeys([*first, *(finding.todo for finding in report.findings if finding.todo), *last]):
        console.say(f"  {step}")
