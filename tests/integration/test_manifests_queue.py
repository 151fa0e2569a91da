"""The trigger that reads the queue of manifests: few requests while nothing arrives, and a message is there at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from athena.server import athena_server
from small.aws import Aws
from small.counting import operation_of
from small.patience import patience, wait_until

# As the triggerer does it, in a process of its own, because importing Airflow changes the process it is imported in.
TRIGGERER = """
import asyncio, time

from catalunya.assets.graph.graph import AssetGraph
from catalunya.dags.build import RECONCILE, build_dags
from catalunya.io.environment import load_settings

dag = build_dags(AssetGraph([]), load_settings(), only=RECONCILE)[RECONCILE]
(watcher,) = [watcher for asset in dag.schedule.asset_condition.objects for watcher in asset.watchers]

async def first():
    async for event in watcher.trigger.run():
        (message,) = event.payload["message_batch"]
        return message["Body"]

print(asyncio.run(first()), time.time(), flush=True)
"""
QUIET_S = 3
"""Longer than the provider's own default of waiting, 1 s."""


App = Callable[..., Iterable[bytes]]


class Asked:
    """A WSGI app that notes when each request for messages begins, and passes all requests to `inner`."""

    def __init__(self, inner: App) -> None:
        self._inner, self.began = inner, list[float]()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if operation_of(environ) == ("sqs", "ReceiveMessage"):
            self.began.append(time.time())
        return self._inner(environ, start_response)


@pytest.fixture
def account() -> Iterator[tuple[Aws, Asked]]:
    """A local AWS, and what it was asked."""
    asked: list[Asked] = []

    def around(app: App) -> Asked:
        asked.append(Asked(app))
        return asked[0]

    with athena_server(around) as (aws, _):
        yield aws, asked[0]


def test_one_request_waits_for_a_message_that_then_arrives_at_once(
    account: tuple[Aws, Asked], compiled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    aws, asked = account
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    queues = boto3.client("sqs")
    url = queues.create_queue(QueueName="catalunya-manifests-dev")["QueueUrl"]
    settings = {
        "CATALUNYA_ENV": "dev",
        "CATALUNYA_MANIFESTS_QUEUE": url,
        "CATALUNYA_CACHE": str(compiled),
        "AIRFLOW_HOME": str(tmp_path),
        "AWS_DEFAULT_REGION": os.environ["AWS_REGION"],
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
    }
    command = [sys.executable, "-c", TRIGGERER]
    with subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True) as reader:
        try:
            wait_until(lambda: asked.began or reader.poll() is not None, 60)
            time.sleep(QUIET_S)
            sent_at = time.time()
            queues.send_message(QueueUrl=url, MessageBody="sealed")
            assert reader.stdout
            _, read_at = next(line for line in reader.stdout if line.startswith("sealed ")).split()
        finally:
            reader.kill()

    assert len(asked.began) == 1
    assert sent_at - asked.began[0] >= QUIET_S
    assert float(read_at) - sent_at < patience(2)
