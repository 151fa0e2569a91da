"""The CDK's own roles of each environment: how far they reach, and who may assume them.

`cdk bootstrap` makes roles that deploy, publish files and look up, and one that CloudFormation works with, which it gives administrator
permissions; they trust every identity of the account that IAM permits. Here both are narrowed: the boundary names what an environment
consists of, and the template trusts only who deploys it. A pushed template can therefore do no more than change its own environment,
whatever roles it creates. Not here: the boundary of the roles that a deployment creates (`limits.py`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from catalunya.cdk.deployment import PROFILES
from catalunya.cdk.limits import account_boundary, boundary
from catalunya.cdk.naming import ACCOUNT, CLOUDFORMATION, ENGINEERS_DEPLOY, HEALTH, Names, qualifiers
from catalunya.cdk.policy import PLACES, Document, allow, document
from catalunya.cdk.trust import BY_MFA
from catalunya.io.errors import ConfigurationError
from catalunya.io.project_folder import FILE

LARGEST_POLICY = 6144  # characters of a managed policy, without white space (IAM and AWS STS quotas)
VARIANT = "Catalunya"
"""Marks the template, so that the CDK's command refuses to overwrite such a bootstrap with its own template."""


def deployment_boundary(names: Names, regions: Iterable[str]) -> Document:
    """The most that a deployment of an environment can do, in these regions, whatever its template says.

    All that is allowed is named: by the environment's names, its IAM path, or its tag. So a resource of a kind that is not here fails to
    deploy, rather than being a way to another environment. Roles must have the boundary of the environment's roles from the start, and
    nothing may take it from them; managed policies, users, providers and trust anchors cannot be created at all.
    """
    roles = [names.iam_arn(f"role{names.role_path('')}*")]
    mine = {"aws:ResourceTag/environment": names.env}
    create = {"aws:RequestTag/environment": names.env}
    where, keys = list(regions), PLACES["key"](names)
    through_s3 = {"kms:ViaService": [f"s3.{region}.amazonaws.com" for region in where]}
    rules = [names.anywhere("events", f"rule/{names.alarm('*')}")]
    profiles = [names.anywhere("rolesanywhere", "profile/*")]
    statements = [
        allow("Ours", ["*"], _resources(names)),
        # Everything in Glue is in the catalog, which both environments share: its own policy and settings are left out.
        allow(
            "InTheCatalog",
            [f"glue:*{kind}*" for kind in ("Database", "Table", "Partition", "UserDefinedFunction")],
            [names.anywhere("glue", "catalog")],
        ),
        allow(
            "Bootstrap",
            ["ssm:GetParameter*"],
            [names.anywhere("ssm", f"parameter/cdk-bootstrap/{qualifiers()[names.env]}/*")],
        ),
        allow(
            "RolesWithinTheirBoundary",
            ("iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy", "iam:DeleteRolePolicy"),
            roles,
            {"StringEquals": {"iam:PermissionsBoundary": names.boundary_arn("extractor")}},
        ),
        # A role below this path has the boundary, or could not have been created.
        allow(
            "Roles",
            (
                *("iam:GetRole*", "iam:ListRole*", "iam:ListAttachedRolePolicies", "iam:PassRole", "iam:DeleteRole"),
                *("iam:UpdateRole*", "iam:UpdateAssumeRolePolicy", "iam:TagRole", "iam:UntagRole"),
            ),
            roles,
        ),
        allow(
            "PassToCloudFormation",
            ["iam:PassRole"],
            [names.cdk_role_arn("cfn-exec-role")],
            {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}},
        ),
        allow("AssumeBootstrap", ("sts:AssumeRole", "sts:TagSession"), PLACES["CDK's roles"](names)),
        # A profile of IAM Roles Anywhere has an id instead of a name, so its tag says whose it is. It gets the tag when it is created.
        allow("CreateProfile", ["rolesanywhere:CreateProfile"], ["*"], {"StringEquals": create}),
        allow(
            "TagProfile",
            ["rolesanywhere:TagResource"],
            profiles,
            {"StringEquals": create, "StringEqualsIfExists": mine},
        ),
        allow(
            "Profile",
            [f"rolesanywhere:{verb}" for verb in ("*Profile", "*AttributeMapping", "TagResource", "UntagResource")],
            profiles,
            {"StringEquals": mine},
        ),
        # A rule sees the events of the whole account, of both environments: so only those of AWS Health, which our rule is for.
        allow(
            "CreateRule",
            ["events:PutRule"],
            rules,
            {"ForAllValues:StringEquals": {"events:source": [HEALTH]}, "Null": {"events:source": "false"}},
        ),
        allow(
            "Rule",
            [f"events:{verb}" for verb in ("DescribeRule", "DeleteRule", "List*", "*Targets", "*Resource")],
            rules,
        ),
        allow(
            "KeyOfS3",
            ("kms:Decrypt", "kms:Encrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"),
            [names.anywhere("kms", "key/*")],
            {"StringEquals": through_s3, "ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/aws/s3"}},
        ),
        # The lake's own key is used by a deployment, and belongs to the person who made it.
        *(
            [allow("KeyOfTheLake", ("kms:Decrypt", "kms:GenerateDataKey"), keys, {"StringEquals": through_s3})]
            if keys
            else []
        ),
        # These have no ARNs. They show names and settings, and change nothing.
        allow(
            "Lists",
            (
                *(
                    "athena:ListWorkGroups",
                    "billing:GetBillingViewData",
                    "cloudwatch:DescribeAlarms",
                    "cloudwatch:ListDashboards",
                ),
                *("iam:ListRoles", "lambda:ListFunctions", "rolesanywhere:List*"),
                *(f"lakeformation:{verb}" for verb in ("ListResources", "Describe*")),
                *(f"logs:Describe{what}" for what in ("LogGroups", "IndexPolicies", "ResourcePolicies")),
                *("s3:ListAllMyBuckets", "sns:ListSubscriptions", "sns:ListTopics", "sqs:ListQueues"),
            ),
            ["*"],
        ),
    ]
    return document(statements)


def check_sizes(environments: Sequence[Names], regions: Iterable[str]) -> None:
    """Raise ConfigurationError for a boundary that IAM would refuse: they contain the names of the project and of its buckets."""
    where, account = list(regions), "0" * 12
    plain = [replace(names, partition="aws", account=account, region=max(where, key=len)) for names in environments]
    boundaries = {names.boundary(CLOUDFORMATION): deployment_boundary(names, where) for names in plain}
    boundaries |= {names.boundary("extractor"): boundary(names, where) for names in plain}
    boundaries[plain[0].boundary("engineer")] = account_boundary(plain, where)
    for name, found in boundaries.items():
        size = len(json.dumps(found, separators=(",", ":")))
        if size > LARGEST_POLICY:
            raise ConfigurationError(
                f"{name}: expected at most {LARGEST_POLICY} characters (IAM's quota for a managed policy), found {size}; choose a shorter "
                f"CATALUNYA_BUCKET_PREFIX, or a shorter name in {FILE}"
            )


def _resources(names: Names) -> Iterator[str]:
    """What an environment consists of, in any region and at both sites.

    No `*` stands before the environment's own name: it would match what another environment has with this one's name in it, such as an
    object of its lake. A `*` after it is for objects, streams, versions, subscriptions, and the other site.
    """
    buckets = dict.fromkeys(bucket for site in names.sites for bucket in site.buckets)
    ours = tuple(bucket for bucket in buckets if bucket.endswith(f"-{names.env}"))
    assets = f"{names.bootstrap}-assets-{names.account}-"
    yield from (names.bucket_arn(f"{bucket}*") for bucket in (*ours, assets))
    for bucket in buckets:
        if not bucket.startswith(ours):  # it has a name from the settings
            yield from (names.bucket_arn(bucket), names.bucket_arn(f"{bucket}/*"))
    for function in (*(name for _, name in names.functions()), names.tables_function):
        yield names.anywhere("lambda", f"function:{function}*")
    yield from (names.anywhere("sqs", queue) for queue in names.queues)
    yield names.anywhere("sns", f"{names.topic}*")
    for group in names.log_groups:
        yield names.anywhere("logs", f"log-group:{group}*")
    for database in names.databases.values():
        kinds = (f"database/{database}", f"table/{database}/*", f"userDefinedFunction/{database}/*")
        yield from (names.anywhere("glue", kind) for kind in kinds)
    yield from (
        names.anywhere("athena", f"workgroup/{group}") for group in (names.work_group, names.readers_work_group)
    )
    own = names.alarm("*")
    yield names.anywhere("cloudwatch", f"alarm:{own}")
    yield f"arn:{names.partition}:cloudwatch::{names.account}:dashboard/{own}"
    yield f"arn:{names.partition}:budgets::{names.account}:budget/{own}"
    yield names.anywhere("secretsmanager", f"secret:{names.secret('*')}")
    yield from (names.anywhere("cloudformation", f"stack/{stack}/*") for stack in (names.stack, names.replica_stack))
    yield names.anywhere("ecr", f"repository/{names.bootstrap}-container-assets-{names.account}-*")


def deployers(of: str, names: Names) -> list[tuple[list[str], Mapping[str, Any]]]:
    """Who may use a bootstrap: an environment's, or the account's (`account`, with any environment's names). ARN patterns, and a condition.

    People with the permission to assume roles deploy everything. Their identities are IAM users, by MFA, and roles that only Identity
    Center can create (IAM User Guide, Referencing permission sets), which has MFA of its own. A workflow, and engineers, deploy
    environments, and never what limits them.
    """
    workflow = [] if of == ACCOUNT else [names.role_arn("deployment")]
    engineers = [names.role_arn("engineer")] if of in ENGINEERS_DEPLOY else []
    by_identity_center = names.iam_arn("role/aws-reserved/sso.amazonaws.com/*")
    return [([*workflow, *engineers, by_identity_center], {}), ([names.iam_arn("user/*")], BY_MFA)]


def bootstrap_template(standard: Mapping[str, Any], of: str) -> dict[str, Any]:
    """The template of a bootstrap (of an environment, or `account`), from the one that the CDK's command has.

    The roles that deploy trust `deployers` only, and all roles of an environment have its boundary. Raises ConfigurationError if the CDK's
    template has a trust policy that is not as expected.
    """
    names = Names.of(of if of != ACCOUNT else next(iter(PROFILES)))
    template = copy.deepcopy(dict(standard))
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::IAM::Role":
            role = resource["Properties"]
            if of != ACCOUNT:
                role["PermissionsBoundary"] = {"Fn::Sub": names.boundary_arn(CLOUDFORMATION)}
            first, *others = role["AssumeRolePolicyDocument"]["Statement"]
            if first["Principal"] != {"Service": "cloudformation.amazonaws.com"} or others:
                role["AssumeRolePolicyDocument"] = _narrowed(name, [first, *others], deployers(of, names))
    template["Parameters"]["Qualifier"]["Default"] = qualifiers()[of]
    template["Parameters"]["BootstrapVariant"]["Default"] = VARIANT
    return template


def _narrowed(role: str, statements: list[Any], trusted: Iterable[tuple[list[str], Mapping[str, Any]]]) -> Document:
    """The trust of the account's identities, for some of them; that of other accounts, which the CDK's template has on a condition, is
    left out."""
    found = []
    for each in statements:
        if each.keys() == {"Fn::If"}:
            continue
        if each.keys() - {"Condition"} != {"Action", "Effect", "Principal"} or each["Principal"] != {
            "AWS": {"Ref": "AWS::AccountId"}
        }:
            raise ConfigurationError(
                f"the CDK's bootstrap template: expected {role} to trust the account, found {json.dumps(each)}; adapt cdk/bootstrap.py to it"
            )
        # The CDK's template has this condition on one action, unless a parameter says otherwise.
        external = {"Null": {"sts:ExternalId": "true"}} if "Condition" in each else {}
        for arns, besides in trusted:
            only = {"ArnLike": {"aws:PrincipalArn": [{"Fn::Sub": arn} for arn in arns]}}
            found.append({**each, "Condition": {**external, **only, **besides}})
    return document(found)
