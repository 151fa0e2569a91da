"""What moved, as an Atom feed (RFC 4287) in each language: one entry for each published version of a mart, the newest first.

Here: the feeds. Not here: which versions there are (`downloads.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from catalunya.assets.graph.spec import Asset
from catalunya.assets.graph.titles import PROJECT, title_of
from catalunya.portal.descriptions.xml import document, text_of
from catalunya.portal.downloads import Version, versions
from catalunya.portal.language import Language
from catalunya.portal.publisher import publisher_of
from catalunya.portal.site import HOME, Site, data_folder, feed_path, table_path

ATOM = "http://www.w3.org/2005/Atom"
ENTRIES = 50
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def updates(site: Site) -> list[tuple[Asset, Version]]:
    """The published versions of all marts, the newest first, as many as a feed has."""
    found = [(asset, version) for asset in site.marts for version in versions(site, asset)]
    return sorted(found, key=lambda each: (each[1].issued, each[0].key), reverse=True)[:ENTRIES]


def feed(site: Site, code: str) -> bytes:
    """The feed of one language. The id of an entry is the address of its version, without ending, which never changes."""
    language, moved = Language(code), updates(site)
    title = language.t("description.feed", title=title_of(PROJECT, code))
    root = ET.Element("feed", {"xmlns": ATOM, "xml:lang": code})
    _add(root, "id", site.absolute(feed_path(code)))
    _add(root, "title", title)
    sample = f"{language.t('common.sample')} " if site.is_sample else ""
    _add(root, "subtitle", sample + language.t("description.feed_about"))
    _add(root, "updated", _moment(moved[0][1].issued if moved else _NEVER))
    ET.SubElement(root, "link", {"rel": "self", "type": "application/atom+xml", "href": site.absolute(feed_path(code))})
    ET.SubElement(root, "link", {"rel": "alternate", "type": "text/html", "href": site.absolute(site.page(code, HOME))})
    author = ET.SubElement(root, "author")
    _add(author, "name", publisher_of(site.project.settings).name or title_of(PROJECT, code))
    _add(root, "rights", site.declared.licence.name)
    for asset, version in moved:
        root.append(_entry(site, language, asset, version))
    return document(root)


def _entry(site: Site, language: Language, asset: Asset, version: Version) -> ET.Element:
    entry = ET.Element("entry")
    table = title_of(asset.key, language.code)
    _add(entry, "id", site.absolute(f"{data_folder(asset.key)}/{version.name}"))
    _add(entry, "title", language.t("description.feed_version", table=table))
    _add(entry, "updated", _moment(version.issued))
    page = site.absolute(site.page(language.code, table_path(asset.key)))
    ET.SubElement(entry, "link", {"rel": "alternate", "type": "text/html", "href": page})
    _add(entry, "summary", " ".join(_summary(language, version)))
    return entry


def _summary(language: Language, version: Version) -> Iterator[str]:
    yield language.t("description.feed_page", version=version.name, moment=language.moment(version.issued))
    if version.entry:
        yield language.t("description.feed_rows", version.entry.rows)


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text_of(text)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
