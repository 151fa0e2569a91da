"""The commands that keep running: the mock APIs, Airflow on this machine, and the processes of a deployed Airflow.

Here: their options. Not here: what they start (`ops/mock`, `ops/local_airflow`, `ops/deployed_airflow`).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.io.environment import load_settings
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Real

MockRows = Annotated[
    int | None, Parameter(validator=Number(gte=1), help="Rows in the mock's register of social services.")
]
Timeout = Annotated[float, Parameter(validator=Number(gt=0), help="Seconds until all assets must be up to date.")]
_FAULTS = Parameter(
    consume_multiple=True,
    negative=(),
    help="Faults to inject, as KIND[:DATASET][:NAME=VALUE]...: rate-limited:ivft-vegh:times=2, error-500, slow:seconds=1. See --list-faults.",
)
_REAL = (
    "A folder of answers of a source to try, or one file: every .json, CSV, JSON lines and Parquet file in it and its subfolders is served, "
    "beside the mock's own tables. An array "
    "of objects is served as rows of /resource/ID.json, an object with id and columns as their metadata, a JSON-stat 2.0 dataset with "
    "values at /taules/v2/STATISTIC/NODE/TABLE/GEO, and answers of CKAN (datastore_search, resource_show, package_show) and Opendatasoft "
    "(records, metadata) as these portals do. The ID is the one in the file's name (stops.ab12-cd34.json), or the name's first "
    "word; a table's address is in its href, or in the file's name (pmh_446_477_mun.json). JSON-stat, CSV, JSON lines and Parquet are also "
    "served at their path; a folder data.example.org stands for that host. The addresses are logged at the start, and so "
    "is every file that cannot be served, with the reason."
)
_PROCESSES = "api-server, scheduler, dag-processor, triggerer or worker"


def mock(
    *,
    port: Annotated[
        int, Parameter(validator=Number(gte=0, lte=65535), help="The port to listen on; 0 for a free one.")
    ] = 8765,
    host: Annotated[
        str, Parameter(help="The address to listen on; in a container 0.0.0.0, so that others reach it.")
    ] = "127.0.0.1",
    rows: Annotated[int, Parameter(validator=Number(gte=1), help="Rows in the register of social services.")] = 2000,
    seed: Annotated[int, Parameter(help="Decides which requests a fault with share= hits.")] = 1,
    real: Annotated[Path | None, Parameter(help=_REAL)] = None,
    faults: Annotated[tuple[str, ...], _FAULTS] = (),
    gzip: Annotated[bool, FLAG, Parameter(help="Compress responses, as the real portal does.")] = False,
    list_faults: Annotated[bool, FLAG, Parameter(help="List the faults, and exit.")] = False,
) -> None:
    """Serve the mock APIs of the local environment until Ctrl-C.

    Socrata's datasets are at /resource/{id}.json and /api/views/{id}, IDESCAT's tables at /taules/v2/{statistic}/{node}/{table}/{geo}.
    Faults, versions and the log of requests are controlled at /_mock/: PUT faults, POST advance, POST reset, GET requests.
    """
    if list_faults:
        from catalunya.ops.mock.faults import COMMON, KINDS

        console.table(["fault", "effect"], KINDS.items())
        console.say()
        console.table(["option of any fault", "meaning"], COMMON.items())
        return
    from catalunya.ops import mock as apis
    from catalunya.ops.logging import configure

    configure(load_settings())
    with suppress(KeyboardInterrupt):  # the normal way to stop it
        apis.run(port=port, host=host, rows=rows, seed=seed, real=real, faults=faults, gzip=gzip)


def run(
    *,
    rows: MockRows = None,
    real: Real = None,
    timeout: Timeout = 900,
    as_json: AsJson = False,
) -> int:
    """Run the whole pipeline once on Airflow, mock APIs and public pages included, then stop everything."""
    return _run(as_json=as_json, rows=rows, real=real, timeout_s=timeout)


def up(
    *,
    port: Annotated[int, Parameter(validator=Number(gte=1, lte=65535), help="The port of the Airflow UI.")] = 8080,
    portal_port: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1, lte=65535),
            help="The port of the public pages; by default that of CATALUNYA_PORTAL_URL.",
        ),
    ] = None,
    rows: MockRows = None,
    real: Real = None,
    timeout: Timeout = 900,
) -> int:
    """Do the same as run, then keep running with the Airflow UI and the public pages until Ctrl-C."""
    return _run(port=port, portal_port=portal_port, rows=rows, real=real, timeout_s=timeout)


def _run(**options: Any) -> int:
    from catalunya.ops import local_airflow
    from catalunya.ops.logging import configure

    settings = load_settings()
    configure(settings, least="WARNING")
    return local_airflow.run(settings, **options)


def serve(
    process: Annotated[str, Parameter(help=f"{_PROCESSES}; or migrate, which prepares the database and exits.")],
    /,
) -> None:
    """Run one process of a deployed Airflow, with this project's defaults for variables that are not set."""
    from catalunya.ops.deployed_airflow import processes

    if process == processes.MIGRATE:
        processes.migrate()
    else:
        processes.serve(process)


def healthy(process: Annotated[str, Parameter(help=f"{_PROCESSES}.")], /) -> None:
    """Check the health of the Airflow process on this machine; exit with 1 if it is unhealthy."""
    from catalunya.ops.deployed_airflow import health

    console.say(health.check(process))


def airflow(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True, help="Airflow's arguments.")]) -> None:
    """Call Airflow's own command in the environment of `serve`: `catalunya airflow pools list`."""
    from catalunya.ops.deployed_airflow import processes

    processes.become("airflow", arguments)
