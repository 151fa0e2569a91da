"""The `catalunya` command: its options for all, its commands by name, and what becomes of an error.

Here: nothing heavy. The commands are in `commands/` and are imported when called, so that `--help` is immediate. Exit codes:
0 well done, 1 something failed or was found, 2 wrong usage or configuration, 70 a bug, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError

from catalunya.io.errors import MESSAGE, CatalunyaError
from catalunya.io.safe_text import safe_lines, safe_text
from catalunya.ops.signals import Terminated

_LOOK, _MAKE, _RUN, _HELP = (Group(name, sort_key=at) for at, name in enumerate(("Look", "Make", "Run", "Help")))
_ALWAYS = Group("Options of every command", sort_key=9)
_COMMANDS = (
    ("ls", "listing", _LOOK, "List the assets."),
    ("show", "show", _LOOK, "Show one asset: its declaration, contract, last materialization and first rows."),
    ("lineage", "listing", _LOOK, "Show which asset is made from which."),
    ("status", "state", _LOOK, "Show which assets are fresh, stale, failed or overdue."),
    ("history", "state", _LOOK, "Show the materializations of one asset."),
    ("query", "query", _LOOK, "Query the tables in SQL: staging.x, marts.y."),
    ("quarantine", "quarantine", _LOOK, "Show the rows that broke a contract, or take them through it again."),
    ("plan", "listing", _MAKE, "Show what materialize would do, and why."),
    ("materialize", "materialize", _MAKE, "Make assets here, without Airflow: everything, or a selection."),
    ("backfill", "backfill", _MAKE, "Read some periods of a source again, and make what follows from them."),
    ("verify", "verify", _MAKE, "Prove that ledger and objects agree."),
    ("catalog", "catalog", _MAKE, "Compare Glue and the saved queries with the ledger, or update them."),
    ("contracts", "contracts", _MAKE, "Tell which changes of contracts break readers."),
    ("changes", "changes", _MAKE, "Tell which assets differ from an earlier commit's, and what follows from them."),
    ("prune", "prune", _MAKE, "Delete what retention says has had its time."),
    ("backup", "backup", _MAKE, "Back up what cannot be made again; list, check and prune backups."),
    ("restore", "restore", _MAKE, "Give the lake and Airflow back what a backup holds."),
    ("mock", "services", _RUN, "Serve the mock APIs of the local environment."),
    ("run", "services", _RUN, "Run the whole pipeline once on Airflow, mock APIs included."),
    ("up", "services", _RUN, "The same, and stay up with Airflow's UI until Ctrl-C."),
    ("serve", "serving", _RUN, "Run one process of a deployed Airflow: what compose and Dokku call."),
    ("healthy", "serving", _RUN, "Ask whether a process of a deployed Airflow is well."),
    ("airflow", "serving", _RUN, "Call Airflow's own command, told what the deployed processes are told."),
)

app = App(
    name="catalunya",
    help="Open data of Catalonia as an asset graph: landing, staging and marts.",
    help_format="plaintext",
    version=lambda: __import__("importlib.metadata").metadata.version("catalunya"),
    group_commands=_HELP,
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)
for _at, (_name, _module, _group, _help) in enumerate(_COMMANDS):
    app.command(f"catalunya.ops.commands.{_module}:{_name}", name=_name, group=_group, help=_help, sort_key=_at)
app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    env: Annotated[
        str | None, Parameter(group=_ALWAYS, help="The environment: local, dev or prod.", env_var="CATALUNYA_ENV")
    ] = None,
    debug: Annotated[
        bool,
        Parameter(
            group=_ALWAYS, negative=(), show_default=False, help="Log everything, and show the traceback of an error."
        ),
    ] = False,
) -> object:
    # The environment variables are the one home of settings, for this process and those it starts.
    if env is not None:
        os.environ["CATALUNYA_ENV"] = env
    if debug:
        os.environ["CATALUNYA_LOG_LEVEL"] = "DEBUG"
    return app(tokens)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app.meta(tokens, result_action="return_value", exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CatalunyaError as error:
        _complain(str(error), error)
        return error.exit_code
    except CycloptsError as error:
        _complain(_usage(error))
        return 2
    except KeyboardInterrupt as interrupt:
        return 143 if isinstance(interrupt, Terminated) else 130
    except BrokenPipeError:
        # The reader went away (`catalunya ls | head`): nothing to complain about, and nothing more to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  the last resort: one line, and the traceback of a bug is kept
        from catalunya.ops.errors import one_line

        text, is_bug = one_line(error)
        _complain(f"{text}; its traceback is in {_keep_traceback(tokens)}" if is_bug else text, error)
        return 70 if is_bug else 1
    return result if isinstance(result, int) else 0


def _complain(text: str, error: Exception | None = None) -> None:
    if error and os.environ.get("CATALUNYA_LOG_LEVEL") == "DEBUG":
        import traceback

        sys.stderr.write(safe_lines("".join(traceback.format_exception(error))))
    sys.stderr.write(f"error: {safe_text(text, 2 * MESSAGE)}\n")


def _usage(error: CycloptsError) -> str:
    """What was wrong with the command line, with the nearest name of a command."""
    if isinstance(error, UnknownCommandError):
        from difflib import get_close_matches

        word, path = (error.unused_tokens or ["?"])[0], " ".join(("catalunya", *(error.command_chain or ())))
        known = [name for name in (error.app or app) if not name.startswith("-")]
        near = get_close_matches(word, known, n=3, cutoff=0.5)
        return f"there is no command {word!r}; " + (
            f"did you mean {' or '.join(near)}?" if near else f"`{path} --help` lists them"
        )
    return f"{str(error).rstrip('.?')}; `catalunya --help`, or --help behind a command, says how"


def _keep_traceback(tokens: list[str]) -> str:
    """Write the traceback of the error at hand to a file, for a bug report; returns its path."""
    import tempfile
    import traceback
    from datetime import UTC, datetime
    from pathlib import Path

    said = safe_lines(traceback.format_exc(), 100_000)  # it is there to be sent to somebody
    text = f"catalunya {safe_text(' '.join(tokens))}\npython {sys.version}\n\n{said}"
    name = f"error-{datetime.now(UTC):%Y%m%dT%H%M%S}.txt"
    for folder in (Path(os.environ.get("CATALUNYA_CACHE", ".catalunya"), "logs"), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return str(folder / name)
    return "nowhere: no folder could be written"
