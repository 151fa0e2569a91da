"""A small Lambda: an endpoint on this machine that answers invocations by calling our handlers, each in a process of its own.

`python -m small.functions PORT`, its environment the functions'. It speaks the part of Lambda's API that an invocation needs.
"""

from __future__ import annotations

import json
import multiprocessing
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

LIMIT_S = 900
SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Context:
    """The context that a handler gets with its invocation."""

    function_name: str
    aws_request_id: str = field(default_factory=lambda: secrets.token_hex(8))
    ends_at: float = field(default_factory=lambda: time.monotonic() + LIMIT_S)

    def get_remaining_time_in_millis(self) -> int:
        """Until the function is cut off."""
        return int((self.ends_at - time.monotonic()) * 1000)


def call(function: str, event: dict[str, Any]) -> tuple[bool, Any]:
    """Whether the handler raised, and its answer, or its error as Lambda reports it."""
    from catalunya.ops import lambdas

    purpose = function.split("-")[1]
    try:
        return False, getattr(lambdas, purpose)(event, Context(function))
    except Exception as error:  # noqa: BLE001  Lambda reports whatever is raised
        return True, {"errorType": type(error).__name__, "errorMessage": str(error)}


POOL = ProcessPoolExecutor(1, mp_context=SPAWN)


async def invoke(request: Request) -> JSONResponse:
    """POST /2015-03-31/functions/{name}/invocations."""
    name, event = request.path_params["name"], json.loads(await request.body())
    failed, answer = await run_in_threadpool(lambda: POOL.submit(call, name, event).result())
    return JSONResponse(answer, headers={"X-Amz-Function-Error": "Unhandled"} if failed else {})


app = Starlette(
    routes=[
        Route("/2015-03-31/functions/{name}/invocations", invoke, methods=["POST"]),
        Route("/health", lambda _: JSONResponse({"status": "ok"})),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
