"""The Node programs are pinned: package-lock.json has a hash for everything, names no registry, and is what package.json asks for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from catalunya.cdk import node
from catalunya.io.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
ASKED: dict[str, Any] = json.loads((ROOT / "package.json").read_text())
LOCKED: dict[str, Any] = json.loads((ROOT / "package-lock.json").read_text())
PACKAGES = {name: found for name, found in LOCKED["packages"].items() if name}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/**/*.yml"), ROOT / "Makefile"])


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_every_package_is_pinned_by_a_hash_and_names_no_registry(name: str) -> None:
    assert re.fullmatch(r"sha512-[\w+/]{86}==", PACKAGES[name]["integrity"])
    assert "resolved" not in PACKAGES[name]


def test_the_lock_is_of_the_versions_that_are_asked_for() -> None:
    asked = ASKED["dependencies"] | ASKED["devDependencies"]
    assert {name: PACKAGES[f"node_modules/{name}"]["version"] for name in asked} == asked


def test_the_command_of_the_cdk_needs_nothing_else() -> None:
    """What a deployment runs is what package.json names; all other packages are of the tests."""
    assert [name for name, found in PACKAGES.items() if not found.get("dev")] == ["node_modules/aws-cdk"]


def test_without_the_node_of_the_dependencies_the_error_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSII_NODE", "/nowhere/bin/node")
    with pytest.raises(ConfigurationError, match="run `make setup`"):
        node.cdk()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_or_workflow_runs_an_unpinned_program(page: Path) -> None:
    assert re.findall(r"\bnpx\b|\bnpm (?:i|install|exec)\b|aws-cdk@", page.read_text(encoding="utf-8")) == []
