"""A wave on real Airflow, until the tables are up to date: cold, and when nothing has changed. The public pages come after, and are not measured.

The floor is the same Airflow with the same DAGs and edges whose tasks do nothing. `python bench/wave.py ours|bare FOLDER` prints the phases of
one wave as JSON; the first in a folder is cold. It ends when Airflow is at rest, so that the next one finds no work of this one.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from figures import Figure, run

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.ops.local_airflow.mock import mock_apis
from catalunya.ops.local_airflow.pipeline_run import PipelineRun
from catalunya.ops.local_airflow.server import Server, airflow

POLL_S = 0.4
TIMEOUT_S = 600.0
BARE = '''"""DAGs that do nothing: `edges.json` says what each reads, and whether the sources changed. Read by Airflow."""
import json
from pathlib import Path

from airflow.sdk import DAG, Asset, AssetAny, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

found = json.loads(Path(__file__).with_name("edges.json").read_text(encoding="utf-8"))


class Nothing(BaseOperator):
    def execute(self, context):
        if not found["changed"]:
            raise AirflowSkipException("up to date")


for key, upstream in found["edges"].items():
    read = [Asset(name) for name in upstream]
    dag = DAG(key, schedule=AssetAny(*read) if read else None, catchup=False, max_active_runs=1, is_paused_upon_creation=False)
    Nothing(dag=dag, task_id="materialize", inlets=read, outlets=[Asset(key)])
    globals()[key] = dag
'''


def figures(work: Path, repeat: int) -> Iterator[Figure]:
    """From the start of Airflow to the last table, and the CPU seconds of all processes until then."""
    turns = [_turn(work / f"wave-{turn}") for turn in range(repeat)]
    for number, (name, most) in enumerate({"cold": 25, "nothing changed": 10}.items()):
        ours, bare = ([turn[side][number] for turn in turns] for side in ("ours", "bare"))
        for what, unit, limit in (("seconds", "s", {"most": most}), ("cpu", "CPU s", {})):
            value, floor = (min(each[what] for each in side) for side in (ours, bare))
            yield Figure(f"a wave on Airflow, {name}", value, unit, floor, limit=limit)


def _turn(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Ours and the floor: a cold wave, and one after it."""
    return {side: [run("wave.py", side, folder / side).answer for _ in range(2)] for side in ("ours", "bare")}


def ours(folder: Path) -> dict[str, float]:
    """The pipeline's own DAGs, with the mock as their sources."""
    with mock_apis(rows=None, real=None, log=folder / "mock.log") as (url, wait):
        settings = _settings(folder, mock_url=url)

        def begin(server: Server) -> tuple[Callable[[], bool], Callable[[], bool]]:
            wait()
            pipeline = PipelineRun(Project(settings), server.client, server.started_at, lambda _: None)
            pipeline.start()

            def is_over() -> bool:
                pipeline.poll()
                assert not any(asset.state == "failed" for asset in pipeline.assets), "every table is made"
                return all(asset.is_settled for asset in pipeline.assets)

            return is_over, pipeline.poll

        return _measured(settings, folder, begin)


def bare(folder: Path) -> dict[str, float]:
    """Tasks that do nothing: all of them in the first wave of a folder, the sources' in the next."""
    settings, dags = _settings(folder), folder / "dags"
    changed = not dags.exists()
    dags.mkdir(parents=True, exist_ok=True)
    graph = load_graph(settings)
    edges = {asset.key: asset.upstream for asset in graph}
    (dags / "bare.py").write_text(BARE, encoding="utf-8")
    (dags / "edges.json").write_text(json.dumps({"changed": changed, "edges": edges}), encoding="utf-8")
    # A table without upstreams is up to date when nothing has changed.
    first = {asset.key for asset in graph if asset.layer is Layer.LANDING or (changed and not asset.upstream)}

    def begin(server: Server) -> tuple[Callable[[], bool], Callable[[], bool]]:
        for key in first:
            server.client.trigger(key)
        expected = set(edges) if changed else first

        def is_over() -> bool:
            tasks = server.client.task_instances(server.started_at)
            return expected <= {task.dag_id for task in tasks if task.is_over}

        return is_over, lambda: server.client.is_at_rest(server.started_at, edges)

    return _measured(settings, folder, begin, dags=dags)


def _measured(
    settings: Settings,
    folder: Path,
    begin: Callable[[Server], tuple[Callable[[], bool], Callable[[], bool]]],
    dags: Path | None = None,
) -> dict[str, float]:
    """Start Airflow, begin the wave, poll until it is over, and then until Airflow is at rest; stop. All in seconds; `seconds` is from the
    start to the end of the wave, and `cpu` what all processes used in them."""
    at = {"began": time.monotonic()}
    with ExitStack() as stack:
        report = lambda _: at.setdefault("api", time.monotonic())  # noqa: E731
        server = stack.enter_context(airflow(settings, home=folder / "airflow", dags=dags, report=report))
        at["ready"] = time.monotonic()
        is_over, is_at_rest = begin(server)
        _wait(server, is_over)
        at["over"], cpu = time.monotonic(), _cpu()
        _wait(server, is_at_rest)
        at["rest"] = time.monotonic()
    at["stopped"] = time.monotonic()
    return {
        "to_api": at["api"] - at["began"],
        "to_dags": at["ready"] - at["api"],
        "wave": at["over"] - at["ready"],
        "to_rest": at["rest"] - at["over"],
        "to_stop": at["stopped"] - at["rest"],
        "seconds": at["over"] - at["began"],
        "cpu": cpu,
    }


def _wait(server: Server, is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + TIMEOUT_S
    while not is_so():
        server.check()
        assert time.monotonic() < until, "the wave ends"
        time.sleep(POLL_S)


def _cpu() -> float:
    """The CPU seconds of this process and all below it. Asked while they run: those of a process whose parent was killed are counted nowhere."""
    this, used = psutil.Process(), 0.0
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:4])
    return used


def _settings(folder: Path, **more: str) -> Settings:
    return load_settings(lake=str(folder / "lake"), cache=folder / "cache", backup=str(folder / "backups"), **more)


def main() -> None:
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    name, folder = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    print(json.dumps({"ours": ours, "bare": bare}[name](Path(folder))))


if __name__ == "__main__":
    main()
