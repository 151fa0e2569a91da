"""Clients of AWS for those parts of `io` that speak to its APIs: botocore, imported when first needed.

It is no dependency of the base install: Airflow's extra brings it, and Lambda's runtime has it (with boto3). Here: how a client is made
and what its errors are called. Not here: what is asked of a service (`glue.py`, `athena.py`); objects (`lake.py`).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from catalunya.io.errors import ConfigurationError

# Throttling and network errors are tried again by botocore itself, with back-off and jitter; its own variable for the number
# of attempts holds, its default of 3 is too few for the minutes in which Glue says ThrottlingException.
ATTEMPTS, CONNECT_S, READ_S = 6, 5, 30


def client(service: str) -> Any:
    """A client of one service, where `AWS_ENDPOINT_URL` and the usual variables point. Raises ConfigurationError without boto3."""
    try:
        from botocore.config import Config
        from botocore.exceptions import NoRegionError
        from botocore.session import Session
    except ImportError as error:
        raise ConfigurationError(
            f"{service} is spoken to with boto3, which is not installed here ({error}); install catalunya[airflow]"
        ) from error
    # A session of its own: boto3's default one is not for threads, and keeps the credentials that it first saw (`role.py`).
    session: Any = Session()
    session.register_component("data_loader", _models())
    # obstore takes AWS_REGION and boto3 takes AWS_DEFAULT_REGION: here one of them does.
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS") or ATTEMPTS)
    config = Config(
        retries={"max_attempts": attempts, "mode": "standard"}, connect_timeout=CONNECT_S, read_timeout=READ_S
    )
    try:
        return session.create_client(service, region_name=region, config=config)
    except NoRegionError as error:
        raise ConfigurationError(f"{service}: no AWS region is set; set AWS_REGION, as in eu-west-1") from error


@cache
def _models() -> Any:
    """What botocore reads of the APIs from megabytes of JSON: once a process, and not for each client."""
    from botocore.loaders import create_loader

    return create_loader()


def code_of(error: Exception) -> str:
    """The code AWS gives an error (`EntityNotFoundException`), or the class of one that never reached AWS."""
    answer: Any = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code") or type(error).__name__)


def text_of(error: Exception) -> str:
    """What an error says, on one line: AWS's own message where there is one."""
    answer: Any = getattr(error, "response", None) or {}
    said = answer.get("Error", {}).get("Message") or str(error)
    return f"{code_of(error)}: {' '.join(str(said).split())}"
