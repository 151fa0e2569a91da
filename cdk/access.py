"""Who may do what in AWS: one table of role, IAM actions, place, reason and condition, from which every policy is generated.

Tests run the functions, a mart, monitoring and retention under these policies, enforced, and fail if a grant is missing or unused;
the reason of a grant that no test can exercise begins with `untested`. docs/access.md shows the same table as a page.
Here: roles, the table, its page. Not here: what places and conditions stand for (`policy.py`), who may assume which role
(`trust.py`), the limits over all of it (`limits.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from catalunya.cdk.context import between_marks
from catalunya.cdk.naming import Names
from catalunya.cdk.policy import (
    IF_ABSENT,
    IF_REPAIR,
    IF_TABLES,
    IF_TAGGED,
    IF_THROUGH_S3,
    PLACES,
    UNTESTED,
    Document,
    Grant,
    Place,
    document,
    statement,
)
from catalunya.cdk.trust import IN_WORDS
from catalunya.io.environment import load_settings

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "extractor": "the function that makes landing tables",
        "transformer": "the function that makes staging tables",
        "mart": "an Airflow task, to make one mart",
        "orchestrator": "Airflow itself, wherever it runs",
        "monitoring": "people and systems that monitor: dashboards, alarms, logs, costs, the tables themselves",
        "deployment": "the GitHub workflow that deploys",
        "reader": "people and tools that query the tables with Athena",
        "replication": "S3, when it copies to the other region",
        "tables": "the function that creates staging tables in Glue at a deployment",
        "engineer": "a data engineer",
    }
)
"""Each role and who uses it. Each environment has all of them but the engineer's, which the account has once."""

# Actions that are always granted together.
GLUE_READ = (
    *("glue:GetDatabase", "glue:GetDatabases", "glue:GetTable", "glue:GetTables"),
    *("glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition"),
)
GLUE_WRITE = ("glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable")
GLUE_PARTITIONS = (
    *("glue:GetPartitions", "glue:BatchCreatePartition"),
    *("glue:BatchUpdatePartition", "glue:BatchDeletePartition"),
)
GLUE_REGISTER = ("glue:CreateTable", "glue:UpdateTable", "glue:GetPartitions", "glue:BatchCreatePartition")
ATHENA_QUERY = (
    *("athena:StartQueryExecution", "athena:StopQueryExecution"),
    *("athena:GetQueryExecution", "athena:GetQueryResults"),
)
GLUE_CHECK = ("glue:GetTable", "glue:GetTables", "glue:GetPartitions")
RESULT_UPLOADS = ("s3:ListMultipartUploadParts", "s3:AbortMultipartUpload")
RESULTS_BUCKET = ("s3:GetBucketLocation", "s3:ListBucketMultipartUploads")
NAMED_QUERIES = ("athena:ListNamedQueries", "athena:GetNamedQuery")
LOGS_WRITE = ("logs:CreateLogStream", "logs:PutLogEvents")
LOGS_SEARCH = (
    *("logs:DescribeLogStreams", "logs:GetLogEvents", "logs:FilterLogEvents"),
    *("logs:StartQuery", "logs:GetLogGroupFields"),
)
MONITOR = (
    *(
        "cloudwatch:DescribeAlarms",
        "cloudwatch:DescribeAlarmHistory",
        "cloudwatch:GetDashboard",
        "cloudwatch:ListDashboards",
    ),
    *("cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "logs:DescribeLogGroups", "logs:GetQueryResults"),
)
ALERT = ("sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:Publish")
COSTS = ("ce:GetCostAndUsage", "ce:GetCostForecast", "ce:GetDimensionValues", "ce:GetTags")

_404 = "without it, S3 answers 403 instead of 404 for an object that does not exist"
_ATHENA = f"{UNTESTED}Athena, with the caller's permissions,"
_DEFAULT = f"{_ATHENA} looks it up with every statement"
_LEASE = "the lease: one writer per table; taken, renewed, released, and old ones deleted"
_ANSWER = "the answer to an event, which Airflow reads; one that was delivered twice is answered once"
_RECORD = "the ledger is append-only: an existing entry never changes"
_PARTS = f"{_ATHENA} writes large results in parts (AWS's policy AmazonAthenaFullAccess)"
_UPLOADS = f"{UNTESTED}a multipart upload that fails is aborted"
_BEFORE = f"{UNTESTED}a table that breaks a guard is compared with the versions before the published one"
_DRIVERS = f"{UNTESTED}Athena's console and drivers read settings"
_LAMBDA_LOG = f"{UNTESTED}Lambda writes the function's log with the function's role"
_LAMBDA_DEAD = f"{UNTESTED}Lambda stores failed events with the function's role"

TABLE: tuple[Grant, ...] = (
    # The extractor: landing, and nothing else.
    Grant("extractor", "s3:ListBucket", ("the lake",), _404),
    Grant(
        "extractor",
        "s3:GetObject",
        ("landing", "landing ledger", "staging ledger", "landing leases"),
        "what has landed, and what staging has used of it",
    ),
    Grant("extractor", "s3:PutObject", ("landing", "landing leases"), f"pages and their manifest; {_LEASE}"),
    Grant("extractor", "s3:AbortMultipartUpload", ("landing",), _UPLOADS),
    Grant("extractor", "s3:DeleteObject", ("landing", "landing leases"), "leftovers of killed runs; expired leases"),
    Grant("extractor", "s3:PutObject", ("landing entries",), _RECORD, IF_ABSENT),
    Grant("extractor", ("s3:GetObject", "s3:PutObject"), ("landing answers",), _ANSWER),
    Grant("extractor", LOGS_WRITE, ("landing logs",), _LAMBDA_LOG),
    Grant("extractor", "sqs:SendMessage", ("dead functions queue",), _LAMBDA_DEAD),
    # The transformer: staging, from landing, which it cleans up.
    Grant("transformer", "s3:ListBucket", ("the lake",), _404),
    Grant(
        "transformer",
        "s3:GetObject",
        ("landing", "staging", "landing ledger", "staging ledger", "staging leases"),
        "the batch, the previous table, and the lookup tables",
    ),
    Grant(
        "transformer",
        "s3:PutObject",
        ("staging", "staging superseded", "staging quarantine", "staging leases"),
        f"the table, the files it replaces, the rows that break its contract; {_LEASE}",
    ),
    Grant("transformer", "s3:GetObject", ("staging superseded",), _BEFORE),
    Grant("transformer", "s3:AbortMultipartUpload", ("staging", "staging quarantine"), _UPLOADS),
    Grant(
        "transformer", "s3:DeleteObject", ("landing",), "a batch is deleted once everything made from it is recorded"
    ),
    Grant(
        "transformer",
        "s3:DeleteObject",
        ("staging", "staging leases"),
        "partitions that no longer exist; expired leases",
    ),
    Grant("transformer", "s3:PutObject", ("staging entries",), _RECORD, IF_ABSENT),
    Grant("transformer", "glue:GetTable", ("staging catalog",), "checks whether Glue matches the ledger"),
    Grant("transformer", GLUE_WRITE, ("staging catalog",), "updates Glue after a materialization is recorded"),
    Grant("transformer", GLUE_PARTITIONS, ("staging catalog",), "for tables whose partitions Athena cannot project"),
    Grant("transformer", ("s3:GetObject", "s3:PutObject"), ("staging answers",), _ANSWER),
    Grant("transformer", LOGS_WRITE, ("staging logs",), _LAMBDA_LOG),
    Grant("transformer", "sqs:SendMessage", ("dead functions queue",), _LAMBDA_DEAD),
    # The mart role: one mart, from staging and other marts, by way of a candidate.
    Grant("mart", "s3:ListBucket", ("the lake",), _404),
    Grant(
        "mart",
        "s3:GetObject",
        ("marts", "candidates", "ledger", "marts leases", "landing manifests"),
        "the previous mart, the candidate, and the state of its upstreams; no raw rows",
    ),
    Grant(
        "mart", "s3:GetObject", ("staging", "mart results"), f"{_ATHENA} reads the tables of a statement, and results"
    ),
    Grant(
        "mart",
        "s3:PutObject",
        ("marts", "marts superseded", "marts leases", "candidates"),
        f"the candidate, then the mart, the files it replaces; {_LEASE}",
    ),
    Grant("mart", "s3:GetObject", ("marts superseded",), _BEFORE),
    Grant("mart", "s3:PutObject", ("mart results",), f"{_ATHENA} writes results"),
    Grant(
        "mart",
        "s3:PutObject",
        ("marts quarantine",),
        f"{UNTESTED}rows that break the contract of a mart that tolerates some",
    ),
    Grant("mart", "s3:AbortMultipartUpload", ("marts", "marts quarantine"), _UPLOADS),
    Grant("mart", RESULT_UPLOADS, ("candidates", "mart results"), _PARTS),
    Grant(
        "mart",
        "s3:DeleteObject",
        ("marts", "marts leases", "candidates"),
        "the candidate, once published; expired leases",
    ),
    Grant("mart", "s3:PutObject", ("marts entries",), _RECORD, IF_ABSENT),
    Grant(
        "mart", RESULTS_BUCKET, ("the lake", "mart results bucket"), f"{_ATHENA} checks where candidates and results go"
    ),
    Grant(
        "mart",
        GLUE_READ,
        ("staging catalog", "marts catalog", "candidates catalog"),
        f"{_ATHENA} resolves the tables of a statement; so do dbt and the pipeline",
    ),
    Grant("mart", "glue:GetDatabase", ("default database",), _DEFAULT),
    Grant("mart", GLUE_REGISTER, ("staging catalog",), "registers an upstream that Glue missed when it was published"),
    Grant("mart", GLUE_WRITE, ("marts catalog", "candidates catalog"), "creates and drops candidates; updates marts"),
    Grant("mart", GLUE_PARTITIONS, ("marts catalog",), "for partitioned marts: there are none yet"),
    Grant("mart", GLUE_PARTITIONS, ("candidates catalog",), "an incremental mart replaces partitions of its candidate"),
    Grant("mart", "glue:GetTableVersions", ("candidates catalog",), "dbt counts old versions of a table it changes"),
    Grant("mart", "glue:DeleteTableVersion", ("candidates catalog",), f"{UNTESTED}dbt expires old table versions"),
    Grant("mart", ATHENA_QUERY, ("makers' work group",), "dbt's statements, and reading the rows that failed a test"),
    Grant("mart", "athena:GetWorkGroup", ("makers' work group",), "dbt checks whether the group enforces a location"),
    # Airflow: invokes functions, assumes the mart role, monitors, prunes, backs up.
    Grant(
        "orchestrator",
        "lambda:InvokeFunction",
        ("functions",),
        f"{UNTESTED}`dags/functions.py` makes landing and staging",
    ),
    Grant(
        "orchestrator",
        ("sts:AssumeRole", "sts:TagSession"),
        ("mart role",),
        "a mart is made under its own role",
        IF_TAGGED,
    ),
    # In its own row, because IAM has no tags to check for this action: IAM Roles Anywhere sets the session's source identity from the
    # certificate, and assuming another role carries it over.
    Grant(
        "orchestrator", "sts:SetSourceIdentity", ("mart role",), "carries the certificate's name over, into CloudTrail"
    ),
    Grant(
        "orchestrator",
        ("sqs:ReceiveMessage", "sqs:DeleteMessage"),
        ("manifests queue",),
        f"{UNTESTED}batches landed outside Airflow trigger tables (`dags/build.py`)",
    ),
    Grant(
        "orchestrator", "s3:ListBucket", ("the lake", "backup bucket"), f"{_404}; retention and backups list objects"
    ),
    Grant(
        "orchestrator",
        "s3:GetObject",
        ("ledger", "leases", "landing manifests"),
        "what is stale, and which runs are making it",
    ),
    Grant("orchestrator", "s3:GetObject", ("acknowledgements",), "which failures need no alarm"),
    Grant(
        "orchestrator",
        ("s3:GetObject", "s3:PutObject"),
        ("source checks",),
        "what the weekly check of each source found",
    ),
    Grant(
        "orchestrator",
        ("s3:GetObject", "s3:PutObject"),
        ("watch",),
        "`ops.watch` keeps what it found, an index of the ledger, and who was notified; the pages in Airflow read it",
    ),
    Grant(
        "orchestrator",
        ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
        ("public pages",),
        "`ops.portal` publishes the pages: what changed since its record of the last build, and deletes what is on them no more",
    ),
    Grant("orchestrator", "sns:Publish", ("alarms topic",), "a channel of `CATALUNYA_NOTIFY` may be the topic"),
    Grant("orchestrator", "s3:GetObject", ("answers",), "whether a function that it invoked is done, works, or died"),
    Grant("orchestrator", "s3:PutObject", ("merged ledgers", "leases"), f"retention merges old entries; {_LEASE}"),
    Grant(
        "orchestrator",
        "s3:DeleteObject",
        ("landing", "superseded", "quarantine", "ledger", "leases"),
        "retention: expired objects and merged entries; never tables themselves",
    ),
    Grant(
        "orchestrator",
        "s3:GetObject",
        ("staging", "marts", "superseded", "quarantine"),
        "backups copy tables; no raw rows",
    ),
    Grant("orchestrator", "s3:GetObject", ("backups",), "backups are incremental, and old ones expire"),
    Grant("orchestrator", "s3:PutObject", ("backups",), "writes backups"),
    Grant("orchestrator", "s3:AbortMultipartUpload", ("backups", "public pages"), _UPLOADS),
    Grant("orchestrator", "s3:DeleteObject", ("backups",), "deletes expired backups"),
    Grant("orchestrator", LOGS_WRITE, ("Airflow logs",), "Airflow's remote task logs"),
    Grant(
        "orchestrator",
        "logs:DescribeLogGroups",
        ("CloudWatch",),
        "Airflow's log handler creates the log group unless it finds it",
    ),
    Grant("orchestrator", "logs:GetLogEvents", ("Airflow logs",), "Airflow's UI shows task logs"),
    # Monitoring.
    Grant("monitoring", MONITOR, ("CloudWatch",), f"{UNTESTED}dashboards and alarms"),
    Grant("monitoring", LOGS_SEARCH, ("logs",), f"{UNTESTED}the log of a run"),
    Grant("monitoring", "sqs:GetQueueAttributes", ("queues",), f"{UNTESTED}waiting and failed messages"),
    Grant("monitoring", "s3:ListBucket", ("the lake", "backup bucket"), f"{_404}; `catalunya watch` looks for backups"),
    Grant(
        "monitoring",
        "s3:GetObject",
        ("ledger", "leases"),
        "`catalunya status`: fresh, stale, overdue",
    ),
    Grant("monitoring", "s3:GetObject", ("watch",), "`catalunya watch`: what `ops.watch` found before"),
    Grant(
        "monitoring",
        "s3:GetObject",
        ("public pages",),
        "`catalunya status` and `watch`: what the last build of the pages shows",
    ),
    Grant("monitoring", "s3:GetObject", ("backup records",), "`catalunya watch`: how old the last backup is"),
    Grant("monitoring", "s3:GetObject", ("acknowledgements",), "`catalunya status`: who knows of a failure"),
    Grant("monitoring", "s3:GetObject", ("source checks",), "`catalunya status`: which sources are not as declared"),
    Grant(
        "monitoring", "s3:GetObject", ("landing", "staging", "marts"), "looks into batches and tables, rows included"
    ),
    Grant("monitoring", GLUE_CHECK, ("staging catalog", "marts catalog"), "`catalunya catalog check`"),
    Grant("monitoring", ALERT, ("alarms topic",), f"{UNTESTED}who is notified; alerting systems notify them, too"),
    Grant("monitoring", "cloudwatch:SetAlarmState", ("alarms",), f"{UNTESTED}tests the way from an alarm to a person"),
    Grant("monitoring", COSTS, ("the account's costs",), f"{UNTESTED}Cost Explorer, by the tag `environment`"),
    # Deploying: the CDK's own roles do it, this one assumes them.
    Grant("deployment", "sts:AssumeRole", ("CDK's roles",), f"{UNTESTED}`cdk deploy`"),
    Grant("deployment", "s3:PutObject", ("dbt docs",), f"{UNTESTED}the marts' manifest and documentation"),
    # Querying: docs/athena.md.
    Grant("reader", ATHENA_QUERY, ("readers' work group",), "`catalunya query`, or any Athena client"),
    Grant("reader", "athena:GetWorkGroup", ("readers' work group",), _DRIVERS),
    Grant("reader", NAMED_QUERIES, ("readers' work group",), "the named queries"),
    Grant("reader", GLUE_READ, ("staging catalog", "marts catalog"), f"{_ATHENA} resolves the tables of a statement"),
    Grant("reader", "glue:GetDatabase", ("default database",), _DEFAULT),
    Grant("reader", "s3:GetObject", ("staging", "marts", "results"), f"{_ATHENA} reads tables and results"),
    Grant("reader", "s3:ListBucket", ("the lake",), f"{_ATHENA} lists a table's objects", IF_TABLES),
    Grant("reader", "s3:GetBucketLocation", ("the lake",), f"{_ATHENA} checks where tables are"),
    Grant("reader", RESULTS_BUCKET, ("results bucket",), f"{_ATHENA} checks where results go"),
    Grant("reader", "s3:PutObject", ("results",), f"{_ATHENA} writes results"),
    Grant("reader", RESULT_UPLOADS, ("results",), _PARTS),
    # S3's copies.
    Grant(
        "replication",
        ("s3:GetReplicationConfiguration", "s3:ListBucket"),
        ("the lake",),
        f"{UNTESTED}S3 reads which objects to copy",
    ),
    Grant(
        "replication",
        ("s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"),
        ("critical",),
        f"{UNTESTED}S3 reads what cannot be rebuilt from a source; no landing",
    ),
    Grant(
        "replication",
        ("s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"),
        ("replica",),
        f"{UNTESTED}S3 writes to the other region",
    ),
    # Staging tables at a deployment.
    Grant("tables", "glue:GetTable", ("staging catalog",), "checks whether the table was published"),
    Grant("tables", GLUE_WRITE, ("staging catalog",), "creates tables before they are first made"),
    Grant("tables", LOGS_WRITE, ("tables logs",), _LAMBDA_LOG),
    # A data engineer: sees everything, queries like a reader, and repairs what no program may.
    Grant("engineer", "s3:ListBucket", ("the lake", "backup bucket"), "verify, status, history, `backup list`"),
    Grant("engineer", "s3:GetObject", ("backups",), "`backup check` and `restore`"),
    Grant(
        "engineer",
        "s3:GetObject",
        ("any object",),
        "verify reads every object; landing and quarantine hold what needs investigating",
    ),
    Grant("engineer", ATHENA_QUERY, ("readers' work group",), "queries like a reader, with the same limit"),
    Grant("engineer", "athena:GetWorkGroup", ("readers' work group",), _DRIVERS),
    Grant("engineer", NAMED_QUERIES, ("readers' work group",), "the named queries"),
    Grant(
        "engineer",
        GLUE_READ,
        ("staging catalog", "marts catalog"),
        f"{_ATHENA} resolves tables; so does `catalog check`",
    ),
    Grant("engineer", "glue:GetDatabase", ("default database",), _DEFAULT),
    Grant("engineer", "s3:GetBucketLocation", ("the lake",), f"{_ATHENA} checks where tables are"),
    Grant("engineer", RESULTS_BUCKET, ("results bucket",), f"{_ATHENA} checks where results go"),
    Grant("engineer", "s3:GetObject", ("results",), f"{_ATHENA} reads results"),
    Grant("engineer", "s3:PutObject", ("results",), f"{_ATHENA} writes results"),
    Grant("engineer", RESULT_UPLOADS, ("results",), _PARTS),
    Grant("engineer", "lambda:InvokeFunction", ("functions",), f"{UNTESTED}rebuilds one table, as Airflow would"),
    Grant("engineer", MONITOR, ("CloudWatch",), f"{UNTESTED}dashboards and alarms"),
    Grant("engineer", LOGS_SEARCH, ("logs",), f"{UNTESTED}the log of a run"),
    Grant("engineer", "sqs:GetQueueAttributes", ("queues",), f"{UNTESTED}waiting and failed messages"),
    Grant("engineer", ALERT, ("alarms topic",), f"{UNTESTED}who is notified"),
    Grant("engineer", "cloudwatch:SetAlarmState", ("alarms",), f"{UNTESTED}tests the way from an alarm to a person"),
    Grant("engineer", COSTS, ("the account's costs",), f"{UNTESTED}Cost Explorer, by the tag `environment`"),
    Grant(
        "engineer",
        "sts:AssumeRole",
        ("CDK's roles in dev",),
        f"{UNTESTED}`make deploy` of dev; prod is deployed by the workflow",
    ),
    Grant(
        "engineer",
        "s3:PutObject",
        ("staging", "marts", "superseded", "quarantine", "ledger", "leases", "damaged objects"),
        "`restore`, `verify --repair`, `quarantine --replay`: no other role may change an entry",
        IF_REPAIR,
    ),
    Grant(
        "engineer",
        ("s3:PutObject", "s3:DeleteObject"),
        ("acknowledgements",),
        "`catalunya acknowledge`, and `--undo`",
        IF_REPAIR,
    ),
    Grant(
        "engineer",
        "s3:AbortMultipartUpload",
        ("staging", "marts", "superseded", "quarantine"),
        _UPLOADS,
        IF_REPAIR,
    ),
    Grant(
        "engineer",
        "s3:DeleteObject",
        ("landing", "staging", "marts", "superseded", "ledger", "leases"),
        "`verify --repair` deletes damaged objects after copying them, `restore` what the backup does not have",
        IF_REPAIR,
    ),
    Grant("engineer", GLUE_WRITE, ("staging catalog", "marts catalog"), "`catalunya catalog sync`", IF_REPAIR),
    Grant("engineer", GLUE_PARTITIONS, ("staging catalog", "marts catalog"), "`catalunya catalog sync`", IF_REPAIR),
    Grant("engineer", "athena:CreateNamedQuery", ("readers' work group",), "`catalunya catalog sync`", IF_REPAIR),
    Grant(
        "engineer",
        "athena:UpdateNamedQuery",
        ("readers' work group",),
        f"{UNTESTED}`catalunya catalog sync`",
        IF_REPAIR,
    ),
    # A lake encrypted with its own key (CATALUNYA_LAKE_KMS_KEY_ID); without one, these rows are empty.
    *(
        Grant(
            role,
            ("kms:Decrypt", "kms:GenerateDataKey"),
            ("key",),
            f"{UNTESTED}objects encrypted with the lake's key",
            IF_THROUGH_S3,
        )
        for role in (
            *("extractor", "transformer", "mart", "orchestrator"),
            *("monitoring", "reader", "replication", "engineer"),
        )
    ),
)


def grants(role: str, table: Iterable[Grant] = TABLE) -> list[Grant]:
    """The rows of one role. Raises KeyError for a role that is not declared."""
    ROLES[role]
    return [grant for grant in table if grant.role == role]


def policy(role: str, names: Names, table: Iterable[Grant] = TABLE, places: Mapping[str, Place] = PLACES) -> Document:
    """What a role may do in one environment, as an IAM policy."""
    statements = [statement(grant, places, names) for grant in grants(role, table)]
    return document(each for each in statements if each["Resource"])


def engineer_policies(names: Names) -> dict[str, Document]:
    """The engineer's policy in two, by name: one policy would exceed IAM's size limit."""
    repair = [grant for grant in TABLE if grant.condition is IF_REPAIR]
    view = [grant for grant in TABLE if grant.condition is not IF_REPAIR]
    return {name: policy("engineer", names, table) for name, table in (("view", view), ("repair", repair))}


# The page

PAGE = "docs/access.md"
BEGIN, END = "<!-- the table of cdk/access.py, written by `make generate` -->", "<!-- end of the table -->"


def access_page(root: Path) -> str:
    """The page of a repository, with today's table between its two marks; everything else on it is written by hand."""
    return between_marks(root / PAGE, BEGIN, _tables(), END)


def _tables() -> Iterator[str]:
    # Set here, so that no variable of the person who runs `make generate` shows on the page.
    settings = load_settings(
        env="dev",
        site="home",
        bucket_prefix="catalunya",
        lake="s3://catalunya-data-dev",
        lake_encryption="AES256",
        backup="s3://catalunya-backup-dev",
        functions="catalunya-{purpose}-dev",
    )
    names = Names(settings=settings, partition="aws", account="ACCOUNT", region="REGION")
    yield from ("## Roles", "", "| role | used by | who may assume it |", "| --- | --- | --- |")
    for role, user in ROLES.items():
        yield f"| [`{names.role(role).replace('-dev', '-{env}')}`](#{role}) | {user} | {IN_WORDS[role]} |"
    for role in ROLES:
        yield from ("", f"## {role}", "", "| actions | where | condition | why |", "| --- | --- | --- | --- |")
        for grant in grants(role):
            actions = ", ".join(f"`{action}`" for action in grant.actions)
            condition = grant.condition.words if grant.condition else ""
            yield f"| {actions} | {', '.join(grant.places)} | {condition} | {grant.why} |"
    yield from ("", "## Places", "", "The ARNs of each place in dev; prod's are named alike.", "")
    yield from ("| where | ARNs |", "| --- | --- |")
    for place in dict.fromkeys(place for grant in TABLE for place in grant.places):
        arns = ", ".join(f"`{arn}`" for arn in PLACES[place](names))
        yield f"| {place} | {arns or 'the key in CATALUNYA_LAKE_KMS_KEY_ID, if there is one'} |"
