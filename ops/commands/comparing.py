"""`contracts diff` and `changes`: compare the declarations with those of an earlier commit.

Here: the earlier declarations, and showing the differences. Not here: which changes break readers
(`contracts/model/compatibility.py`), what is stale in a lake (`looking.py`, plan), git itself (`ops/git.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import App, Group, Parameter

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.document import GRAPH_FILE
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import ConfigurationError, UsageError
from catalunya.io.json_text import BROKEN_JSON
from catalunya.ops import console, git
from catalunya.ops.commands.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalunya.assets.graph.graph import AssetGraph
    from catalunya.contracts.model.compatibility import Change

_PREVIOUS = "HEAD~1"
_LIST_ASSETS = "import sys; from catalunya.ops.cli import main; sys.exit(main(['ls', '--json']))"

contracts = App(name="contracts", group_commands=Group("Commands", sort_key=0))


@contracts.command
def diff(
    *,
    base: Annotated[
        str | None,
        Parameter(help=f"The commit to compare with. Default: {_PREVIOUS}, if there is one.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show how the contracts differ from a commit's, and which changes break readers.

    Exit with 1 if a breaking change is not declared by raising its contract's version: `class Gdp(Contract, version=2)`.
    """
    from catalunya.contracts.model.compatibility import compare as compare_contracts
    from catalunya.contracts.model.compatibility import undeclared
    from catalunya.ops.generate import graph_now

    revision = _PREVIOUS if base is None else base
    try:
        was = _graph_at(revision)
    except UsageError as error:
        if base is not None:
            raise
        if as_json:
            console.emit_json({"base": None, "undeclared": 0, "changes": [], "why": str(error)})
        else:
            console.say(f"contracts not compared: {error}")
        return 0
    now = graph_now(load_settings())
    found = compare_contracts(was, now)
    breaking = undeclared(found)
    if as_json:
        rows = [asdict(change) | {"verdict": change.verdict} for change in found]
        console.emit_json({"base": revision, "undeclared": len(breaking), "changes": rows})
    elif not found:
        console.say(f"no contract differs from {revision}")
    else:
        _show_contract_changes(found)
        for line in _advice(breaking, was, now):
            console.say(line)
    return int(bool(breaking))


class Difference(NamedTuple):
    """One asset that differs, or that reads one that does."""

    asset: str
    change: Literal["added", "changed", "removed", "follows"]
    why: str


def changes(
    *,
    base: Annotated[str, Parameter(help="The commit to compare with.")] = "HEAD",
    format: Annotated[Literal["text", "markdown", "json"], Parameter(help="Output format.")] = "text",  # noqa: A002
    as_json: AsJson = False,
) -> None:
    """Show which assets differ from a commit's in code, contract or lineage, and which ones follow from them.

    This runs the commit's own code to list its assets: only compare with commits you trust.
    """
    settings = load_settings()
    now = load_graph(settings)
    found = compare(_assets_at(base, settings), now)
    if as_json or format == "json":
        console.emit_json({"base": base, "changes": [each._asdict() for each in found]})
    elif format == "markdown":
        console.say(_markdown(found, base))
    elif not found:
        console.say(f"no asset differs from {base}")
    else:
        console.table(["asset", "change", "why"], found)


def compare(was: Mapping[str, Mapping[str, Any]], now: AssetGraph) -> list[Difference]:
    """The differences, existing assets in dependency order. `was` are the items of `ls --json`, by key."""
    found: dict[str, Difference] = {}
    for asset in now:
        before = was.get(asset.key)
        if before is None:
            found[asset.key] = Difference(asset.key, "added", "")
        elif reasons := _reasons(before, asset.code_version, asset.upstream):
            found[asset.key] = Difference(asset.key, "changed", ", ".join(reasons))
        elif reads := [key for key in asset.upstream if key in found]:
            found[asset.key] = Difference(asset.key, "follows", f"reads {', '.join(reads)}")
    gone = [Difference(key, "removed", "") for key in was if key not in now]
    return [*found.values(), *gone]


def _reasons(before: Mapping[str, Any], code_version: str, upstream: tuple[str, ...]) -> list[str]:
    code = ["code or contract"] if before["code_version"] != code_version else []
    added = sorted(f"now reads {key}" for key in upstream if key not in before["upstream"])
    removed = sorted(f"no longer reads {key}" for key in before["upstream"] if key not in upstream)
    return [*code, *added, *removed]


def _graph_at(revision: str) -> dict[str, Any]:
    """The graph document of a commit. Raises UsageError if there is none."""
    stored = git.file_at(revision, GRAPH_FILE)
    try:
        found = json.loads(stored)
    except BROKEN_JSON:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("assets"), dict):
        raise UsageError(f"{GRAPH_FILE} at {revision!r} does not describe a graph; choose another base")
    return found


def _assets_at(revision: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """The assets that a commit declares, by key. Raises UsageError if its code cannot list them."""
    from catalunya.io.warehouse.dbt import models_file

    with tempfile.TemporaryDirectory(prefix="catalunya-base-") as folder:
        code, cache = Path(folder, "code"), Path(folder, "cache")
        git.checkout(revision, code)
        cache.mkdir()
        with suppress(
            OSError, ConfigurationError
        ):  # of no use if the SQL differs; else dbt, which takes seconds, is not asked
            shutil.copy(models_file(settings), cache)
        environment = os.environ | git.environment_of(code) | {"CATALUNYA_CACHE": str(cache)}
        command = [sys.executable, "-c", _LIST_ASSETS]
        listed = subprocess.run(  # noqa: S603
            command, env=environment, cwd=code, capture_output=True, check=False, encoding="utf-8"
        )
    try:
        assets = {asset["key"]: asset for asset in json.loads(listed.stdout)}
        if all({"code_version", "upstream"} <= asset.keys() for asset in assets.values()):
            return assets
        problem = "its list has no code versions"
    except (ValueError, KeyError, TypeError):
        problem = (f"{listed.stdout}\n{listed.stderr}".strip().splitlines() or ["no output"])[-1]
    raise UsageError(
        f"the code at {revision!r} cannot list its assets with the packages installed here: {problem}; choose a later base"
    )


def _markdown(found: list[Difference], base: str) -> str:
    """For the comment on a pull request."""
    if not found:
        return f"No asset differs from `{base}`."
    rows = "\n".join(f"| `{each.asset}` | {each.change} | {each.why} |" for each in found)
    return f"| asset | change from `{base}` | why |\n| --- | --- | --- |\n{rows}"


def _show_contract_changes(found: list[Change]) -> None:
    rows = [
        (
            change.verdict,
            change.asset,
            change.column,
            change.what,
            _value(change.was),
            _value(change.now),
            change.breaks,
        )
        for change in found
    ]
    console.table(["verdict", "asset", "column", "change", "before", "now", "why it breaks readers"], rows)


def _advice(breaking: list[Change], was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What to do about breaking changes that are not declared, one line per table."""
    keys = dict.fromkeys(change.asset for change in breaking)
    lines = [f"\n{len(breaking)} breaking changes are not declared. Undo them, or declare them:"] if keys else []
    for key in keys:
        if key in now["assets"]:
            contract, version = now["assets"][key]["contract"], was["assets"][key].get("version", 1) + 1
            lines.append(f"  {key}: raise its contract's version: `class {contract}(…, version={version})`")
        else:
            lines.append(f"  {key}: add it to contracts/retired.py, with what its readers should use instead")
    return lines


def _value(value: Any) -> str | None:
    """A value as a table cell, shortened; --json has all of it."""
    match value:
        case None | str():
            text = value
        case list():
            text = ", ".join(map(str, value))
        case _:
            text = json.dumps(value, ensure_ascii=False)
    return text if text is None or len(text) <= console.CELL_WIDTH else f"{text[: console.CELL_WIDTH - 1]}…"
