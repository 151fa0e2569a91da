"""XML documents: as bytes, and texts as XML can hold them. Not here: what is in a document (`feed.py`, `sitemap.py`)."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

# Source of the rule: XML 1.0, section 2.2: what is left out here is no character of XML, however it is written.
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text_of(text: str) -> str:
    """A text as XML can hold it: characters that XML does not have are replaced."""
    return _NO_CHARACTER.sub("\ufffd", text)


def document(root: ET.Element) -> bytes:
    """A document as bytes, indented."""
    ET.indent(root, " ")
    body: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + body + b"\n"
