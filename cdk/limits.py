"""What nobody may, whatever else they are granted: the policies of the buckets, and the boundary of all roles.

A boundary grants nothing: a role may do what both its own policy and this one allow. It is written by hand and coarser than
the table, so that a row widened by mistake does not widen it. Plain dicts. Not here: grants (`access.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from catalunya.cdk.naming import PROJECT, SCHEMAS, Names
from catalunya.cdk.policy import Document, Statement, deny, document
from catalunya.cdk.vocabulary import QUALIFIERS

OLDEST_TLS = 1.2


def bucket_policy(names: Names, bucket: str | None = None) -> list[Statement]:
    """The statements of a bucket's policy, by default the lake's: TLS only, and no other encryption than the lake's own."""
    bucket = bucket or names.data_bucket
    arn = names.bucket_arn(bucket)
    whole = (arn, f"{arn}/*")
    statements = [
        deny("OnlyByTls", ["s3:*"], whole, {"Bool": {"aws:SecureTransport": "false"}}),
        deny("OnlyByNewTls", ["s3:*"], whole, {"NumericLessThan": {"s3:TlsVersion": str(OLDEST_TLS)}}),
    ]
    if bucket == names.log_bucket:
        # S3 delivers them itself, and is not told how to encrypt: the bucket's default holds.
        return [_principal(each) for each in statements] + [_access_logs(names, bucket)]
    statements += [
        # Absent, the bucket's default holds. Encrypted under another's key, what is here would be that one's to give back.
        deny(
            "OnlyOurEncryption",
            ["s3:PutObject"],
            whole[1:],
            {
                "Null": {"s3:x-amz-server-side-encryption": "false"},
                "StringNotEquals": {"s3:x-amz-server-side-encryption": names.settings.lake_encryption},
            },
        ),
        deny(
            "NoKeyOfTheCaller",
            ["s3:PutObject"],
            whole[1:],
            {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
        ),
    ]
    return [_principal(each) for each in statements]


def boundary(environments: Iterable[Names], regions: Iterable[str]) -> Document:
    """What no role of the project can ever do more than; for all environments of an account, in these regions."""
    all_names, where = list(environments), list(regions)
    first = all_names[0]
    buckets = [
        first.bucket_arn(bucket)
        for names in all_names
        for bucket in (names.data_bucket, names.results_bucket, names.replica_bucket, names.backup_bucket)
    ]
    glue = first.catalog_arn.removesuffix("catalog")
    databases = [f"{PROJECT}_{schema}_*" for schema in SCHEMAS]
    cdk_roles = [first.role_arn(f"cdk-{qualifier}-*") for qualifier in QUALIFIERS.values()]
    keys = f"arn:{first.partition}:kms:*:{first.account}:key/*"
    return document(
        [
            _allow(
                "OwnObjects",
                [
                    *(
                        "s3:GetObject",
                        "s3:PutObject",
                        "s3:DeleteObject",
                        "s3:AbortMultipartUpload",
                        "s3:ListMultipartUploadParts",
                    ),
                    *("s3:GetObjectVersion*", "s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"),
                ],
                [f"{bucket}/*" for bucket in buckets],
            ),
            _allow("OwnBuckets", ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetReplicationConfiguration"], buckets),
            _allow(
                "OwnTables",
                [
                    *("glue:Get*", "glue:BatchGet*", "glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable*"),
                    *("glue:BatchCreatePartition", "glue:BatchUpdatePartition", "glue:BatchDeletePartition"),
                ],
                [
                    first.catalog_arn,
                    *(f"{glue}database/{database}" for database in (*databases, "default")),
                    *(f"{glue}table/{database}/*" for database in databases),
                ],
            ),
            _allow(
                "OwnWorkGroups",
                [
                    *("athena:StartQueryExecution", "athena:StopQueryExecution", "athena:Get*", "athena:List*"),
                    *("athena:CreateNamedQuery", "athena:UpdateNamedQuery"),
                ],
                [first.work_group_arn(f"{PROJECT}_*")],
            ),
            _allow("OwnFunctions", ["lambda:InvokeFunction"], [_like(first, "lambda", f"function:{PROJECT}-*")]),
            _allow(
                "OwnQueues",
                ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:SendMessage", "sqs:GetQueueAttributes"],
                [first.queue_arn(f"{PROJECT}-*")],
            ),
            _allow(
                "OwnRoles",
                ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
                [first.role_arn(f"{PROJECT}-mart-role-*"), *cdk_roles],
            ),
            _allow(
                "OwnLogs",
                [
                    "logs:CreateLogStream",
                    "logs:PutLogEvents",
                    "logs:Describe*",
                    "logs:Get*",
                    "logs:Filter*",
                    "logs:StartQuery",
                ],
                [first.log_group_arn(group) for group in (f"/aws/lambda/{PROJECT}-*", f"/{PROJECT}/*")],
            ),
            # What has no resources.
            _allow(
                "Watching",
                [
                    "cloudwatch:Describe*",
                    "cloudwatch:Get*",
                    "cloudwatch:List*",
                    "logs:DescribeLogGroups",
                    "logs:GetQueryResults",
                ],
                ["*"],
            ),
            _allow(
                "KeysByS3",
                ["kms:Decrypt", "kms:GenerateDataKey"],
                [keys],
                {"StringEquals": {"kms:ViaService": [f"s3.{region}.amazonaws.com" for region in where]}},
            ),
            # STS may answer from a region of its own.
            {
                "Sid": "NoOtherRegion",
                "Effect": "Deny",
                "NotAction": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
                "Resource": ["*"],
                "Condition": {"StringNotEquals": {"aws:RequestedRegion": where}},
            },
            deny("OnlyByTls", ["*"], ["*"], {"Bool": {"aws:SecureTransport": "false"}}),
            {
                "Sid": "NoIdentitiesNoSettings",
                "Effect": "Deny",
                "Action": [
                    *("iam:*", "organizations:*", "account:*", "sts:AssumeRoleWith*", "sts:GetFederationToken"),
                    *("s3:DeleteObjectVersion", "s3:DeleteBucket*", "s3:PutBucket*", "s3:PutEncryptionConfiguration"),
                    *("s3:PutLifecycleConfiguration", "s3:PutReplicationConfiguration", "s3:PutObjectAcl"),
                    *("athena:CreateWorkGroup", "athena:UpdateWorkGroup", "athena:DeleteWorkGroup"),
                ],
                "Resource": ["*"],
            },
        ]
    )


def _allow(
    sid: str, actions: list[str], resources: list[str], condition: dict[str, dict[str, object]] | None = None
) -> Statement:
    found: Statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return found | ({"Condition": condition} if condition else {})


def _like(names: Names, service: str, resource: str) -> str:
    return f"arn:{names.partition}:{service}:{names.region}:{names.account}:{resource}"


def _principal(statement: Statement) -> Statement:
    return statement | {"Principal": "*"}


def _access_logs(names: Names, bucket: str) -> Statement:
    """S3 itself may put access logs of our buckets there."""
    return {
        "Sid": "AccessLogs",
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": ["s3:PutObject"],
        "Resource": [f"{names.bucket_arn(bucket)}/*"],
        "Condition": {
            "StringEquals": {"aws:SourceAccount": names.account},
            "ArnLike": {
                "aws:SourceArn": [
                    names.bucket_arn(each) for each in (names.data_bucket, names.results_bucket, names.backup_bucket)
                ]
            },
        },
    }
