"""The order of test files, which worker gets which, time limits, what must not leak from one module to the next; the compiled graph."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import settings as hypothesis_settings

from catalunya.assets.graph.discovery import load_graph
from catalunya.io import safe_text
from catalunya.io.environment import load_settings
from catalunya.io.errors import CatalunyaError
from catalunya.io.project_folder import VARIABLE
from catalunya.io.warehouse.dbt import load_models, load_project, models_file
from small.once import once
from small.patience import patience

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

TESTS = Path(__file__).parent
# How long an example takes is the machine's matter: a busy one made sound tests fail.
hypothesis_settings.register_profile("ours", deadline=None)
hypothesis_settings.load_profile("ours")
# As in our commands: the tests' modules leave no garbage when they are imported, and little later.
gc.set_threshold(200_000, 20, 20)
os.environ.pop(VARIABLE, None)  # the suite is this project's own
# Where no command has configured the log, structlog shows a traceback with the source and the variables of each frame: a third of a second.
structlog.get_config()["processors"][-1].exception_formatter = structlog.dev.plain_traceback
CACHE = load_settings().cache.absolute()
MEMORY, ENOUGH = Path("/dev/shm"), 4 * 2**30
# Files that go to one worker, as if they were one. Airflow is several processes, and two at once are slower than one after the other. Where
# dbt builds in the tests' process, its imports and its first build take as long as twenty others. And who waits more than they work
# would otherwise be at it in several workers at once, and the cores idle.
ON_AIRFLOW = (
    "integration/on_airflow/test_airflow.py",
    "integration/on_airflow/test_airflow_plugin.py",
    "integration/test_airflow_run.py",
)
WITH_DBT = (
    "integration/athena/",
    "integration/warehouse/",
    "integration/cdk/test_access_runs.py",
    "integration/test_dbt_docs.py",
    "integration/test_optional_source.py",
    "integration/test_real_data.py",
    "integration/test_restore_marts.py",
)
WAITING = (
    "unit/test_watching_airflow.py",
    "unit/test_stopped_tests.py",
    "unit/test_answers.py",
    "unit/test_telemetry.py",
    "unit/test_deadline.py",
    "integration/deploy/test_supervisor.py",
    "integration/cdk/test_cloudwatch.py",
)
TOGETHER = {"on Airflow": ON_AIRFLOW, "with dbt": WITH_DBT, "waiting": WAITING}
# The longest first, so that no worker ends up alone with one of them; then the other integration tests, then the short unit tests.
LONGEST = (
    *ON_AIRFLOW,
    *WAITING,
    "integration/athena/test_marts_on_athena.py",
    "integration/warehouse/test_warehouse.py",
    "integration/warehouse/test_marts_lineage.py",
    "integration/warehouse/test_warehouse_failures.py",
    "integration/warehouse/test_warehouse_economy.py",
    "integration/warehouse/test_warehouse_population.py",
    "integration/warehouse/test_municipality_history.py",
    "integration/test_adding_tables.py",
    "integration/test_another_region.py",
    "integration/test_plugin_access.py",
    "integration/test_continuity_page.py",
    "integration/test_observability.py",
    "integration/test_dbt_docs.py",
    "integration/cdk/test_access_runs.py",
    "integration/cdk/test_access_templates.py",
    "integration/cdk/test_stacks.py",
    "integration/cdk/test_added.py",
    "integration/s3/test_kills_on_s3.py",
    "unit/cli/test_cli_process.py",
    "unit/test_table_variants.py",
    "unit/test_properties_staging.py",
    "unit/security/test_hostile_sources.py",
    "unit/test_cuts.py",
    "unit/test_literal_paths.py",
    "unit/invariants/test_kill_and_run_again.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Scale pytest-timeout's limit for a test like every other limit (small/patience.py), and compile the graph if it is not: some
    modules read it when they are collected, and dbt takes seconds, in each worker if none has done it before."""
    if config.getoption("timeout", None) is None:
        config.option.timeout = patience(float(config.getini("timeout")))
    if not hasattr(config, "workerinput"):
        # Who stops `make`, too, ends the tests with all that they do at their end.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        if getattr(config.option, "numprocesses", None):
            _work_in_memory(config)
        with suppress(CatalunyaError):  # the tests say it better
            load_graph(load_settings(cache=CACHE))
    else:
        atexit.register(_end_at_once, os.getpid())


def _work_in_memory(config: pytest.Config) -> None:
    """Have the workers keep the tests' files (up to 2 GB, deleted at the end) in memory, where it is plenty: on a disk, each write to a lake
    waits until it is there."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ENOUGH:
        return
    folder = tempfile.mkdtemp(dir=MEMORY)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    Path(folder).chmod(0o755)  # PostgreSQL, which runs as a user of its own, has to get into it
    os.environ["TMPDIR"] = folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the tests of a file stay in their order."""
    order = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order) + item.path.is_relative_to(TESTS / "unit")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """With `--dist loadfile`, files go to the workers in the order above, those of a group as if they were one file."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Longest(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((group for group, names in TOGETHER.items() if any(name in file for name in names)), file)

    config.option.loadscopereorder = False
    return Longest(config, log)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the compiled graph and dbt's parsed project, which take seconds to make: those of this working copy."""

    def copy(folder: Path) -> None:
        settings = load_settings(cache=CACHE)
        load_graph(settings)
        load_models(settings)
        for path in (CACHE / "graph.json", CACHE / "dbt-manifest.msgpack", models_file(settings)):
            shutil.copy(path, folder)

    return once(tmp_path_factory, "compiled", copy)


@pytest.fixture(scope="session")
def compiled_for_athena(compiled: Path) -> Path:
    """The same folder, with dbt's project as parsed for Athena in dev."""
    parsed = CACHE / "dbt-manifest-dev.msgpack"
    load_project(load_settings(env="dev", cache=CACHE))
    shutil.copy(parsed, compiled)
    return compiled


@pytest.fixture(scope="module", autouse=True)
def freeze_imported_objects() -> None:
    """Exempt what exists before a module's tests, mostly imported code, from garbage collection: it is found again at each, in vain."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def restore_logging() -> Iterator[None]:
    """Undo a module's logging configuration, which each of our commands makes."""
    level, handlers = logging.root.level, list(logging.root.handlers)
    yield
    for handler in [each for each in logging.root.handlers if each not in handlers]:
        logging.root.removeHandler(handler)
    logging.root.setLevel(level)
    structlog.reset_defaults()


@contextmanager
def _secrets_forgotten() -> Iterator[None]:
    before = set(safe_text._known)
    yield
    safe_text._known.intersection_update(before)


@pytest.fixture(scope="module", autouse=True)
def forget_secrets_of_a_module() -> Iterator[None]:
    """Forget the secrets that a module's fixtures register: an address that is one here is an ordinary one elsewhere."""
    with _secrets_forgotten():
        yield


@pytest.fixture(autouse=True)
def forget_secrets_of_a_test() -> Iterator[None]:
    """Forget the secrets that a test registers, each time settings are loaded with one."""
    with _secrets_forgotten():
        yield


def pytest_unconfigure() -> None:
    """Collect everything at the end, so that no library reports a leak."""
    gc.unfreeze()


def _end_at_once(worker: int) -> None:
    """End a worker, which has told all that it has to tell, without its last collection of garbage: four seconds."""
    if os.getpid() == worker:  # not a process that a test has forked
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
