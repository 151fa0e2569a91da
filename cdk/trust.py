"""Who may become whom: the trust policies of the roles, as plain data.

GitHub's workflow proves who it is by OIDC: `aud` and `sub` are compared whole, no wildcard. The job of `deploy.yml` runs in a GitHub
environment, dev or prod, so its `sub` ends in `environment:NAME` and says nothing of the branch: that environment's own rule (deployments
from develop for dev, from main for prod, only) does the rest, and it is GitHub that holds to it; a pull request or a fork has another
`sub`, or none. New repositories have an immutable `sub`, with numbers in it, so what comes before is configuration.
Not here: what roles may do (`access.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from catalunya.cdk.naming import Names
from catalunya.cdk.policy import Document, Statement, document
from catalunya.io.errors import ConfigurationError

GITHUB = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"

_PEOPLE = "users of the account who are allowed to and have shown a second factor"
IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "extractor": "Lambda",
        "transformer": "Lambda",
        "tables": "Lambda",
        "replication": "S3, for this account",
        "mart": "the orchestrator, in a session that is tagged with its run and nothing else",
        "orchestrator": "IAM Roles Anywhere, for a certificate of the environment's Airflow under the account's trust anchor",
        "deployment": "GitHub's workflow in the environment's job, by OIDC: `aud` and `sub` compared whole",
        "monitoring": _PEOPLE,
        "engineer": _PEOPLE,
        "reader": f"{_PEOPLE}; and principals that a deployment names (`-c readers=…`), a dashboard's",
    }
)
"""Who may become a role, as `trust` says it to IAM."""


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """Whom the roles trust, beyond each other. See `read` for where each comes from."""

    subject: str
    provider: str | None = None
    trust_anchor: str | None = None
    readers: tuple[str, ...] = ()

    @classmethod
    def read(cls, context: Mapping[str, Any]) -> Trusted:
        """From the CDK's context (`-c name=value`).

        `github_subject` is what a token's `sub` begins with: `repo:OWNER/NAME`, or with numbers where the repository has an immutable one.
        `oidc_provider`: the ARN of the account's provider of GitHub's tokens, where it has one already; there can be only one.
        `trust_anchor`: the ARN of the anchor of IAM Roles Anywhere that Airflow's certificate is signed under.
        `readers`: ARNs, with commas between, of principals that may ask the tables without a second factor (a dashboard's).
        Raises ConfigurationError where the subject is missing or would match more than one repository, or an ARN is none.
        """
        subject = str(context.get("github_subject") or "")
        if not subject.startswith("repo:") or "/" not in subject or set("*?") & set(subject) or ":" in subject[5:]:
            raise ConfigurationError(
                f"-c github_subject={subject}: expected what the `sub` of the repository's tokens begins with, as in repo:OWNER/NAME "
                "or repo:OWNER@NUMBER/NAME@NUMBER, found none; GitHub shows it in the repository's settings, Actions, OIDC"
            )
        return cls(
            subject=subject,
            provider=_arn(context, "oidc_provider", r"arn:[\w-]+:iam::\d{12}:oidc-provider/[\w./-]+"),
            trust_anchor=_arn(context, "trust_anchor", r"arn:[\w-]+:rolesanywhere:[\w-]+:\d{12}:trust-anchor/[\w-]+"),
            readers=tuple(
                found
                for given in filter(None, str(context.get("readers") or "").split(","))
                if (found := _arn({"readers": given}, "readers", r"arn:[\w-]+:iam::\d{12}:(user|role)/[\w+=,.@/-]+"))
            ),
        )


def _arn(context: Mapping[str, Any], name: str, pattern: str) -> str | None:
    """What was given, if anything. A principal that is a pattern would be anybody, and one that is misspelt nobody."""
    given = str(context.get(name) or "").strip()
    if given and not re.fullmatch(pattern, given):
        raise ConfigurationError(
            f"-c {name}={given}: expected an ARN without a pattern in it ({pattern}), found another; correct it"
        )
    return given or None


def trust(role: str, names: Names, trusted: Trusted) -> Document:
    """The trust policy of a role. Raises KeyError for one that is not declared."""
    found: dict[str, Callable[[], list[Statement]]] = {
        "extractor": lambda: _service(names, "lambda.amazonaws.com"),
        "transformer": lambda: _service(names, "lambda.amazonaws.com"),
        "tables": lambda: _service(names, "lambda.amazonaws.com"),
        "replication": lambda: _service(names, "s3.amazonaws.com"),
        "mart": lambda: _airflow_for_a_run(names),
        "orchestrator": lambda: _airflow(names, trusted),
        "deployment": lambda: _workflow(names, trusted),
        "monitoring": lambda: _people(names),
        "engineer": lambda: _people(names),
        "reader": lambda: [*_people(names), *_readers(trusted)],
    }
    return document(found[role]())


def provider_arn(names: Names, trusted: Trusted) -> str:
    """The account's provider of GitHub's tokens."""
    return trusted.provider or f"arn:{names.partition}:iam::{names.account}:oidc-provider/{GITHUB}"


def subject(names: Names, trusted: Trusted) -> str:
    """The `sub` of the job that deploys an environment: the GitHub environment has the same name."""
    return f"{trusted.subject}:environment:{names.env}"


def _service(names: Names, service: str) -> list[Statement]:
    # Of our own account: a service that works for another one is not to be sent here.
    return [
        _allow(
            {"Service": service},
            ["sts:AssumeRole"],
            {} if service == "lambda.amazonaws.com" else {"StringEquals": {"aws:SourceAccount": names.account}},
        )
    ]


def _airflow_for_a_run(names: Names) -> list[Statement]:
    """Airflow, whose session says which run it is for, and nothing else."""
    return [
        _allow(
            {"AWS": names.role_arn(names.orchestrator_role)},
            ["sts:AssumeRole", "sts:TagSession"],
            {"StringLike": {"aws:RequestTag/run": "?*"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["run"]}},
        ),
        # Its session has a source identity (its certificate's name), which goes along; with this action IAM tells no tags.
        _allow({"AWS": names.role_arn(names.orchestrator_role)}, ["sts:SetSourceIdentity"], {}),
    ]


def _airflow(names: Names, trusted: Trusted) -> list[Statement]:
    """Airflow on its own premises has no role of a machine: a certificate in its name stands for one (IAM Roles Anywhere)."""
    anchors = f"arn:{names.partition}:rolesanywhere:{names.region}:{names.account}:trust-anchor/*"
    source = (
        {"ArnEquals": {"aws:SourceArn": trusted.trust_anchor}}
        if trusted.trust_anchor
        else {"ArnLike": {"aws:SourceArn": anchors}}
    )
    return [
        _allow(
            {"Service": "rolesanywhere.amazonaws.com"},
            ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
            {
                "StringEquals": {
                    "aws:SourceAccount": names.account,
                    "aws:PrincipalTag/x509Subject/CN": certificate_name(names),
                },
                **source,
            },
        )
    ]


def certificate_name(names: Names) -> str:
    """The common name in the certificate of an environment's Airflow."""
    return f"catalunya-airflow-{names.env}"


def _workflow(names: Names, trusted: Trusted) -> list[Statement]:
    return [
        _allow(
            {"Federated": provider_arn(names, trusted)},
            ["sts:AssumeRoleWithWebIdentity"],
            {"StringEquals": {f"{GITHUB}:aud": AUDIENCE, f"{GITHUB}:sub": subject(names, trusted)}},
        )
    ]


def _people(names: Names) -> list[Statement]:
    """Users of the account who may, and have shown a second factor. `Bool`, not `BoolIfExists`: keys alone say nothing of one."""
    return [
        _allow(
            {"AWS": f"arn:{names.partition}:iam::{names.account}:root"},
            ["sts:AssumeRole"],
            {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
        )
    ]


def _readers(trusted: Trusted) -> list[Statement]:
    return [_allow({"AWS": list(trusted.readers)}, ["sts:AssumeRole"], {})] if trusted.readers else []


def _allow(principal: Mapping[str, Any], actions: list[str], condition: Mapping[str, Any]) -> Statement:
    found: Statement = {"Effect": "Allow", "Principal": dict(principal), "Action": actions}
    return found | ({"Condition": dict(condition)} if condition else {})
