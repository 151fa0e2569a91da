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
Timeout = Annotated[float, Parameter(validator=Number(gt=0), help="Seconds in which all is to be up to date.")]
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
        Parameter(help="A folder whose Socrata and JSON-stat files are served besides the mock's own tables."),
    ] = None,
    faults: Annotated[tuple[str, ...], _FAULTS] = (),
    gzip: Annotated[bool, FLAG, Parameter(help="Compress for clients that accept it, as the portal does.")] = False,
    list_faults: Annotated[bool, FLAG, Parameter(help="Print the faults and exit.")] = False,
) -> None:
    """Serve the mock APIs of the local environment, until Ctrl-C.

    Socrata's datasets are at /resource/{id}.json and /api/views/{id}, IDESCAT's tables at /taules/v2/{statistic}/{node}/{table}/{geo}.
    Faults, versions and the log of requests are controlled at /_mock/: PUT faults, POST advance, POST reset, GET requests.

    To try a source that is not mocked, save some of its answers in a folder and pass it as --real. Every .json file in it and its
    subfolders is read: an array of objects is served as rows, an object with `id` and `columns` is the metadata of these rows, a
    JSON-stat 2.0 dataset with values is served as a table. A dataset's id is the one in the file's name (stops.ab12-cd34.json), or
    the name's first word; a table's address is that of its `href`, or of the file's name (pmh_446_477_mun.json). What is served and
    where is printed at the start, and so is each file that cannot be served, with the reason. A dataset or table of the mock's own
    with the same name is replaced.
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
