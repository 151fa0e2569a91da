"""docs/testing.md shows a test that passes, and names everything there is to build with."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/testing.md").read_text()


def test_the_example_passes(request: pytest.FixtureRequest) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    module: dict[str, Any] = {}
    exec(compile(example, "docs/testing.md", "exec"), module)
    (test,) = [value for name, value in module.items() if name.startswith("test_")]
    test(**{name: request.getfixturevalue(name) for name in inspect.signature(test).parameters})


def test_everything_in_small_is_described() -> None:
    modules = {path.stem for path in (TESTS / "small").glob("*.py")} - {"__init__"}
    assert modules - set(re.findall(r"`small\.(\w+)`", PAGE)) == set()


def test_every_folder_of_tests_that_it_names_exists() -> None:
    folders = re.findall(r"`(tests/[\w/]+)/?`", PAGE)
    assert [folder for folder in folders if not (TESTS.parent / folder).is_dir()] == []
