"""The commands of docs/recovery.md for a damaged lake, run line by line as the page shows them, after the disaster that each is for.

The lake is a folder, in which everything was made. The loss of a bucket and of a region are in test_region_lost.py; commands on Airflow's
host, and what needs AWS's own command, are listed here, so that a new one has to be run somewhere.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.mock import serve
from catalunya.ops.mock.server import MockServer
from small.drill import command
from small.lakes import contents
from small.runbook import blocks, lines, run

PAGE = "recovery.md"
HERE = (
    "## Backups",
    "## Restoring",
    "### Ledger entries or objects are damaged or missing",
    "### A bad load was published",
    "### A deployment published wrong tables",
)
ON_AWS = ("### The bucket or the folder is lost", "### The region is lost", "#### Going home")
DAY = "20261122"
"""The day of the backup in the page's examples."""


@pytest.fixture
def mock() -> Iterator[MockServer]:
    with serve(rows=300) as server:
        yield server


@pytest.fixture
def project(made: Path, compiled: Path, mock: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A lake with a backup of it, and the variables that point commands at both."""
    shutil.copytree(made, tmp_path / "lake")
    places = {"LAKE": str(tmp_path / "lake"), "BACKUP": str(tmp_path / "backup"), "CACHE": str(compiled)}
    for name, value in {**places, "ENV": "local", "MOCK_URL": mock.url}.items():
        monkeypatch.setenv(f"CATALUNYA_{name}", value)
    monkeypatch.chdir(tmp_path)
    assert command("backup") == 0
    return Project(load_settings())


def run_below(heading: str, patch: pytest.MonkeyPatch, *, skipped: int = 0) -> list[str]:
    """Run the first block below a heading, of today's backup, without its first commands if they are expected to fail."""
    block = blocks(PAGE, heading)[0].replace(DAY, f"{datetime.now(UTC):%Y%m%d}")
    return run("\n".join([*lines(block)][skipped:]), patch, {})


def tables(project: Project) -> dict[str, bytes]:
    wanted = ("staging/", "marts/", "quarantine/")
    return {path: body for path, body in contents(project.lake.root).items() if path.startswith(wanted)}


def test_backups_are_made_listed_checked_and_pruned(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(run_below("## Backups", monkeypatch)) == 4


def test_a_lost_folder_is_restored_whole_in_part_and_elsewhere(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables(project)
    shutil.rmtree(project.lake.root)
    assert len(run_below("## Restoring", monkeypatch)) == 6
    assert tables(project) == before
    assert {path for path in contents("elsewhere") if path in before} == before.keys()
    assert command("verify") == 0


def test_missing_objects_and_entries_come_back(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables(project)
    entry = project.ledger.latest("marts.dim_municipalities")
    assert entry
    project.lake.delete([entry.objects[0].path])
    project.lake.put(project.ledger.path("staging.gdp", 1), b"{")
    assert command("verify") == 1
    run_below("### Ledger entries or objects are damaged or missing", monkeypatch, skipped=1)
    assert tables(project) == before


def test_a_bad_load_is_undone_with_what_was_made_from_it(
    project: Project, mock: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = project.ledger.latest("staging.municipalities")
    mock.advance("9aju-tpwc")
    for key in ("landing.municipalities", "staging.municipalities"):
        materialize(project, key)
    bad = project.ledger.latest("staging.municipalities")
    run_below("### A bad load was published", monkeypatch)
    now = Project(project.settings)
    latest = now.ledger.latest("staging.municipalities")
    assert before is not None
    assert bad is not None
    assert latest is not None
    assert latest.data_version == before.data_version != bad.data_version
    assert not [key for key in ("staging.municipalities", "marts.dim_municipalities") if now.state().stale(key)]


def test_a_wrong_table_is_replaced_by_the_one_of_the_backup(
    project: Project, mock: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "marts.fact_service_usage_daily"
    before = project.ledger.latest(key)
    mock.advance("yavr-pn8q")
    for each in ("landing.service_usage", "staging.service_usage", key):
        materialize(project, each)
    wrong = project.ledger.latest(key)
    run_below("### A deployment published wrong tables", monkeypatch)
    latest = Project(project.settings).ledger.latest(key)
    assert before is not None
    assert wrong is not None
    assert latest is not None
    assert (latest.data_version, latest.reason) == (before.data_version, "RESTORED")
    assert wrong.data_version != before.data_version


def test_every_block_of_the_page_is_run_by_some_test() -> None:
    text = Path(__file__).parents[2].joinpath("docs", PAGE).read_text()
    headings = re.findall(r"^#{2,4} .*$", text, flags=re.MULTILINE)
    tested = {blocks(PAGE, heading)[0] for heading in (*HERE, *ON_AWS)}
    every = {block for heading in headings for block in blocks(PAGE, heading)}
    left = {" ".join(line.split()[:2]) for block in every - tested for line in lines(block)}
    # Airflow's host (tests of Dokku), and the credentials, which AWS's own command prints.
    assert left <= {
        "export CATALUNYA_ENV=prod",
        'eval "$(aws',
        "dokku postgres:create",
        "dokku postgres:link",
        "dokku run",
    } | {
        "dokku config:set",
        "dokku ps:restart",
    }
