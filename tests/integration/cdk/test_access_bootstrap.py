"""What a deployment may not do: touch another environment, create roles without the boundary, change its own boundary."""

from __future__ import annotations

import json

import pytest

from catalunya.cdk.__main__ import main
from catalunya.cdk.limits import deployment_boundary
from catalunya.cdk.naming import DEPLOYMENT_BOUNDARY
from integration.cdk.account import ACCOUNT, NAMES, role_arn
from integration.cdk.iam import Request, allowed
from small.templates import REGION, Template

ADMINISTRATOR = {"Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]}
BOUNDARIES = {
    env: deployment_boundary(names, [other for other in NAMES.values() if other is not names])
    for env, names in NAMES.items()
}
WITHIN = {"iam:PermissionsBoundary": NAMES["dev"].boundary_arn}
POLICIES = f"arn:aws:iam::{ACCOUNT}:policy"


def may(env: str, action: str, resource: str, **context: str) -> bool:
    return allowed(Request(action, resource, context), [ADMINISTRATOR], boundary=BOUNDARIES[env])


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:PutBucketPolicy", "arn:aws:s3:::catalunya-data-{env}"),
        ("s3:DeleteObject", "arn:aws:s3:::catalunya-data-{env}/staging/x"),
        ("s3:PutObject", "arn:aws:s3:::cdk-cat{env}-assets-123456789012-eu-west-1/x"),
        ("lambda:UpdateFunctionCode", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:catalunya-extract-{{env}}"),
        ("sqs:SetQueueAttributes", f"arn:aws:sqs:{REGION}:{ACCOUNT}:catalunya-manifests-{{env}}"),
        ("sqs:DeleteQueue", f"arn:aws:sqs:{REGION}:{ACCOUNT}:catalunya-functions-{{env}}-dead"),
        ("glue:DeleteTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:table/catalunya_marts_{{env}}/dim_time"),
        ("athena:UpdateWorkGroup", f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/catalunya_{{env}}_readers"),
        ("iam:UpdateAssumeRolePolicy", role_arn("catalunya-{env}/catalunya-mart-role-{env}")),
        ("iam:PassRole", role_arn("catalunya-{env}/catalunya-lambda-extractor-role-{env}")),
        ("sts:AssumeRole", role_arn("cdk-cat{env}-deploy-role-123456789012-eu-west-1")),
        ("cloudformation:UpdateStack", f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/CatalunyaData-{{env}}/1"),
        ("logs:DeleteLogGroup", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/catalunya/airflow/{{env}}"),
    ],
)
def test_a_deployment_changes_its_own_environment_and_no_other(action: str, resource: str) -> None:
    for env, other in (("dev", "prod"), ("prod", "dev")):
        assert may(env, action, resource.format(env=env))
        assert not may(env, action, resource.format(env=other))


@pytest.mark.parametrize("env", ["dev", "prod"])
@pytest.mark.parametrize(
    "action", ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"]
)
def test_a_deployment_creates_roles_only_within_the_boundary(env: str, action: str) -> None:
    role = role_arn(f"catalunya-{env}/catalunya-new-role-{env}")
    assert may(env, action, role, **WITHIN)
    assert not may(env, action, role)
    assert not may(env, action, role, **{"iam:PermissionsBoundary": f"{POLICIES}/another"})
    assert not may(env, "iam:DeleteRolePermissionsBoundary", role, **WITHIN)


def test_a_deployment_cannot_change_its_own_boundary_or_other_identities() -> None:
    for env in NAMES:
        assert not may(env, "iam:CreatePolicyVersion", f"{POLICIES}/{DEPLOYMENT_BOUNDARY}-{env}")
        assert not may(env, "iam:UpdateRole", role_arn(f"cdk-cat{env}-cfn-exec-role-123456789012-eu-west-1"))
        assert not may(env, "iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/x")
        assert not may(env, "iam:CreateAccessKey", f"arn:aws:iam::{ACCOUNT}:user/x")
        assert may(env, "iam:UpdateRole", NAMES[env].role_arn("mart"))


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:CreatePolicyVersion", f"{POLICIES}/catalunya-boundary"),
        ("iam:CreatePolicyVersion", f"{POLICIES}/catalunya-data-engineer-role-prod-repair"),
        ("iam:UpdateAssumeRolePolicy", NAMES["dev"].role_arn("engineer")),
        (
            "iam:DeleteOpenIDConnectProvider",
            f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com",
        ),
        ("cloudformation:UpdateStack", f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/CatalunyaAccount/1"),
    ],
)
def test_only_prod_changes_what_the_account_has_once(action: str, resource: str) -> None:
    assert not may("dev", action, resource)
    assert may("prod", action, resource)


def test_every_role_of_the_templates_can_be_created(templates: dict[str, Template]) -> None:
    for stack, template in templates.items():
        env = "dev" if stack == "CatalunyaData-dev" else "prod"
        for role in template.of("AWS::IAM::Role").values():
            context = {"iam:PermissionsBoundary": role["PermissionsBoundary"]}
            for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"):
                assert may(env, action, role_arn(f"{role['Path'][1:]}{role['RoleName']}"), **context), role["RoleName"]


def test_the_command_prints_the_boundary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boundary", "dev", ACCOUNT, REGION]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == BOUNDARIES["dev"]
    assert len(printed) <= 6144
    assert main(["boundary", "local", ACCOUNT, REGION]) == 2
    assert "expected an environment (dev, prod)" in capsys.readouterr().err


@pytest.mark.parametrize("sid", ["DenyProd", "DenyRolesOutsideTheBoundary", "DenyItsOwnBoundary", "DenyTheAccount"])
def test_dropping_a_deny_lets_a_request_through(sid: str) -> None:
    request = {
        "DenyProd": Request("s3:DeleteBucket", "arn:aws:s3:::catalunya-data-prod"),
        "DenyRolesOutsideTheBoundary": Request("iam:CreateRole", role_arn("catalunya-dev/catalunya-new-role-dev")),
        "DenyItsOwnBoundary": Request("iam:CreatePolicyVersion", f"{POLICIES}/{DEPLOYMENT_BOUNDARY}-dev"),
        "DenyTheAccount": Request("iam:CreatePolicyVersion", f"{POLICIES}/catalunya-boundary"),
    }[sid]
    less = {"Statement": [each for each in BOUNDARIES["dev"]["Statement"] if each["Sid"] != sid]}
    assert not allowed(request, [ADMINISTRATOR], boundary=BOUNDARIES["dev"])
    assert allowed(request, [ADMINISTRATOR], boundary=less)
