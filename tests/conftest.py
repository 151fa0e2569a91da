"""How a run of the tests goes: the order of files and what goes to which worker, and what no module leaves to the next."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

TESTS = Path(__file__).parent
# The longest first, so that no worker is left alone with one of them at the end; then what else there is of integration tests,
# and the other unit tests last, which are short.
# Those that start Airflow are one piece: Airflow is several processes, and two of them at once are slower than in turn.
ON_AIRFLOW = ("integration/test_airflow.py", "integration/test_airflow_run.py")
LONGEST = (
    *ON_AIRFLOW,
    "integration/athena/test_marts_on_athena.py",
    "integration/deploy/test_compose_run.py",
    "integration/warehouse/test_warehouse.py",
    "integration/warehouse/test_warehouse_failures.py",
    "integration/warehouse/test_warehouse_economy.py",
    "integration/s3/test_invariants_on_s3.py",
    "integration/test_adding_tables.py",
    "unit/invariants/test_kill_and_run_again.py",
    "unit/test_properties_staging.py",
    "integration/warehouse/test_warehouse_population.py",
    "integration/test_dbt_docs.py",
    "unit/test_retention.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the tests of a file stay in their order."""
    order = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order) + item.path.is_relative_to(TESTS / "unit")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """With `--dist loadfile`, files go to the workers whole and in the order above, those on Airflow as if they were one."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Longest(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "on Airflow" if file.endswith(ON_AIRFLOW) else file

    config.option.loadscopereorder = False
    return Longest(config, log)


@pytest.fixture(scope="module", autouse=True)
def lasting() -> None:
    """What is there before a module's tests stays, and the collector leaves it alone: mostly code that was imported.

    It was a quarter of what building a mart takes here: our code collects after each build (`io/warehouse/dbt.py`).
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A module's tests may configure logging, as each of our commands does; the next module finds it as it was."""
    level, handlers = logging.root.level, list(logging.root.handlers)
    yield
    for handler in [each for each in logging.root.handlers if each not in handlers]:
        logging.root.removeHandler(handler)
    logging.root.setLevel(level)
    structlog.reset_defaults()


def pytest_unconfigure() -> None:
    """What ends with the process is collected after all, so that no library says that it leaked."""
    gc.unfreeze()
