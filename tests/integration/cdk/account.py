"""An account in moto with the roles that the tables define, and sessions of them. All tests use the same names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from catalunya.cdk.access import ROLES, policy
from catalunya.cdk.bootstrap import deployment_boundary
from catalunya.cdk.limits import account_boundary, boundary
from catalunya.cdk.naming import Names
from catalunya.cdk.policy import Document
from small.aws import REGION, Aws

ACCOUNT = "123456789012"
NAMES = {env: Names.of(env, partition="aws", account=ACCOUNT, region=REGION) for env in ("dev", "prod")}
DEV = NAMES["dev"]
REGIONS = (REGION, "eu-central-1")
BOUNDARY = boundary(DEV, REGIONS)
POLICIES: Mapping[str, Document] = {role: policy(role, DEV) for role in ROLES}


def bound(role: str, names: Names = DEV) -> Document:
    """The boundary of a role."""
    if role == "engineer":
        return account_boundary(NAMES.values(), REGIONS)
    return deployment_boundary(names, REGIONS) if role == "deployment" else boundary(names, REGIONS)


BOUNDARIES: Mapping[str, Document] = {role: bound(role) for role in ROLES}


def role_arn(role: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{role}"


@contextmanager
def buckets(aws: Aws, names: Iterable[str]) -> Iterator[None]:
    """Buckets with exactly these names while the block runs; other tests in this process may use the names afterwards."""
    s3 = aws.client("s3")
    for name in names:
        aws.make_bucket(name)
    try:
        yield
    finally:
        for name in names:
            left = [{"Key": each["Key"]} for each in s3.list_objects_v2(Bucket=name).get("Contents", [])]
            if left:
                s3.delete_objects(Bucket=name, Delete={"Objects": left})
            s3.delete_bucket(Bucket=name)


@contextmanager
def sessions(aws: Aws, roles: Mapping[str, Document]) -> Iterator[dict[str, dict[str, str]]]:
    """The roles in moto, each with its policy, and credentials of a session of each, by role name."""
    iam, sts = aws.client("iam"), aws.client("sts")
    anyone = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}],
    }
    for role, document in roles.items():
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(anyone))
        iam.put_role_policy(RoleName=role, PolicyName="access", PolicyDocument=json.dumps(document))
    found = {}
    for role in roles:
        given = sts.assume_role(RoleArn=role_arn(role), RoleSessionName="test")["Credentials"]
        found[role] = {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }
    try:
        yield found
    finally:
        for role in roles:
            iam.delete_role_policy(RoleName=role, PolicyName="access")
            iam.delete_role(RoleName=role)


def client_of(aws: Aws, service: str, credentials: Mapping[str, str]) -> Any:
    """A boto3 client with a session's credentials, without retries."""
    import boto3
    from botocore.config import Config

    make: Any = boto3.client
    return make(
        service,
        endpoint_url=aws.url,
        region_name=REGION,
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=credentials["AWS_SESSION_TOKEN"],
        config=Config(retries={"total_max_attempts": 1}),
    )
