"""Working under a role: temporary credentials for a piece of work, tagged with the run they are for.

Here: assuming one by STS and giving it back. Not here: which role does what (`cdk/access.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from catalunya.io.errors import ConfigurationError

log = structlog.get_logger(__name__)

_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@contextmanager
def assumed(role: str, run_id: str) -> Iterator[None]:
    """Let all AWS clients of this process work under a role (its ARN) while the block runs; an empty one changes nothing.

    The session is tagged `run`, and named by the run, so that CloudTrail tells who did what. Every client here (obstore, polars,
    boto3, dbt) reads its credentials from the environment: it is only for processes that do one thing, as a task does.
    Raises ConfigurationError when the role may not be assumed.
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
            f"CATALUNYA_MART_ROLE={role}: expected to be allowed to assume it and to tag the session, found {error}; "
            "correct the role's trust policy or the setting"
        ) from error
    given = answer["Credentials"]
    log.info("role_assumed", role=role, session=answer["AssumedRoleUser"]["Arn"])
    before = {name: os.environ.get(name) for name in _NAMES}
    os.environ.update(zip(_NAMES, (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]), strict=True))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
