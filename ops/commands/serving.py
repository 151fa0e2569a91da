"""`serve`, `healthy`, `airflow`: one process of a deployed Airflow, whether it is well, and Airflow's own command beside them."""

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
    from catalunya.ops.deployed_airflow import processes

    if process == processes.MIGRATE:
        processes.migrate()
    else:
        processes.serve(process)


def healthy(process: Process, /) -> None:
    """Ask whether the process that runs on this machine is well; exit code 1 when it is not."""
    from catalunya.ops.deployed_airflow import health

    console.say(health.check(process))


def airflow(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True, help="As Airflow takes them.")]) -> None:
    """Call Airflow's own command with the environment that `serve` gives: `catalunya airflow pools list`."""
    from catalunya.ops.deployed_airflow import processes

    processes.become("airflow", arguments)
