"""`mock`, `run` and `up`: the mock APIs and Airflow on this machine."""

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
MockReal = Annotated[
    Path | None,
    Parameter(help="A folder of Socrata and JSON-stat files for the mock to serve; see `catalunya mock --help`."),
]
Timeout = Annotated[float, Parameter(validator=Number(gt=0), help="Seconds until everything must be up to date.")]
_REAL = (
    "A folder of answers of a source to try: every .json file in it and its subfolders is served, beside the mock's own tables. An array "
    "of objects is served as rows of /resource/ID.json, an object with id and columns as their metadata, a JSON-stat 2.0 dataset with "
    "values at /taules/v2/STATISTIC/NODE/TABLE/GEO. The ID is the one in the file's name (stops.ab12-cd34.json), or the name's first "
    "word; a table's address is in its href, or in the file's name (pmh_446_477_mun.json). The addresses are logged at the start, and so "
    "is every file that cannot be served, with the reason."
)
_FAULTS = Parameter(
    consume_multiple=True,
    negative=(),
    help="Faults, as KIND[:DATASET][:NAME=VALUE]...: rate-limited:ivft-vegh:times=2, error-500, slow:seconds=1. --list-faults lists them.",
)


def mock(
    *,
    port: Annotated[
        int, Parameter(validator=Number(gte=0, lte=65535), help="The port to listen on; 0 takes a free one.")
    ] = 8765,
    host: Annotated[
        str, Parameter(help="The address to listen on; 0.0.0.0 inside a container, so that others can reach it.")
    ] = "127.0.0.1",
    rows: Annotated[int, Parameter(validator=Number(gte=1), help="Rows of the register of social services.")] = 2000,
    seed: Annotated[int, Parameter(help="Decides which requests a fault with share= hits.")] = 1,
    real: Annotated[
        Path | None,
        Parameter(help=_REAL),
    ] = None,
    faults: Annotated[tuple[str, ...], _FAULTS] = (),
    gzip: Annotated[bool, FLAG, Parameter(help="Compress for clients that accept it, as the portal does.")] = False,
    list_faults: Annotated[bool, FLAG, Parameter(help="Print the faults and exit.")] = False,
) -> None:
    """Serve the mock APIs of the local environment, until Ctrl-C.

    Socrata's datasets are at /resource/{id}.json and /api/views/{id}, IDESCAT's tables at /taules/v2/{statistic}/{node}/{table}/{geo}.
    Faults, versions and the log of requests are controlled at /_mock/: PUT faults, POST advance, POST reset, GET requests.
    """
    if list_faults:
        from catalunya.ops.mock.faults import COMMON, KINDS

        console.table(["fault", "what it does"], KINDS.items())
        console.table(["option of any fault", "meaning"], COMMON.items())
        return
    from catalunya.ops import mock as apis
    from catalunya.ops.logging import configure

    configure(load_settings())
    with suppress(KeyboardInterrupt):  # Ctrl-C is the normal way to end
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
