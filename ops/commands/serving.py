"""`serve` and `healthy`: one process of a deployed Airflow, and whether it is well. What compose.yml and the Procfile call."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from catalunya.ops import console

Process = Annotated[str, Parameter(help="api-server, scheduler, dag-processor, triggerer or worker.")]


def serve(
    process: Annotated[
        str,
        Parameter(
            help="api-server, scheduler, dag-processor, triggerer or worker; or migrate, which prepares the database and ends."
        ),
    ],
    /,
) -> None:
    """Run one process of a deployed Airflow, with what the environment does not say filled in."""
    from catalunya.ops.serving import processes

    if process == processes.MIGRATE:
        processes.migrate()
    else:
        processes.serve(process)


def healthy(process: Process, /) -> None:
    """Ask whether the process that runs on this machine is well; exit code 1 when it is not."""
    from catalunya.ops.serving import health

    console.say(health.check(process))
