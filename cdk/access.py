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
from catalunya.cdk.policy import Document, Grant, Place, document, statement
from catalunya.cdk.vocabulary import (
    ASK,
    ASSUME,
    BECOME,
    CATALOG,
    COPY,
    COPY_SETTINGS,
    DELETE,
    ENCRYPT,
    EXPIRE,
    FIND,
    FIND_DATABASE,
    FIND_LOGS,
    IF_ABSENT,
    IF_BY_S3,
    IF_DOCS,
    IF_MENDING,
    IF_TABLES,
    IF_TAGGED,
    INVOKE,
    KNOW,
    LIST,
    LIST_PARTS,
    LOCATE,
    LOG,
    LOOK_UP,
    MEASURE_QUEUES,
    NAME,
    NAMED,
    PARTITION,
    PLACES,
    READ,
    READ_LOGS,
    READ_VERSIONS,
    RECEIVE,
    REGISTER,
    RENAME,
    SEARCH_LOGS,
    SEND,
    STAY,
    TAKE_BACK,
    VERSIONS,
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
        "engineer": "a data engineer",
    }
)
"""Each role and whose it is. All are of one environment, but for the engineer's, who has the same rows in each."""
OF_AN_ENVIRONMENT = tuple(role for role in ROLES if role != "engineer")

_404 = "S3 tells who may not list that an object is forbidden (403), not that it is absent (404), and the code asks for absent ones"
_ATHENA = "on its own word: Athena, as who asks,"
_DEFAULT = f"{_ATHENA} asks for it with every statement"
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
    Grant("transformer", FIND, ("staging catalog",), "does Glue say what was recorded?"),
    Grant("transformer", CATALOG, ("staging catalog",), "Glue is told of what was recorded"),
    Grant(
        "transformer", PARTITION, ("staging catalog",), "of tables whose partitions Athena cannot work out by itself"
    ),
    Grant("transformer", LOG, ("staging logs",), "on its own word: Lambda writes the function's log as the function"),
    Grant("transformer", SEND, ("dead functions queue",), "on its own word: Lambda keeps lost events as the function"),
    # The mart role: one mart, from staging and other marts, by way of a candidate.
    Grant("mart", LIST, ("the lake",), _404),
    Grant(
        "mart",
        READ,
        ("marts", "candidates", "ledger", "marts leases", "landing manifests"),
        "the mart as it was, the candidate, and whether what it is made from is as it should be; no raw rows",
    ),
    Grant("mart", READ, ("staging", "dbt results"), f"{_ATHENA} reads what a statement names, and its results"),
    Grant(
        "mart",
        WRITE,
        ("marts", "marts superseded", "marts leases", "candidates"),
        f"the candidate, then the mart, what it replaces; {_LEASE}",
    ),
    Grant("mart", WRITE, ("dbt results",), f"{_ATHENA} writes results"),
    Grant(
        "mart",
        WRITE,
        ("marts quarantine",),
        "on its own word: rows that break the contract of a mart that tolerates any",
    ),
    Grant("mart", TAKE_BACK, ("marts", "marts quarantine", "candidates", "dbt results"), _PARTS),
    Grant("mart", DELETE, ("marts", "marts leases", "candidates"), "the candidate, afterwards; leases that ended"),
    Grant("mart", WRITE, ("marts entries",), _RECORD, IF_ABSENT),
    Grant("mart", LOCATE, ("the lake",), f"{_ATHENA} looks where its results are to go"),
    Grant(
        "mart",
        LOOK_UP,
        ("staging catalog", "marts catalog", "candidates catalog"),
        f"{_ATHENA} finds what a statement names; dbt and the pipeline find tables too",
    ),
    Grant("mart", FIND_DATABASE, ("default database",), _DEFAULT),
    Grant(
        "mart", REGISTER, ("staging catalog",), "a table to read that Glue could not be told of when it was published"
    ),
    Grant("mart", CATALOG, ("marts catalog", "candidates catalog"), "candidates come and go; Glue is told of marts"),
    Grant("mart", PARTITION, ("marts catalog",), "of marts that are partitioned: none is now, any may be"),
    Grant(
        "mart",
        PARTITION,
        ("candidates catalog",),
        "of candidates: a mart that goes on replaces partitions of its own",
    ),
    Grant("mart", VERSIONS, ("candidates catalog",), "dbt counts former versions of what it changes"),
    Grant(
        "mart", EXPIRE, ("candidates catalog",), "on its own word: dbt does away with former versions beyond a number"
    ),
    Grant("mart", ASK, ("makers' work group",), "dbt's statements, and the reading of rows that failed a test"),
    Grant("mart", KNOW, ("makers' work group",), "does the group say where results go? dbt asks"),
    # Airflow: asks functions, becomes the mart role, watches, prunes, backs up.
    Grant("orchestrator", INVOKE, ("functions",), "on its own word: `dags/functions.py` has landing and staging made"),
    Grant("orchestrator", BECOME, ("mart role",), "a mart is made under its own role", IF_TAGGED),
    # IAM Roles Anywhere names the session's source by its certificate, and who goes on to another role takes that along. In a row of
    # its own: of this action IAM knows no tags.
    Grant("orchestrator", STAY, ("mart role",), "its certificate's name goes along, into CloudTrail"),
    Grant(
        "orchestrator",
        RECEIVE,
        ("manifests queue",),
        "on its own word: batches landed by others wake tables (`dags/build.py`)",
    ),
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
        ("staging", "marts", "superseded", "quarantine"),
        "backups copy what tables are; no raw rows",
    ),
    Grant("orchestrator", READ, ("backups",), "backups are incremental, and those of a while ago go"),
    Grant("orchestrator", WRITE, ("backups",), "backups"),
    Grant("orchestrator", TAKE_BACK, ("backups",), _PARTS),
    Grant("orchestrator", DELETE, ("backups",), "backups that had their time"),
    Grant("orchestrator", LOG, ("Airflow logs",), "Airflow's remote logs of its tasks"),
    Grant(
        "orchestrator",
        FIND_LOGS,
        ("CloudWatch",),
        "is there a log group? what writes Airflow's logs would make one else",
    ),
    Grant("orchestrator", READ_LOGS, ("Airflow logs",), "Airflow shows them again"),
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
    Grant("deployment", ASSUME, ("CDK's roles",), "on its own word: `cdk deploy`"),
    Grant("deployment", LIST, ("the lake",), "on its own word: `aws s3 sync` compares", IF_DOCS),
    Grant("deployment", WRITE, ("dbt docs",), "on its own word: the marts' manifest and documentation"),
    # Asking: docs/athena.md.
    Grant("reader", ASK, ("readers' work group",), "`catalunya query`, or any client of Athena"),
    Grant(
        "reader", KNOW, ("readers' work group",), "on its own word: Athena's console and drivers ask what the group is"
    ),
    Grant("reader", NAMED, ("readers' work group",), "the usual questions"),
    Grant("reader", LOOK_UP, ("staging catalog", "marts catalog"), f"{_ATHENA} finds what a statement names"),
    Grant("reader", FIND_DATABASE, ("default database",), _DEFAULT),
    Grant("reader", READ, ("staging", "marts", "results"), f"{_ATHENA} reads tables, and results"),
    Grant("reader", LIST, ("the lake",), f"{_ATHENA} lists a table's objects", IF_TABLES),
    Grant("reader", LOCATE, ("the lake", "results bucket"), f"{_ATHENA} looks where its results are to go"),
    Grant("reader", WRITE, ("results",), f"{_ATHENA} writes results"),
    Grant("reader", LIST_PARTS, ("results",), f"{_ATHENA} writes large results in parts"),
    Grant("reader", TAKE_BACK, ("results",), _PARTS),
    # S3's copies.
    Grant("replication", COPY_SETTINGS, ("the lake",), "on its own word: S3 looks what to copy"),
    Grant(
        "replication", READ_VERSIONS, ("critical",), "on its own word: S3 reads what cannot be made again; no landing"
    ),
    Grant("replication", COPY, ("replica",), "on its own word: S3 writes it to the other region"),
    # A deployment's tables.
    Grant("tables", FIND, ("staging catalog",), "was it published?"),
    Grant("tables", CATALOG, ("staging catalog",), "tables exist before they are first made"),
    Grant("tables", LOG, ("tables logs",), "on its own word: Lambda writes the function's log as the function"),
    # A data engineer: looks at everything, asks like a reader, and mends what no program may.
    Grant("engineer", LIST, ("the lake", "backup bucket"), "verify, status, history, `backup list`"),
    Grant("engineer", READ, ("backups",), "`backup check` and `restore`"),
    Grant(
        "engineer",
        READ,
        ("any object",),
        "verify reads every object; landing and quarantine hold what is to be looked into",
    ),
    Grant("engineer", ASK, ("readers' work group",), "asks like a reader, with the same limit"),
    Grant(
        "engineer",
        KNOW,
        ("readers' work group",),
        "on its own word: Athena's console and drivers ask what the group is",
    ),
    Grant("engineer", NAMED, ("readers' work group",), "the usual questions"),
    Grant(
        "engineer",
        LOOK_UP,
        ("staging catalog", "marts catalog"),
        f"{_ATHENA} finds tables; `catalog check` does too",
    ),
    Grant("engineer", FIND_DATABASE, ("default database",), _DEFAULT),
    Grant("engineer", LOCATE, ("the lake", "results bucket"), f"{_ATHENA} looks where its results are to go"),
    Grant("engineer", READ, ("results",), f"{_ATHENA} reads results"),
    Grant("engineer", WRITE, ("results",), f"{_ATHENA} writes results"),
    Grant("engineer", LIST_PARTS, ("results",), f"{_ATHENA} writes large results in parts"),
    Grant("engineer", TAKE_BACK, ("results",), _PARTS),
    Grant("engineer", INVOKE, ("functions",), "on its own word: one table made anew, as Airflow would ask for it"),
    Grant("engineer", WATCH, ("CloudWatch",), "on its own word: dashboards and alarms"),
    Grant("engineer", SEARCH_LOGS, ("logs",), "on its own word: what a run said"),
    Grant("engineer", MEASURE_QUEUES, ("queues",), "on its own word: what waits, and what was given up on"),
    Grant(
        "engineer",
        WRITE,
        ("staging", "marts", "superseded", "quarantine", "ledger", "leases", "aside"),
        "`restore`, `verify --repair`, `quarantine --replay`: nobody else may change an entry",
        IF_MENDING,
    ),
    Grant("engineer", TAKE_BACK, ("staging", "marts", "superseded", "quarantine"), _PARTS, IF_MENDING),
    Grant(
        "engineer",
        DELETE,
        ("landing", "staging", "marts", "superseded", "ledger", "leases"),
        "`verify --repair` takes away what it has set aside, `restore` what the backup has not",
        IF_MENDING,
    ),
    Grant("engineer", CATALOG, ("staging catalog", "marts catalog"), "`catalunya catalog sync`", IF_MENDING),
    Grant("engineer", PARTITION, ("staging catalog", "marts catalog"), "`catalunya catalog sync`", IF_MENDING),
    Grant("engineer", NAME, ("readers' work group",), "`catalunya catalog sync`", IF_MENDING),
    Grant("engineer", RENAME, ("readers' work group",), "on its own word: `catalunya catalog sync`", IF_MENDING),
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


def policy(role: str, names: Names, table: Iterable[Grant] = TABLE, places: Mapping[str, Place] = PLACES) -> Document:
    """What a role may do in one environment, as an IAM policy."""
    statements = [statement(grant, places, names) for grant in grants(role, table)]
    return document(each for each in statements if each["Resource"])


def engineer_policies(names: Names) -> dict[str, Document]:
    """The engineer's in two, by name: together they are larger than IAM takes a policy."""
    mend = [grant for grant in TABLE if grant.condition is IF_MENDING]
    look = [grant for grant in TABLE if grant.condition is not IF_MENDING]
    return {name: policy("engineer", names, table) for name, table in (("look", look), ("mend", mend))}
