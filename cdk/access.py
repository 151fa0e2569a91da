"""Who may do what in AWS: one table, role x action x place x condition, from which every policy is generated.

What a row grants, the code does: tests run the functions, a mart, the watching and the pruning of Airflow under these policies
and hold that nothing is missing and nothing is left over; a row that no run can show says `on its own word` why it is there.
Here: roles and the table. Not here: what its words stand for (`vocabulary.py`), how a row becomes a policy (`policy.py`), who may
become whom (`trust.py`), what nobody may (`limits.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from catalunya.cdk.naming import Names
from catalunya.cdk.policy import Document, Grant, document, statement
from catalunya.cdk.vocabulary import (
    ASK,
    BECOME,
    CATALOGUE,
    COPY,
    COPY_SETTINGS,
    DELETE,
    ENCRYPT,
    EXPIRE,
    FIND,
    IF_ABSENT,
    IF_BY_S3,
    IF_DOCS,
    IF_JUST_IDENTIFIED,
    IF_OURS,
    IF_TABLES,
    IF_TAGGED,
    INVOKE,
    LIST,
    LOCATE,
    LOG,
    LOOK_UP,
    MEASURE,
    MEASURE_QUEUES,
    NAME,
    NAMED,
    PARTITION,
    PLACES,
    READ,
    READ_VERSIONS,
    RECEIVE,
    SEARCH_LOGS,
    SEND,
    TAKE_BACK,
    WATCH,
    WRITE,
)

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "extractor": "the function that makes landing tables",
        "transformer": "the function that makes staging tables",
        "mart": "what a task of Airflow's becomes to make one mart",
        "orchestrator": "Airflow itself, wherever it runs",
        "monitoring": "who watches: dashboards, alarms, logs, the state of the tables",
        "deployment": "GitHub's workflow that deploys",
        "reader": "who asks the tables by Athena",
        "replication": "S3, when it copies to the other region",
        "tables": "the function that puts staging tables into Glue at a deployment",
        "engineer": "a data engineer, who has just shown a second factor",
    }
)
"""Each role and whose it is. All are of one environment, but for the engineer's, who has the same rows in each."""

_404 = "S3 tells who may not list that an object is forbidden (403), not that it is absent (404), and the code asks for absent ones"
_LEASE = "one writer a table: the lease is taken, renewed, released, and old ones are cleared away"
_RECORD = "the ledger is added to and never changed: an entry that is there stays what it is"
_PARTS = "on its own word: an upload in parts that fails is taken back"

TABLE: tuple[Grant, ...] = (
    # The extractor: landing, and nothing else.
    Grant("extractor", LIST, ("the lake",), _404),
    Grant(
        "extractor", READ, ("landing", "landing ledger", "staging ledger", "landing leases"), "what is landed, and used"
    ),
    Grant("extractor", WRITE, ("landing", "landing leases"), f"pages and their seal; {_LEASE}"),
    Grant("extractor", TAKE_BACK, ("landing",), _PARTS),
    Grant("extractor", DELETE, ("landing", "landing leases"), "what runs that died left; leases that ended"),
    Grant("extractor", WRITE, ("landing entries",), _RECORD, IF_ABSENT),
    Grant("extractor", LOG, ("landing logs",), "on its own word: Lambda writes the function's log as the function"),
    Grant("extractor", SEND, ("dead functions queue",), "on its own word: Lambda keeps lost events as the function"),
    # The transformer: staging, from landing, which it clears away.
    Grant("transformer", LIST, ("the lake",), _404),
    Grant(
        "transformer",
        READ,
        ("landing", "staging", "landing ledger", "staging ledger", "staging leases"),
        "the batch, the table as it was, the tables that it looks things up in",
    ),
    Grant(
        "transformer",
        WRITE,
        ("staging", "staging superseded", "staging quarantine", "staging leases"),
        f"the table, what it replaces, the rows that break its contract; {_LEASE}",
    ),
    Grant("transformer", TAKE_BACK, ("staging", "staging quarantine"), _PARTS),
    Grant("transformer", DELETE, ("landing",), "the cleaner: a batch goes once all that is made from it was recorded"),
    Grant("transformer", DELETE, ("staging", "staging leases"), "partitions that ceased to exist; leases that ended"),
    Grant("transformer", WRITE, ("staging entries",), _RECORD, IF_ABSENT),
    Grant("transformer", FIND, ("staging catalogue",), "does Glue say what was recorded?"),
    Grant("transformer", CATALOGUE, ("staging catalogue",), "Glue is told of what was recorded"),
    Grant(
        "transformer", PARTITION, ("staging catalogue",), "of tables whose partitions Athena cannot work out by itself"
    ),
    Grant("transformer", LOG, ("staging logs",), "on its own word: Lambda writes the function's log as the function"),
    Grant("transformer", SEND, ("dead functions queue",), "on its own word: Lambda keeps lost events as the function"),
    # The mart role: one mart, from staging and other marts, by way of a candidate.
    Grant("mart", LIST, ("the lake",), _404),
    Grant(
        "mart",
        READ,
        ("staging", "marts", "candidates", "dbt results", "ledger", "marts leases", "landing manifests"),
        "what it is made from, and whether that is as it should be; no raw rows",
    ),
    Grant(
        "mart",
        WRITE,
        ("marts", "marts superseded", "marts quarantine", "marts leases", "candidates", "dbt results"),
        f"the candidate, then the mart, what it replaces, the rows that break its contract; {_LEASE}",
    ),
    Grant("mart", TAKE_BACK, ("marts", "marts quarantine", "candidates", "dbt results"), _PARTS),
    Grant("mart", DELETE, ("marts", "marts leases", "candidates"), "the candidate, afterwards; leases that ended"),
    Grant("mart", WRITE, ("marts entries",), _RECORD, IF_ABSENT),
    Grant("mart", LOCATE, ("the lake",), "on its own word: Athena looks, as who asks, where its results are to go"),
    Grant(
        "mart", LOOK_UP, ("staging catalogue", "marts catalogue", "candidates catalogue"), "dbt and Athena find tables"
    ),
    Grant(
        "mart", FIND, ("default database",), "on its own word: Athena asks for it, as who asks, with every statement"
    ),
    Grant(
        "mart",
        CATALOGUE,
        ("staging catalogue", "marts catalogue", "candidates catalogue"),
        "candidates come and go; Glue is told of what was recorded, also of a staging table that it was not told of",
    ),
    Grant(
        "mart",
        PARTITION,
        ("staging catalogue", "marts catalogue", "candidates catalogue"),
        "of tables whose partitions Athena cannot work out by itself",
    ),
    Grant("mart", EXPIRE, ("candidates catalogue",), "dbt does away with former versions of what it changes"),
    Grant("mart", ASK, ("makers' work group",), "dbt's statements, and the reading of rows that failed a test"),
    # Airflow: asks functions, becomes the mart role, watches, prunes.
    Grant("orchestrator", INVOKE, ("functions",), "landing and staging are made by functions"),
    Grant("orchestrator", BECOME, ("mart role",), "a mart is made under its own role", IF_TAGGED),
    Grant("orchestrator", RECEIVE, ("manifests queue",), "batches that did not come through Airflow wake their tables"),
    Grant("orchestrator", LIST, ("the lake", "backup bucket"), f"{_404}; retention and backups take stock"),
    Grant("orchestrator", READ, ("ledger", "leases", "landing manifests"), "what is stale, and who is making it"),
    Grant("orchestrator", WRITE, ("merged ledgers", "leases"), f"retention merges old entries; {_LEASE}"),
    Grant(
        "orchestrator",
        DELETE,
        ("landing", "superseded", "quarantine", "ledger", "leases"),
        "retention: what had its time, entries that were merged; tables themselves never",
    ),
    Grant(
        "orchestrator",
        READ,
        ("staging", "marts", "superseded", "quarantine", "backups"),
        "backups copy what tables are",
    ),
    Grant("orchestrator", WRITE, ("backups",), "backups"),
    Grant("orchestrator", TAKE_BACK, ("backups",), _PARTS),
    Grant("orchestrator", DELETE, ("backups",), "backups that had their time"),
    Grant("orchestrator", LOG, ("Airflow logs",), "on its own word: Airflow's remote logs of its tasks"),
    Grant("orchestrator", SEARCH_LOGS, ("Airflow logs",), "on its own word: Airflow shows them again"),
    Grant("orchestrator", MEASURE, ("metrics",), "on its own word: metrics of the tables' freshness", IF_OURS),
    # Watching.
    Grant("monitoring", WATCH, ("CloudWatch",), "on its own word: dashboards and alarms"),
    Grant("monitoring", SEARCH_LOGS, ("logs",), "on its own word: what a run said"),
    Grant("monitoring", MEASURE_QUEUES, ("queues",), "on its own word: what waits, and what was given up on"),
    Grant("monitoring", LIST, ("the lake",), _404),
    Grant(
        "monitoring",
        READ,
        ("ledger", "leases", "landing manifests"),
        "`catalunya status`: fresh, stale, overdue; no rows",
    ),
    # Deploying: the CDK's own roles do it, this one becomes them.
    Grant("deployment", BECOME, ("CDK's roles",), "on its own word: `cdk deploy`"),
    Grant("deployment", LIST, ("the lake",), "on its own word: `aws s3 sync` compares", IF_DOCS),
    Grant("deployment", WRITE, ("dbt docs",), "on its own word: the marts' manifest and documentation"),
    # Asking: docs/athena.md.
    Grant("reader", ASK, ("readers' work group",), "`catalunya query`, or any client of Athena"),
    Grant("reader", NAMED, ("readers' work group",), "the usual questions"),
    Grant(
        "reader", LOOK_UP, ("staging catalogue", "marts catalogue"), "on its own word: Athena finds tables as who asks"
    ),
    Grant(
        "reader", FIND, ("default database",), "on its own word: Athena asks for it, as who asks, with every statement"
    ),
    Grant(
        "reader", READ, ("staging", "marts", "results"), "on its own word: Athena reads tables and results as who asks"
    ),
    Grant("reader", LIST, ("the lake",), "on its own word: Athena lists a table's objects as who asks", IF_TABLES),
    Grant(
        "reader", LOCATE, ("the lake", "results bucket"), "on its own word: Athena looks where its results are to go"
    ),
    Grant("reader", WRITE, ("results",), "on its own word: Athena writes results as who asks"),
    Grant("reader", TAKE_BACK, ("results",), _PARTS),
    # S3's copies.
    Grant("replication", COPY_SETTINGS, ("the lake",), "on its own word: S3 looks what to copy"),
    Grant(
        "replication", READ_VERSIONS, ("critical",), "on its own word: S3 reads what cannot be made again; no landing"
    ),
    Grant("replication", COPY, ("replica",), "on its own word: S3 writes it to the other region"),
    # A deployment's tables.
    Grant("tables", FIND, ("staging catalogue",), "was it published?"),
    Grant("tables", CATALOGUE, ("staging catalogue",), "tables exist before they are first made"),
    Grant("tables", LOG, ("tables logs",), "on its own word: Lambda writes the function's log as the function"),
    # A data engineer: looks at everything, asks like a reader, and mends what no program may.
    Grant("engineer", LIST, ("the lake",), "verify, status, history"),
    Grant(
        "engineer",
        READ,
        ("any object",),
        "verify reads every object; landing and quarantine hold what is to be looked into",
    ),
    Grant(
        "engineer", LOCATE, ("the lake", "results bucket"), "on its own word: Athena looks where its results are to go"
    ),
    Grant("engineer", ASK, ("readers' work group",), "asks like a reader, with the same limit"),
    Grant("engineer", NAMED, ("readers' work group",), "the usual questions"),
    Grant("engineer", LOOK_UP, ("staging catalogue", "marts catalogue"), "`catalunya catalog check`"),
    Grant(
        "engineer",
        FIND,
        ("default database",),
        "on its own word: Athena asks for it, as who asks, with every statement",
    ),
    Grant("engineer", READ, ("results",), "on its own word: Athena reads results as who asks"),
    Grant("engineer", WRITE, ("results",), "on its own word: Athena writes results as who asks"),
    Grant("engineer", TAKE_BACK, ("results",), _PARTS),
    Grant("engineer", INVOKE, ("functions",), "on its own word: one table made anew, as Airflow would ask for it"),
    Grant("engineer", WATCH, ("CloudWatch",), "on its own word: dashboards and alarms"),
    Grant("engineer", SEARCH_LOGS, ("logs",), "on its own word: what a run said"),
    Grant("engineer", MEASURE_QUEUES, ("queues",), "on its own word: what waits, and what was given up on"),
    Grant(
        "engineer",
        WRITE,
        ("staging", "staging superseded", "staging quarantine", "ledger", "leases", "aside"),
        "`verify --repair` and `quarantine --replay`: nobody else may change an entry",
        IF_JUST_IDENTIFIED,
    ),
    Grant(
        "engineer",
        DELETE,
        ("landing", "staging", "marts", "superseded", "quarantine", "ledger", "leases"),
        "`verify --repair` takes away what it has set aside",
        IF_JUST_IDENTIFIED,
    ),
    Grant(
        "engineer",
        CATALOGUE,
        ("staging catalogue", "marts catalogue"),
        "`catalunya catalog sync`",
        IF_JUST_IDENTIFIED,
    ),
    Grant(
        "engineer",
        PARTITION,
        ("staging catalogue", "marts catalogue"),
        "`catalunya catalog sync`",
        IF_JUST_IDENTIFIED,
    ),
    Grant("engineer", NAME, ("readers' work group",), "`catalunya catalog sync`", IF_JUST_IDENTIFIED),
    # A lake under a key of its own (CATALUNYA_LAKE_KMS_KEY_ID); without one, these rows are empty.
    *(
        Grant(role, ENCRYPT, ("key",), "on its own word: objects under the lake's key", IF_BY_S3)
        for role in (
            "extractor",
            "transformer",
            "mart",
            "orchestrator",
            "monitoring",
            "reader",
            "replication",
            "engineer",
        )
    ),
)


def grants(role: str, table: Iterable[Grant] = TABLE) -> list[Grant]:
    """The rows of one role. Raises KeyError for a role that is not declared."""
    ROLES[role]
    return [grant for grant in table if grant.role == role]


def policy(role: str, names: Names, table: Iterable[Grant] = TABLE) -> Document:
    """What a role may do in one environment, as an IAM policy."""
    statements = [statement(grant, PLACES, names) for grant in grants(role, table)]
    return document(each for each in statements if each["Resource"])
