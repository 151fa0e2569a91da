"""`catalunya portal`: building the public pages, and serving them on this machine.

Here: the commands and how their results look. Not here: the pages (`catalunya/portal`).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter
from cyclopts.validators import Number

from catalunya.assets.record.ledger import new_run_id
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings, local_port
from catalunya.io.errors import UsageError
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson
from catalunya.ops.processes import check_free

portal = App(name="portal", group_commands=Group("Commands", sort_key=0))


@portal.command
def build(
    to: Annotated[
        str | None,
        Parameter(
            help="A folder or s3://bucket[/prefix]; by default CATALUNYA_PORTAL_FOLDER, which is portal/ in the lake."
        ),
    ] = None,
    *,
    everything: Annotated[
        bool, FLAG, Parameter(help="Write every page again, also those that did not change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the public pages: those that changed since the last build."""
    from catalunya.portal.build import build as build_copy
    from catalunya.portal.declaration import declaration
    from catalunya.portal.making import build_site
    from catalunya.portal.publish import open_site
    from catalunya.portal.publisher import not_set
    from catalunya.portal.site import read_site

    project, began = Project(), time.monotonic()
    progress = (lambda _: None) if as_json else (lambda name: console.warn(f"building {name}"))
    if to:  # a copy: neither the pages that the pipeline publishes, nor its record of them
        built = build_copy(
            read_site(project), open_site(project.settings, to), everything=everything, progress=progress
        )
    else:
        built = build_site(project, new_run_id(datetime.now(UTC)), everything=everything, progress=progress)
    seconds = round(time.monotonic() - began, 1)
    summary: dict[str, Any] = {
        "made": built.made,
        "same": built.same,
        "written": built.written,
        "deleted": built.deleted,
        "files": built.files,
        "bytes": built.bytes,
        "seconds": seconds,
        "home": open_site(project.settings, to).url("index.html"),
        "not_set": not_set(project.settings, in_spain=declaration(project.graph).is_in_spain),
    }
    if as_json:
        console.emit_json(summary)
        return
    console.say(
        f"{console.counted(built.written, 'file')} written, {built.deleted} deleted in {seconds:g} s; the site has "
        f"{console.counted(built.files, 'file')}, {console.size(built.bytes)}: {summary['home']}"
    )
    for variable, cost in summary["not_set"].items():
        console.warn(f"{variable} is not set: {cost}")


@portal.command
def serve(
    folder: Annotated[
        Path | None, Parameter(help="A folder with a built site; by default CATALUNYA_PORTAL_FOLDER.")
    ] = None,
    *,
    port: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1, lte=65535),
            help="The port, on this machine only; by default that of CATALUNYA_PORTAL_URL.",
        ),
    ] = None,
) -> None:
    """Serve the built pages on this machine, until Ctrl-C."""
    from catalunya.portal import serve

    settings = load_settings()
    place = folder or Path(settings.portal_folder)
    if not (place / "index.html").is_file():
        raise UsageError(f"expected a built site in {place}, found no index.html; run `catalunya portal build` first")
    port = port or local_port(settings)
    check_free(port, "the public pages", "catalunya portal serve --port")
    here = f"http://localhost:{port}"
    console.say(f"the pages are at {here}/ until Ctrl-C")
    if here != settings.portal_url.rstrip("/"):
        console.warn(
            f"what they say to copy names {settings.portal_url}; to try it here, set CATALUNYA_PORTAL_URL={here} and build them again"
        )
    serve.serve(place, port)
