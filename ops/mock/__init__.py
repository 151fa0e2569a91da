"""The mock APIs of the local environment: an ASGI app that answers as the real ones do, with faults on demand.

One fake per protocol, on one port: Socrata's datasets (`socrata.py`, `/resource/…`, `/api/views/…`), IDESCAT's tables
(`idescat.py`, `/taules/v2/…`) and EMEX's indicators (`emex.py`, `/emex/v1/…`). What they serve is in `data.py` (from `seeds/`, whose
headers say what was recorded and what is synthetic), in the recorded samples of the project's other sources (`samples.py`), or in a
folder (`real.py`). `serve` and `run` are the way in. Importing this loads neither the server nor polars: that happens when one is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from catalunya.ops.mock.exchange import Published
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
    gzip: bool = False,
    datasets: Sequence[Published] | None = None,
) -> AbstractContextManager[MockServer]:
    """Serve the mock in a thread while the context lasts, on a free port unless one is given.

    `rows`: of the register of social services. `seed`: of what is left to chance (which requests a fault with `share`
    hits). `real`: a folder whose Socrata and JSON-stat files are served in place of, and beside, the mock's own tables.
    `faults`: see `faults.py`. `gzip`: compress for clients that accept it, as the portal does. `datasets`: serve these and
    nothing else. Raises ConfigurationError if the port is taken or the folder has nothing to serve, UsageError if a fault
    or `rows` cannot be read.
    """
    from catalunya.ops.mock import server

    own, found = server.own_and_found(rows, real) if datasets is None else (datasets, ())
    mock = server.MockServer([*own, *found], seed, gzip=gzip, recorded=server.recordings(real))
    mock.faults(*faults)
    return server.serve(mock, host, port)


def run(
    *,
    port: int = PORT,
    host: str = "127.0.0.1",
    rows: int = ROWS,
    seed: int = 1,
    real: Path | str | None = None,
    faults: Sequence[str] = (),
    gzip: bool = False,
) -> None:
    """Serve the mock until SIGINT or SIGTERM; parameters and errors as in `serve`."""
    from catalunya.ops.mock import server

    own, found = server.own_and_found(rows, real)
    mock = server.MockServer([*own, *found], seed, gzip=gzip, recorded=server.recordings(real))
    mock.faults(*faults)
    server.run(mock, found, host, port)
