"""Finding the tables: the files directly in `assets/`, and nothing of the engine. Tried in a copy of the project with one table of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from small.checkout import copy_code

ROOT = Path(__file__).parents[2]

CONTRACT = '''"""What the wells of another region promise."""

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw


class RawWells(LandingContract):
    """Wells as the portal publishes them."""

    id: str = raw("Id", required=True)


class Wells(Contract):
    """Wells."""

    well_id: str = column("Id", source=RawWells.id, key=True)
'''

ASSET = '''"""The wells of another region."""

from catalunya.assets.graph.spec import Landing, staging
from catalunya.contracts.wells import RawWells, Wells
from catalunya.io.sources.socrata import Socrata

landing = Landing("wells", source=Socrata("abcd-1234", key=("id",)), contract=RawWells, schedule="@daily")


@staging(landing, contract=Wells)
def wells(raw):
    """Nothing to add."""
    return raw
'''

ASK = """
import json, sys
from catalunya.assets.graph.discovery import load_graph
from catalunya.io.environment import load_settings
graph = load_graph(load_settings(env="local"))
print(json.dumps({asset.key: asset.code_version for asset in graph}))
print(json.dumps(sorted(name for name in sys.modules if name.startswith(("catalunya.assets.", "polars")))))
"""


class Copy:
    """The engine without the tables of Catalonia, and one table of another region."""

    def __init__(self, root: Path) -> None:
        self.root, self.cache = root, root / "cache"
        for folder in ("assets", "contracts", "io", "src"):
            copy_code(ROOT / folder, root / folder)
        for table in [*(root / "assets").glob("[!_]*.py"), *(root / "contracts").glob("[!_]*.py")]:
            table.unlink()
        (root / "contracts" / "wells.py").write_text(CONTRACT)
        (root / "assets" / "wells.py").write_text(ASSET)

    def graph(self) -> tuple[dict[str, str], list[str]]:
        """Code versions by asset key, and what was imported to know them."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CATALUNYA_")}
        environment |= {"PYTHONPATH": str(self.root / "src"), "CATALUNYA_CACHE": str(self.cache)}
        done = subprocess.run(
            [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        versions, imported = done.stdout.splitlines()[-2:]
        return json.loads(versions), json.loads(imported)

    def append(self, file: str, text: str) -> None:
        """Add code to a file."""
        path = self.root / file
        path.write_text(path.read_text() + text)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_another_region_brings_its_tables_and_the_engine_needs_no_other(copy: Copy) -> None:
    versions, imported = copy.graph()
    assert sorted(versions) == ["landing.wells", "staging.wells"]
    assert "catalunya.assets.making.staging" not in imported, "discovery imports tables, not what makes them"


def test_an_edit_in_the_engine_makes_nothing_stale_and_compiles_nothing(copy: Copy) -> None:
    before, imported = copy.graph()
    assert "polars" in imported, "compiling the graph imports the tables"
    for file in ("assets/making/staging.py", "assets/record/state.py", "contracts/model/check.py", "io/lake.py"):
        copy.append(file, "\n\ndef added() -> int:\n    return 1\n")
    after, imported = copy.graph()
    assert after == before
    assert "polars" not in imported, "the compiled graph was read"


def test_an_edit_of_a_table_makes_that_table_stale(copy: Copy) -> None:
    before, _ = copy.graph()
    copy.append("assets/wells.py", "\n\nDEPTH_M = 3\n")
    after, _ = copy.graph()
    assert after["staging.wells"] != before["staging.wells"]
    assert after["landing.wells"] == before["landing.wells"]


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("assets/wells.py", "\n\nx = (\n", "SyntaxError"),
        ("assets/wells.py", "\n\nimport no_such_module\n", r"\(.*assets/wells.py:\d+\): ModuleNotFoundError"),
        ("contracts/wells.py", "\n\nDEPTH = RawWells.depth\n", r"\(.*contracts/wells.py:\d+\): AttributeError"),
    ],
)
def test_a_mistake_in_a_table_is_reported_with_its_file_and_not_as_a_bug(
    copy: Copy, file: str, text: str, reason: str
) -> None:
    copy.append(file, text)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        copy.graph()
    message = failed.value.stderr.splitlines()[-1]
    assert re.search(rf"DeclarationError: assets/wells.py cannot be imported.*{reason}", message)
