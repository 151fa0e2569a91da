"""What no one may do, whatever they are granted: bucket policies, the boundary of all roles, the boundary of deployments.

A boundary grants nothing: a role may do what both its own policy and its boundary allow. They are written by hand and coarser than
the table, so that a row widened by mistake does not widen them. Plain dicts. Not here: grants (`access.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from catalunya.cdk.naming import (
    ACCOUNT_STACK,
    BOUNDARY,
    DEPLOYMENT_BOUNDARY,
    PROJECT,
    QUALIFIERS,
    SCHEMAS,
    Names,
)
from catalunya.cdk.policy import Document, Statement, allow, deny, document
from catalunya.cdk.trust import GITHUB

OLDEST_TLS = 1.2
WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}
_ACCOUNT_OWNER = "prod"  # the account's stack is deployed by its bootstrap (stacks.py)


def bucket_policy(names: Names, bucket: str | None = None) -> list[Statement]:
    """The statements of a bucket's policy (the lake's by default): only TLS, and only the lake's own encryption."""
    bucket = bucket or names.data_bucket
    arn = names.bucket_arn(bucket)
    whole, objects = (arn, f"{arn}/*"), (f"{arn}/*",)
    statements = [
        deny("DenyWithoutTls", ["s3:*"], whole, WITHOUT_TLS),
        deny("DenyOldTls", ["s3:*"], whole, {"NumericLessThan": {"s3:TlsVersion": str(OLDEST_TLS)}}),
    ]
    if bucket not in names.logged:
        statements += [
            # Without the header, the bucket's default applies. The owner of another key could make the objects unreadable.
            deny(
                "DenyOtherEncryption",
                ["s3:PutObject"],
                objects,
                {
                    "Null": {"s3:x-amz-server-side-encryption": "false"},
                    "StringNotEquals": {"s3:x-amz-server-side-encryption": names.settings.lake_encryption},
                },
            ),
            deny(
                "DenyCustomerProvidedKeys",
                ["s3:PutObject"],
                objects,
                {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
            ),
        ]
    found = [{**statement, "Principal": "*"} for statement in statements]
    if bucket in names.logged:
        # S3 delivers access logs itself, and cannot be told how to encrypt them: the bucket's default applies.
        sources = [names.bucket_arn(each) for each in names.logged[bucket]]
        ours: dict[str, Any] = {"aws:SourceArn": sources}
        condition = {"StringEquals": {"aws:SourceAccount": names.account}, "ArnLike": ours}
        logging = {"Principal": {"Service": "logging.s3.amazonaws.com"}}
        found.append(allow("AccessLogs", ["s3:PutObject"], objects, condition) | logging)
    return found


def boundary(environments: Iterable[Names], regions: Iterable[str]) -> Document:
    """The most that any role of the project can do, for all environments of an account, in these regions."""
    all_names, where = list(environments), list(regions)
    first = all_names[0]
    buckets = [
        first.bucket_arn(bucket) for names in all_names for bucket in names.buckets if bucket not in names.logged
    ]
    databases = [f"{PROJECT}_{schema}_*" for schema in SCHEMAS]
    cdk_roles = [names.cdk_role_arn("*") for names in all_names]
    assume = ("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity")
    statements = [
        allow(
            "Objects",
            (
                *("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
                *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
                *("s3:GetObjectVersion*", "s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"),
            ),
            [f"{bucket}/*" for bucket in buckets],
        ),
        allow("Buckets", ("s3:ListBucket*", "s3:GetBucketLocation", "s3:GetReplicationConfiguration"), buckets),
        allow(
            "Tables",
            (
                *("glue:Get*", "glue:BatchGet*", "glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable*"),
                *("glue:BatchCreatePartition", "glue:BatchUpdatePartition", "glue:BatchDeletePartition"),
            ),
            [
                first.catalog_arn,
                *(first.arn("glue", f"database/{database}") for database in (*databases, "default")),
                *(first.arn("glue", f"table/{database}/*") for database in databases),
            ],
        ),
        allow(
            "WorkGroups",
            (
                *("athena:StartQueryExecution", "athena:StopQueryExecution", "athena:Get*", "athena:List*"),
                *("athena:CreateNamedQuery", "athena:UpdateNamedQuery"),
            ),
            [first.work_group_arn(f"{PROJECT}_*")],
        ),
        allow("Functions", ["lambda:InvokeFunction"], [first.arn("lambda", f"function:{PROJECT}-*")]),
        allow(
            "Queues",
            ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:SendMessage", "sqs:GetQueueAttributes"),
            [first.queue_arn(f"{PROJECT}-*")],
        ),
        allow("Roles", assume, [*(names.role_arn("mart") for names in all_names), *cdk_roles]),
        allow(
            "Logs",
            (
                *("logs:CreateLogStream", "logs:PutLogEvents", "logs:Describe*"),
                *("logs:Get*", "logs:Filter*", "logs:StartQuery"),
            ),
            [first.log_group_arn(group) for group in (f"/aws/lambda/{PROJECT}-*", f"/{PROJECT}/*")],
        ),
        allow(
            "Alerts",
            ("sns:Publish", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "cloudwatch:SetAlarmState"),
            [first.arn("sns", f"{PROJECT}-*"), first.arn("cloudwatch", f"alarm:{PROJECT}-*")],
        ),
        # These have no ARNs to name.
        allow(
            "Monitoring",
            (
                *("cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*", "ce:Get*"),
                *("logs:DescribeLogGroups", "logs:GetQueryResults"),
            ),
            ["*"],
        ),
        allow(
            "KeysThroughS3",
            ("kms:Decrypt", "kms:GenerateDataKey"),
            [f"arn:{first.partition}:kms:*:{first.account}:key/*"],
            {"StringEquals": {"kms:ViaService": [f"s3.{region}.amazonaws.com" for region in where]}},
        ),
        # STS may answer from another region, and costs are in one that is not ours.
        {
            "Sid": "DenyOtherRegions",
            "Effect": "Deny",
            "NotAction": [*assume, "ce:Get*"],
            "Resource": ["*"],
            "Condition": {"StringNotEquals": {"aws:RequestedRegion": where}},
        },
        deny("DenyWithoutTls", ["*"], ["*"], WITHOUT_TLS),
        deny(
            "DenyIdentitiesAndSettings",
            (
                *("iam:*", "organizations:*", "account:*", "sts:AssumeRoleWith*", "sts:GetFederationToken"),
                *("s3:DeleteObjectVersion", "s3:DeleteBucket*", "s3:PutBucket*", "s3:PutEncryptionConfiguration"),
                *("s3:PutLifecycleConfiguration", "s3:PutReplicationConfiguration", "s3:PutObjectAcl"),
                *("athena:CreateWorkGroup", "athena:UpdateWorkGroup", "athena:DeleteWorkGroup"),
            ),
            ["*"],
        ),
    ]
    return document(statements)


def deployment_boundary(names: Names, others: Iterable[Names]) -> Document:
    """The boundary of the role that CloudFormation deploys an environment with, beside the account's other environments.

    That role must create roles, so `cdk bootstrap` gives it administrator permissions. Without a boundary, anyone who can push to
    develop could have a template change prod, or create a role that may do everything. It denies only that, so no deployment fails
    because one of CloudFormation's handlers needs an action that is missing here.
    """
    iam = f"arn:{names.partition}:iam::{names.account}"
    statements = [
        allow("AsGranted", ["*"], ["*"]),
        *(_deny_environment(other) for other in others),
        # A missing key is unequal too: a role without a boundary can be neither created nor given more.
        deny(
            "DenyRolesOutsideTheBoundary",
            ("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"),
            ["*"],
            {"StringNotEquals": {"iam:PermissionsBoundary": names.boundary_arn}},
        ),
        deny(
            "DenyOtherIdentities",
            (
                *("iam:DeleteRolePermissionsBoundary", "iam:CreateUser", "iam:CreateAccessKey"),
                *("iam:CreateLoginProfile", "iam:CreateGroup", "iam:PutUserPolicy", "iam:AttachUserPolicy"),
                *("iam:PutGroupPolicy", "iam:AttachGroupPolicy", "iam:AddUserToGroup", "iam:UpdateLoginProfile"),
                *("iam:CreateSAMLProvider", "organizations:*", "account:*"),
            ),
            ["*"],
        ),
        deny(
            "DenyItsOwnBoundary",
            ["iam:*"],
            [f"{iam}:policy/{DEPLOYMENT_BOUNDARY}*", names.cdk_role_arn("*")],
        ),
    ]
    if names.env != _ACCOUNT_OWNER:
        verbs = ("Create", "Delete", "Update", "Put", "Attach", "Detach", "Add", "Remove", "Set", "Tag", "Untag")
        statements.append(
            deny(
                "DenyTheAccount",
                [*(f"iam:{verb}*" for verb in verbs), "cloudformation:*"],
                [
                    f"{iam}:policy/{BOUNDARY}",
                    f"{iam}:policy/{names.role('engineer')}*",
                    names.role_arn("engineer"),
                    f"{iam}:oidc-provider/{GITHUB}",
                    f"arn:{names.partition}:cloudformation:*:{names.account}:stack/{ACCOUNT_STACK}*",
                ],
            )
        )
    return document(statements)


def _deny_environment(other: Names) -> Statement:
    """Nothing that has another environment's name, in any region."""
    bootstrap = f"cdk-{QUALIFIERS[other.env]}-*"
    buckets = (*other.buckets, bootstrap)

    def anywhere(service: str, resource: str) -> str:
        return f"arn:{other.partition}:{service}:*:{other.account}:{resource}"

    return deny(
        f"Deny{other.env.title()}",
        ["*"],
        [
            *(f"{other.bucket_arn(bucket)}{objects}" for bucket in buckets for objects in ("", "/*")),
            other.iam_arn(f"role{other.role_path('')}*"),
            other.cdk_role_arn("*"),
            anywhere("lambda", f"function:{PROJECT}-*-{other.env}"),
            *(anywhere("sqs", f"{PROJECT}-*-{other.env}{end}") for end in ("", "-dead")),
            anywhere("sns", other.topic),
            anywhere("logs", f"log-group:/aws/lambda/{PROJECT}-*-{other.env}*"),
            anywhere("logs", f"log-group:{other.airflow_log_group}*"),
            *(
                other.arn("glue", kind)
                for name in other.databases.values()
                for kind in (f"database/{name}", f"table/{name}/*")
            ),
            *(other.work_group_arn(group) for group in (other.work_group, other.readers_work_group)),
            anywhere("cloudformation", f"stack/{other.stack}*"),
        ],
    )
