"""A path is a path: whatever a folder is called, no reader takes its name for a pattern, a partition, an option or an escape."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.paths import relation, scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.verify import verify
from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError, LakeError
from catalunya.io.lake import Lake
from catalunya.io.warehouse.dbt_models import Model
from catalunya.io.warehouse.duckdb import connect, open_duckdb
from small.commands import COMMAND
from small.patience import patience
from small.shops import declare, some

ROOT = Path(__file__).parents[2]
NAMES = {
    "brackets": "[a] [!b]",
    "stars, braces and spaces": " **  {a,b} ",
    "a question mark and a backslash": "what?now\\then",
    "quotes and escapes": 'it\'s "so" %20%2F#fragment',
    "accents as two characters": unicodedata.normalize("NFD", "Reçopilació"),
    "partitions": "city=Reus & any=2020 $HOME ~",
    "a line break": "two\nlines",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_lake_and_a_scratch_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    plain, odd = (made(tmp_path, folder) for folder in ("plain", NAMES[name]))
    for key in ("landing.shops", "staging.shops", "staging.cities"):
        ours, theirs = plain.ledger.latest(key), odd.ledger.latest(key)
        assert ours
        assert theirs
        assert (ours.data_version, ours.rows) == (theirs.data_version, theirs.rows)
    entry = odd.ledger.latest("staging.shops")
    assert entry
    table = scan_table(odd.lake, odd.graph["staging.shops"], entry).collect()
    assert sorted(table["city"].unique()) == ["Olot", "Reus"]
    assert verify(odd).findings == []

    made_from = relation(odd.lake, odd.graph["staging.shops"], entry)
    with connect([made_from]) as connection:
        assert connection.sql("select city, count(*) from staging.shops group by 1 order by 1").fetchall() == COUNTS
    (tmp_path / NAMES[name] / "build").mkdir()
    with open_duckdb(MODEL, [made_from], None, tmp_path / NAMES[name] / "build") as workspace:
        first = workspace.first_row("select city, count(*) as n from staging.shops group by 1 order by 1")
    assert first == {"city": "Olot", "n": 3}


COUNTS = [("Olot", 3), ("Reus", 6)]


MODEL = Model("any", "", (), (), (), (), is_incremental=False, partitioned_by=(), sql_version="", meta={})


def made(tmp_path: Path, folder: str) -> Project:
    """The shops made twice, the second time with a row in quarantine and a city more, in a lake below this folder."""
    place = tmp_path / folder
    (place / "scratch").mkdir(parents=True)
    settings = load_settings(lake=str(place / "lake"), cache=place / "cache", scratch=place / "scratch")
    source, declared = declare(tmp_path / f"source of {folder.encode().hex()}", page_rows=5)
    project = Project(settings, declared)
    source.write(some(5))
    for key in project.graph:
        materialize(project, key.key)
    source.write(
        [*some(6), {"codi": "bad", "ciutat": "none"}, *({"codi": f"O{n}", "ciutat": "Olot"} for n in range(3))]
    )
    for key in project.graph:
        materialize(project, key.key)
    materialize(project, "staging.shops", Request(replay=True))
    return project


def test_a_lake_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "lake").write_bytes(b"")
    for root in (tmp_path / "lake", tmp_path / "lake" / "below"):
        with pytest.raises(
            LakeError, match=r"there is a file where a folder is needed; move it, or point CATALUNYA_LAKE"
        ):
            Lake(str(root))


@pytest.mark.parametrize("name", ["lake", "cache", "scratch", "backup"])
def test_a_path_that_is_not_utf8_is_one_clear_line_before_anything_is_set_up(tmp_path: Path, name: str) -> None:
    place = os.fsdecode(bytes(tmp_path) + b"/\xff")
    with pytest.raises(ConfigurationError, match=rf"^CATALUNYA_{name.upper()}=.*expected a path in UTF-8") as caught:
        load_settings(**{name: place})
    assert str(caught.value).encode("utf-8")


LOCALES = {
    "C without Python's UTF-8 mode": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII streams": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_every_locale_and_encoding_of_the_streams_works(compiled: Path, tmp_path: Path, locale: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    lake = tmp_path / "Reçopilació"
    settings = {"CATALUNYA_LAKE": str(lake), "CATALUNYA_CACHE": str(compiled)}

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [COMMAND, *arguments],
            env={**kept, **settings, **LOCALES[locale]},
            capture_output=True,
            check=False,
            timeout=patience(60),
            cwd=tmp_path,
        )

    shown = run("show", "staging.municipalities", "--json")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert json.loads(shown.stdout)["declaration"]["location"] == f"{lake}/staging/municipalities"
    unknown = run("status", "staging.població")
    assert unknown.returncode == 2
    assert unknown.stderr.decode("utf-8").count("\n") == 1
    assert b"did you mean staging.population" in unknown.stderr
    assert lake.is_dir()
    assert [each.name for each in tmp_path.iterdir()] == ["Reçopilació"]


def test_warnings_of_a_command_that_looks_are_on_stderr(compiled: Path, tmp_path: Path) -> None:
    """Here that of a lease that cannot be read; stdout is one JSON document."""
    lake = Lake(str(tmp_path / "lake"))
    lake.put("_leases/staging/gdp/0000000001.json", b"{")
    settings = {"CATALUNYA_LAKE": lake.root, "CATALUNYA_CACHE": str(compiled)}
    command = [COMMAND, "status", "staging.gdp", "--json"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=True, cwd=tmp_path)
    (status,) = json.loads(done.stdout)
    assert (status["state"], status["why"]) == ("running", "its lease cannot be read, and ends by itself")
    assert done.stderr.count(b"lease_unreadable") == 1


def test_every_file_and_every_stream_of_a_process_is_opened_with_its_encoding() -> None:
    assert list(without_encoding()) == []


def without_encoding() -> Iterator[str]:
    """The calls that would open text in the encoding of the locale, which ruff's PLW1514 finds only where it knows the type."""
    for folder in ("assets", "contracts", "io", "dags", "ops", "portal", "cdk", "bench"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and _is_in_the_locale(call):
                    yield f"{path.relative_to(ROOT)}:{call.lineno}"


def _is_in_the_locale(call: ast.Call) -> bool:
    named = {keyword.arg for keyword in call.keywords}
    if "encoding" in named:
        return False
    name = ast.unparse(call.func)
    if name.startswith("subprocess."):
        return bool({"text", "universal_newlines"} & named)
    if name in ("os.open", "tarfile.open", "archive.open"):  # of a ZIP archive: bytes
        return False
    _, dot, function = name.rpartition(".")
    modes = {argument.value for argument in call.args if isinstance(argument, ast.Constant)}
    is_binary = any("b" in str(mode) for mode in modes if len(str(mode)) < 4)
    return (bool(dot) and function in ("read_text", "write_text")) or (function == "open" and not is_binary)
