"""Building the site: its parts, what each is made from, and writing what moved since the last build.

A part is a group of files that are made from the same things. `portal.json`, written last, says what each part was made from and which files it has:
a build that is killed is done again by the next one, and a part whose inputs are the same and whose files are all there is not made. Which files there
are, the store itself says, by one listing: of earlier versions (`DATED`) also those of a build that was killed, or whose `portal.json` is lost. Here:
that rule, and the parts in order. Not here: what a part's files contain (`*_page.py`, `downloads.py`, …), where a site is published (`publish.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec

from catalunya.assets.graph.spec import digest
from catalunya.io.errors import ConfigurationError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.lake import Lake
from catalunya.portal.publish import Publisher, headers
from catalunya.portal.site import DATED, VERSION, Site

STATE = "portal.json"
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class File:
    """One file of the site. `body` is None for a file of an earlier build that stays as it is; one that is a path is read at once, and may
    be deleted when the next file is asked for. `is_fixed`: its content never changes."""

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


_STEP = r"(?!\.{1,2}(?:/|\Z))[^/\\\x00-\x1f\x7f]+"
# What a build deletes and writes is in its folder, also if `portal.json` was edited.
_Path = Annotated[str, msgspec.Meta(pattern=rf"\A{_STEP}(?:/{_STEP})*\Z")]
_Name = Annotated[str, msgspec.Meta(pattern=rf"\A{VERSION}\Z")]


class Made(msgspec.Struct, frozen=True):
    """A part as it was made: the digest of what it was made from, and its files: path -> (SHA-256, bytes)."""

    version: str
    files: dict[_Path, tuple[str, int]]


class SiteState(msgspec.Struct, frozen=True):
    """What `portal.json` holds: when the site last changed, the data versions it shows, the published versions of each table (name -> data
    version), whether they are the mock's, and its parts."""

    built_at: datetime
    tables: dict[str, str] = {}
    versions: dict[str, dict[_Name, str]] = {}
    is_sample: bool = False
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
    """All parts of the site, in the order in which they are published: what pages link to before the pages.

    A part may read the sizes of files of those before it (`Site.files`).
    """
    from catalunya.portal import (
        about_page,
        downloads,
        geojson,
        home_page,
        lineage_page,
        map_page,
        place_page,
        places_page,
        quality_page,
        static_files,
        table_page,
        tables_page,
    )
    from catalunya.portal.descriptions import parts as descriptions

    yield from static_files.parts(site)
    # Early, so that readers see what is wrong even if that keeps a later part from being made.
    yield from quality_page.parts(site)
    yield from downloads.parts(site)
    yield from geojson.parts(site)
    yield from home_page.parts(site)
    yield from places_page.parts(site)
    yield from place_page.parts(site)
    yield from tables_page.parts(site)
    yield from table_page.parts(site)
    yield from map_page.parts(site)
    yield from lineage_page.parts(site)
    yield from about_page.parts(site)
    yield from descriptions.parts(site)


def read_state(to: Lake) -> SiteState | None:
    """What was built last; None if nothing was, or what is there is no such record: then all is built again. Raises LakeError."""
    try:
        found = to.find(STATE)
        return json_decoder(SiteState).decode(found) if found else None
    except BROKEN_JSON:
        return None


def moved(site: Site, state: SiteState | None, to: Lake) -> list[str]:
    """The parts that a build would make, or whose files it would delete. Raises LakeError."""
    known, there = state.parts if state else {}, _present(state, to)
    _begin(site, state, there)
    versions = {part.name: _version(site, part) for part in parts(site)}
    changed = [name for name, version in versions.items() if not _is_made(known.get(name), version, there)]
    return [*changed, *(name for name in known if name not in versions)]


def build(
    site: Site,
    to: Lake,
    *,
    everything: bool = False,
    progress: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> Built:
    """Make the parts that moved since the last build (or `everything`), and write their files. Raises LakeError; ConfigurationError if
    another site is there, which is left as it is.

    Readers see an old file or a new one, never half of one, and no page before the files it links to. Files that are in no part any more are
    deleted at the end. What is about to change is unknown to `portal.json` until all of it is written: a build that was stopped is done again.
    `check` is called before anything is recorded, and raises if another run has taken over.
    """
    from catalunya.portal import downloads

    last, built = read_state(to), Built()
    if last is None:
        _refuse_another_site(to)
    known, there = last.parts if last else {}, _present(last, to)
    _begin(site, last, there)
    versions = [(part, _version(site, part)) for part in parts(site)]
    same = {
        part.name for part, version in versions if not everything and _is_made(known.get(part.name), version, there)
    }
    gone_parts = known.keys() - {part.name for part, _ in versions}
    for path in (path for name in gone_parts for path in known[name].files):
        site.files.pop(path, None)
    if last and (len(same) < len(versions) or gone_parts):
        begun = {name: each if name in same else Made("", each.files) for name, each in known.items()}
        check()
        _keep(to, SiteState(last.built_at, last.tables, last.versions, last.is_sample, begun))
    made: dict[str, Made] = {}
    with Publisher(to) as publisher:
        for part, version in versions:
            if part.name in same:
                made[part.name] = known[part.name]
                continue
            progress(part.name)
            before = known.get(part.name, Made("", {}))
            again = everything or not before.version
            files = _write(site, part, there, publisher, built, everything=again)
            for path in before.files.keys() - files:
                site.files.pop(path, None)
            made[part.name] = Made(version, files)
            built.made.append(part.name)
    built.same = len(same)
    present = {path for each in made.values() for path in each.files}
    gone = sorted({*there, *(path for each in known.values() for path in each.files)} - present)
    if built.made or gone:
        check()
        to.delete(gone)
        tables = {asset.key: site.version(asset.key) for asset in site.published}
        _keep(to, SiteState(site.now, tables, downloads.names(site), site.is_sample, made))
    built.deleted, built.files = len(gone), len(present)
    built.bytes = sum(size for each in made.values() for _, size in each.files.values())
    return built


def _refuse_another_site(to: Lake) -> None:
    from catalunya.portal.rendering import STYLE

    # Each site of ours has its styles before its first page.
    if not to.exists(STYLE) and (other := next(filter(to.exists, ("index.html", "404.html", "robots.txt")), None)):
        raise ConfigurationError(
            f"expected an empty folder or a built site in {to.root}, found {other} of something else; nothing was written; "
            f"give another folder, or delete that file"
        )


def _keep(to: Lake, state: SiteState) -> None:
    to.put(STATE, msgspec.json.encode(state), headers(STATE, is_fixed=False))


def _begin(site: Site, state: SiteState | None, files: Mapping[str, tuple[str, int]]) -> None:
    """Let the parts know what is published already. Versions of sample data are not among those of real data."""
    was_sample = state is not None and state.is_sample and not site.is_sample
    site.files.clear()
    site.files.update((path, about) for path, about in files.items() if not (was_sample and DATED.fullmatch(path)))
    site.names.clear()
    site.names.update(state.versions if state and not was_sample else {})


def _is_made(made: Made | None, version: str, there: Mapping[str, tuple[str, int]]) -> bool:
    """Whether a part was made from what it would be made from now, and all of its files are there."""
    if made is None or made.version != version:
        return False
    return all(there.get(path) == about for path, about in made.files.items())


def _present(state: SiteState | None, to: Lake) -> dict[str, tuple[str, int]]:
    """The files of the last build, and those that never change, as far as they are in the store with the size that they had."""
    recorded = {path: about for part in state.parts.values() for path, about in part.files.items()} if state else {}
    found = {}
    for path, size, _ in to.objects(""):
        about = recorded.get(path)
        if about and about[1] == size:
            found[path] = about
        elif DATED.fullmatch(path):
            found[path] = (to.sha256(path), size)
    return found


def _write(
    site: Site, part: Part, before: Mapping[str, tuple[str, int]], to: Publisher, built: Built, *, everything: bool
) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for file in part.files():
        if file.body is None:
            if file.path in before:
                found[file.path] = before[file.path]
            continue
        about = _about(file.body)
        if everything or before.get(file.path) != about:
            to.put(file.path, file.body, is_fixed=file.is_fixed)
            built.written += 1
        found[file.path] = site.files[file.path] = about
    return dict(sorted(found.items()))


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
