"""Finding the declarations: every file directly in `assets/` may hold some, and the marts come from dbt's manifest.

Here: discovery, and the compiled graph, so that a DAG file or `catalunya ls` imports neither polars nor dbt. Not here: what a
declaration is (`spec.py`), lineage and selection (`graph.py`).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import traceback
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec

from catalunya.assets.graph.alternatives import SECTION
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Declaration, LandingDeclaration, Layer, Marts, StagingDeclaration
from catalunya.io.environment import Settings
from catalunya.io.errors import CatalunyaError, DeclarationError
from catalunya.io.json_text import BROKEN_JSON, json_decoder
from catalunya.io.log import get_logger
from catalunya.io.project_folder import FILE, MACROS, OURS, ProjectFolder, active
from catalunya.io.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalunya.contracts.model.contract import Contract

log = get_logger(__name__)

_COMPILED = "graph.json"
# What the graph is compiled from, beside the macros and the protocols that come with the engine: what a source is declared with counts as its
# landing table's code. The rest of the engine is not among it: an edit there changes no table.
_SOURCES = (
    FILE,
    "assets/*.py",
    "contracts/*.py",
    "dbt/*.yml",
    "dbt/macros/**/*.sql",
    "dbt/models/**/*.sql",
    "dbt/models/**/*.yml",
    "dbt/seeds/*.csv",
)
_PROTOCOLS = OURS / "io" / "sources"
_FORMAT = "6"  # raised when the engine compiles the same declarations into another graph


class _Compiled(msgspec.Struct):
    fingerprint: str
    assets: list[Asset]


def declarations() -> Mapping[str, LandingDeclaration | StagingDeclaration]:
    """Every landing and staging declaration by asset key. Imports all asset files, and with them polars and pandera."""
    return _declarations(active())


@cache
def _declarations(project: ProjectFolder) -> dict[str, LandingDeclaration | StagingDeclaration]:
    found: dict[str, LandingDeclaration | StagingDeclaration] = {}
    for module in _modules(project):
        for declared in vars(module).values():
            if not isinstance(declared, LandingDeclaration | StagingDeclaration) or declared.module != module.__name__:
                continue
            key = declared.key
            if found.setdefault(key, declared) is not declared:
                raise DeclarationError(
                    f"{key} is declared twice, in {found[key].module} and {declared.module}; rename one"
                )
    _check_switches(project, found)
    return found


def _check_switches(project: ProjectFolder, found: Mapping[str, Declaration]) -> None:
    """Raise DeclarationError for a source that was chosen for a table that is not there. (One that it does not have, its declaration refuses.)"""
    known = [declared.name for declared in found.values() if isinstance(declared, LandingDeclaration)]
    if wrong := [name for name in project.sources if name not in known]:
        near = get_close_matches(wrong[0], known, n=1)
        raise DeclarationError(
            f"{FILE}: [{SECTION}] names {wrong[0]}, expected a landing table{f'; did you mean {near[0]}?' if near else ''}"
        )


def mart_contracts() -> dict[str, type[Contract]]:
    """The contracts of the marts by the name of their model. dbt is not asked."""
    found: dict[str, type[Contract]] = {}
    for module in _modules(active()):
        for declared in vars(module).values():
            if isinstance(declared, Marts):
                found |= declared.contracts
    return found


def contracts() -> dict[str, type[Contract]]:
    """Every contract by asset key. dbt is not asked."""
    declared = {key: declaration.contract for key, declaration in declarations().items()}
    return declared | {f"{Layer.MARTS}.{name}": contract for name, contract in mart_contracts().items()}


def retired() -> Mapping[str, str]:
    """The tables that were removed on purpose, in `contracts/retired.py`: asset key -> what to use instead. None without that file."""
    project = active()
    if not (project.folder / "contracts" / "retired.py").exists():
        return {}
    found: Mapping[str, str] = _import(project, "contracts", "retired").RETIRED
    return found


def load_graph(settings: Settings) -> AssetGraph:
    """The asset graph: from its compiled form if that is up to date, else compiled now and kept."""
    kept = _kept(settings)
    return AssetGraph(keep_graph(settings, _compile(settings))) if kept is None else kept


def check_declarations(settings: Settings) -> None:
    """Raise DeclarationError for a file that cannot be imported, if the graph has to be compiled: that takes seconds, this does not."""
    if _kept(settings) is None:
        declarations()


def _kept(settings: Settings) -> AssetGraph | None:
    """The compiled graph if it is up to date."""
    with suppress(OSError, DeclarationError, *BROKEN_JSON):  # absent, or of another version: it is only a cache
        compiled = json_decoder(_Compiled).decode((settings.cache / _COMPILED).read_bytes())
        if compiled.fingerprint == _fingerprint():
            return AssetGraph(compiled.assets)
    return None


def compiled_graph(settings: Settings) -> AssetGraph | None:
    """The graph as it was last compiled, even if a declaration has changed since; None if it never was.

    For a process that lives long: it has imported the declarations once, so it would compile what they were then.
    """
    with suppress(OSError, DeclarationError, *BROKEN_JSON):
        return AssetGraph(json_decoder(_Compiled).decode((settings.cache / _COMPILED).read_bytes()).assets)
    return None


def keep_graph(settings: Settings, assets: list[Asset]) -> list[Asset]:
    """Keep assets as the compiled graph; returns them. Readers see the old one or the new one, nothing in between."""
    path = settings.cache / _COMPILED
    try:
        write_whole(path, msgspec.json.encode(_Compiled(_fingerprint(), assets)))
    except OSError as error:  # it is only a cache: the graph is compiled again next time
        log.warning(
            "graph_not_kept",
            path=str(path),
            error=str(error),
            advice="set CATALUNYA_CACHE to a writable folder",
        )
    return assets


def _compile(settings: Settings) -> list[Asset]:
    from catalunya.assets.graph.dbt_marts import mart_declarations

    declared: list[Declaration] = [*declarations().values(), *mart_declarations(mart_contracts(), settings)]
    return [declaration.asset for declaration in declared]


def _modules(project: ProjectFolder) -> list[ModuleType]:
    """The files directly in `assets/`: the tables. The engine's packages beside them are not imported here."""
    _ = project.package  # its name is checked before the first table is there
    found = pkgutil.iter_modules([str(project.folder / "assets")])
    return [_import(project, "assets", each.name) for each in found if not each.ispkg]


def _import(project: ProjectFolder, folder: str, name: str) -> ModuleType:
    """Raises DeclarationError, with the line to look at, when the file or a contract it imports is in error."""
    try:
        return importlib.import_module(f"{project.package}.{folder}.{name}")
    except CatalunyaError:
        raise
    except Exception as error:  # whatever Python raises for what someone has just written
        frames = traceback.extract_tb(error.__traceback__)
        places = (project.folder / "assets", project.folder / "contracts")
        ours = [frame for frame in frames if Path(frame.filename).parent in places]
        where = f" ({ours[-1].filename}:{ours[-1].lineno})" if ours else ""
        raise DeclarationError(
            f"{folder}/{name}.py cannot be imported{where}: {type(error).__name__}: {error}; correct it and run the command again"
        ) from error


def _fingerprint() -> str:
    root = active().folder
    digest = hashlib.sha256(f"{_FORMAT} {importlib.util.find_spec('dbt') is not None}".encode())
    sources = [(root, pattern) for pattern in _SOURCES] + [(MACROS, "*.sql"), (_PROTOCOLS, "*.py")]
    for folder, pattern in sources:
        for path in sorted(folder.glob(pattern)):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
