"""Landing and staging assets made by Lambda functions: the task has Lambda queue the event, and defers until there is an answer.

No connection stays open while a function works: behind NAT, one without traffic is cut after some minutes and its answer is lost. The
function writes its answer into the lake (`assets/record/answers.py`); the trigger reads it there, at growing intervals, in Airflow's
triggerer, which may be restarted at any time: the event was sent before, by the task. If the function died, the ledger says
whether it had made the table. Airflow is the only one that tries again: Lambda does not (`cdk/functions.py`).

Here: the operator and the trigger. Not here: what a function does
(`ops/lambdas.py`), what all materializing tasks share (`tasks.py`). Airflow imports this module whenever it parses the DAGs, so it
imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from catalunya.assets.graph.spec import FUNCTIONS, Layer
from catalunya.assets.record.state import Reason
from catalunya.dags.lineage_parent import part_of_task
from catalunya.dags.tasks import MaterializeBase, correlation_of
from catalunya.io.errors import CatalunyaError, FunctionLost, PermanentError, TransientError, named

if TYPE_CHECKING:
    from airflow.sdk import Context

LIMIT = timedelta(minutes=15)  # Lambda's maximum
# Only if the trigger itself fails: it ends by itself when the function has not started after minutes, or is silent for one.
TIMEOUT = LIMIT + timedelta(minutes=10)
# Lambda API Reference, Invoke. Anything else may pass: throttling, an error of the service, a function that is being updated.
LASTING = frozenset(
    ("AccessDeniedException", "ResourceNotFoundException", "InvalidParameterValueException", "RequestTooLargeException")
)


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
        """Handle the result of the first step: invoke the next one, or finish. Raises what the function answered."""
        result = event
        if event["error"] == FunctionLost.__name__:
            result = _recorded(steps[0]) or event
            if result is event:
                self._record_lost(steps[0], event["why"])
        with part_of_task(context):
            _announce(steps[0])
        _check(result)
        if len(steps) > 1:
            self._invoke(steps[1:])
        self.end(context, result["status"], result["why"], result["entry"])

    def _record_lost(self, step: dict[str, Any], why: str) -> None:
        """Have the next function record that this one died: Airflow may not write into the ledger."""
        try:
            _send(self.functions, {**step, "lost": why}, "RequestResponse")
        except CatalunyaError as error:
            self.log.warning("it is not recorded that the function was lost: %s", error)

    def _invoke(self, steps: list[dict[str, Any]]) -> None:
        self.defer(
            trigger=invoke(self.functions, steps[0]),
            method_name="resume",
            kwargs={"steps": steps},
            timeout=TIMEOUT,
        )


def _run_event(context: Context) -> dict[str, Any]:
    """The part of the event that is the same for all invocations of a run."""
    params = context["params"]
    return {
        "run_id": context["dag_run"].run_id,
        "correlation_id": correlation_of(context),
        "period_from": params.get("period_from"),
        "period_to": params.get("period_to"),
    }


def invoke(functions: str, event: dict[str, Any]) -> Answered:
    """Have Lambda queue the event for the function that makes its asset. Returns the trigger that waits for the answer.

    Raises PermanentError if the function is not there or may not be invoked, TransientError if that may pass.
    """
    from catalunya.assets.record.answers import answer_path, new_name

    name = new_name(event["asset"])
    function = _send(functions, {**event, "answer": name}, "Event")
    return Answered(function, answer_path(_layer(event), name))


def _layer(event: dict[str, Any]) -> Layer:
    return Layer(event["asset"].partition(".")[0])


def _send(functions: str, event: dict[str, Any], how: str) -> str:
    """Send an event to the function that makes its asset. Returns the function's name."""
    from botocore.exceptions import BotoCoreError, ClientError

    from catalunya.io.aws import client, code_of, text_of

    function = functions.format(purpose=FUNCTIONS[_layer(event)])
    try:
        client("lambda").invoke(FunctionName=function, InvocationType=how, Payload=json.dumps(event))
    except (BotoCoreError, ClientError) as error:
        kind = PermanentError if code_of(error) in LASTING else TransientError
        raise kind(
            f"{event['asset']}: cannot invoke the function {function}: {text_of(error)}; "
            "check that it is deployed and that this role may invoke it"
        ) from error
    return function


def _check(result: dict[str, Any]) -> None:
    """Raise the error of a result that failed."""
    if result["error"]:
        raise named(result["error"], result["why"])


def _recorded(step: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a function that died after it had recorded what it made: the ledger counts, not the answer."""
    from catalunya.assets.making.request import as_before, made_by
    from catalunya.assets.record.answers import Result
    from catalunya.assets.record.project import Project

    made = made_by(Project().ledger, step["asset"], step["run_id"])
    if made is None:
        return None
    outcome = as_before(made)
    return Result(status=outcome.status, why=outcome.why, entry=made.summary()).plain()


def _announce(step: dict[str, Any]) -> None:
    """Report what the function recorded: a function has no client of the systems that it is reported to."""
    from catalunya.assets.record.announce import announce_run
    from catalunya.assets.record.project import Project

    announce_run(Project(), step["asset"], step["run_id"])


class Answered(BaseTrigger):
    """Waits for the answer of a function, which was invoked before."""

    def __init__(self, function: str, path: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.function, self.path = function, path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as Airflow stores them."""
        return f"{__name__}.Answered", {"function": self.function, "path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, the result, also if the function was lost or its answer cannot be read."""
        from catalunya.assets.record.answers import Result, wait
        from catalunya.assets.record.project import Project

        try:
            # Opened in a thread: the event loop is that of all triggers.
            lake = await asyncio.to_thread(lambda: Project().lake)
            result = await wait(lake, self.path, self.function)
        except CatalunyaError as error:
            result = Result(status="failed", why=str(error), error=type(error).__name__)
        yield TriggerEvent(result.plain())  # type: ignore[no-untyped-call]
