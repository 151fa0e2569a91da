"""What no one may do, whatever they are granted: bucket policies, and the boundaries of all roles.

A boundary grants nothing: a role may do what both its own policy and its boundary allow. They are written by hand and coarser than
the table, so that a row widened by mistake does not widen them. Plain dicts. Not here: grants (`access.py`), the boundary of
deployments (`bootstrap.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from catalunya.cdk.naming import Names
from catalunya.cdk.policy import PLACES, Document, Statement, allow, deny, document

OLDEST_TLS = 1.2
WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}


def bucket_policy(names: Names, bucket: str | None = None) -> list[Statement]:
    """The statements of a bucket's policy (the lake's by default): only TLS, and only the lake's own encryption. CloudFront may read the public
    pages in the lake: only a person creates distributions in the account (`pages.py`)."""
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
    ours: dict[str, Any]
    if bucket == names.data_bucket:
        ours = {"aws:SourceArn": f"arn:{names.partition}:cloudfront::{names.account}:distribution/*"}
        condition = {"StringEquals": {"aws:SourceAccount": names.account}, "ArnLike": ours}
        public = allow("PublicPages", ["s3:GetObject"], (f"{arn}/{names.pages_folder}/*",), condition)
        found.append(public | {"Principal": {"Service": "cloudfront.amazonaws.com"}})
    if bucket in names.logged:
        # S3 delivers access logs itself, and cannot be told how to encrypt them: the bucket's default applies.
        sources = [names.bucket_arn(each) for each in names.logged[bucket]]
        ours = {"aws:SourceArn": sources}
        condition = {"StringEquals": {"aws:SourceAccount": names.account}, "ArnLike": ours}
        logging = {"Principal": {"Service": "logging.s3.amazonaws.com"}}
        found.append(allow("AccessLogs", ["s3:PutObject"], objects, condition) | logging)
    return found


def boundary(names: Names, regions: Iterable[str]) -> Document:
    """The most that any role of an environment can do, in these regions: it names what that environment consists of, and nothing else.

    Someone who can deploy an environment can create roles in it, which may do anything within this boundary. So nothing here reaches another
    environment, or identities.
    """
    return _boundary([names], [site.role_arn("mart") for site in names.sites], regions)


def account_boundary(environments: Iterable[Names], regions: Iterable[str]) -> Document:
    """The most that data engineers can do: their role is one for all environments, and deploys some of them."""
    all_names = list(environments)
    deploying = [arn for names in all_names for arn in PLACES["CDK's roles in dev"](names)]
    return _boundary(all_names, deploying, regions)


def _boundary(environments: Sequence[Names], assumed: Iterable[str], regions: Iterable[str]) -> Document:
    where, keys = list(regions), [key for names in environments for key in PLACES["key"](names)]

    def each(arns: Callable[[Names], Iterable[str]]) -> list[str]:
        """The ARNs of one environment as they are; of several with `*` for the environment, because of IAM's size limit."""
        found = [(names.env, arn) for names in environments for arn in arns(names)]
        if len(environments) > 1:
            found = [(env, re.sub(rf"(?<![a-zA-Z0-9]){env}(?![a-zA-Z0-9])", "*", arn)) for env, arn in found]
        return list(dict.fromkeys(arn for _, arn in found))

    def of_environment(names: Names) -> Iterator[str]:
        for site in names.sites:
            yield from (names.bucket_arn(bucket) for bucket in site.buckets if bucket not in site.logged)

    buckets = each(of_environment)
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
            each(
                lambda names: (
                    *(names.anywhere("glue", kind) for kind in ("catalog", "database/default")),
                    *(names.anywhere("glue", f"database/{database}") for database in names.databases.values()),
                    *(names.anywhere("glue", f"table/{database}/*") for database in names.databases.values()),
                )
            ),
        ),
        allow(
            "WorkGroups",
            (
                *("athena:StartQueryExecution", "athena:StopQueryExecution", "athena:Get*", "athena:List*"),
                *("athena:CreateNamedQuery", "athena:UpdateNamedQuery"),
            ),
            each(
                lambda names: (
                    names.anywhere("athena", f"workgroup/{group}")
                    for group in (names.work_group, names.readers_work_group)
                )
            ),
        ),
        allow(
            "Functions",
            ["lambda:InvokeFunction"],
            each(lambda names: (names.anywhere("lambda", f"function:{name}") for _, name in names.functions())),
        ),
        allow(
            "Queues",
            ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:SendMessage", "sqs:GetQueueAttributes"),
            each(lambda names: (names.anywhere("sqs", queue) for queue in names.queues)),
        ),
        allow(
            "Alerts",
            ("sns:Get*", "sns:List*", "sns:Publish", "cloudwatch:SetAlarmState"),
            each(
                lambda names: (
                    names.anywhere("sns", names.topic),
                    names.anywhere("cloudwatch", f"alarm:{names.alarm('*')}"),
                )
            ),
        ),
        allow("Roles", assume, assumed),
        allow(
            "Logs",
            (
                *("logs:CreateLogStream", "logs:PutLogEvents", "logs:Describe*"),
                *("logs:Get*", "logs:Filter*", "logs:StartQuery"),
            ),
            each(lambda names: (names.anywhere("logs", f"log-group:{group}:*") for group in names.log_groups)),
        ),
        # These have no ARNs to name. They read metrics, alarms, dashboards and costs of the whole account.
        allow(
            "Monitoring",
            (
                *("cloudwatch:DescribeAlarm*", "cloudwatch:GetDashboard", "cloudwatch:GetMetric*", "cloudwatch:List*"),
                *("logs:DescribeLogGroups", "logs:GetQueryResults", "ce:Get*"),
            ),
            ["*"],
        ),
        *(
            [
                allow(
                    "KeysThroughS3",
                    ("kms:Decrypt", "kms:GenerateDataKey"),
                    keys,
                    {"StringEquals": {"kms:ViaService": [f"s3.{region}.amazonaws.com" for region in where]}},
                )
            ]
            if keys
            else []
        ),
        # STS and Cost Explorer may answer from another region.
        {
            "Sid": "DenyOtherRegions",
            "Effect": "Deny",
            "NotAction": [*assume, "ce:*"],
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
