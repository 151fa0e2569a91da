"""`mock`, `run` and `up`: what keeps running, the mock APIs and Airflow on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.io.environment import load_settings
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson

MockRows = Annotated[
    int | None, Parameter(validator=Number(gte=1), help="Rows of the mock's register of social services.")
]
MockReal = Annotated[Path | None, Parameter(help="A folder of recorded tables for the mock to serve.")]
Timeout = Annotated[float, Parameter(validator=Number(gt=0), help="Seconds in which all is to be up to date.")]
_FAULTS = Parameter(
    consume_multiple=True,
    negative=(),
    help="What goes wrong, as KIND[:DATASET][:NAME=VALUE]...: rate-limited:ivft-vegh:times=2, error-500, slow:seconds=1. --list-faults tells all.",
)


def mock(
    *,
    port: Annotated[
        int, Parameter(validator=Number(gte=0, lte=65535), help="The port to listen on; 0 takes a free one.")
    ] = 8765,
    host: Annotated[
        str, Parameter(help="The address to listen on; within a container 0.0.0.0, which others reach.")
    ] = "127.0.0.1",
    rows: Annotated[int, Parameter(validator=Number(gte=1), help="Rows of the register of social services.")] = 2000,
    seed: Annotated[int, Parameter(help="The same seed gives the same tables.")] = 1,
    real: Annotated[
        Path | None, Parameter(help="A folder of recorded tables to serve instead of generated ones.")
    ] = None,
    faults: Annotated[tuple[str, ...], _FAULTS] = (),
    gzip: Annotated[bool, FLAG, Parameter(help="Compress for clients that accept it, as the portal does.")] = False,
    list_faults: Annotated[bool, FLAG, Parameter(help="Print the faults there are, and end.")] = False,
) -> None:
    """Serve the mock APIs of the local environment, until Ctrl-C."""
    if list_faults:
        from catalunya.ops.mock.faults import COMMON, KINDS

        console.table(["fault", "what it does"], KINDS.items())
        console.table(["with any", "meaning"], COMMON.items())
        return
    from catalunya.ops import mock as apis
    from catalunya.ops.logging import configure

    configure(load_settings())
    with suppress(KeyboardInterrupt):  # the way it ends
        apis.run(port=port, host=host, rows=rows, seed=seed, real=real, faults=faults, gzip=gzip)


def run(
    *,
    rows: MockRows = None,
    real: MockReal = None,
    timeout: Timeout = 900,
    as_json: AsJson = False,
) -> int:
    """Run the whole pipeline once on Airflow, mock APIs included, and stop it all again."""
    from catalunya.ops import local_airflow as airflow
    from catalunya.ops.logging import configure

    settings = load_settings()
    configure(settings, least="WARNING")
    return airflow.run(settings, as_json=as_json, rows=rows, real=real, timeout_s=timeout)


def up(
    *,
    port: Annotated[int, Parameter(validator=Number(gte=1, lte=65535), help="The port of Airflow's UI.")] = 8080,
    rows: MockRows = None,
    real: MockReal = None,
    timeout: Timeout = 900,
) -> int:
    """The same as run, and stay up with Airflow's UI until Ctrl-C."""
    from catalunya.ops import local_airflow as airflow
    from catalunya.ops.logging import configure

    settings = load_settings()
    configure(settings, least="WARNING")
    return airflow.up(settings, port=port, rows=rows, real=real, timeout_s=timeout)
