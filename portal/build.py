"""Building the site: its parts, what each is made from, and writing what moved since the last build.

A part is a group of files that are made from the same things. `portal.json`, written last, says what each part was made from and which files it has:
a build that is killed is done again by the next one, and a part whose inputs are the same is not made. Which files of earlier versions there are
(`DATED`), the store itself says: also those of a build that was killed, or whose `portal.json` is lost. Here: that rule, and the parts in order. Not
here: what a part's files contain (`*_page.py`, `downloads.py`, …), where a site is published (`publish.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

import msgspec

from catalunya.assets.graph.spec import digest
from catalunya.io.errors import LakeError
from catalunya.io.lake import Lake
from catalunya.portal.site import DATED, Site

STATE = "portal.json"
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class File:
    """One file of the site. `body` is None for a file of an earlier build that stays as it is. `is_fixed`: its content never changes."""

    path: str
    body: bytes | Path | None
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Files that are made together. `made_from`: whatever decides what is in them, by name: versions, settings. What every
    page shows (`Site.setting`) and the portal's own code are added."""

    name: str
    made_from: Mapping[str, str]
    files: Callable[[], Iterable[File]]


class Made(msgspec.Struct, frozen=True):
    """A part as it was made: the digest of what it was made from, and its files: path -> (SHA-256, bytes)."""

    version: str
    files: dict[str, tuple[str, int]]


class SiteState(msgspec.Struct, frozen=True):
    """What `portal.json` holds: when the site last changed, the data versions it shows, the published versions of each table (name -> data
    version), and its parts."""

    built_at: datetime
    tables: dict[str, str] = {}
    versions: dict[str, dict[str, str]] = {}
    parts: dict[str, Made] = {}


@dataclass(slots=True)
class Built:
    """What a build did: parts made, files written and deleted, the size of the whole site in bytes."""

    made: list[str] = field(default_factory=list)
    same: int = 0
    written: int = 0
    deleted: int = 0
    files: int = 0
    bytes: int = 0


def parts(site: Site) -> Iterator[Part]:
    """All parts of the site, in order: each may read the sizes of files of those before it (`Site.files`)."""
    from catalunya.portal import (
        about_page,
        downloads,
        home_page,
        lineage_page,
        quality_page,
        static_files,
        table_page,
        tables_page,
    )
    from catalunya.portal.descriptions import parts as descriptions

    yield from static_files.parts(site)
    yield from downloads.parts(site)
    yield from home_page.parts(site)
    yield from tables_page.parts(site)
    yield from table_page.parts(site)
    yield from quality_page.parts(site)
    yield from lineage_page.parts(site)
    yield from about_page.parts(site)
    yield from descriptions.parts(site)


def read_state(to: Lake) -> SiteState | None:
    """What was built last; None if nothing was, or if it cannot be read: then all is built again."""
    try:
        found = to.find(STATE)
        return msgspec.json.decode(found, type=SiteState) if found else None
    except (msgspec.DecodeError, LakeError):
        return None


def moved(site: Site, state: SiteState | None) -> list[str]:
    """The parts that a build would make."""
    known = state.parts if state else {}
    _begin(site, state, _files(state))
    return [
        part.name for part in parts(site) if part.name not in known or known[part.name].version != _version(site, part)
    ]


def build(site: Site, to: Lake, *, everything: bool = False, progress: Callable[[str], None] = lambda _: None) -> Built:
    """Make the parts that moved since the last build (or `everything`), and write their files. Raises LakeError.

    Readers of a folder see an old file or a new one, never half of one. Files that are in no part any more are deleted at the end.
    """
    from catalunya.portal.downloads import versions

    last, built = read_state(to), Built()
    known, before = last.parts if last else {}, _present(last, to)
    _begin(site, last, before)
    made: dict[str, Made] = {}
    for part in parts(site):
        earlier, version = known.get(part.name), _version(site, part)
        if earlier is not None and earlier.version == version and not everything:
            made[part.name] = earlier
            built.same += 1
            continue
        progress(part.name)
        files = _write(site, part, before, to, built, everything=everything)
        for path in (earlier.files if earlier else {}).keys() - files:
            site.files.pop(path, None)
        made[part.name] = Made(version, files)
        built.made.append(part.name)
    present = {path for each in made.values() for path in each.files}
    gone = sorted(({path for each in known.values() for path in each.files} | before.keys()) - present)
    if built.made or gone:
        tables = {asset.key: site.version(asset.key) for asset in site.published}
        names = {asset.key: {each.name: each.data_version for each in versions(site, asset)} for asset in site.marts}
        to.put(STATE, msgspec.json.encode(SiteState(site.now, tables, names, made)))
        to.delete(gone)
    built.deleted, built.files = len(gone), len(present)
    built.bytes = sum(size for each in made.values() for _, size in each.files.values())
    return built


def _begin(site: Site, state: SiteState | None, files: Mapping[str, tuple[str, int]]) -> None:
    """Let the parts know what is published already."""
    site.files.clear()
    site.files.update(files)
    site.names.clear()
    site.names.update(state.versions if state else {})


def _files(state: SiteState | None) -> dict[str, tuple[str, int]]:
    return {path: about for part in state.parts.values() for path, about in part.files.items()} if state else {}


def _present(state: SiteState | None, to: Lake) -> dict[str, tuple[str, int]]:
    """The files of the last build; of those that never change, the ones that are in the store."""
    recorded = _files(state)
    found = {path: about for path, about in recorded.items() if not DATED.fullmatch(path)}
    for path, size, _ in to.objects("data"):
        if DATED.fullmatch(path):
            about = recorded.get(path)
            found[path] = about if about and about[1] == size else (to.sha256(path), size)
    return found


def _write(
    site: Site, part: Part, before: Mapping[str, tuple[str, int]], to: Lake, built: Built, *, everything: bool
) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for file in part.files():
        if file.body is None:
            if file.path in before:
                found[file.path] = before[file.path]
            continue
        about = _about(file.body)
        if everything or before.get(file.path) != about:
            to.put(file.path, file.body)
            built.written += 1
        found[file.path] = site.files[file.path] = about
    return found


def _about(body: bytes | Path) -> tuple[str, int]:
    """The SHA-256 of a file, which is read piece by piece, and its bytes."""
    if isinstance(body, bytes):
        return hashlib.sha256(body).hexdigest(), len(body)
    with body.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest(), body.stat().st_size


def _version(site: Site, part: Part) -> str:
    return digest(_code(), site.setting, *(f"{name}={value}" for name, value in sorted(part.made_from.items())))


@cache
def _code() -> str:
    """The version of the portal itself: its code, templates, words and styles."""
    found = sorted(path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return digest(*(f"{path.relative_to(HERE)}\0{path.read_bytes().hex()}" for path in found))
