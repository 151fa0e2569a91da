"""What no one may do: the bucket policies and the boundary of all roles; and that loosening them fails a test.

The mutations at the end widen a prefix, or drop a condition or a deny, and expect the other tests to notice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from catalunya.cdk.access import ROLES, TABLE, engineer_policies, policy
from catalunya.cdk.bootstrap import deployment_boundary
from catalunya.cdk.limits import account_boundary, boundary, bucket_policy
from catalunya.cdk.naming import Names
from catalunya.cdk.policy import PLACES
from catalunya.cdk.trust import Trusted, trust
from catalunya.io.environment import BUCKET_PREFIX_LETTERS, load_settings
from integration.cdk.account import ACCOUNT, BOUNDARIES, BOUNDARY, DEV, NAMES, POLICIES, bound, role_arn
from integration.cdk.iam import Request, allowed
from integration.cdk.test_access import differences

OBJECT = f"arn:aws:s3:::{DEV.data_bucket}/staging/gdp/file.parquet"
BUCKETS = DEV.buckets
ANYTHING = {"Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]}


def reaches(
    statements: list[dict[str, Any]], action: str = "s3:PutObject", resource: str = OBJECT, **context: str
) -> bool:
    """Whether a bucket's policy lets through a request of a role that may do everything."""
    return allowed(Request(action, resource, context), [ANYTHING], resource_policy={"Statement": statements})


# Buckets


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:PutBucketPolicy"])
def test_a_bucket_accepts_only_modern_tls(bucket: str, action: str) -> None:
    statements = bucket_policy(DEV, bucket)
    for resource in (f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/staging/file.parquet"):
        assert reaches(statements, action, resource)
        assert reaches(statements, action, resource, **{"s3:TlsVersion": "1.2"})
        assert not reaches(statements, action, resource, **{"aws:SecureTransport": "false"})
        assert not reaches(statements, action, resource, **{"s3:TlsVersion": "1.1"})


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({}, True),  # the bucket's default applies
        ({"s3:x-amz-server-side-encryption": "AES256"}, True),
        ({"s3:x-amz-server-side-encryption": "aws:kms"}, False),
        ({"s3:x-amz-server-side-encryption": "aws:kms:dsse"}, False),
        ({"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}, False),
    ],
    ids=["default", "ours", "another key", "dual-layer", "the caller's key"],
)
def test_objects_cannot_be_encrypted_with_another_key(headers: dict[str, str], is_allowed: bool) -> None:
    assert reaches(bucket_policy(DEV), **headers) is is_allowed
    assert reaches(bucket_policy(DEV), "s3:GetObject", **headers)


def test_a_lake_with_its_own_key_requires_it_and_its_roles_use_it_only_through_s3() -> None:
    settings = load_settings(env="dev", lake_encryption="aws:kms", lake_kms_key_id="1234-abcd")
    names = replace(DEV, settings=settings)
    header = "s3:x-amz-server-side-encryption"
    assert reaches(bucket_policy(names), **{header: "aws:kms"})
    assert not reaches(bucket_policy(names), **{header: "AES256"})
    key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1234-abcd"
    through_s3 = Request("kms:GenerateDataKey", key, {"kms:ViaService": "s3.eu-west-1.amazonaws.com"})
    for role in ("extractor", "transformer", "mart", "orchestrator", "reader"):
        limit = bound(role, names)
        assert allowed(through_s3, [policy(role, names)], boundary=limit)
        assert not allowed(through_s3, [policy(role, names)], boundary=bound(role))
        assert not allowed(replace(through_s3, context={}), [policy(role, names)], boundary=limit)
        assert not allowed(through_s3, [POLICIES[role]], boundary=limit)
        assert not allowed(replace(through_s3, resource=f"{key}0"), [policy(role, names)], boundary=limit)
    assert not allowed(through_s3, [policy("tables", names)], boundary=bound("tables", names))


@pytest.mark.parametrize("log_bucket", DEV.logged)
def test_only_s3_writes_access_logs_and_only_for_our_buckets(log_bucket: str) -> None:
    document = {"Statement": bucket_policy(DEV, log_bucket)}
    logged = DEV.logged[log_bucket]

    def delivers(source: str, account: str = ACCOUNT, service: str = "logging.s3.amazonaws.com") -> bool:
        context = {"aws:SourceArn": f"arn:aws:s3:::{source}", "aws:SourceAccount": account}
        request = Request("s3:PutObject", f"arn:aws:s3:::{log_bucket}/a/log", context, principal=service)
        return allowed(request, [document])

    assert all(delivers(bucket) for bucket in logged)
    assert not any(delivers(bucket) for bucket in (*set(DEV.buckets).difference(logged), "another-bucket"))
    assert not delivers(logged[0], account="210987654321")
    assert not delivers(logged[0], service="another.amazonaws.com")


# The boundary


@pytest.mark.parametrize("env", ["dev", "prod"])
@pytest.mark.parametrize("role", ROLES)
def test_what_the_table_grants_is_within_the_boundary(role: str, env: str) -> None:
    """One request per action and resource of each statement: a grant outside the boundary would have no effect."""
    context = {
        "aws:RequestTag/run": "r",
        "aws:userid": "AROAEXAMPLE:repair-maria",
        "s3:if-none-match": "*",
    }
    own, limit = policy(role, NAMES[env]), bound(role, NAMES[env])
    for statement in own["Statement"]:
        prefixes = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
        more = {"s3:prefix": prefixes[0]} if prefixes else {}
        for action in statement["Action"]:
            for resource in statement["Resource"]:
                request = Request(action, resource.replace("*", "x") if resource != "*" else "*", {**context, **more})
                assert allowed(request, [own], boundary=limit), f"{action} {resource}"


HERE = f"eu-west-1:{ACCOUNT}:"


@pytest.mark.parametrize(
    ("action", "resource", "twin"),
    [
        ("s3:GetObject", "arn:aws:s3:::another-bucket/x", OBJECT),
        ("s3:PutObject", "arn:aws:s3:::catalunya-data-dev-evil/x", OBJECT),
        ("s3:ListBucket", "arn:aws:s3:::another-bucket", "arn:aws:s3:::catalunya-data-dev"),
        ("glue:DeleteTable", f"arn:aws:glue:{HERE}table/sales/x", f"arn:aws:glue:{HERE}table/catalunya_marts_dev/x"),
        ("glue:UpdateTable", "arn:aws:glue:eu-west-1:210987654321:catalog", f"arn:aws:glue:{HERE}catalog"),
        ("athena:StartQueryExecution", f"arn:aws:athena:{HERE}workgroup/primary", f"arn:aws:athena:{HERE}workgroup/catalunya_dev"),
        ("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}function:payroll", f"arn:aws:lambda:{HERE}function:catalunya-extract-dev"),
        ("sqs:ReceiveMessage", f"arn:aws:sqs:{HERE}orders", f"arn:aws:sqs:{HERE}catalunya-manifests-dev"),
        ("sts:AssumeRole", role_arn("administrator"), DEV.role_arn("mart")),
        ("sts:AssumeRole", DEV.role_arn("engineer"), DEV.role_arn("mart")),
        ("sts:AssumeRole", role_arn("cdk-catdev-deploy-role-123456789012-eu-west-1"), DEV.role_arn("mart")),
        ("logs:GetLogEvents", f"arn:aws:logs:{HERE}log-group:/payroll:*", f"arn:aws:logs:{HERE}log-group:/catalunya/airflow/dev:*"),
    ],
)  # fmt: skip
def test_a_role_with_every_permission_still_reaches_only_our_resources(action: str, resource: str, twin: str) -> None:
    assert not allowed(Request(action, resource), [ANYTHING], boundary=BOUNDARY)
    assert allowed(Request(action, twin), [ANYTHING], boundary=BOUNDARY)


@pytest.mark.parametrize(
    "action",
    [
        *("iam:CreateRole", "iam:PassRole", "iam:DeleteRolePermissionsBoundary", "iam:GetRole", "organizations:LeaveOrganization"),
        *("s3:DeleteObjectVersion", "s3:DeleteBucket", "s3:PutBucketPolicy", "s3:PutBucketVersioning", "s3:PutObjectAcl"),
        *("s3:PutLifecycleConfiguration", "s3:PutEncryptionConfiguration", "s3:BypassGovernanceRetention"),
        *("lambda:UpdateFunctionCode", "glue:DeleteDatabase", "athena:UpdateWorkGroup", "athena:DeleteWorkGroup"),
        *("kms:ScheduleKeyDeletion", "kms:PutKeyPolicy", "ec2:RunInstances", "cloudformation:DeleteStack", "sts:GetFederationToken"),
        *("sqs:DeleteQueue", "sns:Publish", "cloudwatch:DeleteAlarms", "logs:DeleteLogGroup", "logs:PutRetentionPolicy"),
    ],
)  # fmt: skip
def test_a_role_with_every_permission_still_cannot_change_identities_or_settings(action: str) -> None:
    ours = f"arn:aws:s3:::{DEV.data_bucket}/staging/x" if action.startswith("s3:") else "*"
    assert not allowed(Request(action, ours), [ANYTHING], boundary=BOUNDARY)
    assert allowed(Request("s3:DeleteObject", OBJECT), [ANYTHING], boundary=BOUNDARY)


@pytest.mark.parametrize(("region", "is_allowed"), [("eu-west-1", True), ("eu-central-1", True), ("us-east-1", False)])
def test_requests_in_other_regions_are_denied(region: str, is_allowed: bool) -> None:
    where = {"aws:RequestedRegion": region}
    assert allowed(Request("s3:GetObject", OBJECT, where), [ANYTHING], boundary=BOUNDARY) is is_allowed
    assert allowed(Request("sts:AssumeRole", DEV.role_arn("mart"), where), [ANYTHING], boundary=BOUNDARY)


def test_requests_without_tls_are_denied() -> None:
    for context, is_allowed in (({}, True), ({"aws:SecureTransport": "false"}, False)):
        assert allowed(Request("s3:GetObject", OBJECT, context), [ANYTHING], boundary=BOUNDARY) is is_allowed


# The documents themselves


def test_documents_are_within_iam_size_limits() -> None:
    """IAM: 2,048 characters in a trust policy, 10,240 in a role's inline policies together, 6,144 in a managed one; without white space."""

    def size(document: Mapping[str, Any]) -> int:
        return len(re.sub(r"\s", "", json.dumps(document)))

    keyed = replace(
        NAMES["prod"], settings=load_settings(env="prod", lake_encryption="aws:kms", lake_kms_key_id="k" * 36)
    )
    trusted = Trusted.read(
        {
            "github_subject": f"repo:{'o' * 39}@{'1' * 9}/{'n' * 100}@{'1' * 10}",
            "readers": role_arn("r" * 64),
            "monitors": role_arn("m" * 64),
            "identity_center": f"{'e' * 32},{'r' * 32}",
        }
    )
    assert max(map(size, engineer_policies(keyed).values())) <= 6144
    for role in ROLES:
        assert size(policy(role, keyed)) <= 10240, role
        assert size(trust(role, keyed, trusted)) <= 2048, role
        assert size(bound(role, keyed)) <= 6144, role


def test_boundaries_have_room_for_the_longest_names_of_buckets_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_BUCKET_PREFIX", "p" * BUCKET_PREFIX_LETTERS)
    monkeypatch.setenv("CATALUNYA_LAKE_ENCRYPTION", "aws:kms")
    monkeypatch.setenv("CATALUNYA_LAKE_KMS_KEY_ID", "k" * 36)
    environments = [Names.of(env, partition="aws", account=ACCOUNT, region="eu-west-1") for env in NAMES]
    regions = ("ap-southeast-1", "ap-southeast-2")
    found = [limit(names, regions) for names in environments for limit in (boundary, deployment_boundary)]
    for document in (*found, account_boundary(environments, regions)):
        assert "p" * BUCKET_PREFIX_LETTERS in json.dumps(document)
        assert len(json.dumps(document, separators=(",", ":"))) <= 6144


def test_statement_ids_are_valid_and_unique() -> None:
    for document in (
        *POLICIES.values(),
        *BOUNDARIES.values(),
        *({"Statement": bucket_policy(DEV, bucket)} for bucket in BUCKETS),
    ):
        names = [statement["Sid"] for statement in document["Statement"]]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in names)


def test_no_grant_has_a_wildcard_action_or_place() -> None:
    """Actions are named, never `*`; places are ours, except for actions that support no ARNs (Service Authorization Reference)."""
    for grant in TABLE:
        assert not [action for action in grant.actions if "*" in action], grant
        everywhere = [place for place in grant.places if "*" in PLACES[place](DEV)]
        services = {action.partition(":")[0] for action in grant.actions}
        assert not everywhere or (everywhere == [*grant.places] and services <= {"cloudwatch", "logs", "ce"}), grant
        assert len(grant.why) > 3


# Mutations: whether these tests and those of the matrix notice a change.


CONDITIONED = [
    number
    for number, grant in enumerate(TABLE)
    if grant.condition and grant.actions[0] in ("s3:PutObject", "s3:DeleteObject")
]
ON_OBJECTS = [
    number
    for number, grant in enumerate(TABLE)
    if grant.actions[0] in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
]


@pytest.mark.parametrize("number", CONDITIONED)
def test_dropping_a_condition_on_objects_breaks_the_matrix(number: int) -> None:
    row = TABLE[number]
    table = (*TABLE[:number], replace(row, condition=None), *TABLE[number + 1 :])
    assert differences(row.role, policy(row.role, DEV, table))


@pytest.mark.parametrize("number", ON_OBJECTS)
def test_widening_a_prefix_breaks_the_matrix(number: int) -> None:
    """Each place of each row on objects, by one folder: `_ledger/*` for `_ledger/staging/*`, or the bucket for a folder."""
    row = TABLE[number]
    for place in row.places:
        arns = PLACES[place](DEV)
        if place == "any object" or not arns[0].startswith("arn:aws:s3:"):
            continue
        wider = tuple(f"{arn.rpartition('/')[0].rpartition('/')[0]}/*" for arn in arns)
        widened = replace(row, places=tuple("wider" if each == place else each for each in row.places))
        table = (*TABLE[:number], widened, *TABLE[number + 1 :])
        document = policy(row.role, DEV, table, {**PLACES, "wider": lambda _, wider=wider: wider})  # type: ignore[misc]
        assert differences(row.role, document), place


@pytest.mark.parametrize("number", range(len(bucket_policy(DEV))))
def test_dropping_a_deny_of_the_lake_policy_lets_a_request_through(number: int) -> None:
    refused = [
        {"aws:SecureTransport": "false"},
        {"s3:TlsVersion": "1.1"},
        {"s3:x-amz-server-side-encryption": "aws:kms"},
        {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"},
    ]
    statements = bucket_policy(DEV)
    assert [reaches(statements, **context) for context in refused] == [False] * 4
    del statements[number]
    assert [reaches(statements, **context) for context in refused] == [each == number for each in range(4)]


@pytest.mark.parametrize("sid", ["DenyOtherRegions", "DenyWithoutTls"])
def test_dropping_a_deny_of_the_boundary_lets_a_request_through(sid: str) -> None:
    less = {"Statement": [each for each in BOUNDARY["Statement"] if each["Sid"] != sid]}
    context = {
        "DenyOtherRegions": {"aws:RequestedRegion": "us-east-1"},
        "DenyWithoutTls": {"aws:SecureTransport": "false"},
    }[sid]
    request = Request("s3:GetObject", OBJECT, context)
    assert not allowed(request, [ANYTHING], boundary=BOUNDARY)
    assert allowed(request, [ANYTHING], boundary=less)
