"""What the README shows is what there is: its graph, its excerpts, its make targets and its commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXCERPTS = re.findall(r"<!-- from (\S+) -->\n```\w+\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize(("name", "excerpt"), EXCERPTS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(EXCERPTS)])
def test_an_excerpt_stands_in_the_file_it_is_from(name: str, excerpt: str) -> None:
    assert excerpt.strip("\n") in (ROOT / name).read_text()


def test_the_graph_is_the_one_the_command_draws() -> None:
    shown = re.search(r"<!-- catalunya (.*?) -->\n```mermaid\n(.*?)```", README, flags=re.DOTALL)
    assert shown
    command = [str(Path(sys.executable).with_name("catalunya")), *shown[1].split()]
    drawn = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown[2] == drawn


def test_the_make_targets_it_names_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"make ([a-z0-9-]+)", README)) <= targets


def test_the_folders_it_names_exist() -> None:
    folders = re.findall(r"^\| `(\w+)/`", README, flags=re.MULTILINE)
    assert len(folders) >= 5
    assert all((ROOT / folder).is_dir() for folder in folders)
