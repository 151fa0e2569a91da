"""The `catalunya` command: its common options, its commands by name, and how errors are reported.

The commands are in `commands/` and are imported when they are called, so that `--help` is fast. Exit codes: 0 success,
1 something failed or was found, 2 wrong usage or configuration, 3 health unknown, 70 a bug, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError

from catalunya.io.errors import MESSAGE, CatalunyaError, one_line
from catalunya.io.log import configure_at_first_line
from catalunya.io.project_folder import active
from catalunya.io.safe_text import safe_lines, safe_text

_GROUPS = ("Look", "Make", "Run", "Maintain", "Develop", "Deploy", "Help")
_LOOK, _MAKE, _RUN, _MAINTAIN, _DEVELOP, _DEPLOY, _HELP = (Group(name, sort_key=at) for at, name in enumerate(_GROUPS))
_COMMON = Group("Common options", sort_key=9)
_COMMANDS = (
    ("ls", "looking", _LOOK, "List the assets."),
    ("show", "looking", _LOOK, "Show one asset: its declaration, contract, last materialization and first rows."),
    ("lineage", "looking", _LOOK, "Show the lineage of all assets, or of one."),
    ("status", "looking", _LOOK, "Show which assets are fresh, stale, failed or overdue."),
    ("watch", "watching", _LOOK, "Show what is wrong now, why, and what to do."),
    ("history", "looking", _LOOK, "Show the materializations of one asset."),
    ("sources", "sources", _LOOK, "Show where tables are read from, check the sources, or switch to another one."),
    ("channels", "channels", _LOOK, "Show who is notified of what is wrong, or send a test message."),
    ("query", "query", _LOOK, "Query the tables in SQL: staging.x, marts.y."),
    ("quarantine", "maintenance", _LOOK, "Show the rows that broke a contract, or replay them."),
    ("plan", "looking", _MAKE, "Show what materialize would make, and why."),
    ("materialize", "making", _MAKE, "Make stale assets in this process, without Airflow."),
    ("backfill", "making", _MAKE, "Read some periods of a source again, and make what is downstream."),
    ("restore-version", "restoring", _MAKE, "Publish an earlier version of a table again, to undo a bad load."),
    ("portal", "portal", _MAKE, "Build the public pages, or serve them on this machine."),
    ("acknowledge", "maintenance", _MAINTAIN, "Silence the alarm about a failed table, or undo that."),
    ("verify", "maintenance", _MAINTAIN, "Check that ledger and objects agree."),
    ("catalog", "catalog", _MAINTAIN, "Compare Glue and the saved queries with the ledger, or update them."),
    ("contracts", "comparing", _DEVELOP, "Show which contract changes break readers."),
    ("changes", "comparing", _DEVELOP, "Show which assets differ from an earlier commit, and what is downstream."),
    ("prune", "maintenance", _MAINTAIN, "Delete what has expired."),
    ("backup", "backup", _MAINTAIN, "Back up what cannot be rebuilt; list, check and prune backups."),
    ("restore", "backup", _MAINTAIN, "Restore the lake and Airflow from a backup."),
    ("try", "trying", _DEVELOP, "Make one table from its recorded sample in a scratch lake, and show it."),
    ("new", "new", _DEVELOP, "Add a source or a mart: its files, from its metadata and a sample."),
    ("mock", "services", _RUN, "Serve the mock APIs of the local environment."),
    ("run", "services", _RUN, "Run the whole pipeline once on Airflow, mock APIs included."),
    ("up", "services", _RUN, "Do the same as run, then keep running with the Airflow UI until Ctrl-C."),
    ("serve", "services", _DEPLOY, "Run one process of a deployed Airflow (used by compose and Dokku)."),
    ("healthy", "services", _DEPLOY, "Check the health of a process of a deployed Airflow."),
    ("airflow", "services", _DEPLOY, "Call Airflow's own command in the environment of the deployed processes."),
)

_FUNCTIONS = {"try": "try_"}  # a word of Python

app = App(
    name="catalunya",
    help_format="plaintext",
    version=lambda: __import__("importlib.metadata").metadata.version("catalunya"),
    group_commands=_HELP,
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)
for _at, (_name, _module, _group, _help) in enumerate(_COMMANDS):
    app.command(
        f"catalunya.ops.commands.{_module}:{_FUNCTIONS.get(_name, _name.replace('-', '_'))}",
        name=_name,
        group=_group,
        help=_help,
        sort_key=_at,
    )
app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    env: Annotated[
        str | None, Parameter(group=_COMMON, help="The environment: local, dev or prod.", env_var="CATALUNYA_ENV")
    ] = None,
    debug: Annotated[
        bool,
        Parameter(
            group=_COMMON, negative=(), show_default=False, help="Log everything, and show tracebacks of errors."
        ),
    ] = False,
) -> object:
    # Settings are environment variables, for this process and for those it starts.
    if env is not None:
        os.environ["CATALUNYA_ENV"] = env
    if debug:
        os.environ["CATALUNYA_LOG_LEVEL"] = "DEBUG"
    if not {"--help", "-h", "--version"} & set(tokens):
        configure_at_first_line(_warn_on_stderr)
    return app(tokens)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    _open_streams()
    _use_utf8()
    gc.set_threshold(200_000, 20, 20)  # imports leave no garbage, and looking for it took a twentieth of a command
    atexit.register(_leave_garbage)
    # pydantic would read the metadata of every installed package, to find plugins that no one uses here.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app.help = f"{active().title} as an asset graph: landing, staging and marts."
        result = app.meta(tokens, result_action="return_value", exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CatalunyaError as error:
        _print_error(str(error), error)
        return error.exit_code
    except CycloptsError as error:
        _register_secrets()
        _print_error(_usage(error))
        return 2
    except KeyboardInterrupt as interrupt:
        from catalunya.ops.processes import Terminated

        return 143 if isinstance(interrupt, Terminated) else 130
    except BrokenPipeError:
        # The reader closed the pipe (`catalunya ls | head`): not an error, and nothing more to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  the last resort: one line, and the traceback of a bug goes to a file
        _register_secrets()
        text, is_bug = one_line(error)
        _print_error(f"{text}; traceback: {_keep_traceback(tokens)}" if is_bug else text, error)
        return 70 if is_bug else 1
    return result if isinstance(result, int) else 0


def _leave_garbage() -> None:
    """Look for no garbage when Python ends, which took a fifth of a command: the system takes all memory back."""
    if "_duckdb" not in sys.modules:  # DuckDB's binding reports what is left as leaked
        gc.freeze()


def _open_streams() -> None:
    """What is written to a stream that the caller closed (`catalunya status >&-`) goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  pathlib takes long to import


def _use_utf8() -> None:
    """Names of files are UTF-8, whatever the locale: with another encoding (`PYTHONUTF8=0 LC_ALL=C`), start again in UTF-8 mode.

    A stream stays what it is, and shows what it cannot encode as an escape.
    """
    if sys.getfilesystemencoding() != "utf-8":
        if os.environ.get("PYTHONUTF8") == "1":  # and Python does not heed it
            sys.stderr.write(
                "error: Python does not use UTF-8 for names of files; start it without -E, -I and -X utf8=0\n"
            )
            sys.exit(2)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _warn_on_stderr() -> None:
    from catalunya.ops.logging import warn_on_stderr  # with structlog, which most commands that look do without

    warn_on_stderr()


def _register_secrets() -> None:
    """Load the settings, which a command that failed early has not: what is shown may contain one of their secrets."""
    from contextlib import suppress

    from catalunya.io.environment import load_settings

    with suppress(Exception):
        load_settings()


def _print_error(text: str, error: Exception | None = None) -> None:
    if error and os.environ.get("CATALUNYA_LOG_LEVEL") == "DEBUG":
        import traceback

        sys.stderr.write(safe_lines("".join(traceback.format_exception(error))))
    sys.stderr.write(f"error: {safe_text(text, 2 * MESSAGE)}\n")


def _usage(error: CycloptsError) -> str:
    """What is wrong with the command line, with the command that was probably meant."""
    if isinstance(error, UnknownCommandError):
        from difflib import get_close_matches

        word, path = (error.unused_tokens or ["?"])[0], " ".join(("catalunya", *(error.command_chain or ())))
        known = [name for name in (error.app or app) if not name.startswith("-")]
        near = get_close_matches(word, known, n=3, cutoff=0.5)
        return f"unknown command {word!r}; " + (
            f"did you mean {' or '.join(near)}?" if near else f"see `{path} --help`"
        )
    return f"{str(error).rstrip('.')} (see `catalunya --help`, or --help of the command)"


def _keep_traceback(tokens: list[str]) -> str:
    """Write the traceback of the current error to a file, for a bug report; returns its path."""
    import tempfile
    import traceback
    from datetime import UTC, datetime
    from pathlib import Path

    lines = safe_lines(traceback.format_exc(), 100_000)  # without secrets: people attach it to bug reports
    text = f"catalunya {safe_text(' '.join(tokens))}\npython {sys.version}\n\n{lines}"
    name = f"error-{datetime.now(UTC):%Y%m%dT%H%M%S}.txt"
    for folder in (Path(os.environ.get("CATALUNYA_CACHE", ".catalunya"), "logs"), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return str(folder / name)
    return "not saved, no folder is writable"
