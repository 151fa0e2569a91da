"""Landing and staging made by Lambda functions: the task asks for it and gives its worker back until the answer is there.

Here: the operators (of an asset, and of a part of a large source's pages), and the trigger that waits in Airflow's triggerer. Not
here: what a function does (`ops/lambdas.py`), what a task has in common with those that work themselves (`tasks.py`). Imported
whenever Airflow parses, so nothing heavy is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from catalunya.assets.graph.spec import FUNCTIONS, Layer
from catalunya.assets.record.state import Reason
from catalunya.dags.tasks import Making, correlation_of
from catalunya.io.errors import SourceUnavailable, from_function

if TYPE_CHECKING:
    from airflow.sdk import Context

LIMIT = timedelta(minutes=15)  # Lambda's own
PATIENCE = LIMIT + timedelta(minutes=1)
CONNECTION = "aws_default"


class Invoke(Making):
    """Makes one landing or staging asset by a Lambda function; `functions` is their names' pattern."""

    def __init__(self, *, functions: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.functions = functions

    def execute(self, context: Context) -> None:
        """Ask for the first step, and wait without a worker."""
        from catalunya.assets.record.project import Project

        asked, project = _asked(context), Project()
        steps = self.steps(project, force=bool(context["params"]["force"]))
        self._ask([{**asked, "asset": step.key, "force": step.reason is Reason.FORCED} for step in steps])

    def resume(self, context: Context, event: dict[str, Any], steps: list[dict[str, Any]]) -> None:
        """Take the answer of the first step: ask for the next one, or end. Raises what the function raised."""
        if event["error"]:
            raise from_function(event["answer"])
        if len(steps) > 1:
            self._ask(steps[1:])
        answer = event["answer"]
        self.end(context, answer["status"], answer["why"], answer["entry"])

    def _ask(self, steps: list[dict[str, Any]]) -> None:
        layer = Layer(steps[0]["asset"].partition(".")[0])
        function = self.functions.format(purpose=FUNCTIONS[layer])
        trigger = InvokeTrigger(function, json.dumps(steps[0]))
        self.defer(trigger=trigger, method_name="resume", kwargs={"steps": steps}, timeout=PATIENCE)


class ReadPages(BaseOperator):
    """Lands one part of a large source's pages by a Lambda function, ahead of the task that makes the asset of them all.

    Mapped over `index`. Nothing depends on it: that task follows however it ends, and reads what it did not.
    """

    ui_color = "#e8f4f8"

    def __init__(self, *, key: str, functions: str, of: int, index: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.key, self.functions, self.of, self.index = key, functions, of, index

    def execute(self, context: Context) -> None:
        """Ask for the part, and wait without a worker. All parts of a run name one batch: by when the run began."""
        from catalunya.assets.record.paths import batch_name

        run = context["dag_run"]
        began = run.start_date or run.run_after
        part = {"of": self.of, "index": self.index, "batch": batch_name(began.astimezone(UTC))}
        asked = {**_asked(context), "asset": self.key, "force": bool(context["params"]["force"]), "part": part}
        trigger = InvokeTrigger(self.functions.format(purpose=FUNCTIONS[Layer.LANDING]), json.dumps(asked))
        self.defer(trigger=trigger, method_name="resume", timeout=PATIENCE)

    def resume(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002  the signature is Airflow's
        """Take the answer. Raises what the function raised, AirflowSkipException when there was nothing to land."""
        if event["error"]:
            raise from_function(event["answer"])
        if event["answer"]["status"] != "landed":
            raise AirflowSkipException(f"{event['answer']['status']}: {event['answer']['why']}")
        self.log.info("%s, part %s of %s: %s", self.key, self.index, self.of, event["answer"]["why"])


def _asked(context: Context) -> dict[str, Any]:
    """What every event of a run says alike."""
    params = context["params"]
    return {
        "run_id": context["dag_run"].run_id,
        "correlation_id": correlation_of(context),
        "period_from": params.get("period_from"),
        "period_to": params.get("period_to"),
    }


class InvokeTrigger(BaseTrigger):
    """Invokes a function and waits for its answer. Asked again (a triggerer that died), the function finds its own entry."""

    def __init__(self, function: str, payload: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.function, self.payload = function, payload

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How Airflow keeps it."""
        return f"{__name__}.InvokeTrigger", {"function": self.function, "payload": self.payload}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: the answer, or the error in the shape that Lambda reports errors in."""
        from airflow.providers.amazon.aws.hooks.lambda_function import LambdaHook
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        patient = Config(read_timeout=LIMIT.total_seconds() + 30, retries={"total_max_attempts": 1}, tcp_keepalive=True)
        try:
            hook: Any = LambdaHook(aws_conn_id=CONNECTION, config=patient)
            async with await hook.get_async_conn() as client:
                answer = await client.invoke(FunctionName=self.function, Payload=self.payload)
                told = json.loads(await answer["Payload"].read())
            failed = bool(answer.get("FunctionError"))
        except (BotoCoreError, ClientError) as error:
            # Throttled, cut off or not deployed: which of them, the message says; asking again is what may help.
            failed, todo = True, "see that it is deployed and that this role may invoke it"
            message = f"the function {self.function} could not be asked: {error}; {todo}"
            told = {"errorType": SourceUnavailable.__name__, "errorMessage": message}
        yield TriggerEvent({"error": failed, "answer": told})  # type: ignore[no-untyped-call]
