"""The words of the table of access: what is done (verbs), when (conditions), and where (places), as IAM knows them.

Places follow from `naming.py` and from the folders of the lake that the pipeline itself writes to. Here: words, once each.
Not here: who may do what (`access.py`), how a row becomes a policy (`policy.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from catalunya.assets.graph.spec import FUNCTIONS, Layer
from catalunya.assets.record.ledger import COMPACTED
from catalunya.assets.record.paths import MANIFEST
from catalunya.assets.record.superseded import SUPERSEDED
from catalunya.cdk.deployment import CRITICAL
from catalunya.cdk.naming import Names
from catalunya.cdk.policy import Condition, Place, Verb
from catalunya.io.warehouse.athena_build import FOLDER as CANDIDATES

DOCS = "_dbt"
"""Where a deployment puts the marts' manifest and documentation."""
MENDING = "mend-"
"""What the name of a data engineer's session begins with that is to change things, and not only to look."""
QUALIFIERS: Mapping[str, str] = MappingProxyType({"dev": "catdev", "prod": "catprod"})
"""What the CDK was bootstrapped with, one an environment: under a shared one, who may deploy dev could deploy prod."""

# What is done.
LIST = Verb("list", ("s3:ListBucket",))
READ = Verb("read", ("s3:GetObject",))
WRITE = Verb("write", ("s3:PutObject",))
LIST_PARTS = Verb("list parts of", ("s3:ListMultipartUploadParts",))
TAKE_BACK = Verb("take back", ("s3:AbortMultipartUpload",))
DELETE = Verb("delete", ("s3:DeleteObject",))
LOCATE = Verb("locate", ("s3:GetBucketLocation",))
FIND = Verb("find", ("glue:GetTable",))
FIND_DATABASE = Verb("find database", ("glue:GetDatabase",))
LOOK_UP = Verb(
    "look up",
    (
        "glue:GetDatabase", "glue:GetDatabases", "glue:GetTable", "glue:GetTables",
        "glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition",
    ),
)  # fmt: skip
CATALOG = Verb("catalog", ("glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable"))
PARTITION = Verb(
    "partition",
    ("glue:GetPartitions", "glue:BatchCreatePartition", "glue:BatchUpdatePartition", "glue:BatchDeletePartition"),
)
REGISTER = Verb("register", ("glue:CreateTable", "glue:UpdateTable", "glue:GetPartitions", "glue:BatchCreatePartition"))
VERSIONS = Verb("count versions in", ("glue:GetTableVersions",))
EXPIRE = Verb("expire versions in", ("glue:DeleteTableVersion",))
ASK = Verb(
    "ask",
    (
        "athena:StartQueryExecution", "athena:StopQueryExecution", "athena:GetQueryExecution",
        "athena:GetQueryResults",
    ),
)  # fmt: skip
KNOW = Verb("know", ("athena:GetWorkGroup",))
NAMED = Verb("use named queries of", ("athena:ListNamedQueries", "athena:GetNamedQuery"))
NAME = Verb("name queries of", ("athena:CreateNamedQuery",))
RENAME = Verb("change named queries of", ("athena:UpdateNamedQuery",))
INVOKE = Verb("invoke", ("lambda:InvokeFunction",))
RECEIVE = Verb("receive", ("sqs:ReceiveMessage", "sqs:DeleteMessage"))
SEND = Verb("send", ("sqs:SendMessage",))
MEASURE_QUEUES = Verb("measure", ("sqs:GetQueueAttributes",))
ASSUME = Verb("become", ("sts:AssumeRole",))
BECOME = Verb("become", ("sts:AssumeRole", "sts:TagSession"))
STAY = Verb("stay known as who it is, as", ("sts:SetSourceIdentity",))
LOG = Verb("log to", ("logs:CreateLogStream", "logs:PutLogEvents"))
FIND_LOGS = Verb("find", ("logs:DescribeLogGroups",))
READ_LOGS = Verb("read", ("logs:GetLogEvents",))
SEARCH_LOGS = Verb(
    "search",
    (
        "logs:DescribeLogStreams",
        "logs:GetLogEvents",
        "logs:FilterLogEvents",
        "logs:StartQuery",
        "logs:GetLogGroupFields",
    ),
)
WATCH = Verb(
    "watch",
    (
        "cloudwatch:DescribeAlarms", "cloudwatch:GetDashboard", "cloudwatch:GetMetricData",
        "cloudwatch:ListDashboards", "cloudwatch:ListMetrics", "logs:DescribeLogGroups", "logs:GetQueryResults",
    ),
)  # fmt: skip
ENCRYPT = Verb("encrypt with", ("kms:Decrypt", "kms:GenerateDataKey"))
READ_VERSIONS = Verb(
    "read versions of",
    ("s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"),
)
COPY_SETTINGS = Verb("read what to copy of", ("s3:GetReplicationConfiguration", "s3:ListBucket"))
COPY = Verb("copy to", ("s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"))

# When.
IF_ABSENT = Condition("only where there is no object yet", lambda _: {"Null": {"s3:if-none-match": "false"}})
IF_TAGGED = Condition(
    "only as a session that is tagged with its run", lambda _: {"StringLike": {"aws:RequestTag/run": "?*"}}
)
# Not by MFA: who has assumed a role has shown a second factor to do so, and IAM tells nothing of it after that (IAM User Guide,
# Secure API access with MFA). The session's name is in `aws:userid`, and in CloudTrail.
IF_MENDING = Condition(
    f"only in a session that is named {MENDING}…", lambda _: {"StringLike": {"aws:userid": f"*:{MENDING}*"}}
)
IF_TABLES = Condition(
    "only below staging/ and marts/", lambda _: {"StringLike": {"s3:prefix": ["staging/*", "marts/*"]}}
)
IF_DOCS = Condition("only below _dbt/", lambda _: {"StringLike": {"s3:prefix": [f"{DOCS}/*"]}})
IF_BY_S3 = Condition(
    "only through S3", lambda names: {"StringEquals": {"kms:ViaService": f"s3.{names.region}.amazonaws.com"}}
)


def _objects(*patterns: str) -> Place:
    return lambda names: tuple(f"{names.bucket_arn(names.data_bucket)}/{pattern}" for pattern in patterns)


def _tables(schema: str) -> Place:
    # Glue asks for the permission on all that a table is in.
    return lambda names: (names.catalog_arn, names.database_arn(schema), names.tables_arn(schema))


def _log_groups(groups: Callable[[Names], Iterable[str]]) -> Place:
    return lambda names: tuple(f"{names.log_group_arn(group)}:*" for group in groups(names))


def _groups(names: Names) -> Iterable[str]:
    return (*(names.function_log_group(layer) for layer in FUNCTIONS), names.airflow_log_group)


def _key(names: Names) -> tuple[str, ...]:
    key = names.settings.lake_kms_key_id if names.settings.lake_encryption == "aws:kms" else None
    if not key:
        return ()  # the account's own key for S3 asks nobody who may use the bucket
    return (key if key.startswith("arn:") else f"arn:{names.partition}:kms:{names.region}:{names.account}:key/{key}",)


def _bootstrap(names: Names) -> tuple[str, ...]:
    """The CDK's own roles, in any region: those that put files in place, deploy, and look up."""
    kinds = ("deploy", "file-publishing", "lookup")
    return tuple(names.role_arn(f"cdk-{QUALIFIERS[names.env]}-{kind}-role-{names.account}-*") for kind in kinds)


def _for(layer: str, kind: str) -> str:
    return f"{layer} {kind}"


LAYERS = tuple(str(layer) for layer in Layer)
PLACES: Mapping[str, Place] = MappingProxyType(
    {
        "the lake": lambda names: (names.bucket_arn(names.data_bucket),),
        **{layer: _objects(f"{layer}/*") for layer in LAYERS},
        "landing manifests": _objects(f"landing/*/{MANIFEST}"),
        **{_for(layer, "ledger"): _objects(f"_ledger/{layer}/*") for layer in LAYERS},
        **{_for(layer, "entries"): _objects(f"_ledger/{layer}/*.json") for layer in LAYERS},
        "merged ledgers": _objects(f"_ledger/*/{COMPACTED}"),
        "ledger": _objects("_ledger/*"),
        **{_for(layer, "leases"): _objects(f"_leases/{layer}/*") for layer in LAYERS},
        "leases": _objects("_leases/*"),
        **{_for(layer, "superseded"): _objects(f"{SUPERSEDED}/{layer}/*") for layer in ("staging", "marts")},
        "superseded": _objects(f"{SUPERSEDED}/*"),
        **{_for(layer, "quarantine"): _objects(f"quarantine/{layer}/*") for layer in ("staging", "marts")},
        "quarantine": _objects("quarantine/*"),
        "candidates": _objects(f"{CANDIDATES}/*"),
        "dbt results": _objects("_athena/*"),
        "dbt docs": _objects(f"{DOCS}/*"),
        "aside": _objects("_aside/*"),
        "critical": _objects(*(f"{prefix}*" for prefix in CRITICAL)),
        "any object": _objects("*"),
        "results": lambda names: (f"{names.bucket_arn(names.results_bucket)}/*",),
        "results bucket": lambda names: (names.bucket_arn(names.results_bucket),),
        "backups": lambda names: (f"{names.bucket_arn(names.backup_bucket)}/*",),
        "backup bucket": lambda names: (names.bucket_arn(names.backup_bucket),),
        "replica": lambda names: (f"{names.bucket_arn(names.replica_bucket)}/*",),
        **{_for(schema, "catalog"): _tables(schema) for schema in ("staging", "marts", "candidates")},
        "databases": lambda names: (names.catalog_arn, *(names.database_arn(schema) for schema in names.databases)),
        "default database": lambda names: (names.catalog_arn, names.default_database_arn),
        "makers' work group": lambda names: (names.work_group_arn(names.work_group),),
        "readers' work group": lambda names: (names.work_group_arn(names.readers_work_group),),
        "functions": lambda names: tuple(names.function_arn(layer) for layer in FUNCTIONS),
        "manifests queue": lambda names: (names.queue_arn(names.manifests_queue),),
        "dead functions queue": lambda names: (names.queue_arn(names.functions_dead_queue),),
        "queues": lambda names: tuple(
            names.queue_arn(queue)
            for queue in (names.manifests_queue, names.manifests_dead_queue, names.functions_dead_queue)
        ),
        "alarms topic": lambda names: (names.topic_arn,),
        **{
            _for(layer, "logs"): _log_groups(lambda names, layer=layer: [names.function_log_group(layer)])  # type: ignore[misc]
            for layer in FUNCTIONS
        },
        "tables logs": _log_groups(lambda names: [names.tables_log_group]),
        "Airflow logs": _log_groups(lambda names: [names.airflow_log_group]),
        "logs": _log_groups(_groups),
        # What it tells has no resources, nor have lists of log groups.
        "CloudWatch": lambda _: ("*",),
        "mart role": lambda names: (names.role_arn(names.mart_role),),
        "monitoring role": lambda names: (names.role_arn(names.monitoring_role),),
        "CDK's roles": _bootstrap,
        "key": _key,
    }
)
