"""The base URL of an API: what is wrong with one, and which host it asks.

Here: text only. Not here: which URL a source has (`environment.py`), sending requests (`sources/http.py`).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9_.~!$&()*+,;=:@%/?#-]*)?")


def flaw_of_base(base_url: str) -> str:
    """What is wrong with the base URL of an API, without quoting what may be a secret; empty if nothing is."""
    expected = "expected a source's URL as http(s)://host[:port][/path], without user or query"
    try:
        url = urlsplit(base_url)
        _ = url.port  # raises for one that cannot be
    except ValueError:  # its text may quote a password
        return f"{expected}, found one whose host or port cannot be read"
    is_base = url.scheme in {"http", "https"} and host_of(base_url) and not url.query and not url.fragment
    return "" if is_base and "@" not in url.netloc else f"{expected}, found {url.scheme or '?'}://{url.hostname or '?'}"


def host_of(url: str) -> str:
    """The host as it is asked for: lowercase, in ASCII, without port and final dot; empty if the URL has none.

    `https://Dades.Example.CAT:443/x` -> `dades.example.cat`. The name in ASCII is the one of DNS: `català.cat` is `xn--catal-vqa.cat`.
    """
    host = (urlsplit(url).hostname or "").removesuffix(".")
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return ""


def is_web_address(text: str) -> bool:
    """Whether a text is an http(s) address in ASCII that any document can have as it is: no space, quote or bracket in it."""
    return _ADDRESS.fullmatch(text) is not None
