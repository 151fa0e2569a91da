"""Whatever a source's metadata and rows say, the code of a new source is Python of the expected shape, and injects nothing."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import keyword
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from catalunya.contracts.model.columns import NESTED
from catalunya.contracts.model.contract import Contract, LandingContract
from catalunya.io.safe_text import is_pattern
from catalunya.io.sources.base import About, FieldInfo
from catalunya.io.sources.socrata import Socrata
from catalunya.ops.scaffold import code
from catalunya.ops.scaffold.names import attribute_names, column_names, table_name
from catalunya.ops.scaffold.profile import profile

ROOT = Path(__file__).parents[2]
NUMBER = itertools.count()

EVIL = [
    '"""',
    "'''; import os",
    'a"); __import__("os").system("id") #',
    "\\",
    "\\N{DASH}",
    '\\"""',
    "line\nbreak\r\n\u2028\u2029\x0b\x0c\x85",
    "{x}",
    "%s",
    "__import__('os')",
    "# noqa: E501",
    "class",
    "None",
    "description",
    "columns",
    "version",
    "key",
    "Config",
    "validate",
    "__init__",
    "_private",
    ":id",
    ":@computed_region_1",
    "select",
    "Nom Barri",
    "любовь",
    "数据",
    "\ud7ff\ue000",
    "\u202egpj.exe",
    "\x00\x1b[2J",
    "a" * 5000,
    "l",
    "O",
    "1a",
    "é",
    "",
    " ",
    "any",
    "Any",
    "ANY",
    "codi_postal",
    "nif",
    "/tmp/x",  # what ruff would call insecure
    "0.0.0.0",
    "SELECT * FROM t WHERE x = '",
    "password",
]
texts = st.one_of(st.sampled_from(EVIL), st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
kinds = st.sampled_from(["text", "number", "calendar_date", "checkbox", "point", "url", "", 'te"xt', "\n"])
values = st.one_of(
    st.none(),
    st.sampled_from(EVIL),
    st.sampled_from(["1", "01", "2.5", "1,5", "2024-01-01", "31/12/2024", "true", "null", "..", "1e400", "12345678Z"]),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[About, pl.DataFrame]:
    """What a hostile source might say: fields with different names, as a frame needs them, and a few rows."""
    names = draw(st.lists(texts.filter(lambda name: not is_pattern(name)), min_size=1, max_size=8, unique=True))
    fields = [FieldInfo(n, draw(kinds), label=draw(texts), description=draw(texts)) for n in names]
    about = About(
        id=draw(texts),
        title=draw(texts),
        updated_at=None,
        fields=tuple(fields),
        page_url="https://example.org",
        description=draw(texts),
        publisher=draw(texts),
        licence=draw(texts),
        rows=draw(st.none() | st.integers(0, 10**9)),
        key=tuple(draw(st.lists(st.sampled_from(names), max_size=2, unique=True))),
    )
    count = draw(st.integers(0, 4))
    readable = [each.name for each in fields if each.kind not in NESTED]
    rows = {name: draw(st.lists(values, min_size=count, max_size=count)) for name in readable}
    return about, pl.DataFrame(rows, schema=dict.fromkeys(readable, pl.String))


def loaded(text: str, folder: Path) -> ModuleType:
    """The text as a module, run."""
    name = f"hostile_{next(NUMBER)}"
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pandera looks annotations up there
    spec.loader.exec_module(module)
    return module


def calls(text: str) -> set[str]:
    """The functions that the text calls, and every name that it reads."""
    tree = ast.parse(text)
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


ALLOWED = {"raw", "column", "str", "int", "float", "bool", "date", "datetime", "Contract", "LandingContract"}


@given(tables())
@example(
    (
        About('"""\n', "\\", None, (FieldInfo("a", "text", description='"""+exit()+"""'),), ""),
        pl.DataFrame({"a": ["1"]}),
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_metadata_break_the_contract_or_inject_anything(tmp_path: Path, table: tuple[About, pl.DataFrame]) -> None:
    about, rows = table
    found = profile(about, rows)
    text = code.contract_module("hostile", found)
    assert calls(text) <= ALLOWED | {"RawHostile"}
    module = loaded(text, tmp_path)
    raws: type[LandingContract] = module.RawHostile
    contract: type[Contract] = module.Hostile
    assert [each.name for each in raws.fields()] == [each.name for each in about.fields]
    names = [each.name for each in contract.columns()]
    assert len({name.lower() for name in names}) == len(names)
    assert all(name.isidentifier() and name.isascii() and not keyword.iskeyword(name) for name in names)
    assert not {each.name for each in raws.fields() if each.personal} & {each.source for each in contract.columns()}
    assert {each.source for each in contract.columns()} <= {each.name for each in about.fields}
    assert raws.description()
    assert all(each.description for each in contract.columns())


@given(texts)
@settings(max_examples=100)
def test_the_name_of_a_table_is_a_name_or_nothing(title: str) -> None:
    name = table_name(title)
    assert not name or (name.isidentifier() and name.isascii() and name == name.lower())


@given(st.lists(texts, max_size=12))
@settings(max_examples=100)
def test_names_are_different_whatever_they_were_made_from(found: Sequence[str]) -> None:
    for names in (column_names(found), attribute_names(found, dir(LandingContract))):
        assert len({name.lower() for name in names}) == len(found)
        assert all(name.isidentifier() and not name.startswith("_") and not keyword.iskeyword(name) for name in names)


@pytest.fixture
def wide() -> tuple[About, pl.DataFrame]:
    """A table with every evil name, and 500 columns in all."""
    names = [*dict.fromkeys(EVIL), *(f"Column {number}" for number in range(500 - len(set(EVIL))))]
    fields = tuple(FieldInfo(name, "text", label=name, description=name) for name in names)
    about = About('"""', '\\"""\n', None, fields, "", description="x " * 5000, publisher='"', licence="\n")
    return about, pl.DataFrame({name: ["1", "2"] for name in names})


def test_500_columns_with_evil_names_pass_ruff(wide: tuple[About, pl.DataFrame], tmp_path: Path) -> None:
    about, rows = wide
    found = profile(about, rows)
    source = Socrata("ab12-cd34", portal="https://example.org")
    for folder in ("assets", "contracts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "contracts/hostile.py").write_text(
        code.formatted(code.contract_module("hostile", found)), encoding="utf-8"
    )
    (tmp_path / "assets/hostile.py").write_text(
        code.formatted(code.asset_module("hostile", found, source, "@weekly")), encoding="utf-8"
    )
    for command in (
        ["check", "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        ["format", "--check", "--isolated", "--line-length=120"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:]
    assert (
        len(loaded((tmp_path / "contracts/hostile.py").read_text(encoding="utf-8"), tmp_path).RawHostile.fields())
        == 500
    )
