"""The site as one more table of the pipeline: what of it is out of date, when it is built, and how its last build ended.

State, not events: a build follows from the ledger and from `portal.json`, whatever started the run. Here: that decision, the lease, the record of
the last build. Not here: building (`build.py`), the DAG (`dags/portal.py`), how it looks in `status` (`ops/status.py`).
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from catalunya.assets.record.lease import Held, holder, lease
from catalunya.assets.record.ledger import Entry, Time
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import FIRST_RETRY, LONGEST_RETRY, State
from catalunya.io.environment import Settings
from catalunya.io.errors import LedgerError, one_line
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake
from catalunya.io.safe_text import safe_text
from catalunya.ops.watching.findings import FOLDER, Board
from catalunya.portal.build import Built, SiteState, build, moved, read_state
from catalunya.portal.declaration import Declaration
from catalunya.portal.publish import open_site
from catalunya.portal.site import Site, read_site

KEY = "portal"
LAST = f"{FOLDER}/portal.json"
"""How the last build ended. Beside what the watch keeps, because what is in the site's own folder is public."""
LATE = timedelta(hours=1)
"""How long a build waits for tables that are about to be made."""
NEEDS = ("babel", "jinja2")
"""What pages cannot be written without: of the extra `portal`."""

Condition = Literal["fresh", "stale", "missing", "failed", "running"]


class LastBuild(msgspec.Struct, frozen=True):
    """How the last build ended: `error` is empty if it was complete. `failures`: builds that failed since the last complete one."""

    run_id: str
    at: Time
    seconds: float
    error: str = ""
    failures: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0

    @property
    def next_try(self) -> datetime:
        """When a build that failed is tried again although nothing has changed since."""
        doubled: int = 2 ** min(max(self.failures - 1, 0), 16)
        return self.at + min(FIRST_RETRY * doubled, LONGEST_RETRY)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """The site now. `moved`: the parts that a build would make; `behind_since`: when a table changed that the site does not show as it is."""

    state: Condition
    why: str
    built: SiteState | None
    last: LastBuild | None
    moved: tuple[str, ...] = ()
    behind_since: datetime | None = None

    @property
    def bytes(self) -> int | None:
        """The size of the whole site."""
        if self.built is None:
            return None
        return sum(size for part in self.built.parts.values() for _, size in part.files.values())


def lacking() -> str:
    """Why this process cannot build pages: which of the extra `portal` is not installed; empty if it can."""
    absent = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} is not installed: pip install 'catalunya[portal]'" if absent else ""


def read_built(settings: Settings) -> SiteState | None:
    """What was built last; None if nothing was. Nothing is created. Raises LakeError."""
    place = settings.portal_folder
    return None if "://" not in place and not Path(place).exists() else read_state(open_site(settings))


def brief_status(project: Project, state: State, board: Board | None = None) -> SiteStatus:
    """How the site stands as far as its tables tell, without what it takes to make pages: for commands that only look. Raises LakeError."""
    return status(read_site(project, state=state, board=board, declared=Declaration()), brief=True)


def status(site: Site, *, brief: bool = False) -> SiteStatus:
    """How the site stands. `brief`: only whether it shows its tables as they are. Raises LakeError."""
    built = read_built(site.project.settings)
    last = read_last(site.project.lake)
    held = holder(site.project.lake, KEY, site.project.settings.lease_s)
    changed = unseen(site, built)
    since = behind_since(site, built, changed)
    found = tuple(moved(site, built, open_site(site.project.settings))) if built and not brief and not lacking() else ()
    state, why = _condition(built, last, held, changed or found)
    return SiteStatus(state=state, why=why, built=built, last=last, moved=found, behind_since=since)


def _condition(
    built: SiteState | None, last: LastBuild | None, held: Held | None, changed: Sequence[str]
) -> tuple[Condition, str]:
    if held:
        return "running", f"in run {held.run_id}"
    if last and last.error:
        return "failed", f"next try at {last.next_try:%Y-%m-%d %H:%M} UTC: {last.error}"
    if built is None:
        return "missing", "it has never been built"
    if set(changed) >= built.parts.keys():
        return "stale", "the portal's code, or what every page shows, changed"
    return ("stale", f"{_some(changed)} changed") if changed else ("fresh", "")


def unseen(site: Site, built: SiteState | None) -> list[str]:
    """The tables that are not what the site shows, or that it does not show yet."""
    shown = built.tables if built else {}
    return [asset.key for asset in site.published if site.version(asset.key) not in ("", shown.get(asset.key))]


def behind_since(site: Site, built: SiteState | None, changed: Sequence[str]) -> datetime | None:
    """When the first of the tables changed that the site does not show as they are (`unseen`); None if there are none.

    Of a table that has changed several times since, as far back as it matters: until what the site shows, or until it is late.
    """
    return min((_first_change(site, key, built) for key in changed), default=None)


def _first_change(site: Site, key: str, built: SiteState | None) -> datetime:
    shown = built.tables.get(key) if built else None
    entry = site.entry(key)
    first = entry.recorded_at if entry else site.now
    number = entry.sequence - 1 if entry else 0
    while shown and number and site.now - first <= LATE:
        before = _read(site, key, number)
        if before is None or (before.is_made and before.data_version == shown):
            break
        first, number = (before.recorded_at if before.is_made else first), number - 1
    return first


def _read(site: Site, key: str, number: int) -> Entry | None:
    try:
        return site.project.ledger.read(key, number)
    except LedgerError:
        return None


def waits_for(site: Site, built: SiteState | None) -> str:
    """Why the site should not be built yet: a table that it shows is about to be made, so that a wave of tables makes one build. Empty if it
    should, also because it has waited for longer than `LATE`."""
    coming = [asset.key for asset in site.published if site.state.is_coming(asset.key)]
    since = behind_since(site, built, unseen(site, built))
    if not coming or (since and site.now - since > LATE):
        return ""
    return f"{_some(coming)} will be made first"


def is_due(site: Site, found: SiteStatus | None = None, *, again: bool = False) -> str:
    """Why a build should be started: what changed without a run that noticed; empty if it should not. `found`: how the site stands, if that is
    known already; `again`: also shortly after a failure."""
    found = found or status(site)
    is_behind = found.built is None or bool(found.moved)
    if lacking() or found.state == "running" or not is_behind or waits_for(site, found.built):
        return ""
    if all(not site.version(asset.key) for asset in site.published):
        return ""
    if not again and found.last and found.last.error and site.now < found.last.next_try:
        return ""
    return found.why


def build_site(
    project: Project,
    run_id: str,
    *,
    everything: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Built:
    """Build what moved, under the site's lease, and record how it ended.

    Raises LeaseHeld while another run builds it, LakeError, ConfigurationError.
    """
    began, to = time.monotonic(), open_site(project.settings)
    with lease(project.lake, KEY, run_id, project.settings.lease_s) as mine:
        last = read_last(project.lake)
        try:
            made = build(read_site(project), to, everything=everything, progress=progress, check=mine.check)
        except Exception as error:
            text, failures = (
                f"{type(error).__name__}: {safe_text(one_line(error)[0], 500)}",
                last.failures if last else 0,
            )
            _record(project.lake, LastBuild(run_id, datetime.now(UTC), time.monotonic() - began, text, failures + 1))
            raise
        if made.made or made.deleted or (last and last.error):
            _record(project.lake, LastBuild(run_id, datetime.now(UTC), time.monotonic() - began))
    return made


def why_not(project: Project) -> str:
    """Why a run that something changed has started should not build; empty if it should. Raises LakeError, ConfigurationError."""
    if why := lacking():
        return why
    site, built = read_site(project), read_built(project.settings)
    if built is not None and not moved(site, built, open_site(project.settings)):
        return "nothing changed since the last build"
    return waits_for(site, built)


def read_last(lake: Lake) -> LastBuild | None:
    """How the last build ended; None if there was none, or its record cannot be read. Raises LakeError."""
    found = lake.find(LAST)
    try:
        return json_decoder(LastBuild).decode(found) if found else None
    except BROKEN_JSON:
        return None


def _record(lake: Lake, last: LastBuild) -> None:
    lake.put(LAST, msgspec.json.encode(last))


def _some(names: Sequence[str]) -> str:
    """Names, the first few of many."""
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
