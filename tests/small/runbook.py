"""Runs the commands of a page as a person would, one line after the other: `catalunya` in this process, the others by what stands in.

Here: reading a page's blocks, variables, and which commands run. Not here: what stands in for another program, which tests pass.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from small.drill import command

ROOT = Path(__file__).parents[2]
_SETS = re.compile(r"([A-Z_]+)=(.*)", flags=re.DOTALL)

StandIn = Callable[[list[str]], None]
"""Does what a command does, given its arguments."""


def blocks(page: str, heading: str) -> list[str]:
    """The blocks of commands below a heading of a page in docs, down to the next heading of its level or above."""
    text = (ROOT / "docs" / page).read_text()
    level = re.escape(heading.partition(" ")[0])
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level) // 2}}} |\Z)", text, flags=re.DOTALL | re.MULTILINE
    )
    assert found, f"{page} has no {heading}"
    return re.findall(r"```(?:ba)?sh\n(.*?)```", found[1], flags=re.DOTALL)


def lines(block: str) -> Iterator[str]:
    """The commands of a block, continued lines joined."""
    yield from (line for line in block.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#"))


def run(
    block: str,
    patch: pytest.MonkeyPatch,
    stand_ins: Mapping[str, StandIn],
    catalunya: Callable[[list[str]], int] | None = None,
) -> list[str]:
    """Run the commands of a block; returns them. A command that neither is `catalunya` nor has a stand-in fails the test.

    `catalunya`: calls the command with these arguments elsewhere than in this process; returns its exit code.
    """
    call = catalunya or (lambda words: command(*words))
    done = []
    for line in lines(block):
        words = [os.path.expandvars(word) for word in shlex.split(line, comments=True)]
        if words[0] == "export":
            for name, value in sets(words[1:]).items():
                patch.setenv(name, value)
            continue
        before = [word for word in words if _SETS.fullmatch(word)] if _SETS.fullmatch(words[0]) else []
        words = words[len(before) :]
        with patch.context() as inner:
            for name, value in sets(before).items():
                inner.setenv(name, value)
            if words[0] == "catalunya":
                assert call(words[1:]) == 0, line
            else:
                name = next((each for each in stand_ins if " ".join(words).startswith(f"{each} ")), None)
                assert name, f"nothing stands in for: {line}"
                stand_ins[name](words[len(name.split()) :])
        done.append(line)
    return done


def sets(words: list[str]) -> dict[str, str]:
    """What words of the form NAME=VALUE set."""
    return {found[1]: found[2] for word in words if (found := _SETS.fullmatch(word))}
