"""`catalunya sources switch` changes one line of `assets/project.toml`, and refuses what it cannot check or does not know."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalunya.io.errors import UsageError
from catalunya.ops import mock
from catalunya.ops.mock.server import MockServer
from catalunya.ops.source_switch import switched, write
from small.checkout import ROOT, Checkout

OURS = (ROOT / "assets" / "project.toml").read_text(encoding="utf-8")
FILES = {
    "without the table": OURS,
    "with comments": f"{OURS}\n[sources]  # for now\n# gdp is slow\ngdp = 'fast' # see the issue\n\n# the end\n[other]\na = 1\n",
    "in the middle": OURS.replace("[portals]", '[sources]\ngdp = "fast"\n\n[portals]'),
    "at the very end": f'{OURS}\n[sources]\ngdp = "fast"',
    "an empty table": f"{OURS}\n[sources]\n",
}


@pytest.mark.parametrize("before", FILES.values(), ids=FILES)
def test_a_choice_is_written_changed_and_taken_out_and_the_rest_of_the_file_stays(before: str) -> None:
    others = tomllib.loads(before).get("sources", {})
    once = switched(before, "population", "pmh")
    assert tomllib.loads(once)["sources"] == {**others, "population": "pmh"}
    again = switched(once, "population", "censph")
    assert tomllib.loads(again)["sources"] == {**others, "population": "censph"}
    assert switched(again, "population", "pmh") == once
    back = switched(again, "population", "")
    expected = {name: value for name, value in tomllib.loads(before).items() if name != "sources" or value}
    assert tomllib.loads(back) == expected
    assert [line for line in before.splitlines() if line.strip() and line not in back] in ([], ["[sources]"])
    if before == OURS:
        assert back == OURS


def test_a_choice_in_another_form_is_left_to_a_person() -> None:
    inline = f"sources = {{gdp = 'fast'}}\n{OURS}"
    with pytest.raises(UsageError, match="write population = 'pmh' there by hand"):
        switched(inline, "population", "pmh")


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with mock.serve() as served:
        yield served


@pytest.fixture(scope="module")
def project(server: MockServer, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder, settings = tmp_path_factory.mktemp("checkout"), {"http_attempts": "1", "http_backoff_s": "0"}
    return Checkout.at(folder, compiled, mock_url=server.url, **settings)


@pytest.fixture
def checkout(project: Checkout, server: MockServer) -> Checkout:
    server.reset()
    project.declared.write_text(OURS, encoding="utf-8")
    return project


def test_one_command_switches_and_one_switches_back(checkout: Checkout) -> None:
    done = checkout.run("sources", "switch", "population", "pmh")
    assert done.code == 0, done.err
    assert "landing.population: IDESCAT ep/9122/10002/mun -> IDESCAT pmh/446/477/mun (assets/project.toml)" in done.out
    assert "remade   landing.population, staging.population, marts.fact_population_monthly" in done.out
    assert "catalunya materialize landing.population+ --accept-change" in done.out
    assert 'population = "pmh"' in checkout.declared.read_text(encoding="utf-8")

    sources, ls, status, again = checkout.run_each(
        ["sources", "--json"],
        ["ls", "--json"],
        ["status", "source:population", "--json"],
        ["sources", "switch", "population", "pmh"],
    )
    listed = {each["asset"]: each for each in json.loads(sources.out)}
    assert listed["landing.population"] == {
        "asset": "landing.population",
        "source": "IDESCAT pmh/446/477/mun",
        "in_use": "pmh",
        "standby": {"first": "IDESCAT ep/9122/10002/mun"},
    }
    shown = {each["key"]: each for each in json.loads(ls.out)}
    assert shown["landing.population"]["in_use"] == "pmh"
    assert shown["staging.population"]["source"] == "IDESCAT pmh/446/477/mun"

    state = {each["asset"]: each for each in json.loads(status.out)}
    assert state["landing.population"]["in_use"] == "pmh"

    assert again.out.strip().endswith("nothing to switch")
    back = checkout.run("sources", "switch", "landing.population", "--back")
    assert back.code == 0, back.err
    assert checkout.declared.read_text(encoding="utf-8") == OURS


def test_a_source_that_does_not_answer_or_match_is_not_switched_to(checkout: Checkout, server: MockServer) -> None:
    for fault in ("error-503:pmh/446/477/mun", "renamed-column:pmh/446/477/mun"):
        server.faults(fault)
        refused = checkout.run("sources", "switch", "population", "pmh")
        assert refused.code == 1
        assert "landing.population is still read from IDESCAT ep/9122/10002/mun: nothing was changed" in refused.out
        assert checkout.declared.read_text(encoding="utf-8") == OURS


REFUSED = {
    ("population", "pmg"): "expected an alternative of landing.population (pmh), found 'pmg'; did you mean pmh?",
    ("gdp", "pmh"): "expected an alternative of landing.gdp (it has none), found 'pmh'",
    ("populations", "pmh"): "did you mean landing.population",
    ("population",): "or --back, found neither",
    ("population", "pmh", "--back"): "or --back, found both",
}


def test_what_cannot_be_meant_is_refused(checkout: Checkout) -> None:
    ran = checkout.run_each(*(["sources", "switch", *arguments] for arguments in REFUSED))
    for (arguments, expected), refused in zip(REFUSED.items(), ran, strict=True):
        assert refused.code == 2, arguments
        assert expected in refused.err
    assert checkout.declared.read_text(encoding="utf-8") == OURS


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('population = "phm"', "[sources] population = 'phm': expected an alternative of landing.population (pmh)"),
        ('populaton = "pmh"', "[sources] names populaton, expected a landing table; did you mean population?"),
        ("population = 1", "expected a table, [sources], with the name of an alternative"),
    ],
)
def test_a_mistake_in_the_file_is_named_by_every_command(checkout: Checkout, line: str, expected: str) -> None:
    checkout.declared.write_text(f"{OURS}\n[sources]\n{line}\n", encoding="utf-8")
    refused = checkout.run("ls")
    assert refused.code != 0
    assert expected in " ".join(refused.err.split())


def test_line_endings_a_link_and_the_rights_of_the_file_stay(checkout: Checkout, tmp_path: Path) -> None:
    target = tmp_path / "shared.toml"
    target.write_bytes(OURS.replace("\n", "\r\n").encode())
    target.chmod(0o640)
    checkout.declared.unlink()
    checkout.declared.symlink_to(target)
    try:
        assert checkout.run("sources", "switch", "population", "pmh").code == 0
        switched_to = target.read_bytes()
        assert checkout.run("sources", "switch", "population", "--back").code == 0
        assert checkout.declared.is_symlink()
    finally:
        checkout.declared.unlink()
    assert b'population = "pmh"\r\n' in switched_to
    assert b"\n" not in switched_to.replace(b"\r\n", b"")
    assert target.read_bytes() == OURS.replace("\n", "\r\n").encode()
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_change_that_someone_made_meanwhile_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "project.toml"
    path.write_text(OURS)
    with pytest.raises(UsageError, match="was changed meanwhile"):
        write(path, "a = 1\n", before=f"{OURS}# as it was read\n")
    assert path.read_text() == OURS


@pytest.mark.parametrize(
    "text",
    [
        '"sources" = {gdp = "fast"}\n',
        'sources.gdp = "fast"\n',
        "  [sources]\n",
        '["sources"]\ngdp = "fast"\n',
        '[sources]\n"population" = "fast"\n',
        '[sources]\npopulation = """fast"""\n',
        'a = """\n[sources]\n"""\n',
        "a = [\n[1],\n[2]]\n[sources]\npopulation = 'x' # = 'y'\n",
        '[sources] # [x]\npopulation="a"',
        "[sources.population]\nx = 1\n",
    ],
)
def test_any_form_is_edited_right_or_left_to_a_person(text: str) -> None:
    try:
        made = switched(text, "population", "pmh")
    except UsageError:
        return  # nothing was changed; the message says what to do
    before = tomllib.loads(text)
    assert tomllib.loads(made) == {**before, "sources": {**before.get("sources", {}), "population": "pmh"}}


def test_a_file_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be written: .*; switch in a checkout of the project"):
        write(tmp_path / "no such folder" / "project.toml", OURS, before=OURS)
