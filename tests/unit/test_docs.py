"""The documentation holds together: every page is linked, every link leads somewhere, every file and command it names exists."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from cyclopts import CycloptsError, MissingArgumentError

from catalunya.ops.cli import app

ROOT = Path(__file__).parents[2]
TESTING = (ROOT / "docs/testing.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# A file of the repository, wherever it is named in code style: `assets/making/materialize.py`.
FILE = re.compile(r"`((?:assets|bench|cdk|contracts|dags|dbt|docs|io|ops|portal|tests)/[\w./-]+\.\w+)`")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL), flags=re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> list[str]:
    """The commands that a page shows in shell blocks or in code style."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in re.findall(r"^(?:\.venv/bin/)?(catalunya .*)$", block, re.MULTILINE)]
    inline = re.findall(r"`(?:\.venv/bin/)?(catalunya [^`…]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return sorted({*lines, *inline})


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_the_readme_links_every_page(page: Path) -> None:
    assert f"docs/{page.name}" in [link.partition("#")[0] for link in LINK.findall((ROOT / "README.md").read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    assert [name for name in FILE.findall(page.read_text(encoding="utf-8")) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_is_one(page: Path) -> None:
    for command in commands(page):
        tokens = shlex.split(re.sub(r"^catalunya( --debug| --env \w+)*", "", command), comments=True)
        try:
            app.parse_args(tokens, print_error=False, exit_on_error=False)
        except MissingArgumentError as error:
            if len(tokens) > 1:  # otherwise the page just names the command
                pytest.fail(f"{command}: {error}")
        except CycloptsError as error:
            pytest.fail(f"{command}: {error}")


def test_every_folder_in_the_layout_exists() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    layout = page.split("## Layout")[1].partition("\n## ")[0]
    folders = re.findall(r"^\| `([\w/]+)/` \|", layout, flags=re.MULTILINE)
    assert len(folders) > 12
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
    packages = {
        f"{parent}/{path.name}"
        for parent in ("assets", "contracts", "io", "ops")
        for path in (ROOT / parent).iterdir()
        if (path / "__init__.py").exists()
    }
    assert packages - set(folders) <= {"ops/commands"}, "a package that the layout does not mention"


def test_every_page_and_invariant_that_the_code_cites_exists() -> None:
    invariants = (ROOT / "docs/architecture.md").read_text().split("## Invariants")[1].partition("\n## ")[0]
    assert re.findall(r"^(\d+)\. \*\*", invariants, flags=re.MULTILINE) == [str(number) for number in range(1, 13)]
    folders = ("assets", "bench", "cdk", "contracts", "dags", "io", "ops", "portal", "tests")
    source = "\n".join(path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py"))
    assert [page for page in set(re.findall(r"\bdocs/[a-z-]+\.md\b", source)) if not (ROOT / page).exists()] == []
    cited = re.findall(r"architecture\.md,\s+(?:# )?invariants? (\d+)", source)
    assert set(map(int, cited)) <= set(range(1, 13))


def test_the_example_of_the_page_on_testing_passes(request: pytest.FixtureRequest) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TESTING, flags=re.DOTALL)
    module: dict[str, Any] = {}
    exec(compile(example, "docs/testing.md", "exec"), module)
    (test,) = [value for name, value in module.items() if name.startswith("test_")]
    test(**{name: request.getfixturevalue(name) for name in inspect.signature(test).parameters})


def test_the_page_on_testing_describes_everything_in_small() -> None:
    modules = {path.stem for path in (ROOT / "tests" / "small").glob("*.py")} - {"__init__"}
    assert modules - set(re.findall(r"`small\.(\w+)`", TESTING)) == set()


def test_every_folder_that_the_page_on_testing_names_exists() -> None:
    folders = re.findall(r"`(tests/[\w/]+)/?`", TESTING)
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
