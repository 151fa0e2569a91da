"""The built site as a whole: every link of every page leads somewhere, and no page asks for anything elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINK = re.compile(r'\b(?:href|src)="([^"]*)"')


def broken_links(folder: Path) -> list[str]:
    """The relative links of all pages that lead to no file."""
    found = []
    for page in sorted(folder.rglob("*.html")):
        for address in set(LINK.findall(page.read_text(encoding="utf-8"))):
            url = urlsplit(address)
            if url.scheme or url.netloc or not url.path:
                continue
            if not (page.parent / unquote(url.path)).is_file():
                found.append(f"{page.relative_to(folder)}: {address}")
    return found


def test_every_link_leads_to_a_file(portal: Path) -> None:
    assert broken_links(portal) == []
