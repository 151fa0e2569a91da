"""A small Lambda: an endpoint on this machine that runs our handlers for the events it is sent, each in a process of its own.

`python -m small.functions PORT`, its environment the functions'. It speaks the part of Lambda's API that an invocation needs: with
a response, or queued and answered with 202 at once, like `InvocationType=Event` without retries. `GET /dead` is the dead-letter queue: the
events whose handler raised, or whose process was killed. `PUT /refusal` with an error code makes it refuse all invocations.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from catalunya.ops.processes import child
from small.patience import wait_until

LIMIT_S = 900
AT_ONCE = 2
SPAWN = multiprocessing.get_context("spawn")
STATUS = {"AccessDeniedException": 403, "ResourceNotFoundException": 404, "TooManyRequestsException": 429}


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


class Lambda:
    """Processes that are reused, as Lambda's are, and what they could not process."""

    def __init__(self) -> None:
        self.free: asyncio.Queue[ProcessPoolExecutor] = asyncio.Queue()
        self.dead: list[dict[str, Any]] = []
        self.refusal = ""
        self.queued: set[asyncio.Task[None]] = set()
        for _ in range(AT_ONCE):
            self.free.put_nowait(ProcessPoolExecutor(1, mp_context=SPAWN))

    async def run(self, name: str, event: dict[str, Any]) -> tuple[bool, Any]:
        """Whether the function failed, and its answer or error."""
        process = await self.free.get()
        try:
            return await asyncio.wrap_future(process.submit(call, name, event))
        except BrokenProcessPool:
            process = ProcessPoolExecutor(1, mp_context=SPAWN)
            return True, {"errorType": "Runtime.ExitError", "errorMessage": "Runtime exited with error: signal: killed"}
        finally:
            self.free.put_nowait(process)

    async def run_queued(self, name: str, event: dict[str, Any]) -> None:
        """Run the function for an event that no one waits for."""
        failed, answer = await self.run(name, event)
        if failed:
            self.dead.append({"event": event, "error": answer})

    async def invoke(self, request: Request) -> Response:
        """POST /2015-03-31/functions/{name}/invocations."""
        name, event = request.path_params["name"], json.loads(await request.body())
        if self.refusal:
            said = {"message": f"refused: {name}"}
            return JSONResponse(said, STATUS[self.refusal], headers={"X-Amzn-ErrorType": self.refusal})
        if request.headers.get("X-Amz-Invocation-Type") == "Event":
            task = asyncio.create_task(self.run_queued(name, event))
            self.queued.add(task)
            task.add_done_callback(self.queued.discard)
            return Response(status_code=202)
        failed, answer = await self.run(name, event)
        return JSONResponse(answer, headers={"X-Amz-Function-Error": "Unhandled"} if failed else {})

    async def refuse(self, request: Request) -> Response:
        """PUT /refusal: an error code, or nothing."""
        self.refusal = (await request.body()).decode()
        return Response()


def app() -> Starlette:
    """The endpoint, within a running event loop."""
    service = Lambda()
    return Starlette(
        routes=[
            Route("/2015-03-31/functions/{name}/invocations", service.invoke, methods=["POST"]),
            Route("/refusal", service.refuse, methods=["PUT"]),
            Route("/dead", lambda _: JSONResponse(service.dead)),
            Route("/health", lambda _: JSONResponse({"status": "ok"})),
        ]
    )


@contextmanager
def functions(port: int, log: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The endpoint in a process of its own, while the block runs; its URL."""
    url = f"http://127.0.0.1:{port}"
    with child([sys.executable, "-m", "small.functions", str(port)], log=log, env=environment):
        wait_until(lambda: _is_up(f"{url}/health"), 60, log.read_text)
        yield url


def _is_up(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    uvicorn.run(app, factory=True, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
