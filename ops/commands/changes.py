"""`changes`: which assets differ from a commit's, and which will be made anew because of it.

Here: the graph of the commit, compiled by its own code, beside today's, and showing the differences. Not here: which changes
break readers (`contracts.py`), what is stale in a lake (`listing.py`, plan).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from catalunya.assets.graph.discovery import load_graph
from catalunya.io.environment import load_settings
from catalunya.io.errors import UsageError
from catalunya.ops import console, git
from catalunya.ops.commands.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalunya.assets.graph.graph import AssetGraph

_LIST = "import sys; from catalunya.ops.cli import main; sys.exit(main(['ls', '--json']))"


class Difference(NamedTuple):
    """One asset that is not what it was, or that reads one which is not."""

    asset: str
    change: Literal["added", "changed", "removed", "follows"]
    why: str


def changes(
    *,
    base: Annotated[str, Parameter(help="The commit to compare with, as git names it.")] = "HEAD",
    format: Annotated[Literal["text", "markdown", "json"], Parameter(help="How it is shown.")] = "text",  # noqa: A002
    as_json: AsJson = False,
) -> None:
    """Show which assets differ from a commit's, in code, contract or lineage, and which follow from them.

    The commit's own code tells what its assets were: compare with commits that you would run.
    """
    found = compare(_assets_at(base), load_graph(load_settings()))
    if as_json or format == "json":
        console.emit_json({"base": base, "changes": [each._asdict() for each in found]})
    elif format == "markdown":
        console.say(_markdown(found, base))
    elif not found:
        console.say(f"every asset is what it is at {base}")
    else:
        console.table(["asset", "change", "why"], found)


def compare(was: Mapping[str, Mapping[str, Any]], now: AssetGraph) -> list[Difference]:
    """The differences, assets that are there in dependency order. `was`: what `ls --json` tells, by key."""
    found: dict[str, Difference] = {}
    for asset in now:
        before = was.get(asset.key)
        if before is None:
            found[asset.key] = Difference(asset.key, "added", "")
        elif parts := _parts(before, asset.code_version, asset.upstream):
            found[asset.key] = Difference(asset.key, "changed", ", ".join(parts))
        elif reads := [key for key in asset.upstream if key in found]:
            found[asset.key] = Difference(asset.key, "follows", f"it reads {', '.join(reads)}")
    gone = [Difference(key, "removed", "") for key in was if key not in now]
    return [*found.values(), *gone]


def _parts(before: Mapping[str, Any], code_version: str, upstream: tuple[str, ...]) -> list[str]:
    reads = {f"reads {key} now" for key in upstream} - {f"reads {key} now" for key in before["upstream"]}
    no_longer = {f"reads {key} no longer" for key in before["upstream"] if key not in upstream}
    code = ["its code or contract"] if before["code_version"] != code_version else []
    return [*code, *sorted(reads), *sorted(no_longer)]


def _assets_at(revision: str) -> dict[str, dict[str, Any]]:
    """The assets as a commit declares them, by key. Raises UsageError when it cannot tell."""
    with tempfile.TemporaryDirectory(prefix="catalunya-base-") as folder:
        git.checkout(revision, Path(folder))
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(folder, "src")),
            "CATALUNYA_CACHE": str(Path(folder, "cache")),
        }
        command = [sys.executable, "-c", _LIST]
        told = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        assets = {asset["key"]: asset for asset in json.loads(told.stdout)}
        if all({"code_version", "upstream"} <= asset.keys() for asset in assets.values()):
            return assets
        found = "a list without code versions"
    except (ValueError, KeyError, TypeError):
        found = (told.stderr.strip().splitlines() or ["nothing"])[-1]
    raise UsageError(
        f"the code at {revision!r} was expected to list its assets with this environment's packages, found: {found}; choose a later base"
    )


def _markdown(found: list[Difference], base: str) -> str:
    """For the comment on a pull request."""
    if not found:
        return f"No asset differs from `{base}`."
    rows = "\n".join(f"| `{each.asset}` | {each.change} | {each.why} |" for each in found)
    return f"| asset | change from `{base}` | why |\n| --- | --- | --- |\n{rows}"
