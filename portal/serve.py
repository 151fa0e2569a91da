"""Serving a built site on this machine, with range requests, so that Parquet can be read over HTTP as from a bucket.

Here: the server. Not here: building the site.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from catalunya.portal.publish import CONTENT_TYPES


def site_app(folder: Path) -> Starlette:
    """The site in a folder as an ASGI application. The home page of a folder is its index.html."""
    for ending, kind in CONTENT_TYPES.items():
        mimetypes.add_type(kind.partition(";")[0], ending)
    return Starlette(routes=[Mount("/", StaticFiles(directory=folder, html=True))])
