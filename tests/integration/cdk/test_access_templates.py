"""The templates deploy exactly what the tables define: each role's policy, trust and boundary, the bucket policies, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from catalunya.cdk.access import ROLES, engineer_policies, policy
from catalunya.cdk.limits import boundary, bucket_policy
from catalunya.cdk.naming import BOUNDARY, Names
from catalunya.cdk.trust import GITHUB, Trusted, trust
from small.templates import ACCOUNT, CONTEXT, REGION, REPLICA_REGION, Template

TRUSTED = Trusted.read(CONTEXT)
OF_AN_ENVIRONMENT = [role for role in ROLES if role != "engineer"]
PLACE = {"partition": "aws", "account": ACCOUNT}
NAMES = {env: Names.of(env, region=REGION, **PLACE) for env in ("dev", "prod")}


@pytest.mark.parametrize("role", OF_AN_ENVIRONMENT)
def test_a_role_is_deployed_as_the_table_defines(template: Template, env: str, role: str) -> None:
    names = NAMES[env]
    if role == "replication" and env == "dev":
        assert not list(replicated(template))
        return
    found = template.named("AWS::IAM::Role", names.role(role))
    assert found["Path"] == names.role_path(role)
    assert [each["PolicyDocument"] for each in found["Policies"]] == [policy(role, names)]
    assert found["AssumeRolePolicyDocument"] == trust(role, names, TRUSTED)


def replicated(template: Template) -> Iterator[Any]:
    return (each for each in template.of("AWS::S3::Bucket").values() if "ReplicationConfiguration" in each)


def test_the_account_has_the_boundary_the_engineers_role_and_one_provider(templates: dict[str, Template]) -> None:
    account = templates["CatalunyaAccount"]
    bound_policy = account.named("AWS::IAM::ManagedPolicy", BOUNDARY)
    assert bound_policy["PolicyDocument"] == boundary(NAMES.values(), [REGION, REPLICA_REGION])
    (role,) = account.of("AWS::IAM::Role").values()
    assert role["RoleName"] == NAMES["dev"].role("engineer")
    assert role["AssumeRolePolicyDocument"] == trust("engineer", NAMES["dev"], TRUSTED)
    managed = [
        each
        for each in account.of("AWS::IAM::ManagedPolicy").values()
        if each is not bound_policy and each.get("Roles")
    ]
    wanted = [document for names in NAMES.values() for document in engineer_policies(names).values()]
    assert [each["PolicyDocument"] for each in managed] == wanted
    (provider,) = account.of("AWS::IAM::OIDCProvider").values()
    assert provider == {"Url": f"https://{GITHUB}", "ClientIdList": ["sts.amazonaws.com"], **tags(provider)}


def tags(resource: dict[str, Any]) -> dict[str, Any]:
    return {"Tags": resource["Tags"]} if "Tags" in resource else {}


def test_every_role_has_the_boundary_and_there_are_no_other_roles_or_policies(templates: dict[str, Template]) -> None:
    for stack, template in templates.items():
        assert not template.of("AWS::IAM::Policy"), stack
        assert not template.of("AWS::IAM::User"), stack
        for role in template.of("AWS::IAM::Role").values():
            assert role["PermissionsBoundary"] == NAMES["dev"].boundary_arn, role["RoleName"]
            assert not role.get("ManagedPolicyArns"), role["RoleName"]
            assert role.get("MaxSessionDuration", 3600) == 3600, role["RoleName"]  # MFA is at most an hour old
    known = {names.role(role) for role in OF_AN_ENVIRONMENT for names in NAMES.values()} | {
        NAMES["dev"].role("engineer")
    }
    found = {role["RoleName"] for template in templates.values() for role in template.of("AWS::IAM::Role").values()}
    assert known - found == {NAMES["dev"].role("replication")}
    assert found <= known


def test_every_bucket_has_its_policy(templates: dict[str, Template]) -> None:
    for stack, template in templates.items():
        names = NAMES["prod" if "prod" in stack else "dev"]
        policies = [each["PolicyDocument"]["Statement"] for each in template.of("AWS::S3::BucketPolicy").values()]
        buckets = [each["BucketName"] for each in template.of("AWS::S3::Bucket").values()]
        assert [*sorted(map(str, policies))] == [*sorted(str(bucket_policy(names, bucket)) for bucket in buckets)], (
            stack
        )
