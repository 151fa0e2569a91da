"""The dbt project as a library: what its models are, and running dbt inside this process.

Here: the parsed project and its cache, dbt's invocation and its clean-up. Not here: the database that dbt works in and
what its results mean (`warehouse.py`). dbt takes three seconds to import, so it is imported by those who need it.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

import catalunya
from catalunya.io.environment import Settings
from catalunya.io.errors import ConfigurationError, WarehouseError

log = structlog.get_logger(__name__)

ROOT = Path(catalunya.__file__).parent / "dbt"
PROJECT = "catalunya"
LOCAL = "local"  # the target on DuckDB
DATABASE = "warehouse.duckdb"  # its stem is the database's name, which the parsed project knows: always the same one
_PARSED_FROM = ("*.yml", "macros/**/*.sql", "tests/**/*.sql", "models/**/*.sql", "models/**/*.yml")

# dbt keeps flags, adapters and logs in globals: one invocation at a time in a process.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True, slots=True)
class Model:
    """One model: `reads` are the (schema, table) it and its data tests need, `tests` the names of those.

    `sql_version` is a hash of its SQL and of those macros of the project that it calls, directly or not.
    """

    name: str
    path: str
    reads: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    sql_version: str
    meta: Mapping[str, Any]


def is_installed() -> bool:
    """Whether dbt can be imported here; a Lambda carries none."""
    try:
        return importlib.util.find_spec("dbt.adapters.duckdb") is not None
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one node of a run went: a model, a test or a unit test. `failures` and `sql` are those of a failed data test."""

    name: str
    kind: str
    status: str
    message: str
    failures: int
    sql: str | None

    @property
    def failed(self) -> bool:
        """Whether it went wrong itself; what was skipped because of that did not."""
        return self.status in ("error", "fail")


@dataclass(frozen=True, slots=True)
class DbtProject:
    """The parsed project. Good for one run: dbt leaves traces in the manifest it is given."""

    models: Mapping[str, Model]
    manifest: Any
    target: str = "local"

    def build(self, model: str, *, variables: Mapping[str, str], folder: Path) -> list[Outcome]:
        """Run a model with its data tests. Waits for a run of another thread.

        `variables` are those of the models, and those that the target's profile asks for (`profiles.yml`).

        Unit tests are not run: they say whether the SQL is right, which no data can change, and would take half of the time.

        dbt's target and logs go below `folder`, nothing to the console; when this returns, dbt holds no file any more.
        Raises WarehouseError when dbt cannot run at all; the outcomes tell whether the model and its tests went well.
        """
        arguments = ["build", "--indirect-selection", "empty", "--select", model, *self.models[model].tests]
        with _ONE_AT_A_TIME:
            result = self._invoke(arguments, variables, folder)
        if result.result is None:
            raise WarehouseError(
                f"marts.{model}: dbt could not run: {one_line(result.exception)}; nothing was published"
            )
        return _outcomes(result)

    def unit_tests(self, *, variables: Mapping[str, str], folder: Path) -> list[Outcome]:
        """Run the unit tests of all models, which are built without a row for it. Waits for a run of another thread.

        Raises WarehouseError when a model is not what its contract says, or dbt cannot run.
        """
        with _ONE_AT_A_TIME:
            self._run_empty(variables, folder)
            return _outcomes(self._invoke(["test", "--select", "test_type:unit"], variables, folder))

    def docs(self, *, variables: Mapping[str, str], folder: Path) -> Path:
        """Build every model without a row, and dbt's documentation of them all. Waits for a run of another thread.

        Returns the site, one HTML file; `manifest.json` and `catalog.json` are beside it. Raises WarehouseError when a model
        is not what its contract says, or dbt cannot run.
        """
        with _ONE_AT_A_TIME:
            self._run_empty(variables, folder)
            command = ["docs", "generate", "--static"]
            _check(command, self._invoke(command, variables, folder, write_json=True))
        return folder / "target" / "static_index.html"

    def _run_empty(self, variables: Mapping[str, str], folder: Path) -> None:
        command = ["run", "--empty"]
        _check(command, self._invoke(command, variables, folder, write_json=True))

    def _invoke(
        self, arguments: Sequence[str], variables: Mapping[str, str], folder: Path, *, write_json: bool = False
    ) -> Any:
        return _invoke(arguments, variables, folder, self.target, self.manifest, write_json=write_json)


def load_project(settings: Settings) -> DbtProject:
    """The project for the settings' engine: parsed before, when the cache is of these very files and this dbt, else now.

    Raises WarehouseError when dbt cannot parse it.
    """
    with _ONE_AT_A_TIME:
        from dbt.contracts.graph.manifest import Manifest
        from dbt.parser.manifest import extended_mashumuro_decoder

        target = _target(settings)
        fingerprint = _fingerprint()
        cache = settings.cache / ("dbt-manifest.msgpack" if target == LOCAL else f"dbt-manifest-{target}.msgpack")
        packed = _read_cache(cache, fingerprint)
        if packed is None:
            packed = _parse(target)
            _write_cache(cache, fingerprint, packed)
        manifest: Any = Manifest.from_msgpack(packed, decoder=extended_mashumuro_decoder)
        manifest._lock = threading.Lock()  # noqa: SLF001  dbt's is a semaphore between processes: it would leak, see below
    models = [_model(manifest, node) for node in manifest.nodes.values() if node.resource_type == "model"]
    return DbtProject({model.name: model for model in models}, manifest, target)


def one_line(text: object, limit: int = 400) -> str:
    """What dbt says over many lines, on one."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def _outcomes(result: Any) -> list[Outcome]:
    return [
        Outcome(
            name=ran.node.name,
            kind=str(ran.node.resource_type),
            status=str(ran.status),
            message=one_line(ran.message),
            failures=ran.failures or 0,
            sql=getattr(ran.node, "compiled_code", None),
        )
        for ran in result.result.results
    ]


def _check(command: Sequence[str], done: Any) -> None:
    """Raise WarehouseError, naming the model in the way, when a dbt command over all models failed."""
    if done.success:
        return
    ran = getattr(done.result, "results", ())
    found = next((f"{one.node.name}: {one.message}" for one in ran if one.status == "error"), done.exception)
    raise WarehouseError(
        f"dbt {' '.join(command)}: expected every model to build, found {one_line(found)}; mend it or its contract"
    )


@contextmanager
def _left_clean() -> Iterator[None]:
    """dbtRunner leaves connections and log files open, and semaphores: a process that does not end by itself, as Airflow's
    tasks do not, would be told at its end that it leaked them."""
    try:
        yield
    finally:
        from dbt.adapters.factory import FACTORY
        from dbt_common.events.event_manager_client import cleanup_event_logger

        for adapter in FACTORY.adapters.values():
            adapter.connections.cleanup_all()
            if hasattr(adapter.connections, "close_all_connections"):  # DuckDB's holds its file; Athena's holds nothing
                type(adapter.connections).close_all_connections()
        FACTORY.reset_adapters()
        gc.collect()  # adapters refer to themselves, and a semaphore goes when its adapter does
        cleanup_event_logger()
        for handler in logging.getLogger("file_log").handlers:
            handler.close()


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

        result = dbtRunner(manifest=manifest).invoke(
            [
                *arguments,
                *("--project-dir", str(ROOT), "--profiles-dir", str(ROOT), "--target", target),
                *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
                *("--vars", json.dumps(dict(variables))),
                *("--log-level", "none", "--log-level-file", "info"),
                *("--no-print", "--no-use-colors", "--no-send-anonymous-usage-stats"),
                "--write-json" if write_json else "--no-write-json",
            ]
        )
    if result.exception is not None and not isinstance(result.exception, Exception):
        raise result.exception  # an interrupt, which dbtRunner catches as if it were its own
    return result


def _target(settings: Settings) -> str:
    """The target of dbt's profile. Raises ConfigurationError when Athena is asked for where there is no such target."""
    if settings.engine == "duckdb":
        return LOCAL
    if settings.env == LOCAL:
        raise ConfigurationError(
            "CATALUNYA_ENGINE=athena: expected CATALUNYA_ENV=dev or prod, whose tables Athena has, found local; set either"
        )
    return settings.env


def _parse(target: str) -> bytes:
    from dbt.parser.manifest import extended_mashumaro_encoder

    with tempfile.TemporaryDirectory(prefix="catalunya-dbt-") as folder:
        result = _invoke(["parse", "--no-partial-parse"], {}, Path(folder), target)
    if not result.success:
        raise WarehouseError(
            f"dbt cannot parse the project in {ROOT}: {one_line(result.exception)}. Mend the file it names"
        )
    packed: bytes = result.result.to_msgpack(extended_mashumaro_encoder)
    return packed


def _fingerprint() -> str:
    """A hash of all that a parse follows from: the project's files and the versions of dbt."""
    digest = hashlib.sha256(
        " ".join(version(name) for name in ("dbt-core", "dbt-adapters", "dbt-duckdb", "dbt-athena")).encode()
    )
    for pattern in _PARSED_FROM:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(f"\0{path.relative_to(ROOT).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_cache(path: Path, fingerprint: str) -> bytes | None:
    """The cached parse; None when it is absent, of other files, or damaged."""
    try:
        head, _, packed = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return packed if head == _head(fingerprint, packed) else None


def _write_cache(path: Path, fingerprint: str, packed: bytes) -> None:
    """Keep a parse for other processes. It is only ever a cache: where it cannot be written, dbt parses again."""
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(_head(fingerprint, packed) + b"\n" + packed)
        beside.replace(path)
    except OSError as error:
        log.debug("dbt_manifest_not_cached", path=str(path), error=str(error))


def _head(fingerprint: str, packed: bytes) -> bytes:
    return f"{fingerprint} {hashlib.sha256(packed).hexdigest()}".encode()


def _model(manifest: Any, node: Any) -> Model:
    own = set(node.depends_on.nodes)
    tests = [test for test in manifest.nodes.values() if test.resource_type == "test" and _is_test_of(test, node, own)]
    reads = own.union(*(test.depends_on.nodes for test in tests)) - {node.unique_id}
    return Model(
        name=node.name,
        path=f"dbt/{node.original_file_path}",
        reads=tuple(sorted(_table(manifest, unique_id) for unique_id in reads)),
        tests=tuple(sorted(test.name for test in tests)),
        sql_version=_sql_version(manifest, node),
        meta=dict(node.config.meta),
    )


def _is_test_of(test: Any, node: Any, reads: set[str]) -> bool:
    """A generic test belongs to the model it is declared at, any other to the model that reads all else it reads."""
    attached = getattr(test, "attached_node", None)
    if attached is not None:
        return bool(attached == node.unique_id)
    needs = set(test.depends_on.nodes)
    return node.unique_id in needs and needs - {node.unique_id} <= reads


def _table(manifest: Any, unique_id: str) -> tuple[str, str]:
    if unique_id in manifest.sources:
        source = manifest.sources[unique_id]
        return source.source_name, source.name
    return "marts", manifest.nodes[unique_id].name


def _sql_version(manifest: Any, node: Any) -> str:
    own = {unique_id: macro for unique_id, macro in manifest.macros.items() if macro.package_name == PROJECT}
    # dbt finds the macros of a model by rendering it, and so not those of a first run's other branch.
    called = [unique_id for unique_id, macro in own.items() if re.search(rf"\b{macro.name}\(", node.raw_code)]
    # What an engine dispatches to counts with what the others do: the same code is of one version wherever it is parsed.
    waiting, parts = [*node.depends_on.macros, *called], {}
    while waiting:
        unique_id = waiting.pop()
        if unique_id in own and unique_id not in parts:
            parts[unique_id] = own[unique_id].macro_sql
            name = own[unique_id].name.rpartition("__")[2]
            alike = [other for other, macro in own.items() if macro.name.rpartition("__")[2] == name]
            waiting += [*own[unique_id].depends_on.macros, *alike]
    text = "\0".join([node.raw_code, node.config.materialized, *(parts[unique_id] for unique_id in sorted(parts))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
