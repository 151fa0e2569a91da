"""`catalunya new`: a new source or mart, as files to review.

Here: the commands and how their result looks. Not here: what is written, and how it is found out (`ops/scaffold`).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter

from catalunya.io.environment import NO_MOCK, load_settings
from catalunya.io.errors import UsageError
from catalunya.io.safe_text import legible
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson

if TYPE_CHECKING:
    from catalunya.ops.scaffold.source import NewSource

new = App(name="new", group_commands=Group("Commands", sort_key=0))


@new.command
def source(
    address: Annotated[
        str,
        Parameter(
            help="The dataset: the address of its web page or API, a Socrata id (yavr-pn8q) or an IDESCAT table (ep/9122/10002/mun)."
        ),
    ],
    /,
    *,
    name: Annotated[str | None, Parameter(help="The name of the table; by default from the dataset's title.")] = None,
    key: Annotated[
        tuple[str, ...],
        Parameter(help="The raw fields that identify a row (any,codi), instead of those that are found."),
    ] = (),
    kind: Annotated[str | None, Parameter(help="The protocol, where an address may be of several.")] = None,
    from_file: Annotated[
        Path | None,
        Parameter(
            "--from",
            help="A file or folder of saved answers to read instead of the source; see `catalunya mock --help`.",
        ),
    ] = None,
    live: Annotated[bool, FLAG, Parameter(help="Ask the real portal, also in the local environment.")] = False,
    as_json: AsJson = False,
) -> int:
    """Add a source: read its metadata and some rows, and write its contract, its asset file and a recorded sample.

    Names, types, the key and what may be personal data are proposals from what the source declares and from the sample. What could not be
    found out is listed. The mock serves the sample from then on. Nothing is overwritten.
    """
    from catalunya.ops.scaffold.source import new_source

    if live and from_file:
        raise UsageError("--live and --from exclude each other; leave one of them out")
    settings = load_settings(**({"mock_url": NO_MOCK} if live else {}))
    fields = tuple(part.strip() for each in key for part in each.split(",") if part.strip())
    with ExitStack() as stack:
        if from_file:
            from catalunya.ops import mock

            served = stack.enter_context(mock.serve(**_saved(address, kind, from_file)))
            settings = settings.model_copy(update={"mock_url": served.url})
        made = new_source(address, settings, name=name, key=fields, kind=kind)
    if as_json:
        console.emit_json(_document(made))
    else:
        _show(made)
    return 0


def _saved(address: str, kind: str | None, path: Path) -> dict[str, Any]:
    """What the mock serves of saved answers: a file at its own address, anything else as `catalunya mock --real` does."""
    from catalunya.io.sources.files import File
    from catalunya.io.sources.protocols import recognize
    from catalunya.ops.mock.file import PublishedFile

    if path.is_file() and isinstance(recognize(address, kind), File):
        return {"datasets": [PublishedFile(address=address, content=path.read_bytes())]}
    return {"real": path}


@new.command
def mart(
    name: Annotated[str, Parameter(help="The name of the mart: dim_…, fact_… or agg_….")],
    /,
    *,
    reads: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(), help="The tables it reads: staging.population,marts.dim_time. The first gives the rows."
        ),
    ],
    as_json: AsJson = False,
) -> int:
    """Add a mart: write SQL that reads its inputs, a contract of what comes out of it, and a unit test, all to be changed.

    The SQL joins the other tables by their keys where the first one has these columns. It can be built as it is.
    """
    from catalunya.assets.record.project import Project
    from catalunya.ops.scaffold import files
    from catalunya.ops.scaffold.mart import new_mart

    keys = [part.strip() for each in reads for part in each.split(",") if part.strip()]
    made = new_mart(name, keys, Project().graph)
    if as_json:
        console.emit_json({"key": made.key, "files": list(made.files), "to_decide": list(made.to_decide)})
        return 0
    new_files = [each for each in made.files if name in each]
    console.say(made.key, style="bold")
    console.say("to decide:")
    for note in made.to_decide:
        console.say(f"  - {note}")
    console.say(
        f"written: {', '.join(new_files)}; updated: {', '.join(each for each in made.files if each not in new_files)}"
    )
    console.say(f"undo: take {name} out of contracts/marts.py, and {files.undo(new_files)}")
    console.say(f"next: edit {new_files[0]}, then catalunya try {made.key}")
    return 0


def _document(made: NewSource) -> dict[str, Any]:
    found = made.profile
    return {
        "name": made.name,
        "key": f"staging.{made.name}",
        "source": made.source.describe(),
        "title": found.about.title,
        "licence": found.about.licence,
        "rows": found.about.rows,
        "sampled": found.rows,
        "files": list(made.files),
        "columns": [
            {
                "field": each.field.name,
                "column": each.column or None,
                "type": each.type,
                "key": each.key,
                "period": each.period,
                "nullable": each.nullable,
                "personal": each.personal,
                "notes": list(each.notes),
            }
            for each in found.proposals
        ],
        "key_because": found.key_reason,
        "to_decide": made.to_decide,
        "next": f"catalunya try staging.{made.name}",
    }


def _show(made: NewSource) -> None:
    from catalunya.ops.scaffold import files

    found = made.profile
    rows = console.counted(found.about.rows, "row") if found.about.rows is not None else "an unknown number of rows"
    console.say(f"staging.{made.name}  {made.source.describe()}: {legible(found.about.title, 200)}", style="bold")
    console.say(f"{rows}, {found.rows:,} of them read; licence: {legible(found.about.licence, 200) or 'none named'}")
    console.say()
    console.table(["field", "column", "type", "guessed"], [_row(each) for each in found.proposals])
    console.say()
    if found.key:
        console.say(f"key: {', '.join(each.column for each in found.key)} ({found.key_reason})")
    if made.to_decide:
        console.say("to decide:")
        for note in made.to_decide:
            console.say(f"  - {note}")
    new = [each for each in made.files if f"/{made.name}" in each]
    console.say(
        f"written: {', '.join(files.places(new))}; updated: {', '.join(each for each in made.files if each not in new)}"
    )
    console.say(f"undo: {files.undo(new)}")
    console.say(f"next: catalunya try staging.{made.name}")


def _row(each: Any) -> list[str]:
    marks = {
        "key": each.key,
        "period": each.period,
        "never null": not each.nullable and not each.key,
        "personal": each.personal,
        f"matches {each.pattern}": each.pattern,
        f"from {each.low}": each.low is not None,
        f"to {each.high}": each.high is not None,
    }
    return [
        each.field.name,
        each.column or "(landing only)",
        each.type or "",
        ", ".join(mark for mark, found in marks.items() if found),
    ]
