"""docs/continuity.md is correct: its commands run as they are written, and its table is what the watch and the texts for readers say."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops import mock
from catalunya.ops.cli import app
from catalunya.ops.mock.server import MockServer
from catalunya.ops.watching.consumers import texts
from catalunya.ops.watching.findings import Kind
from small import runbook
from small.checkout import ROOT, Checkout, Shell
from small.drill import command
from small.patience import patience

PAGE = (ROOT / "docs" / "continuity.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.timeout(patience(600))
EP, PMH = "IDESCAT ep/9122/10002/mun", "IDESCAT pmh/446/477/mun"


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve() as served:
        yield served


@pytest.fixture
def shell(server: MockServer, compiled: Path, made: Path, tmp_path: Path) -> Iterator[Shell]:
    """Commands in a checkout, whose lake has every table."""
    shutil.copytree(made, tmp_path / "lake")
    settings = {"mock_url": server.url, "http_attempts": "1", "http_backoff_s": "0", "airflow_url": ""}
    with closing(Shell(Checkout.at(tmp_path, compiled, **settings))) as found:
        yield found


def test_its_commands_switch_a_table_to_another_source_and_back(
    server: MockServer, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = shell.checkout
    out: list[str] = []

    def catalunya(words: list[str]) -> int:
        done = shell.run(*words)
        out.append(f"{done.out}{done.err}")
        return 0 if words[0] == "watch" and done.code == 1 else done.code  # 1: something needs a person

    def make(words: list[str]) -> None:
        assert words == ["generate"]
        shell.close()
        done = checkout.generate()
        assert done.code == 0, done.err

    def diff(words: list[str]) -> None:
        assert words == ["diff", "--stat"]
        changed = [name for name in ("assets/project.toml", "docs/graph.json") if _differs(checkout, name)]
        assert changed == ["assets/project.toml", "docs/graph.json"]

    # The source is gone; the local environment's mock stands for it.
    server.faults("error-503:ep/9122/10002/mun")
    sections = runbook.blocks("continuity.md", "## Switch to another source")
    looks, makes, back = sections
    before_check, check, *after = list(runbook.lines(looks))
    runbook.run(before_check, monkeypatch, {}, catalunya)
    assert f"{EP}" in out[-1]
    assert f"pmh: {PMH}" in out[-1]
    assert catalunya(check.split("#")[0].split()[1:]) == 1, "the check says that the source is down"
    assert "2 sources checked (1 not in use), 1 not as declared" in out[-1]
    runbook.run("\n".join(after), monkeypatch, {"make": make, "git": diff}, catalunya)
    runbook.run(makes, monkeypatch, {}, catalunya)
    counts = dict(re.findall(r"(IDESCAT \S+)\D+(\d+)", out[-1].replace(",", "")))
    assert counts.keys() == {EP, PMH}

    server.faults()
    runbook.run(back, monkeypatch, {"make": make}, catalunya)
    assert not _differs(checkout, "assets/project.toml")
    assert not _differs(checkout, "docs/graph.json")
    assert catalunya(["query", "select distinct population_source from staging.population"]) == 0
    assert PMH not in out[-1]


def test_its_commands_write_the_page_for_readers(
    server: MockServer, compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a lake with one table, which has no page for each place of the country."""
    for name, value in {
        "LAKE": tmp_path / "lake",
        "CACHE": compiled,
        "MOCK_URL": server.url,
        "AIRFLOW_URL": "",
    }.items():
        monkeypatch.setenv(f"CATALUNYA_{name}", str(value))
    monkeypatch.chdir(tmp_path)
    for key in ("landing.gdp", "staging.gdp"):
        materialize(Project(load_settings()), key)

    def catalunya(words: list[str]) -> int:
        code = command(*words)
        return 0 if words[0] == "watch" and code == 1 else code  # 1: something needs a person

    (page,) = runbook.blocks("continuity.md", "## The page for readers")
    assert len(runbook.run(page, monkeypatch, {}, catalunya)) == 2
    for language, title in (("ca", "Qualitat de les dades"), ("es", "Calidad de los datos"), ("en", "Data quality")):
        assert title in (tmp_path / "public" / language / "quality.html").read_text(encoding="utf-8")


def _differs(checkout: Checkout, name: str) -> bool:
    return (checkout.folder / name).read_text(encoding="utf-8") != (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`(catalunya [^`…]+)`", PAGE))))
def test_the_command_line_accepts_each_command_it_names(line: str) -> None:
    app.parse_args(line.split()[1:], print_error=False, exit_on_error=False)


def test_its_table_says_who_is_told_of_every_kind_and_in_which_words() -> None:
    rows = {
        row.split("|")[1].strip(" `"): [cell.strip() for cell in row.split("|")[2:-1]]
        for row in PAGE.splitlines()
        if re.match(r"\| `[a-z_]+` \|", row) and "at the next look" in row
    }
    assert list(rows) == [kind.value for kind in Kind]
    for kind in Kind:
        rule = texts().kinds.get(kind)
        expected = "no"
        if rule:
            when = f"after {rule.after_hours:g} h" if rule.after_hours else "at once"
            expected = f"{when}: *{texts().texts[rule.text]['en'].title}*"
        assert rows[kind][1] == expected, kind
