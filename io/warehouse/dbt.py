"""dbt, behind a small interface: parsing the project, and running it inside this process.

This is the only module that imports dbt (import-linter enforces it), and no type of dbt's leaves it, except a manifest for
`dbt_models.py`: another version of dbt, or another way to run it, changes these two files alone.

Here: the parsed project and its cache, invoking dbt and cleaning up after it. Not here: what a model is (`dbt_models.py`), the
database that dbt works in (`duckdb.py`, `athena_build.py`), what a build's outcomes mean (`build.py`). Importing dbt takes three
seconds, so it is imported inside the functions that need it.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from catalunya.io.environment import Settings
from catalunya.io.errors import MESSAGE, ConfigurationError, WarehouseError, warehouse_error
from catalunya.io.json_text import json_decoder
from catalunya.io.log import get_logger
from catalunya.io.project_folder import MACROS, OURS, active
from catalunya.io.warehouse import dbt_models
from catalunya.io.warehouse.dbt_models import Model, read_model
from catalunya.io.whole_file import write_whole

log = get_logger(__name__)

PROFILES = OURS / "dbt"
PROFILE = "catalunya"
LOCAL = "local"  # the target on DuckDB
DATABASE = "warehouse.duckdb"  # the parsed project contains its stem as the database's name: it cannot vary
_PARSED_FROM = (
    "*.yml", "macros/**/*.sql", "tests/**/*.sql", "models/**/*.sql", "models/**/*.yml", "seeds/*.yml", "seeds/*.csv",
)  # fmt: skip

# dbt keeps flags, adapters and loggers in globals: a process can run one invocation at a time.
_ONE_AT_A_TIME = threading.RLock()
_version = cache(version)


@dataclass(frozen=True, slots=True)
class Databases:
    """Where a build on Athena reads and writes: schema (`staging`, `marts`) -> the database in which its tables are published,
    and the database for the model being built and its seeds."""

    catalog: str
    published: Mapping[str, str]
    candidates: str


def seed_table(model: str, seed: str) -> str:
    """The name of a seed's table in the database of candidates, where several models that read it may be built at once."""
    return f"{model}__{seed}"


def is_installed() -> bool:
    """Whether dbt can be imported here; a Lambda package does not contain it."""
    try:
        return importlib.util.find_spec("dbt.adapters.duckdb") is not None
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one node of a run ended: a model, a seed, a test or a unit test. `failures` and `sql` belong to a failed data test; a test that
    `only_warns` does not fail the build."""

    name: str
    kind: str
    status: str
    message: str
    failures: int
    sql: str | None
    only_warns: bool = False

    @property
    def failed(self) -> bool:
        """Whether the node itself failed; nodes skipped because of it did not."""
        return self.status in ("error", "fail")


@dataclass(frozen=True, slots=True)
class DbtProject:
    """The parsed project. dbt gets a copy of its manifest for each run, because it modifies the one it is given."""

    models: Mapping[str, Model]
    _manifest: Any
    _target: str = LOCAL

    def build(
        self, model: str, *, variables: Mapping[str, str], folder: Path, databases: Databases | None = None
    ) -> list[Outcome]:
        """Run a model with its seeds and its data tests. Waits for a run in another thread to end.

        `variables` are the variables of the models and those of the target's profile (`profiles.yml`); `databases` says where tables
        are on Athena. Unit tests are not run: they test the SQL, which no data can change, and would take half of the time.

        dbt's target goes below `folder`, nothing to the console; when this returns, dbt holds no file open.
        Raises WarehouseError when dbt cannot run at all; the outcomes say whether the model and its tests succeeded.
        """
        declared = self.models[model]
        arguments = ["build", "--indirect-selection", "empty", "--select", model, *declared.seeds, *declared.tests]
        manifest = self._part(declared)
        if databases:
            _place(manifest, declared, databases)
        with _ONE_AT_A_TIME:
            result = _invoke(arguments, variables, folder, self._target, manifest)
        if result.result is None:
            found = one_line(result.exception)
            raise warehouse_error(f"marts.{model}: dbt could not run: {found}; nothing was published", found)
        return _outcomes(result)

    def unit_tests(self, *, variables: Mapping[str, str], folder: Path) -> list[Outcome]:
        """Run the unit tests of all models, after building the models empty. Waits for a run in another thread to end.

        Raises WarehouseError when a model does not match its contract, or dbt cannot run.
        """
        manifest = _usable(deepcopy(self._manifest))
        with _ONE_AT_A_TIME:
            self._run_empty(manifest, variables, folder)
            command = ["test", "--select", "test_type:unit"]
            return _outcomes(_invoke(command, variables, folder, self._target, manifest))

    def docs(self, *, variables: Mapping[str, str], folder: Path) -> Path:
        """Build every model empty, and generate dbt's documentation. Waits for a run in another thread to end.

        Returns the site, one HTML file; `manifest.json` and `catalog.json` are beside it. Raises WarehouseError when a model
        does not match its contract, or dbt cannot run.
        """
        manifest = _usable(deepcopy(self._manifest))
        with _ONE_AT_A_TIME:
            self._run_empty(manifest, variables, folder)
            command = ["docs", "generate", "--static"]
            _check(command, _invoke(command, variables, folder, self._target, manifest, write_json=True))
        return folder / "target" / "static_index.html"

    def compiled(self, *, variables: Mapping[str, str], folder: Path) -> dict[str, str]:
        """The SQL of every model as it would run now, by name. Nothing is run: an incremental model is compiled for its first run unless its
        table is in the warehouse. Waits for a run in another thread to end.

        Raises WarehouseError when a model cannot be compiled.
        """
        command = ["compile", "--select", "resource_type:model", "--exclude", "resource_type:test"]
        with _ONE_AT_A_TIME:
            result = _invoke(command, variables, folder, self._target, _usable(deepcopy(self._manifest)))
            _check(command, result)
        return {ran.node.name: ran.node.compiled_code for ran in result.result.results if ran.node.name in self.models}

    def seed_columns(self) -> dict[str, tuple[str, ...]]:
        """The columns of every seed, by its name."""
        seeds = [node for node in self._manifest.nodes.values() if node.resource_type == "seed"]
        found = {}
        for seed in seeds:
            with (active().dbt / seed.original_file_path).open(encoding="utf-8", newline="") as file:
                found[seed.name] = tuple(next(csv.reader(file), ()))
        return found

    def _run_empty(self, manifest: Any, variables: Mapping[str, str], folder: Path) -> None:
        command = ["build", "--empty", "--resource-type", "model", "--resource-type", "seed"]
        _check(command, _invoke(command, variables, folder, self._target, manifest))

    def _part(self, model: Model) -> Any:
        """A manifest of a model, its seeds, its tests and everything they depend on: dbt compares each name that it is to select with
        each node of the project, several times, and works out the graph of all of them."""
        nodes, own = self._manifest.nodes, {model.name, *model.seeds, *model.tests}
        waiting = [unique_id for unique_id, node in nodes.items() if node.name in own]
        needed = set[str]()
        while waiting:
            unique_id = waiting.pop()
            if unique_id in nodes and unique_id not in needed:
                needed.add(unique_id)
                waiting += nodes[unique_id].depends_on_nodes
        part = copy(self._manifest)
        part.nodes = {key: deepcopy(node) for key, node in nodes.items() if key in needed}
        part.sources = deepcopy(part.sources)
        part.unit_tests = {}
        return _usable(part)


def _place(manifest: Any, model: Model, databases: Databases) -> None:
    """Have dbt build this model and its seeds as candidates, and read everything else where it is published."""
    for node in (*manifest.nodes.values(), *manifest.sources.values()):
        if node.resource_type not in ("model", "seed", "source"):
            continue
        schema = "staging" if node.resource_type == "source" else "marts"
        node.database, node.schema = databases.catalog, databases.published[schema]
        if node.resource_type == "seed" or node.name == model.name:
            node.schema = databases.candidates
        name = node.name
        if node.resource_type == "seed":
            name = node.alias = seed_table(model.name, name)
        node.relation_name = f'"{node.database}"."{node.schema}"."{name}"'


def load_project(settings: Settings) -> DbtProject:
    """The project for the settings' engine, as this process or another one parsed it from these files with this dbt, else parsed now.

    Raises WarehouseError when dbt cannot parse it.
    """
    target, fingerprint = _target(settings), _fingerprint()
    with _ONE_AT_A_TIME:
        known, project = _loaded.get(target, ("", None))
        if project is None or known != fingerprint:
            project = _load(settings, target, fingerprint)
            _loaded[target] = fingerprint, project
        return project


_loaded: dict[str, tuple[str, DbtProject]] = {}  # by target, with the fingerprint of its files


def _load(settings: Settings, target: str, fingerprint: str) -> DbtProject:
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    cache = _parsed_file(settings, target)
    packed = _read_cache(cache, fingerprint)
    if packed is None:
        packed = _parse(target)
        _write_cache(cache, fingerprint, packed)
    manifest = _usable(Manifest.from_msgpack(packed, decoder=extended_mashumuro_decoder))
    models = [read_model(manifest, node) for node in manifest.nodes.values() if node.resource_type == "model"]
    return DbtProject({model.name: model for model in models}, manifest, target)


def _parsed_file(settings: Settings, target: str) -> Path:
    """Where the parsed project is kept."""
    return settings.cache / ("dbt-manifest.msgpack" if target == LOCAL else f"dbt-manifest-{target}.msgpack")


def _usable(manifest: Any) -> Any:
    """A manifest that was read or copied."""
    manifest._lock = threading.Lock()  # noqa: SLF001  dbt's is a semaphore between processes, which would leak (_left_clean)
    manifest.fixtures = manifest.fixtures or {}  # dbt 1.11 loses them in a copy; a parse put them into the unit tests
    return manifest


def warm_up(settings: Settings) -> None:
    """Have dbt load what it loads before any build, so that processes forked from this one need not: half of a mart's CPU seconds.

    Parses nothing, since that would start threads, which a forked process does not have: the project is loaded only if it was parsed before.
    Anything that is wrong, the first build reports.
    """
    if settings.engine != "duckdb" or not is_installed():
        return
    from dbt.contracts.graph.manifest import Manifest

    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="catalunya-dbt-") as folder:
        _invoke(["list"], {}, Path(folder), LOCAL, _usable(Manifest()))
        if _read_cache(_parsed_file(settings, LOCAL), _fingerprint()) is not None:
            for node in load_project(settings)._manifest.nodes.values():  # noqa: SLF001  ours
                node.to_dict()  # compiles how, which each build needs


def load_models(settings: Settings) -> Mapping[str, Model]:
    """The models of the project for the settings' engine. They are kept beside its parse, because importing dbt takes seconds: also
    for a copy of the project in another folder, if it is given a copy of the cache.

    Raises WarehouseError when dbt cannot parse it, ConfigurationError for Athena in an environment that has none.
    """
    # What a model is follows from the project by the code of these two.
    code = Path(__file__).read_bytes() + Path(dbt_models.__file__).read_bytes()
    fingerprint = f"{_contents()}-{hashlib.sha256(code).hexdigest()}"
    cache = models_file(settings)
    known = _read_cache(cache, fingerprint)
    if known is not None:
        return {model.name: model for model in json_decoder(list[Model]).decode(known)}
    models = load_project(settings).models
    _write_cache(cache, fingerprint, msgspec.json.encode(list(models.values())))
    return models


def models_file(settings: Settings) -> Path:
    """Where the models of the project are kept. Raises ConfigurationError as `load_models`."""
    return settings.cache / f"dbt-models-{_target(settings)}.json"


def one_line(text: object, limit: int = 400) -> str:
    """A message of several lines as one line."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def _message(text: object) -> str:
    """dbt's message as one line; of a model that does not match its contract, its columns: dbt prints them as a table."""
    if "enforced contract" not in str(text):
        return one_line(text)
    found = [
        f"{name} is {found}, the contract says {declared}" if found and declared else f"{name} is {why}"
        for name, found, declared, why in _MISMATCH.findall(str(text))
        if name != "column_name"
    ]
    return one_line(f"its columns differ from its contract: {'; '.join(found)}" if found else text, MESSAGE // 2)


_MISMATCH = re.compile(r"^ *\| *([^|]+?) *\| *([^|]*?) *\| *([^|]*?) *\| *([^|]*[^|\s-]) *\|", re.MULTILINE)


def _outcomes(result: Any) -> list[Outcome]:
    return [
        Outcome(
            name=ran.node.name,
            kind=str(ran.node.resource_type),
            status=str(ran.status),
            message=_message(ran.message),
            failures=ran.failures or 0,
            sql=getattr(ran.node, "compiled_code", None),
            only_warns=str(getattr(ran.node.config, "severity", "")).lower() == "warn",
        )
        for ran in result.result.results
    ]


def _check(command: Sequence[str], done: Any) -> None:
    """Raise WarehouseError, naming the model in the way, when a dbt command over all models failed."""
    if done.success:
        return
    ran = getattr(done.result, "results", ())
    found = next(
        (f"{each.node.name}: {_message(each.message)}" for each in ran if each.status == "error"), done.exception
    )
    raise WarehouseError(
        f"dbt {' '.join(command)}: expected every model to build, found {one_line(found, MESSAGE)}; fix it or its contract"
    )


@contextmanager
def _left_clean() -> Iterator[None]:
    """Close what dbtRunner leaves open: connections and semaphores. Airflow ends its task processes without Python's
    own shutdown, and Python would then warn of leaked semaphores. A semaphore goes with its lock, and so not with its adapter:
    adapters refer to themselves, and collecting them took a tenth of a build."""
    try:
        yield
    finally:
        from dbt.adapters.factory import FACTORY
        from dbt_common.events.event_manager_client import cleanup_event_logger

        for adapter in FACTORY.adapters.values():
            adapter.connections.cleanup_all()
            if hasattr(adapter.connections, "close_all_connections"):  # DuckDB's holds its file; Athena's holds nothing
                type(adapter.connections).close_all_connections()
            adapter.connections.lock = threading.RLock()
        FACTORY.reset_adapters()
        cleanup_event_logger()


def _invoke(
    arguments: Sequence[str],
    variables: Mapping[str, str],
    folder: Path,
    target: str,
    manifest: Any = None,
    *,
    write_json: bool = False,
) -> Any:
    """One dbt command in this process: dbt's own result."""
    with _left_clean():
        from dbt.cli.main import dbtRunner
        from dbt_common.behavior_flags import BehaviorFlagRendered
        from dbt_common.tests import enable_test_caching

        # dbt then looks only once for plugins among all installed modules, and parses a text once: by default it does so at each call.
        enable_test_caching()
        # And it would look through the stack and all modules for who declares a flag, to name it in a warning: up to an eighth of a build.
        BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt")  # noqa: SLF001
        result = dbtRunner(manifest=manifest).invoke(
            [
                *arguments,
                *("--project-dir", str(active().dbt), "--profiles-dir", str(PROFILES)),
                *("--profile", PROFILE, "--target", target),
                *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
                *("--vars", json.dumps({"engine_macros": str(MACROS), **variables})),
                # No one reads the log in the scratch folder, and writing it took an eighth of a build: the outcomes say all.
                *("--log-level", "none", "--log-level-file", "none"),
                *("--no-print", "--no-use-colors", "--no-send-anonymous-usage-stats"),
                "--write-json" if write_json else "--no-write-json",
            ]
        )
    if result.exception is not None and not isinstance(result.exception, Exception):
        raise result.exception  # an interrupt: dbtRunner catches it and returns it
    return result


def _target(settings: Settings) -> str:
    """The target in dbt's profile. Raises ConfigurationError for Athena in an environment that has none."""
    if settings.engine == "duckdb":
        return LOCAL
    if settings.env == LOCAL:
        raise ConfigurationError(
            "CATALUNYA_ENGINE=athena: expected CATALUNYA_ENV=dev or prod, whose tables are in Athena, found local; set one of the two"
        )
    return settings.env


def _parse(target: str) -> bytes:
    from dbt.parser.manifest import extended_mashumaro_encoder

    with tempfile.TemporaryDirectory(prefix="catalunya-dbt-") as folder:
        result = _invoke(["parse", "--no-partial-parse"], {}, Path(folder), target)
    if not result.success:
        raise WarehouseError(
            f"dbt cannot parse the project in {active().dbt}: {one_line(result.exception)}; fix the file it names"
        )
    packed: bytes = result.result.to_msgpack(extended_mashumaro_encoder)
    return packed


def _fingerprint() -> str:
    """A hash of everything that a parse depends on: what the models depend on, and where the files are, which dbt notes of seeds."""
    return hashlib.sha256(f"{active().dbt}\0{PROFILES}\0{MACROS}\0{_contents()}".encode()).hexdigest()


def _contents() -> str:
    """A hash of everything that the models depend on, wherever it is: the project's files and ours, and the versions of dbt."""
    versions = map(_version, ("dbt-core", "dbt-adapters", "dbt-duckdb", "dbt-athena"))
    digest = hashlib.sha256(" ".join(versions).encode())
    theirs = [(active().dbt, pattern) for pattern in _PARSED_FROM]
    for folder, pattern in ((PROFILES, "profiles.yml"), (MACROS, "*.sql"), *theirs):
        for path in sorted(folder.glob(pattern)):
            digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_cache(path: Path, fingerprint: str) -> bytes | None:
    """The cached parse; None when it is missing, outdated or damaged."""
    try:
        head, _, packed = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return packed if head == _head(fingerprint, packed) else None


def _write_cache(path: Path, fingerprint: str, packed: bytes) -> None:
    """Keep a parse for other processes. It is only a cache: if it cannot be written, dbt parses again."""
    try:
        write_whole(path, _head(fingerprint, packed) + b"\n" + packed)
    except OSError as error:
        log.debug("dbt_manifest_not_cached", path=str(path), error=str(error))


def _head(fingerprint: str, packed: bytes) -> bytes:
    return f"{fingerprint} {hashlib.sha256(packed).hexdigest()}".encode()
