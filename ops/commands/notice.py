"""`catalunya notice`: the page that says what is wrong to those who use the tables. Not here: its words and its looks (`ops/watching`)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from catalunya.assets.record.project import Project
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG


def notice(
    folder: Annotated[Path, Parameter(help="Where the pages go: index.html, and one for each language.")],
    *,
    look: Annotated[
        bool, FLAG, Parameter(help="Take a look now, instead of showing what the last look of ops.watch kept.")
    ] = False,
) -> None:
    """Write the page for those who use the tables: what is wrong now, since when and what still holds, in three languages.

    Plain HTML without scripts, to be published anywhere. It shows what is open on the board that ops.watch keeps.
    """
    from catalunya.ops.watching import consumers, notice_page
    from catalunya.ops.watching import look as looking
    from catalunya.ops.watching.findings import read_board

    project, now = Project(), datetime.now(UTC)
    board = looking.look(project, now).board if look else read_board(project.lake)
    found = consumers.situation(project, board, now, silent=looking.SILENT)
    pages = notice_page.write(folder, found)
    console.say(
        f"{console.counted(len(found.notices), 'notice')} of {console.counted(len(board.open), 'open finding')}: "
        f"{', '.join(page.name for page in pages)} in {folder}"
    )
    if not found.is_checked:
        console.warn("ops.watch has not looked lately, and the page says so; `catalunya notice --look` takes a look")
