"""What a table's page offers to copy works as it is printed, against the site as it is served."""

from __future__ import annotations

import html
import importlib.util
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
import uvicorn

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.processes import free_ports
from catalunya.portal.build import File, parts
from catalunya.portal.serve import HOST, site_app
from catalunya.portal.site import read_site
from small.patience import patience

TABLE = "marts.fact_gdp_quarterly"
SNIPPET = re.compile(r"<h3>([^<]+)</h3>\s*<p>[^<]*</p>\s*<pre[^>]*><code>(.*?)</code>", re.DOTALL)


@dataclass(frozen=True)
class Served:
    """A served site with the page and the files of one table. `snippets`: what the page offers to copy, by heading."""

    folder: Path
    base: str
    rows: int
    snippets: dict[str, str]


def write(folder: Path, file: File) -> None:
    to = folder / file.path
    to.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(file.body, Path):
        shutil.copy(file.body, to)
    elif file.body is not None:
        to.write_bytes(file.body)


@pytest.fixture(scope="module")
def served(made: Path, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, (port,) = tmp_path_factory.mktemp("served"), free_ports(1)
    base = f"http://{HOST}:{port}"
    site = read_site(Project(load_settings(env="local", lake=str(made), cache=compiled, portal_url=base)))
    for part in parts(site):
        if part.name in (f"data/{TABLE.replace('.', '/')}", f"table:{TABLE}"):
            for file in part.files():
                write(folder, file)
    page = (folder / f"en/table/{TABLE}.html").read_text(encoding="utf-8")
    server = uvicorn.Server(uvicorn.Config(site_app(folder), host=HOST, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + patience(30)
    while not server.started and time.monotonic() < end:
        time.sleep(0.05)
    entry = site.entry(TABLE)
    assert entry is not None
    found = {title: html.unescape(code) for title, code in SNIPPET.findall(page)}
    yield Served(folder, base, entry.rows, found)
    server.should_exit = True
    thread.join()


def rows_in_python(code: str) -> int:
    """Run a snippet in a Python of its own; how many rows its table has."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(len(table))"],
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout.splitlines()[-1])


def test_the_page_has_a_snippet_for_each_tool(served: Served) -> None:
    assert list(served.snippets) == ["DuckDB", "Python, polars", "Python, pandas", "R", "Excel"]
    assert all(f"{served.base}/data/marts/fact_gdp_quarterly/latest" in code for code in served.snippets.values())


def test_polars_reads_all_rows(served: Served) -> None:
    assert rows_in_python(served.snippets["Python, polars"]) == served.rows > 0


@pytest.mark.skipif(
    not importlib.util.find_spec("pandas"),
    reason="pandas is no dependency of this project: put a folder with it on PYTHONPATH to run this",
)
def test_pandas_reads_all_rows(served: Served) -> None:
    assert rows_in_python(served.snippets["Python, pandas"]) == served.rows > 0


def test_duckdb_reads_all_rows_over_http_where_it_has_its_extension(served: Served) -> None:
    with duckdb.connect() as database:
        try:
            database.execute("LOAD httpfs")
        except duckdb.Error:
            pytest.skip("DuckDB's extension httpfs is not installed on this machine, and tests download nothing")
        assert len(database.execute(served.snippets["DuckDB"]).fetchall()) == served.rows > 0


def test_duckdb_reads_all_rows_of_the_file_by_the_same_sql(served: Served) -> None:
    # Without the extension, only the file in place of its address can be tried.
    local = served.snippets["DuckDB"].replace(served.base, str(served.folder))
    with duckdb.connect() as database:
        assert len(database.execute(local).fetchall()) == served.rows > 0


def test_excel_is_given_a_file_that_exists(served: Served) -> None:
    address = served.snippets["Excel"]
    assert (served.folder / address.removeprefix(f"{served.base}/")).is_file()
