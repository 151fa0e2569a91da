"""Access as data: what a grant is, the places and conditions it may name, and the IAM statements that follow from it.

Plain dicts and no CDK, so that tests can evaluate them. Here: the places and conditions that the table of access uses, and the
translation to IAM. Not here: who may do what (`access.py`), who may assume which role (`trust.py`), the limits (`limits.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from catalunya.assets.graph.spec import FUNCTIONS, Layer
from catalunya.assets.record.answers import FOLDER as ANSWERS
from catalunya.assets.record.failing import FOLDER as ACKNOWLEDGED
from catalunya.assets.record.ledger import COMPACTED
from catalunya.assets.record.paths import DOCS, MANIFEST
from catalunya.assets.record.retention import SUPERSEDED
from catalunya.assets.record.source_checks import FOLDER as SOURCE_CHECKS
from catalunya.cdk.naming import ENGINEERS_DEPLOY, Names
from catalunya.io.warehouse.athena_build import FOLDER as CANDIDATES
from catalunya.ops.backup.store import BACKUPS
from catalunya.ops.watching.findings import FOLDER as WATCH

Statement = dict[str, Any]
Document = dict[str, Any]
Place = Callable[[Names], tuple[str, ...]]
"""The ARNs of one kind of resource in one environment."""

VERSION = "2012-10-17"
UNTESTED = "untested: "
"""How the reason of a grant begins that no test can exercise, because AWS itself uses the permission."""
CRITICAL = ("staging/", "marts/", f"{SUPERSEDED}/", "quarantine/", "_ledger/")
"""Folders that prod copies to the recovery region. Landing is not among them: it can be fetched again, and holds personal data."""
REPAIR = "repair-"
"""How a data engineer's session must be named to change anything."""


@dataclass(frozen=True)
class Condition:
    """When a grant holds: in words, and as IAM's operator -> key -> value."""

    words: str
    terms: Callable[[Names], Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Grant:
    """One row of the table: a role may call IAM actions (one or several) in some places, for a reason, on a condition."""

    role: str
    calls: str | tuple[str, ...]
    places: tuple[str, ...]
    why: str
    condition: Condition | None = None

    @property
    def actions(self) -> tuple[str, ...]:
        return (self.calls,) if isinstance(self.calls, str) else self.calls

    @property
    def is_tested(self) -> bool:
        """Whether a test runs the pipeline to show that this grant is needed."""
        return not self.why.startswith(UNTESTED)


IF_ABSENT = Condition("only if the object does not exist yet", lambda _: {"Null": {"s3:if-none-match": "false"}})
IF_TAGGED = Condition("only in a session tagged with its run", lambda _: {"StringLike": {"aws:RequestTag/run": "?*"}})
# Not by MFA: a session of an assumed role no longer carries it (IAM User Guide, Secure API access with MFA). The session's name is
# in `aws:userid`, and in CloudTrail.
IF_REPAIR = Condition(f"only in a session named {REPAIR}…", lambda _: {"StringLike": {"aws:userid": f"*:{REPAIR}*"}})
IF_TABLES = Condition(
    "only below staging/ and marts/", lambda _: {"StringLike": {"s3:prefix": ["staging/*", "marts/*"]}}
)
IF_THROUGH_S3 = Condition(
    "only through S3", lambda names: {"StringEquals": {"kms:ViaService": f"s3.{names.region}.amazonaws.com"}}
)


def _objects(*patterns: str) -> Place:
    return lambda names: tuple(f"{names.bucket_arn(names.data_bucket)}/{pattern}" for pattern in patterns)


def _tables(schema: str) -> Place:
    # Glue checks the permission on everything that a table is in.
    return lambda names: (
        names.catalog_arn,
        names.arn("glue", f"database/{names.database(schema)}"),
        names.arn("glue", f"table/{names.database(schema)}/*"),
    )


def _streams(*groups: str) -> tuple[str, ...]:
    """The streams of log groups, whose ARNs these are."""
    return tuple(f"{group}:*" for group in groups)


def _key(names: Names) -> tuple[str, ...]:
    key = names.settings.lake_kms_key_id if names.settings.lake_encryption == "aws:kms" else None
    if not key:
        return ()  # access to the bucket includes the account's own key for S3
    return (key if key.startswith("arn:") else names.arn("kms", f"key/{key}"),)


def _cdk_roles(names: Names) -> tuple[str, ...]:
    """The CDK's own roles, in any region: those that publish files, deploy, and look up."""
    kinds = ("deploy", "file-publishing", "lookup")
    return tuple(names.cdk_role_arn(f"{kind}-role") for kind in kinds)


PLACES: Mapping[str, Place] = MappingProxyType(
    {
        "the lake": lambda names: (names.bucket_arn(names.data_bucket),),
        **{str(layer): _objects(f"{layer}/*") for layer in Layer},
        "landing manifests": _objects(f"landing/*/{MANIFEST}"),
        **{f"{layer} ledger": _objects(f"_ledger/{layer}/*") for layer in (Layer.LANDING, Layer.STAGING)},
        **{f"{layer} entries": _objects(f"_ledger/{layer}/*.json") for layer in Layer},
        "merged ledgers": _objects(f"_ledger/*/{COMPACTED}"),
        "ledger": _objects("_ledger/*"),
        **{f"{layer} leases": _objects(f"_leases/{layer}/*") for layer in Layer},
        "leases": _objects("_leases/*"),
        "acknowledgements": _objects(f"{ACKNOWLEDGED}/*"),
        "source checks": _objects(f"{SOURCE_CHECKS}/*"),
        "watch": _objects(f"{WATCH}/*"),
        "public pages": lambda names: (f"{names.bucket_arn(names.data_bucket)}/{names.pages_folder}/*",),
        **{f"{layer} answers": _objects(f"{ANSWERS}/{layer}/*") for layer in FUNCTIONS},
        "answers": _objects(f"{ANSWERS}/*"),
        **{f"{layer} superseded": _objects(f"{SUPERSEDED}/{layer}/*") for layer in (Layer.STAGING, Layer.MARTS)},
        "superseded": _objects(f"{SUPERSEDED}/*"),
        **{f"{layer} quarantine": _objects(f"quarantine/{layer}/*") for layer in (Layer.STAGING, Layer.MARTS)},
        "quarantine": _objects("quarantine/*"),
        "candidates": _objects(f"{CANDIDATES}/*"),
        "dbt docs": _objects(f"{DOCS}/*"),
        "damaged objects": _objects("_aside/*"),
        "critical": _objects(*(f"{prefix}*" for prefix in CRITICAL)),
        "any object": _objects("*"),
        "results": lambda names: (f"{names.bucket_arn(names.results_bucket)}/*",),
        "results bucket": lambda names: (names.bucket_arn(names.results_bucket),),
        "mart results": lambda names: (f"{names.bucket_arn(names.mart_results_bucket)}/*",),
        "mart results bucket": lambda names: (names.bucket_arn(names.mart_results_bucket),),
        "backups": lambda names: (f"{names.bucket_arn(names.backup_bucket)}/*",),
        "backup records": lambda names: (f"{names.bucket_arn(names.backup_bucket)}/{BACKUPS}/*",),
        "backup bucket": lambda names: (names.bucket_arn(names.backup_bucket),),
        "replica": lambda names: (f"{names.bucket_arn(names.replica_bucket)}/*",),
        **{f"{schema} catalog": _tables(schema) for schema in ("staging", "marts", "candidates")},
        "default database": lambda names: (names.catalog_arn, names.arn("glue", "database/default")),
        "makers' work group": lambda names: (names.work_group_arn(names.work_group),),
        "readers' work group": lambda names: (names.work_group_arn(names.readers_work_group),),
        "functions": lambda names: tuple(names.arn("lambda", f"function:{name}") for _, name in names.functions()),
        "manifests queue": lambda names: (names.queue_arn(names.manifests_queue),),
        "dead functions queue": lambda names: (names.queue_arn(names.functions_dead_queue),),
        "queues": lambda names: tuple(names.queue_arn(queue) for queue in names.queues),
        **{
            f"{layer} logs": lambda names, layer=layer: _streams(names.log_group_arn(names.function_log_group(layer)))  # type: ignore[misc]
            for layer in FUNCTIONS
        },
        "tables logs": lambda names: _streams(names.log_group_arn(names.tables_log_group)),
        "Airflow logs": lambda names: _streams(names.log_group_arn(names.airflow_log_group)),
        "logs": lambda names: _streams(
            *(names.log_group_arn(names.function_log_group(layer)) for layer in FUNCTIONS),
            names.log_group_arn(names.airflow_log_group),
        ),
        # CloudWatch's metrics and dashboards have no ARNs to name, nor do lists of log groups, nor costs.
        "CloudWatch": lambda _: ("*",),
        "the account's costs": lambda _: ("*",),
        "alarms": lambda names: (names.arn("cloudwatch", f"alarm:{names.alarm('*')}"),),
        "alarms topic": lambda names: (names.arn("sns", names.topic),),
        "mart role": lambda names: (names.role_arn("mart"),),
        "CDK's roles": _cdk_roles,
        "CDK's roles in dev": lambda names: _cdk_roles(names) if names.env in ENGINEERS_DEPLOY else (),
        "key": _key,
    }
)
"""Where a grant may hold: the resources of `naming.py`, and the folders of the lake that the pipeline itself writes to."""


def statement(grant: Grant, places: Mapping[str, Place], names: Names) -> Statement:
    """A grant as a statement, named after its action and places. Raises KeyError for a place that is not declared."""
    words = re.findall(r"[A-Za-z0-9]+", f"{grant.actions[0].partition(':')[2]} {' '.join(grant.places)}")
    arns = dict.fromkeys(arn for place in grant.places for arn in places[place](names))
    condition = grant.condition.terms(names) if grant.condition else {}
    return allow("".join(word[0].upper() + word[1:] for word in words), grant.actions, arns, condition)


def allow(
    sid: str, actions: Iterable[str], resources: Iterable[str], condition: Mapping[str, Mapping[str, Any]] | None = None
) -> Statement:
    """A statement that allows."""
    return _statement(sid, "Allow", actions, resources, condition)


def deny(
    sid: str, actions: Iterable[str], resources: Iterable[str], condition: Mapping[str, Mapping[str, Any]] | None = None
) -> Statement:
    """A statement that no grant overrides."""
    return _statement(sid, "Deny", actions, resources, condition)


def _statement(
    sid: str,
    effect: str,
    actions: Iterable[str],
    resources: Iterable[str],
    condition: Mapping[str, Mapping[str, Any]] | None,
) -> Statement:
    found: Statement = {"Sid": sid, "Effect": effect, "Action": list(actions), "Resource": list(resources)}
    if condition:
        found["Condition"] = {operator: dict(terms) for operator, terms in condition.items()}
    return found


def document(statements: Iterable[Statement]) -> Document:
    """Statements as one policy."""
    return {"Version": VERSION, "Statement": list(statements)}
