"""AWS clients (botocore, imported when first needed), and working under a role.

botocore is not a dependency of the base install: the `airflow` extra brings it, and Lambda's runtime has it. Here: how a client is
made, what its errors say, assuming a role. Not here: calls to a service (`warehouse/glue.py`, `warehouse/athena.py`), objects
(`lake.py`), which role does what (`cdk/`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from catalunya.io.errors import ConfigurationError
from catalunya.io.log import get_logger

log = get_logger(__name__)

# botocore retries throttling and network errors itself, with backoff and jitter. AWS_MAX_ATTEMPTS still applies; botocore's
# default of 3 is too few for the minutes in which Glue answers ThrottlingException.
ATTEMPTS, CONNECT_S, READ_S = 6, 5, 30
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def client(service: str, region: str | None = None) -> Any:
    """A client of one service, configured by `AWS_ENDPOINT_URL` and the usual variables. Raises ConfigurationError without botocore.

    `region`: the one to call, if not the environment's.
    """
    try:
        from botocore.config import Config
        from botocore.exceptions import NoRegionError
        from botocore.session import Session
    except ImportError as error:
        raise ConfigurationError(
            f"{service} needs boto3, which is not installed ({error}); install catalunya[airflow]"
        ) from error
    # A new session: boto3's default one is not thread-safe, and keeps the first credentials it saw (see `assumed`).
    session: Any = Session()
    session.register_component("data_loader", _models())
    # obstore reads AWS_REGION, boto3 AWS_DEFAULT_REGION: here either will do.
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS") or ATTEMPTS)
    config = Config(
        retries={"max_attempts": attempts, "mode": "standard"}, connect_timeout=CONNECT_S, read_timeout=READ_S
    )
    try:
        return session.create_client(service, region_name=region, config=config)
    except NoRegionError as error:
        raise ConfigurationError(
            f"{service}: no AWS region is set; set AWS_REGION, for example to eu-west-1"
        ) from error


@cache
def _models() -> Any:
    """botocore's loader of API models, megabytes of JSON: one per process instead of one per client."""
    from botocore.loaders import create_loader

    return create_loader()


def code_of(error: Exception) -> str:
    """AWS's error code (`EntityNotFoundException`), or the class name of an error that never reached AWS."""
    answer: Any = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code") or type(error).__name__)


def text_of(error: Exception) -> str:
    """The error on one line: AWS's own message if there is one."""
    answer: Any = getattr(error, "response", None) or {}
    message = answer.get("Error", {}).get("Message") or str(error)
    return f"{code_of(error)}: {' '.join(str(message).split())}"


@contextmanager
def assumed(role: str, run_id: str) -> Iterator[None]:
    """Run the block under a role (its ARN), for every AWS client of this process; an empty ARN changes nothing.

    The session is named and tagged (`run`) after the run, so that CloudTrail shows who did what. All clients here (obstore,
    polars, boto3, dbt) read their credentials from the environment, so use it only in a process with a single job, as a task is.
    Raises ConfigurationError when the role cannot be assumed.
    """
    if not role:
        yield
        return
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = boto3.client("sts").assume_role(
            RoleArn=role,
            RoleSessionName=re.sub(r"[^\w+=,.@-]", "-", run_id, flags=re.ASCII)[:64],
            Tags=[{"Key": "run", "Value": re.sub(r"[^\w .:/=+@-]", "-", run_id, flags=re.ASCII)[:256]}],
        )
    except (BotoCoreError, ClientError) as error:
        raise ConfigurationError(
            f"CATALUNYA_MART_ROLE={role}: cannot assume this role with a session tag: {error}; "
            "correct its trust policy, or the setting"
        ) from error
    temporary = answer["Credentials"]
    log.info("role_assumed", role=role, session=answer["AssumedRoleUser"]["Arn"])
    before = {name: os.environ.get(name) for name in _CREDENTIALS}
    values = (temporary["AccessKeyId"], temporary["SecretAccessKey"], temporary["SessionToken"])
    os.environ.update(zip(_CREDENTIALS, values, strict=True))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
