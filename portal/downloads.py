"""The data to take away: each mart as files, the latest version and every published one.

A version is one content of the table, named by the minute in which the ledger first had it: `2026-11-29T1405Z`; the second one of a minute ends with
`-2`. Its files never change, whatever becomes of the code that wrote them, and stay for the table's `keep_days` after another version replaced it.
A table that cannot be read keeps the files that it has. Which versions there are follows from the files that are published (`Site.files`), their names
(`Site.names`) and the ledger; `versions.json` beside them tells readers.

Here: versions, files, addresses. Not here: how a format is written (`formats.py`), pages that list files. Staging tables have no files: they are steps
on the way to the marts, and change with them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec

from catalunya.assets.graph.spec import Asset, Layer, digest
from catalunya.assets.graph.titles import title_of
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import scan_objects
from catalunya.assets.record.versions import fetch_version
from catalunya.contracts.model.columns import Column
from catalunya.io.project_folder import active
from catalunya.portal.build import File, Part
from catalunya.portal.formats import FORMATS, About, Format, Sheet, formats
from catalunya.portal.language import Language
from catalunya.portal.rights import rights_of
from catalunya.portal.site import DATED, Site, data_folder
from catalunya.portal.translations import translated

LATEST = "latest"
_NAME = "%Y-%m-%dT%H%MZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One published content of a table. `entry` is the ledger's first with it; None if the ledger does not have it (any more).

    `issued`: the minute of its name. `replaced_at`: when another content took its place; None for the one that the table has now, or if the ledger
    cannot be read: then it is kept.
    """

    key: str
    name: str
    data_version: str
    issued: datetime
    replaced_at: datetime | None
    kept_until: datetime | None
    is_latest: bool
    entry: Entry | None
    paths: tuple[str, ...]

    @property
    def citation(self) -> str:
        """What to cite: `catalunya:marts.fact_gdp_quarterly@2026-11-29T1405Z`."""
        return f"{active().name}:{self.key}@{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One file with a whole table. `title` is a word of `[download]`. `bytes` and `sha256` are not known before the file was made."""

    path: str
    format: str
    media_type: str
    title: str
    issued: datetime
    is_latest: bool
    version: str
    bytes: int | None
    sha256: str | None


def versions(site: Site, asset: Asset) -> list[Version]:
    """The published versions of a table, newest first, and its present one even if its files are yet to be made. Expired ones are not among them."""
    entry, history = site.entry(asset.key), site.histories[asset.key]
    is_known = bool(entry and history)
    spans = _spans(history or ([entry] if entry else []))
    names = _names(site.names.get(asset.key, {}), spans)
    paths: dict[str, list[str]] = {}
    folder = data_folder(asset.key)
    for path in site.files.below(folder):
        if match := DATED.fullmatch(path):
            paths.setdefault(match["version"], []).append(path)
    current = next((name for name, version in names.items() if entry and version == entry.data_version), "")
    if current and entry:
        due = [f"{folder}/{current}{each.ending}" for each in formats(entry.rows)]
        paths[current] = list(dict.fromkeys([*due, *paths.get(current, [])]))
    ordered = sorted(paths, key=_order)
    found = []
    for at, name in enumerate(ordered):
        first, replaced_at = spans.get(names.get(name, ""), (None, None))
        if first is None and at + 1 < len(ordered):  # the ledger has lost it
            replaced_at = _time(ordered[at + 1])
        if name == current or not is_known:
            replaced_at = None
        until = replaced_at + timedelta(days=asset.keep_days) if replaced_at else None
        if until and until <= site.now:
            continue
        found.append(
            Version(
                key=asset.key,
                name=name,
                data_version=names.get(name, ""),
                issued=_time(name),
                replaced_at=replaced_at,
                kept_until=until,
                is_latest=name == current,
                entry=first,
                paths=tuple(sorted(paths[name], key=_format_order)),
            )
        )
    return found[::-1]


def distributions(site: Site, asset: Asset) -> list[Distribution]:
    """The files of a mart: the latest ones, then those of each version, newest first. None for other layers."""
    if asset.layer is not Layer.MARTS:
        return []
    known, folder = versions(site, asset), data_folder(asset.key)
    latest = next((each for each in known if each.is_latest), None)
    found = [_distribution(site, path, each) for each in known for path in each.paths]
    if latest and latest.entry and (entry := site.entry(asset.key)):
        newest = [f"{folder}/{LATEST}{each.ending}" for each in formats(entry.rows)]
    else:  # it cannot be read now: what is published stays
        newest = [path for path in site.files.below(folder) if path.startswith(f"{folder}/{LATEST}")]
        latest = known[0] if known else None
    return ([_distribution(site, path, latest, is_latest=True) for path in newest] if latest else []) + found


def made_from(site: Site, asset: Asset) -> str:
    """What the list of a table's versions and files depends on, for `Part.made_from` of the pages that show it."""
    known = [
        (each.name, each.data_version, str(each.kept_until), each.is_latest, *each.paths)
        for each in versions(site, asset)
    ]
    return digest(site.version(asset.key), repr(known))


def names(site: Site) -> dict[str, dict[str, str]]:
    """The published versions of each mart, name -> data version, as `portal.json` keeps them: a version keeps its name."""
    return {
        asset.key: {each.name: each.data_version for each in versions(site, asset) if each.data_version}
        for asset in site.marts
    }


def parts(site: Site) -> Iterator[Part]:
    """One part for each mart."""
    for asset in site.marts:
        described = digest(asset.description, repr(asset.columns), repr(rights_of(site, asset)))
        about = {"versions": made_from(site, asset), "described": described}
        yield Part(data_folder(asset.key), about, partial(_files, site, asset))


def _files(site: Site, asset: Asset) -> Iterator[File]:
    folder, entry = data_folder(asset.key), site.in_full(asset.key)
    known = versions(site, asset)
    current = next((each for each in known if each.is_latest), None)
    if entry is None or current is None:
        yield from (File(path, None) for path in list(site.files.below(folder)))
        return
    for each in known:
        yield from (File(path, None, is_fixed=True) for path in each.paths if path in site.files)
    columns = _public(asset)
    about = About(current.issued, [_sheet(site, asset, current, code) for code in site.languages])
    with tempfile.TemporaryDirectory(prefix="catalunya-", dir=site.project.settings.scratch) as scratch:
        objects = fetch_version(site.project.lake, asset, entry, Path(scratch) / "table")
        key = [column.name for column in columns if column.key]
        table = scan_objects(objects, asset).select(column.name for column in columns)
        rows = (table.sort(key, maintain_order=True) if key else table).collect()
        for form in formats(entry.rows):
            made, dated = Path(scratch) / f"made{form.ending}", f"{folder}/{current.name}{form.ending}"
            form.write(rows, made, about)
            yield File(f"{folder}/{LATEST}{form.ending}", made)
            if dated not in site.files:
                yield File(dated, made, is_fixed=True)
            made.unlink()
    yield File(f"{folder}/versions.json", _listing(site, asset, known))


def _sheet(site: Site, asset: Asset, version: Version, code: str) -> Sheet:
    """What a table is, in one language. Contracts' texts that are not translated are English."""
    language, licence = Language(code), site.declared.licence
    t = language.t
    facts = [
        (t("download.table"), f"{title_of(asset.key, code)} ({asset.key})"),
        (t("download.description"), _plain(asset.description, code)),
        (t("download.version"), f"{version.citation} ({version.data_version})"),
        (t("download.licence"), f"{licence.name}, {licence.url}"),
        *((t("download.rights"), f"{each.text(code)} {each.url}") for each in rights_of(site, asset)),
    ]
    return Sheet(
        language.name,
        [("", t("common.sample")), *facts] if site.is_sample else facts,
        [t(f"table.{name}") for name in ("column", "meaning", "unit", "type")],
        [
            (
                each.name,
                _plain(each.description, code),
                translated(each.unit or "", code)[0],
                t(f"table.type_{each.type}"),
            )
            for each in _public(asset)
        ],
    )


def _plain(text: str, code: str) -> str:
    return translated(text, code)[0].replace("`", "")


def _public(asset: Asset) -> list[Column]:
    return [column for column in asset.columns if not column.personal]


def _listing(site: Site, asset: Asset, known: list[Version]) -> bytes:
    """`versions.json`: what each published version is and its files, with their SHA-256."""
    about = {
        "table": asset.key,
        "title": {language: title_of(asset.key, language) for language in site.languages},
        "licence": site.declared.licence.url,
        "rights": [each.url for each in rights_of(site, asset)],
        "is_sample": site.is_sample,
        "versions": [
            {
                "name": each.name,
                "citation": each.citation,
                "data_version": each.data_version,
                "issued": each.issued,
                "is_latest": each.is_latest,
                "kept_until": each.kept_until,
                "rows": each.entry.rows if each.entry else None,
                "made_from": each.entry.versions if each.entry else {},
                "files": [
                    {"name": path.rpartition("/")[2], "bytes": site.files[path][1], "sha256": site.files[path][0]}
                    for path in each.paths
                    if path in site.files
                ],
            }
            for each in known
        ],
    }
    return msgspec.json.format(msgspec.json.encode(about), indent=1)


def _spans(history: Iterable[Entry]) -> dict[str, tuple[Entry, datetime | None]]:
    """The contents that a table had: data version -> (the first entry with it, when another one last took its place)."""
    spans: dict[str, tuple[Entry, datetime | None]] = {}
    before, at = "", None
    for entry in history:
        if entry.status == "failed":
            continue
        # Clocks differ between machines, but an entry was never recorded before its predecessor.
        at = max(at, entry.recorded_at) if at else entry.recorded_at
        if before and before != entry.data_version:
            spans[before] = (spans[before][0], at)
        first = spans[entry.data_version][0] if entry.data_version in spans else entry
        spans[entry.data_version] = (first, None)
        before = entry.data_version
    return spans


def _names(published: Mapping[str, str], spans: Mapping[str, tuple[Entry, datetime | None]]) -> dict[str, str]:
    """Version name -> data version: as they were published, and for all others that the ledger knows."""
    names = dict(published)
    for data_version, (first, _) in spans.items():
        if data_version in published.values():
            continue
        base = f"{first.recorded_at.astimezone(UTC):{_NAME}}"
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names[name] = data_version
    return names


def _order(name: str) -> tuple[str, int]:
    """Version names in the order of time."""
    at, _, number = name.partition("Z")
    return at, int(number.removeprefix("-") or 1)


def _time(name: str) -> datetime:
    return datetime.strptime(f"{name.partition('Z')[0]}Z", _NAME).replace(tzinfo=UTC)


def _format_of(path: str) -> Format | None:
    # The longest ending first: `-excel.csv` is a `.csv` too.
    return next(
        (each for each in sorted(FORMATS, key=lambda each: -len(each.ending)) if path.endswith(each.ending)), None
    )


def _format_order(path: str) -> int:
    found = _format_of(path)
    return FORMATS.index(found) if found else len(FORMATS)


def _distribution(site: Site, path: str, version: Version, *, is_latest: bool = False) -> Distribution:
    found, (sha256, size) = _format_of(path), site.files.get(path, (None, None))
    name = found.name if found else path.rpartition(".")[2]
    return Distribution(
        path=path,
        format=name,
        media_type=found.media_type if found else "application/octet-stream",
        title=f"download.{name}",
        issued=version.issued,
        is_latest=is_latest,
        version=version.name,
        bytes=size,
        sha256=sha256,
    )
