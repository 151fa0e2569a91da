"""What a push to develop, or to main, can do at the most: the worst roles that each environment could have, against all that is not its own.

Whoever pushes decides what CloudFormation creates. So not the roles of our templates are evaluated here, but roles with administrator
permissions and any trust, within each boundary: one that a deployment creates, and the CDK's own roles. For every denied request, the same
on the environment's own is allowed; and each statement and condition of the boundaries is needed for that.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from catalunya.cdk.bootstrap import bootstrap_template, deployers, deployment_boundary
from catalunya.cdk.limits import account_boundary, boundary
from catalunya.cdk.naming import ACCOUNT as OF_ACCOUNT
from catalunya.cdk.naming import qualifiers
from catalunya.cdk.policy import Document
from catalunya.cdk.trust import Trusted, trust
from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError
from integration.cdk.account import ACCOUNT, NAMES, REGIONS
from integration.cdk.iam import Request, allowed, trusts
from integration.cdk.reach import DANGEROUS, HERE, IAM, OF_NO_ENVIRONMENT, handlers, of_owner, resources
from integration.cdk.test_trust import MFA
from small.templates import CONTEXT, Template

ADMINISTRATOR = {"Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]}
OTHER = {"dev": "prod", "prod": "dev"}
RUNNING = {env: boundary(names, REGIONS) for env, names in NAMES.items()}
DEPLOYING = {env: deployment_boundary(names, REGIONS) for env, names in NAMES.items()}
KINDS = {"a role that it creates": RUNNING, "its own roles": DEPLOYING}


def may(limit: Document, request: Request) -> bool:
    return allowed(request, [ADMINISTRATOR], boundary=limit)


@pytest.fixture(scope="module")
def requests(templates: dict[str, Template]) -> dict[str, list[Request]]:
    """What can be done to each environment, and to the account."""
    found = {owner: of_owner(templates, owner) for owner in (*NAMES, OF_ACCOUNT)}
    assert {request.resource.split(":")[2] for request in found["prod"]} >= {
        "s3",
        "iam",
        "sns",
        "cloudwatch",
        "rolesanywhere",
    }
    return found


def foreign(requests: Mapping[str, list[Request]], env: str) -> Iterator[Request]:
    """Requests on what is not the environment's own, also with its own names in the part that follows a foreign name."""
    yield from requests[OF_ACCOUNT]
    yield from (Request(action, "*") for action in OF_NO_ENVIRONMENT)
    yield from (
        Request(f"glue:{name}", f"arn:aws:glue:{HERE}:catalog")
        for name in ("PutResourcePolicy", "PutDataCatalogEncryptionSettings")
    )
    yield from (
        Request(f"kms:{name}", f"arn:aws:kms:{HERE}:key/0a")
        for name in ("Decrypt", "PutKeyPolicy", "ScheduleKeyDeletion")
    )
    yield from requests[OTHER[env]]
    for request in {each.resource: each for each in requests[OTHER[env]]}.values():
        for own in (f"/{NAMES[env].data_bucket}", f":{NAMES[env].alarm('x')}", f"/x-{env}"):
            yield Request(request.action, request.resource + own, request.context)


@pytest.mark.parametrize("env", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_worst_role_reaches_nothing_of_the_other_environment_or_of_the_account(
    requests: dict[str, list[Request]], kind: str, env: str
) -> None:
    reached = [request for request in foreign(requests, env) if may(KINDS[kind][env], request)]
    assert [f"{request.action} {request.resource}" for request in reached if request.action not in READABLE] == []


# These have no ARNs to name for lists, so they read all of an account: names, alarms and dashboards, but no data.
READABLE = {
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetDashboard",
    "cloudwatch:ListDashboards",
    "cloudwatch:ListTagsForResource",
}
READABLE |= {
    "iam:ListRoles",
    "rolesanywhere:ListProfiles",
    "rolesanywhere:ListTagsForResource",
    "athena:ListWorkGroups",
    "lambda:ListFunctions",
}
READABLE |= {
    "logs:DescribeLogGroups",
    "logs:DescribeIndexPolicies",
    "logs:DescribeResourcePolicies",
    "s3:ListAllMyBuckets",
    "sns:ListTopics",
    "sns:ListSubscriptions",
    "sqs:ListQueues",
}
# What handlers call for features that the templates do not use, and what no deployment may do: each would be a way out.
UNUSED = {
    *("iam:AttachRolePolicy", "iam:DetachRolePolicy"),  # roles have inline policies only
    *("iam:DeleteRolePermissionsBoundary", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:CreatePolicyVersion"),
    *("iam:SetDefaultPolicyVersion", "iam:DeleteOpenIDConnectProvider", "iam:AddClientIDToOpenIDConnectProvider"),
    "iam:UpdateOpenIDConnectProviderThumbprint",
    "sns:Unsubscribe",  # IAM cannot tell subscriptions apart; docs/infrastructure.md says what to do
    *("logs:PutResourcePolicy", "logs:DeleteResourcePolicy", "logs:CreateLogDelivery"),
}


# Services that handlers call for features that the templates do not use: VPCs, file systems, S3's metadata tables, delivery of logs, own keys.
UNUSED_SERVICES = {"ec2", "elasticfilesystem", "s3files", "s3tables", "firehose", "kms"}
UNUSED |= {
    *("iam:GetPolicy", "iam:CreateServiceLinkedRole"),  # for managed policies of profiles, and Identity Center in Athena
    *("glue:CreateConnection", "glue:GetConnection", "glue:UpdateConnection", "glue:DeleteConnection", "glue:PassConnection"),
    *("lambda:PassCapacityProvider", "lambda:AssociateRuntimeAlias", "lambda:GetCodeSigningConfig"),
    "s3:REST.PUT.OBJECT",
}  # fmt: skip


@pytest.mark.parametrize("env", NAMES)
def test_a_deployment_may_do_all_that_its_templates_need(templates: dict[str, Template], env: str) -> None:
    """Every action of CloudFormation's handlers for every resource of the environment's templates, on the resource itself; an action of
    another service on something of the environment, or on everything if it names nothing."""
    names, missing = NAMES[env], set()
    found = [each for stack in (names.stack, names.replica_stack) for each in resources(templates[stack])]
    everything = {arn: keys for _, places, keys in found for arn in places}
    for kind, places, keys in found:
        for action in handlers(kind) - UNUSED if kind.startswith("AWS::") else {"lambda:InvokeFunction"}:
            service = action.partition(":")[0]
            on_it = {arn: keys for arn in places if arn.split(":")[2] == service}
            on_others = {arn: others for arn, others in everything.items() if arn.split(":")[2] == service}
            where = {**(on_it or on_others), "*": {}}
            if service not in UNUSED_SERVICES and not any(
                may(DEPLOYING[env], Request(action, arn, context)) for arn, context in where.items()
            ):
                missing.add(f"{action} {next(iter(where))} for {kind}")
    assert missing == set()


@pytest.mark.parametrize("env", NAMES)
def test_both_kinds_of_roles_do_to_their_own_environment_what_they_may_not_do_to_the_other(
    requests: dict[str, list[Request]], env: str
) -> None:
    own = requests[env]
    refused = {request.action for request in own if not may(DEPLOYING[env], request)}
    done = {request.action for request in own if may(DEPLOYING[env], request)}
    assert {
        action
        for service in ("s3", "lambda", "sqs", "glue", "cloudwatch")
        for name in DANGEROUS[service]
        for action in [f"{service}:{name}"]
    } <= done
    assert {
        "iam:PutRolePolicy",
        "iam:UpdateAssumeRolePolicy",
        "iam:PassRole",
        "rolesanywhere:UpdateProfile",
        "sts:AssumeRole",
    } <= done
    assert {"iam:AttachRolePolicy", "iam:DeleteRolePermissionsBoundary"} <= refused
    within = {request.action for request in own if may(RUNNING[env], request)}
    assert {
        "s3:GetObject",
        "lambda:InvokeFunction",
        "glue:UpdateTable",
        "athena:StartQueryExecution",
        "logs:GetLogEvents",
    } <= within


@pytest.mark.parametrize("env", NAMES)
def test_a_deployment_creates_roles_only_below_its_path_and_within_its_boundary(env: str) -> None:
    limit, names = DEPLOYING[env], NAMES[env]
    role, own = f"{IAM}:role/catalunya-{env}/new", names.boundary_arn("mart")
    others = (
        NAMES[OTHER[env]].boundary_arn("mart"),
        names.boundary_arn("engineer"),
        names.boundary_arn("deployment"),
        f"{IAM}:policy/any",
    )
    for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"):
        assert may(limit, Request(action, role, {"iam:PermissionsBoundary": own}))
        assert not may(limit, Request(action, role))
        for other in others:
            assert not may(limit, Request(action, role, {"iam:PermissionsBoundary": other}))
        for path in (
            f"catalunya-{OTHER[env]}/",
            "catalunya-account/",
            "",
            f"aws-reserved/sso.amazonaws.com/catalunya-{env}/",
        ):
            assert not may(limit, Request(action, f"{IAM}:role/{path}new", {"iam:PermissionsBoundary": own}))


# Ways from role to role.


def deployed(env: str) -> dict[str, tuple[Document, Document]]:
    """Each role that there could be in the account, by ARN: its trust, and its boundary."""
    trusted = Trusted.read(CONTEXT)
    found = {
        NAMES["dev"].role_arn("engineer"): (
            trust("engineer", NAMES["dev"], trusted),
            account_boundary(NAMES.values(), REGIONS),
        ),
    }
    for each, names in NAMES.items():
        anyone = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["*"]}]}
        # Its own environment may let it be assumed by anyone; the other one is as declared.
        found[f"{IAM}:role/catalunya-{each}/worst"] = (anyone, RUNNING[each])
        found |= {
            names.role_arn(role): (trust(role, names, trusted), RUNNING[each])
            for role in ("mart", "orchestrator", "extractor", "monitoring")
        }
        found[names.role_arn("deployment")] = (trust("deployment", names, trusted), DEPLOYING[each])
    for of in (*NAMES, OF_ACCOUNT):
        for kind, document in bootstrap_trusts(of).items():
            limit = DEPLOYING.get(of, ADMINISTRATOR)
            found[f"{IAM}:role/cdk-{qualifiers()[of]}-{kind}-role-{ACCOUNT}-eu-west-1"] = (document, limit)
    return found


def reachable(start: str) -> set[str]:
    """The roles that can be assumed or passed, from one to the next, if each has administrator permissions within its boundary."""
    roles = deployed(start)
    found, waiting = {start}, [start]
    while waiting:
        principal = waiting.pop()
        limit = roles[principal][1]
        for arn, (document, _) in roles.items():
            assumes = Request("sts:AssumeRole", arn, {"aws:RequestTag/run": "r", "aws:TagKeys": ["run"]}, principal)
            passes = Request("iam:PassRole", arn, {"iam:PassedToService": "cloudformation.amazonaws.com"}, principal)
            if (may(limit, assumes) and trusts(document, assumes)) or may(limit, passes):
                waiting += [arn] if arn not in found else []
                found.add(arn)
    return found


STANDARD: dict[str, Any] = {
    "Parameters": {
        "Qualifier": {"Default": "hnb659fds"},
        "BootstrapVariant": {"Default": "AWS CDK: Default Resources"},
    },
    "Resources": {
        kind: {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {
                    "Statement": [
                        {
                            "Action": "sts:AssumeRole",
                            "Effect": "Allow",
                            "Principal": {"Service": "cloudformation.amazonaws.com"},
                        }
                    ]
                    if kind == "cfn-exec"
                    else [
                        {
                            "Action": "sts:AssumeRole",
                            "Effect": "Allow",
                            "Principal": {"AWS": {"Ref": "AWS::AccountId"}},
                            "Condition": {
                                "Fn::If": [
                                    "ShouldDenyExternalId",
                                    {"Null": {"sts:ExternalId": "true"}},
                                    {"Ref": "AWS::NoValue"},
                                ]
                            },
                        },
                        {
                            "Action": "sts:TagSession",
                            "Effect": "Allow",
                            "Principal": {"AWS": {"Ref": "AWS::AccountId"}},
                        },
                        {
                            "Fn::If": [
                                "HasTrustedAccounts",
                                {"Principal": {"AWS": {"Ref": "TrustedAccounts"}}},
                                {"Ref": "AWS::NoValue"},
                            ]
                        },
                    ]
                }
            },
        }
        for kind in ("deploy", "file-publishing", "image-publishing", "lookup", "cfn-exec")
    },
}
"""The roles of the CDK's own template, shortened; tests/e2e has the template itself."""


def bootstrap_trusts(of: str, standard: Mapping[str, Any] = STANDARD) -> dict[str, Document]:
    """The trust of each role of a bootstrap, as deployed."""
    template = Template(of, bootstrap_template(standard, of))
    found = {}
    for kind, role in template.of("AWS::IAM::Role").items():
        document = copy.deepcopy(role["AssumeRolePolicyDocument"])
        for statement in document["Statement"]:
            if "AWS" in statement["Principal"]:
                statement["Principal"] = {"AWS": f"{IAM}:root"}
        found[kind] = document
    return found


@pytest.mark.parametrize("env", NAMES)
def test_no_way_from_role_to_role_leaves_an_environment(env: str) -> None:
    names = NAMES[env]
    starts = [f"{IAM}:role/catalunya-{env}/worst", names.role_arn("deployment")]
    starts += [
        f"{IAM}:role/cdk-{qualifiers()[env]}-{kind}-role-{ACCOUNT}-eu-west-1"
        for kind in ("deploy", "lookup", "cfn-exec")
    ]
    for start in starts:
        left = {
            arn
            for arn in reachable(start)
            if f"/catalunya-{env}/" not in arn and f"/cdk-{qualifiers()[env]}-" not in arn
        }
        assert left <= {names.role_arn("deployment")}, start
    # The way that a deployment takes.
    assert {*starts} - {names.role_arn("deployment")} <= reachable(names.role_arn("deployment"))


def test_engineers_deploy_dev_and_only_people_deploy_the_account() -> None:
    engineer = reachable(NAMES["dev"].role_arn("engineer"))
    assert f"{IAM}:role/cdk-catdev-deploy-role-{ACCOUNT}-eu-west-1" in engineer
    assert not [arn for arn in engineer if "catprod" in arn or "catacct" in arn or "/catalunya-prod/" in arn]
    assert not [arn for arns, _ in deployers(OF_ACCOUNT, NAMES["dev"]) for arn in arns if "catalunya" in arn]


MARIA = f"{IAM}:user/maria"
ADMINISTRATORS = f"{IAM}:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_1"


@pytest.mark.parametrize("of", [*NAMES, OF_ACCOUNT])
def test_a_bootstrap_trusts_users_by_mfa_of_the_last_hour_and_those_of_identity_center(of: str) -> None:
    for kind, document in bootstrap_trusts(of).items():
        for action in ("sts:AssumeRole", "sts:TagSession") if kind != "cfn-exec" else ():

            def lets(principal: str, *, action: str = action, document: Document = document, **context: str) -> bool:
                return trusts(document, Request(action, context=context, principal=principal))

            assert lets(ADMINISTRATORS)
            assert lets(MARIA, **MFA)
            assert not lets(MARIA)  # a leaked access key
            assert not lets(MARIA, **MFA | {"aws:MultiFactorAuthAge": "3600"})
            assert not lets(MARIA, **MFA | {"aws:MultiFactorAuthPresent": "false"})
            assert not lets(f"{IAM}:role/another", **MFA)
            if action == "sts:AssumeRole":
                assert not lets(MARIA, **MFA, **{"sts:ExternalId": "x"})


def test_trust_policies_of_the_bootstraps_are_within_the_size_limit_of_iam() -> None:
    for of in (*NAMES, OF_ACCOUNT):
        for document in bootstrap_trusts(of).values():
            assert len(json.dumps(document, separators=(",", ":"))) <= 2048


def test_a_bootstrap_template_that_trusts_otherwise_is_refused() -> None:
    changed = copy.deepcopy(STANDARD)
    changed["Resources"]["deploy"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][1]["Principal"] = {"AWS": "*"}
    with pytest.raises(ConfigurationError, match="expected deploy to trust the account"):
        bootstrap_template(changed, "dev")
    for of in (*NAMES, OF_ACCOUNT):
        found = bootstrap_template(STANDARD, of)
        limits = {str(role["Properties"].get("PermissionsBoundary")) for role in found["Resources"].values()}
        assert len(limits) == 1
        assert ("None" in limits) is (of == OF_ACCOUNT)
        assert found["Parameters"]["Qualifier"]["Default"] == qualifiers()[of]


@pytest.mark.parametrize("env", NAMES)
@pytest.mark.parametrize("source", [None, ["aws.s3"], ["aws.health", "aws.s3"], ["aws.HEALTH"]])
def test_a_rule_sees_no_events_but_those_of_aws_health(env: str, source: list[str] | None) -> None:
    """Without a source, or with another one, it would see what happens in the other environment."""
    rule = RULE.replace("dev", env)
    assert may(DEPLOYING[env], Request("events:PutRule", rule, {"events:source": ["aws.health"]}))
    assert may(DEPLOYING[env], Request("events:PutTargets", rule))
    assert not may(DEPLOYING[env], Request("events:PutRule", rule, {"events:source": source} if source else {}))


def test_a_deployment_uses_the_key_of_the_lake_only_through_s3_and_cannot_change_it() -> None:
    settings = load_settings(env="dev", lake_encryption="aws:kms", lake_kms_key_id="0b")
    limit = deployment_boundary(replace(NAMES["dev"], settings=settings), REGIONS)
    key, through = f"arn:aws:kms:{HERE}:key/0b", {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}
    assert may(limit, Request("kms:GenerateDataKey", key, through))
    assert not may(limit, Request("kms:GenerateDataKey", key))
    assert not may(limit, Request("kms:GenerateDataKey", f"{key}0", through))
    for action in ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:CreateGrant"):
        assert not may(limit, Request(action, key, through))


# Mutations of the boundaries.


@pytest.mark.parametrize("sid", [each["Sid"] for each in DEPLOYING["dev"]["Statement"]])
def test_every_statement_about_deployments_is_needed_and_no_wider_than_dev(
    requests: dict[str, list[Request]], sid: str
) -> None:
    """Without the statement a deployment fails; with `*` for its resources, or without its condition, it reaches further."""
    (statement,) = [each for each in DEPLOYING["dev"]["Statement"] if each["Sid"] == sid]
    less = {"Statement": [each for each in DEPLOYING["dev"]["Statement"] if each["Sid"] != sid]}
    alone, whole = {"Statement": [statement]}, DEPLOYING["dev"]
    assert any(may(alone, request) and not may(less, request) for request in (*EXTRA, *requests["dev"])), "not needed"
    wider = [{**statement, "Resource": ["*"]}] if statement["Resource"] != ["*"] else []
    if "Condition" in statement:
        wider.append({key: value for key, value in statement.items() if key != "Condition"})
    for mutation in wider:
        reached = (request for request in (*BEYOND, *requests["prod"]) if may({"Statement": [mutation]}, request))
        assert any(not may(whole, request) for request in reached), mutation


KEY = f"arn:aws:kms:{HERE}:key/0a"
S3_KEY = {"kms:ViaService": "s3.eu-west-1.amazonaws.com", "kms:ResourceAliases": ["alias/aws/s3"]}
EXEC = f"{IAM}:role/cdk-catdev-cfn-exec-role-{ACCOUNT}-eu-west-1"
PROFILE = f"arn:aws:rolesanywhere:{HERE}:profile/0a1b"
RULE = f"arn:aws:events:{HERE}:rule/catalunya-dev-x"
# Requests of a deployment that belong to no resource of the templates, and the same beyond what it may.
EXTRA = [
    Request("kms:Decrypt", KEY, S3_KEY),
    Request("glue:CreateTable", f"arn:aws:glue:{HERE}:catalog"),
    Request("ssm:GetParameters", f"arn:aws:ssm:{HERE}:parameter/cdk-bootstrap/catdev/version"),
    Request("iam:PassRole", EXEC, {"iam:PassedToService": "cloudformation.amazonaws.com"}),
    Request("rolesanywhere:CreateProfile", "*", {"aws:RequestTag/environment": "dev"}),
    Request("rolesanywhere:TagResource", PROFILE, {"aws:RequestTag/environment": "dev"}),
    Request("sqs:ListQueues"),
]
BEYOND = [
    Request("kms:Decrypt", KEY, {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}),
    Request("kms:Decrypt", "arn:aws:kms:eu-west-1:210987654321:key/0a", S3_KEY),
    Request("glue:CreateTable", f"arn:aws:glue:{HERE}:database/sales"),
    Request("ssm:GetParameters", f"arn:aws:ssm:{HERE}:parameter/payroll"),
    Request("iam:PassRole", EXEC, {"iam:PassedToService": "lambda.amazonaws.com"}),
    Request("iam:PassRole", f"{IAM}:role/another", {"iam:PassedToService": "cloudformation.amazonaws.com"}),
    Request("iam:CreateRole", f"{IAM}:role/catalunya-dev/x"),
    Request("iam:CreateRole", f"{IAM}:role/x", {"iam:PermissionsBoundary": NAMES["dev"].boundary_arn("mart")}),
    Request("rolesanywhere:CreateProfile", "*", {"aws:RequestTag/environment": "prod"}),
    Request("rolesanywhere:TagResource", PROFILE, {"aws:RequestTag/environment": "dev", "aws:ResourceTag/environment": "prod"}),
    Request("rolesanywhere:TagResource", PROFILE.replace("profile", "crl"), {"aws:RequestTag/environment": "dev"}),
    Request("rolesanywhere:DeleteProfile", PROFILE.replace("profile", "crl"), {"aws:ResourceTag/environment": "dev"}),
    *(Request("events:PutRule", RULE, keys) for keys in ({}, {"events:source": ["aws.health", "aws.s3"]})),
    Request("events:PutRule", RULE.replace("dev", "prod"), {"events:source": ["aws.health"]}),
]  # fmt: skip


@pytest.mark.parametrize(
    "sid",
    [each["Sid"] for each in RUNNING["dev"]["Statement"] if each["Effect"] == "Allow" and each["Resource"] != ["*"]],
)
def test_every_resource_of_the_boundary_of_roles_is_of_its_environment(
    requests: dict[str, list[Request]], sid: str
) -> None:
    for statement in RUNNING["dev"]["Statement"]:
        if statement["Sid"] == sid:
            wider = {
                "Statement": [{**statement, "Resource": [arn.replace("dev", "*") for arn in statement["Resource"]]}]
            }
            assert any(may(wider, request) for request in requests["prod"] if request.action not in READABLE)
            assert not any(may({"Statement": [statement]}, request) for request in requests["prod"])
