"""The mock APIs of the local environment: an ASGI app that answers as the real ones do, with faults on demand.

Two on one port: the portal's datasets (Socrata, `/resource/…`, `/api/views/…`) and IDESCAT's tables (`/taules/v2/…`).
`serve` and `run` are the way in. Importing this loads neither the server nor polars: that happens when one is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from catalunya.ops.mock.server import MockServer

__all__ = ["run", "serve"]

PORT = 8765
ROWS = 2000


def serve(
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    rows: int = ROWS,
    seed: int = 1,
    real: Path | str | None = None,
    faults: Sequence[str] = (),
    cache: Path | str | None = None,
    gzip: bool = False,
) -> AbstractContextManager[MockServer]:
    """Serve the mock in a thread while the context lasts, on a free port unless one is given.

    `rows`: of the register of social services. `real`: a folder whose recorded tables are served, instead of the portal's
    generated ones and beside IDESCAT's. `faults`: see faults.py. `cache`: a folder for rendered pages, for benchmarks.
    `gzip`: compress for clients that accept it, as the portal does. Raises ConfigurationError where the port is taken or
    a recorded file is missing, UsageError where a fault or `rows` cannot be read.
    """
    from catalunya.ops.mock import app, server

    mock = app.Mock(rows=rows, seed=seed, real=real, faults=faults, cache=cache, gzip=gzip)
    return server.serve(mock, host, port)


def run(
    *,
    port: int = PORT,
    host: str = "127.0.0.1",
    rows: int = ROWS,
    seed: int = 1,
    real: Path | str | None = None,
    faults: Sequence[str] = (),
    cache: Path | str | None = None,
    gzip: bool = False,
) -> None:
    """Serve the mock until SIGINT or SIGTERM; parameters and errors as in `serve`."""
    from catalunya.ops.mock import app, server

    mock = app.Mock(rows=rows, seed=seed, real=real, faults=faults, cache=cache, gzip=gzip)
    server.run(mock, host, port)
