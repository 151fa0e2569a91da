"""For search engines: `sitemap.xml` with every page in all its languages, and `robots.txt`, which keeps them away from sample data.

A sitemap has at most 50,000 addresses (sitemaps.org); with more pages, `sitemap.xml` lists several. Here: these files. Not here: `hreflang` in a page
itself (`templates/base.html`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from catalunya.portal.build import File
from catalunya.portal.descriptions.xml import document
from catalunya.portal.site import Site

SITEMAP, ROBOTS = "sitemap.xml", "robots.txt"
SCHEMA, XHTML = "http://www.sitemaps.org/schemas/sitemap/0.9", "http://www.w3.org/1999/xhtml"
ADDRESSES = 50_000


def pages(site: Site) -> list[str]:
    """The pages of the site that are built, by their path without language and ending, in order."""
    return sorted(
        path.partition("/")[2].removesuffix(".html")
        for path in site.files
        if path.startswith(f"{site.languages[0]}/") and path.endswith(".html")
    )


def sitemaps(site: Site, paths: Sequence[str], most: int = ADDRESSES) -> Iterator[File]:
    """The sitemap of these pages; several and their index if they have more than `most` addresses."""
    size = most // len(site.languages)
    groups = [paths[at : at + size] for at in range(0, len(paths), size)]
    if len(groups) < 2:
        yield File(SITEMAP, _sitemap(site, paths))
        return
    root = ET.Element("sitemapindex", {"xmlns": SCHEMA})
    for number, group in enumerate(groups, start=1):
        name = f"sitemap-{number}.xml"
        yield File(name, _sitemap(site, group))
        ET.SubElement(ET.SubElement(root, "sitemap"), "loc").text = site.absolute(name)
    yield File(SITEMAP, document(root))


def robots(site: Site) -> bytes:
    """`robots.txt`. It counts only at the root of a host."""
    if site.is_sample:
        return b"# Sample data: not real.\nUser-agent: *\nDisallow: /\n"
    return f"User-agent: *\nAllow: /\n\nSitemap: {site.absolute(SITEMAP)}\n".encode()


def _sitemap(site: Site, paths: Sequence[str]) -> bytes:
    root = ET.Element("urlset", {"xmlns": SCHEMA, "xmlns:xhtml": XHTML})
    for path in paths:
        addresses = {code: site.absolute(site.page(code, path)) for code in site.languages}
        for address in addresses.values():
            url = ET.SubElement(root, "url")
            ET.SubElement(url, "loc").text = address
            alternates = [*addresses.items(), ("x-default", addresses[site.languages[0]])]
            for code, other in alternates if len(addresses) > 1 else ():
                ET.SubElement(url, "xhtml:link", {"rel": "alternate", "hreflang": code, "href": other})
    return document(root)
