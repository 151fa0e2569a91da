"""What a day in dev or prod costs on AWS, counted from real requests to a local AWS, and written to docs/aws.md.

`python bench/aws_costs.py` runs three days on this machine (three minutes of one CPU): everything is made for the first time, then
every source changes, then none does. The local account counts its requests (moto, and an Athena that executes); the functions' own
handlers run in separate processes, dbt-athena builds the marts, and the sources are the mock APIs at the size of the real ones.
Airflow does not run: its tasks' work is called directly, each table once for each of its upstreams, which is the worst case.

Writes `bench/aws_costs.json` (the counts) and the table in docs/aws.md; `--table` writes only the table, from existing counts. Not
here: arithmetic, prices and assumptions (`aws_table.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
COUNTS, PAGE = HERE / "aws_costs.json", ROOT / "docs" / "aws.md"
sys.path.insert(0, str(ROOT / "tests"))

LOOKS = 12
"""Looks of `ops.watch` that are counted, of the 144 of a day: two hours of them."""
# The register's true number of rows is unknown; the mock's other tables have as many as the real ones.
REGISTER_ROWS = 20_000
WORKER, FUNCTION = "worker", "function"


def invoke(purpose: str, event: str, answer: Path) -> None:
    """Run one cold invocation of a function: import, handle, and write what it used to `answer`."""
    from catalunya.ops import lambdas

    init_s = time.process_time()
    ends_at = time.monotonic() + 900

    class Context:
        aws_request_id = "counted"

        def get_remaining_time_in_millis(self) -> int:
            return int((ends_at - time.monotonic()) * 1000)

    result = getattr(lambdas, purpose)(json.loads(event), Context())
    used = {"status": result["status"], "init_s": init_s, "run_s": time.process_time() - init_s}
    # Not ru_maxrss, which starts from the memory of the process that forked this one.
    status = Path("/proc/self/status")
    if status.exists():
        used["peak_mb"] = int(re.search(r"VmHWM:\s+(\d+)", status.read_text(encoding="utf-8"))[1]) / 1024
    answer.write_text(json.dumps(used), encoding="utf-8")


@dataclass
class Day:
    """The counts of one day."""

    s3: Counter[str] = field(default_factory=Counter)
    glue: int = 0
    pages: int = 0
    written_bytes: int = 0
    worker_bytes: int = 0
    log_bytes: int = 0
    athena_scanned: list[int] = field(default_factory=list)
    invocations: list[dict[str, Any]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)


class Run:
    """An account, the mock APIs and a project of dev, over several days."""

    def __init__(self, counting: Any, api: Any, mock: Any, settings: Any, folder: Path) -> None:
        self.counting, self.api, self.mock, self.settings, self.folder = counting, api, mock, settings, folder

    def project(self) -> Any:
        """As a task opens it: without anything cached from the task before."""
        from catalunya.assets.record.project import Project

        return Project(self.settings)

    def day(self, now: datetime) -> Day:
        """One day: check every source, then make whatever is stale, in order."""
        day = Day()
        graph = self.project().graph
        for asset in graph:
            if asset.layer == "landing" or self._is_stale(asset.key, now):
                for _ in range(max(1, len(asset.upstream))):
                    self._task(asset, now, day)
        return day

    def ticks(self) -> dict[str, Any]:
        """What happens every day, whatever changes: reconciliation, retention, polling the queue."""
        from catalunya.assets.record.retention import prune
        from catalunya.dags.build import MANIFESTS_WAIT_S, RECONCILE_EVERY

        assert RECONCILE_EVERY == "*/10 * * * *"
        runs, day = 24 * 6, Day()
        with self._counted(day):
            project = self.project()
            project.overview().neglected(project.graph)
        s3 = Counter({name: count * runs for name, count in day.s3.items()})
        out, glue, day = day.worker_bytes * runs, day.glue * runs, Day()
        with self._counted(day):
            prune(self.project(), "counted", list(self.project().graph))
        return {
            "s3": dict(s3 + day.s3),
            "glue": glue + day.glue,
            "sqs": 24 * 3600 // MANIFESTS_WAIT_S,
            "worker_bytes": out + day.worker_bytes,
        }

    def watched(self, now: datetime) -> dict[str, Any]:
        """What `ops.watch` needs on a day on which nothing changes, with a channel to notify; Airflow does not answer."""
        from structlog.testing import capture_logs

        from catalunya.ops.backup.make import back_up
        from catalunya.ops.watching.look import EVERY, watch

        back_up(self.project(), "counted")
        for number in range(2):  # reads what was recorded before, and finds what is wrong with this run
            watch(self.project(), now + number * EVERY)
        day = Day()
        with capture_logs() as lines:
            for number in range(LOOKS):
                with self._counted(day):
                    watch(self.project(), now + (number + 2) * EVERY)
        times = timedelta(days=1) // EVERY / LOOKS
        return {
            "looks": timedelta(days=1) // EVERY,
            "s3": {name: round(count * times) for name, count in sorted(day.s3.items())},
            "worker_bytes": round(day.worker_bytes * times),
            "log_bytes": round(sum(len(json.dumps(line, default=str)) for line in lines) * times),
            "log_lines": round(len(lines) * times),
        }

    def news(self, now: datetime) -> dict[str, Any]:
        """What one look needs that reads what a day recorded."""
        from catalunya.ops.watching.look import watch

        day = Day()
        with self._counted(day):
            watch(self.project(), now)
        return dict(sorted(day.s3.items()))

    def rows(self) -> dict[str, int]:
        """Rows of the staging tables."""
        project = self.project()
        found = {asset.name: project.ledger.latest(asset.key) for asset in project.graph if asset.layer == "staging"}
        return {name: entry.rows for name, entry in found.items() if entry}

    def stored(self) -> int:
        """Bytes of all objects."""
        from small.aws import contents

        return sum(map(len, contents(self.settings.lake).values()))

    def _is_stale(self, key: str, now: datetime) -> bool:
        return self.project().state(now).stale(key) is not None

    def _task(self, asset: Any, now: datetime, day: Day) -> None:
        """The work of the asset's Airflow task, and of the function that it may invoke."""
        from catalunya.assets.making.materialize import materialize
        from catalunya.assets.making.plan import plan
        from catalunya.assets.making.request import Request
        from catalunya.io.aws import assumed

        run_id = f"{asset.key}-{now:%Y%m%d%H%M}-{time.monotonic_ns()}"
        if asset.layer == "marts":
            with self._counted(day), assumed(self.settings.mart_role, run_id):
                project = self.project()
                plan(project.state(), [project.graph[asset.key]])
                outcome = materialize(project, asset.key, Request(now=now, run_id=run_id))
            if outcome.status == "materialized":
                day.made.append(asset.key)
            return
        with self._counted(day):
            project = self.project()
            plan(project.state(), [project.graph[asset.key]])
        with self._counted(day):
            day.invocations.append(self._function(asset, run_id, day))

    def _function(self, asset: Any, run_id: str, day: Day) -> dict[str, Any]:
        from catalunya.assets.graph.spec import Layer
        from catalunya.assets.record.answers import answer_path, new_name
        from catalunya.cdk.deployment import FUNCTION_SIZES

        answer, before = self.folder / "answer.json", len(self.mock.requests)
        purpose = {"landing": "extract", "staging": "transform"}[asset.layer]
        name = new_name(asset.key)
        event = json.dumps({"asset": asset.key, "run_id": run_id, "answer": name})
        command = [sys.executable, __file__, "--invoke", purpose, event, str(answer)]
        environment = os.environ | {"AWS_ACCESS_KEY_ID": FUNCTION}
        before_aws = self._function_requests()
        began = time.monotonic()
        ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        self._read_answer(answer_path(Layer(asset.layer), name), time.monotonic() - began)
        day.log_bytes += len(ran.stdout)
        used: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        if used["status"] == "materialized":
            day.made.append(asset.key)
        return used | {
            "asset": asset.key,
            "memory_mb": FUNCTION_SIZES[asset.layer].memory_mb,
            "pages": len(self.mock.requests) - before,
            "aws_requests": self._function_requests() - before_aws,
        }

    def _read_answer(self, path: str, seconds: float) -> None:
        """Read the answer as often as Airflow's triggerer does while a function works for so long."""
        from catalunya.assets.record.answers import pauses

        lake, waited = self.project().lake, 0.0
        for pause in pauses():
            assert lake.find(path)
            if waited > seconds:
                return
            waited += pause

    def _function_requests(self) -> int:
        return sum(count for (who, *_), count in self.counting.requests.items() if who == FUNCTION)

    @contextmanager
    def _counted(self, day: Day) -> Iterator[None]:
        """Add the block's requests to the account and the sources to the day."""
        self.counting.clear()
        pages, queries = len(self.mock.requests), set(self.api.executions)
        yield
        for (_, service, operation), count in self.counting.requests.items():
            if service == "s3":
                day.s3[operation] += count
            elif service == "glue":
                day.glue += count
        day.written_bytes += sum(size for (_, service), size in self.counting.sent.items() if service == "s3")
        # The query executor signs as `testing`; what it and the functions read stays within AWS.
        outside = [(key, size) for key, size in self.counting.received.items() if key[0] not in (FUNCTION, "testing")]
        day.worker_bytes += sum(size for _, size in outside)
        day.pages += len(self.mock.requests) - pages
        ran = [self.api.executions[each] for each in self.api.executions if each not in queries]
        day.athena_scanned += [each.result.scanned for each in ran if each.result.kind == "DML" or each.result.scanned]


def count() -> dict[str, Any]:
    """Run the three days. Returns the counts."""
    from athena.account import Account
    from athena.server import athena_server
    from catalunya.io.environment import load_settings
    from catalunya.ops.mock import serve
    from small.counting import Counting

    counting: list[Counting] = []

    def around(app: Any) -> Counting:
        counting.append(Counting(app))
        return counting[0]

    with (
        tempfile.TemporaryDirectory() as name,
        athena_server(around) as (aws, api),
        serve(rows=REGISTER_ROWS) as mock,
    ):
        folder = Path(name)
        os.environ |= aws.environment | {"AWS_ACCESS_KEY_ID": WORKER, "CATALUNYA_LOG_FORMAT": "json"}
        account = Account.prepare(aws, api, folder / "cache")
        os.environ |= {
            "CATALUNYA_ENV": "dev",
            "CATALUNYA_LAKE": account.settings.lake,
            "CATALUNYA_CACHE": str(folder / "cache"),
            "CATALUNYA_BACKUP": f"{aws.make_bucket('catalunya-counted-backups')}",
            "CATALUNYA_NOTIFY": aws.client("sns").create_topic(Name="catalunya-alarms-dev")["TopicArn"],
            "CATALUNYA_MOCK_URL": mock.url,
            "CATALUNYA_HTTP_REQUESTS_PER_SECOND": "1000",
            "CATALUNYA_MART_ROLE": "arn:aws:iam::123456789012:role/catalunya-dev/catalunya-mart-role-dev",
        }
        settings = load_settings()
        run, now = Run(counting[0], api, mock, settings, folder), datetime.now(UTC)
        run.day(now)
        run.news(now)
        before = run.stored()
        mock.advance()
        changed = run.day(now + timedelta(days=1))
        stored, news = run.stored(), run.news(now + timedelta(days=1))
        quiet = run.day(now + timedelta(days=2))
        return {
            "measured": {
                "date": f"{now:%Y-%m-%d}",
                "machine": platform.machine(),
                "python": platform.python_version(),
            },
            "rows": run.rows(),
            "days": {"changed": _plain(changed), "quiet": _plain(quiet)},
            "ticks": run.ticks(),
            "watch": run.watched(now + timedelta(days=2)) | {"news": news},
            "stored_bytes": stored,
            "added_bytes": max(0, stored - before),
        }


def _plain(day: Day) -> dict[str, Any]:
    rounded = [
        {name: round(value, 3) if isinstance(value, float) else value for name, value in each.items()}
        for each in day.invocations
    ]
    return vars(day) | {"s3": dict(sorted(day.s3.items())), "invocations": rounded}


def write_table() -> None:
    """Write the table of the counts into docs/aws.md."""
    import aws_table as table

    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(table.BEGIN)
    _, _, after = rest.partition(table.END)
    PAGE.write_text(before + table.render(json.loads(COUNTS.read_text(encoding="utf-8"))) + after, encoding="utf-8")


def main() -> int:
    """Count, unless only the table is wanted, and write."""
    parser = argparse.ArgumentParser(description="Count what a day costs on AWS.")
    parser.add_argument("--table", action="store_true", help="write only the table, from existing counts")
    parser.add_argument("--invoke", nargs=3, metavar=("PURPOSE", "EVENT", "ANSWER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.invoke:
        purpose, event, answer = options.invoke
        invoke(purpose, event, Path(answer))
        return 0
    if not options.table:
        COUNTS.write_text(json.dumps(count(), indent=1) + "\n", encoding="utf-8")
        print(f"written: {COUNTS.relative_to(ROOT)}")
    write_table()
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
