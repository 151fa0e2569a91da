"""Landing and staging assets made by Lambda functions: the task invokes the function and defers, freeing its worker, until the result.

Here: the operators (for an asset, and for one part of a large source's pages), and the trigger that waits in Airflow's triggerer.
Not here: what a function does (`ops/lambdas.py`), what all materializing tasks share (`tasks.py`). Airflow imports this module
whenever it parses the DAGs, so it imports nothing heavy.
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
from catalunya.dags.tasks import MaterializeBase, correlation_of
from catalunya.io.errors import SourceUnavailable, from_function

if TYPE_CHECKING:
    from airflow.sdk import Context

LIMIT = timedelta(minutes=15)  # Lambda's maximum
TIMEOUT = LIMIT + timedelta(minutes=1)
CONNECTION = "aws_default"


class Invoke(MaterializeBase):
    """Materializes one landing or staging asset in a Lambda function; `functions` is the pattern of the function names."""

    def __init__(self, *, functions: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.functions = functions

    def execute(self, context: Context) -> None:
        """Invoke the function for the first step, and defer."""
        from catalunya.assets.record.project import Project

        event, project = _run_event(context), Project()
        steps = self.steps(project, force=bool(context["params"]["force"]))
        self._invoke([{**event, "asset": step.key, "force": step.reason is Reason.FORCED} for step in steps])

    def resume(self, context: Context, event: dict[str, Any], steps: list[dict[str, Any]]) -> None:
        """Handle the result of the first step: invoke the next one, or finish. Raises what the function raised."""
        if event["error"]:
            raise from_function(event["answer"])
        if len(steps) > 1:
            self._invoke(steps[1:])
        answer = event["answer"]
        self.end(context, answer["status"], answer["why"], answer["entry"])

    def _invoke(self, steps: list[dict[str, Any]]) -> None:
        layer = Layer(steps[0]["asset"].partition(".")[0])
        function = self.functions.format(purpose=FUNCTIONS[layer])
        trigger = InvokeTrigger(function, json.dumps(steps[0]))
        self.defer(trigger=trigger, method_name="resume", kwargs={"steps": steps}, timeout=TIMEOUT)


class ReadPages(BaseOperator):
    """Lands one part of a large source's pages in a Lambda function, before the task that materializes the asset.

    Mapped over `index`. Nothing depends on its success: the next task runs in any case, and reads the pages that are missing.
    """

    ui_color = "#e8f4f8"

    def __init__(self, *, key: str, functions: str, of: int, index: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.key, self.functions, self.of, self.index = key, functions, of, index

    def execute(self, context: Context) -> None:
        """Invoke the function for this part, and defer. All parts of a run share one batch, named after the run's start."""
        from catalunya.assets.record.paths import batch_name

        run = context["dag_run"]
        started = run.start_date or run.run_after
        part = {"of": self.of, "index": self.index, "batch": batch_name(started.astimezone(UTC))}
        event = {**_run_event(context), "asset": self.key, "force": bool(context["params"]["force"]), "part": part}
        trigger = InvokeTrigger(self.functions.format(purpose=FUNCTIONS[Layer.LANDING]), json.dumps(event))
        self.defer(trigger=trigger, method_name="resume", timeout=TIMEOUT)

    def resume(self, context: Context, event: dict[str, Any]) -> None:  # noqa: ARG002  the signature is Airflow's
        """Handle the result. Raises what the function raised, AirflowSkipException when there was nothing to land."""
        if event["error"]:
            raise from_function(event["answer"])
        if event["answer"]["status"] != "landed":
            raise AirflowSkipException(f"{event['answer']['status']}: {event['answer']['why']}")
        self.log.info("%s, part %s of %s: %s", self.key, self.index, self.of, event["answer"]["why"])


def _run_event(context: Context) -> dict[str, Any]:
    """The part of the event that is the same for all invocations of a run."""
    params = context["params"]
    return {
        "run_id": context["dag_run"].run_id,
        "correlation_id": correlation_of(context),
        "period_from": params.get("period_from"),
        "period_to": params.get("period_to"),
    }


class InvokeTrigger(BaseTrigger):
    """Invokes a function and waits for its result. If the triggerer dies and invokes it again, the function finds its own entry."""

    def __init__(self, function: str, payload: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.function, self.payload = function, payload

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as Airflow stores them."""
        return f"{__name__}.InvokeTrigger", {"function": self.function, "payload": self.payload}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: the result, or the error in the form in which Lambda reports errors."""
        from airflow.providers.amazon.aws.hooks.lambda_function import LambdaHook
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        config = Config(read_timeout=LIMIT.total_seconds() + 30, retries={"total_max_attempts": 1}, tcp_keepalive=True)
        try:
            hook: Any = LambdaHook(aws_conn_id=CONNECTION, config=config)
            async with await hook.get_async_conn() as client:
                answer = await client.invoke(FunctionName=self.function, Payload=self.payload)
                result = json.loads(await answer["Payload"].read())
            failed = bool(answer.get("FunctionError"))
        except (BotoCoreError, ClientError) as error:
            # Throttled, cut off or not deployed: the message says which, and a retry may help.
            failed = True
            message = (
                f"could not invoke the function {self.function}: {error}; "
                "check that it is deployed and that this role may invoke it"
            )
            result = {"errorType": SourceUnavailable.__name__, "errorMessage": message}
        yield TriggerEvent({"error": failed, "answer": result})  # type: ignore[no-untyped-call]
