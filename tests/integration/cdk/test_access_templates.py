"""The templates deploy exactly what the tables define: each role's policy, trust and boundary, the bucket policies, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from catalunya.cdk.access import ROLES, engineer_policies, policy
from catalunya.cdk.bootstrap import deployment_boundary
from catalunya.cdk.limits import account_boundary, boundary, bucket_policy
from catalunya.cdk.naming import ACCOUNT_ROLES, CLOUDFORMATION, Names
from catalunya.cdk.trust import GITHUB, Trusted, trust
from small.templates import ACCOUNT, CONTEXT, REGION, REPLICA_REGION, Template

TRUSTED = Trusted.read(CONTEXT)
OF_AN_ENVIRONMENT = [role for role in ROLES if role not in ACCOUNT_ROLES]
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


def test_the_account_has_the_boundaries_those_who_deploy_and_one_provider(templates: dict[str, Template]) -> None:
    account = templates["CatalunyaAccount"]
    regions = [REGION, REPLICA_REGION]
    wanted = {NAMES["dev"].boundary("engineer"): account_boundary(NAMES.values(), regions)}
    for names in NAMES.values():
        wanted |= {
            names.boundary("extractor"): boundary(names, regions),
            names.boundary(CLOUDFORMATION): deployment_boundary(names, regions),
        }
        role = account.named("AWS::IAM::Role", names.role("deployment"))
        assert [each["PolicyDocument"] for each in role["Policies"]] == [policy("deployment", names)]
        assert role["AssumeRolePolicyDocument"] == trust("deployment", names, TRUSTED)
    engineer = account.named("AWS::IAM::Role", NAMES["dev"].role("engineer"))
    assert engineer["AssumeRolePolicyDocument"] == trust("engineer", NAMES["dev"], TRUSTED)
    policies = account.of("AWS::IAM::ManagedPolicy").values()
    assert {each["ManagedPolicyName"]: each["PolicyDocument"] for each in policies if not each.get("Roles")} == wanted
    assert [each["PolicyDocument"] for each in policies if each.get("Roles")] == [
        document for names in NAMES.values() for document in engineer_policies(names).values()
    ]
    everything = [*account.of("AWS::IAM::Role").values(), *policies]
    assert {each["Path"] for each in everything} == {NAMES["dev"].role_path("engineer")}
    (provider,) = account.of("AWS::IAM::OIDCProvider").values()
    assert provider == {"Url": f"https://{GITHUB}", "ClientIdList": ["sts.amazonaws.com"], **tags(provider)}
    # Naming it in `oidc_provider` takes it from the template, not from the account.
    (deployed,) = [each for each in account.content["Resources"].values() if each["Type"] == "AWS::IAM::OIDCProvider"]
    assert deployed["DeletionPolicy"] == "RetainExceptOnCreate"


def tags(resource: dict[str, Any]) -> dict[str, Any]:
    return {"Tags": resource["Tags"]} if "Tags" in resource else {}


def test_every_role_has_its_boundary_and_there_are_no_other_roles_or_policies(templates: dict[str, Template]) -> None:
    known = {names.role(role): names.boundary_arn(role) for role in ROLES for names in NAMES.values()}
    found = {}
    for stack, template in templates.items():
        for kind in (
            "Policy",
            "User",
            "Group",
            "InstanceProfile",
            *(() if stack == "CatalunyaAccount" else ("ManagedPolicy",)),
        ):
            assert not template.of(f"AWS::IAM::{kind}"), stack
        for role in template.of("AWS::IAM::Role").values():
            found[role["RoleName"]] = role["PermissionsBoundary"]
            assert not role.get("ManagedPolicyArns"), role["RoleName"]
            assert role.get("MaxSessionDuration", 3600) == 3600, role["RoleName"]  # MFA is at most an hour old
    assert found == {name: arn for name, arn in known.items() if name != NAMES["dev"].role("replication")}


def test_every_bucket_has_its_policy(templates: dict[str, Template]) -> None:
    for stack, template in templates.items():
        names = NAMES["prod" if "prod" in stack else "dev"]
        policies = [each["PolicyDocument"]["Statement"] for each in template.of("AWS::S3::BucketPolicy").values()]
        buckets = [each["BucketName"] for each in template.of("AWS::S3::Bucket").values()]
        assert [*sorted(map(str, policies))] == [*sorted(str(bucket_policy(names, bucket)) for bucket in buckets)], (
            stack
        )
