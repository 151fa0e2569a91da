"""The project: a folder with `assets/`, `contracts/` and `dbt/`. `assets/project.toml` says what it is called and where its sources are.

Here: which project this process works on (`CATALUNYA_PROJECT`, else the one in this package), and importing its modules. Not here:
finding the tables in it (`assets/graph/discovery.py`), settings (`environment.py`). The command, the package and the variables are
called `catalunya` whatever the project; everything that is created for a project has the project's name.
"""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType

import catalunya
from catalunya.io.base_url import flaw_of_base
from catalunya.io.errors import ConfigurationError

VARIABLE = "CATALUNYA_PROJECT"
FILE = "assets/project.toml"
SAMPLES = "samples"  # in `assets/`: small recorded answers of the sources, which the local mock serves
OURS = Path(catalunya.__file__).parent
MACROS = OURS / "io" / "warehouse" / "macros"  # dbt's, for the SQL of every project
NAME_LETTERS = 18  # with a longer one, the boundaries of roles are larger than a policy of IAM may be

_NAME = re.compile(rf"(?=.{{1,{NAME_LETTERS}}}$)[a-z][a-z0-9]*(-[a-z0-9]+)*", flags=re.ASCII)
# The qualifier of a CDK bootstrap has at most ten letters or digits, `acct`, `dev` or `prod` included.
_QUALIFIER = re.compile(r"[a-z][a-z0-9]{0,5}", flags=re.ASCII)


@dataclass(frozen=True, kw_only=True, eq=False)
class ProjectFolder:
    """A project's folder and declaration.

    - `name`: how the names of everything in AWS begin, and its assets' URIs: lowercase letters, digits, hyphens.
    - `title`: one line for people.
    - `qualifier`: how the qualifiers of its CDK bootstraps begin; another project in the same account needs another.
    - `portals`: the base URL of each protocol, for sources that name no portal of their own.
    - `sources`: landing table -> the alternative source that it is read from, for those that are not read from their first source.
    - `watch`: how long things may take, in hours by selection (`ops/watching/freshness.py`).
    """

    folder: Path
    name: str
    title: str
    qualifier: str
    portals: Mapping[str, str]
    sources: Mapping[str, str] = field(default_factory=dict)
    watch: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def identifier(self) -> str:
        """The name where no hyphen may be: Python's package, dbt's project, databases."""
        return self.name.replace("-", "_")

    @property
    def label(self) -> str:
        """The name where words begin with capitals: stacks and the namespace of metrics."""
        return "".join(word.capitalize() for word in self.name.split("-"))

    @property
    def is_ours(self) -> bool:
        """Whether it is the project that this package comes with."""
        return self.folder == OURS

    @property
    def dbt(self) -> Path:
        """dbt's project."""
        return self.folder / "dbt"

    @cached_property
    def package(self) -> str:
        """The Python package that its modules are imported from, importable from now on: `new_york.contracts.stations`.

        The folder's parent does not come on `sys.path`, so nothing else beside it can be imported by mistake.
        Raises ConfigurationError if Python has another module of that name.
        """
        if self.is_ours:
            return catalunya.__name__
        name = self.identifier
        known = sys.modules.get(name)
        spec = known.__spec__ if known else importlib.util.find_spec(name)
        if spec is not None and [Path(place).resolve() for place in spec.submodule_search_locations or ()] != [
            self.folder
        ]:
            raise ConfigurationError(
                f"{self.folder / FILE}: name = {self.name!r}: expected a name that no Python module has, found {name} in "
                f"{spec.origin or 'another folder'}; choose another name"
            )
        if known is None:
            module = ModuleType(name, self.title)
            module.__path__ = [str(self.folder)]
            module.__spec__ = importlib.util.spec_from_loader(name, loader=None, is_package=True)
            assert module.__spec__
            module.__spec__.submodule_search_locations = module.__path__
            sys.modules[name] = module
        return name


def active() -> ProjectFolder:
    """The project of this process. Raises ConfigurationError, one line, if its declaration is missing or wrong."""
    given = os.environ.get(VARIABLE)
    return _read(_resolved(os.path.abspath(given)) if given else OURS)  # noqa: PTH100  asked a thousand times in a parse, and pathlib is slow


@cache
def _resolved(given: str) -> Path:
    folder = Path(given).resolve()
    return OURS if folder / "assets" == (OURS / "assets").resolve() else folder


@cache
def _read(folder: Path) -> ProjectFolder:
    path = folder / FILE
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{VARIABLE}={folder}: expected a project's folder, with {FILE}, found {error}; docs/another-region.md shows one"
        ) from None
    expected, optional = {"name", "title", "qualifier", "portals"}, {"sources", "watch"}
    if unknown := sorted((declared.keys() - optional) ^ expected):
        raise ConfigurationError(
            f"{path}: expected {', '.join(sorted(expected))}; missing or unknown: {', '.join(unknown)}; correct the file"
        )
    for name, pattern, allowed in (
        (
            "name",
            _NAME,
            f"at most {NAME_LETTERS} lowercase letters, digits and single hyphens, beginning with a letter",
        ),
        ("qualifier", _QUALIFIER, "1 to 6 lowercase letters and digits, beginning with a letter"),
        ("title", re.compile(r".{1,100}"), "one line of at most 100 characters"),
    ):
        if not isinstance(declared[name], str) or not pattern.fullmatch(declared[name]):
            raise ConfigurationError(f"{path}: {name} = {declared[name]!r}: expected {allowed}")
    if keyword.iskeyword(declared["name"]):
        raise ConfigurationError(
            f"{path}: name = {declared['name']!r}: expected no keyword of Python; choose another name"
        )
    sources = declared.get("sources", {})
    if not isinstance(sources, dict) or not all(isinstance(name, str) for name in sources.values()):
        raise ConfigurationError(
            f"{path}: sources = {sources!r}: expected a table, [sources], with the name of an alternative for each landing table"
        )
    portals = declared["portals"]
    if not isinstance(portals, dict):
        raise ConfigurationError(
            f"{path}: portals = {portals!r}: expected a table, [portals], with a base URL for each protocol"
        )
    for protocol, url in portals.items():
        if flaw := flaw_of_base(url) if isinstance(url, str) else f"expected a URL, found {url!r}":
            raise ConfigurationError(f"{path}: portals: {protocol}: {flaw}; correct it")
    if flaw := _flaw_of_watch(declared.get("watch", {})):
        raise ConfigurationError(f"{path}: {flaw}; correct the file")
    return ProjectFolder(folder=folder, **declared)


def _flaw_of_watch(watch: object) -> str:
    """What is wrong with the table of how long things may take; empty if nothing is."""
    known = ("source_hours", "stale_hours")
    if not isinstance(watch, dict) or watch.keys() - set(known):
        return f"watch = {watch!r}: expected the tables {' and '.join(f'[watch.{name}]' for name in known)}"
    for name, policies in watch.items():
        for selection, hours in policies.items() if isinstance(policies, dict) else [("", None)]:
            if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours < 1e6:
                return f'[watch.{name}]: {selection} = {hours!r}: expected a selection and hours, such as "layer:marts" = 6'
    return ""
