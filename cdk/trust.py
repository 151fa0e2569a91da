"""Who may assume which role: the trust policies, as plain data.

GitHub's workflow proves its identity by OIDC, and its claims are compared in full, without wildcards. The job of `deploy.yml` runs in a
GitHub environment, dev or prod, so its `sub` ends in `environment:NAME` and does not name the branch: any branch may say
`environment: prod`. So `ref` must be the environment's branch too, and `job_workflow_ref` the workflow on that branch (STS compares both
since January 2026). New repositories have an immutable `sub` with numbers in it, so what precedes the environment is configuration.
People prove themselves by MFA, of the last hour; users of IAM Identity Center by its own MFA, which IAM cannot see.
Not here: what roles may do (`access.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from catalunya.cdk.naming import Names
from catalunya.cdk.policy import Document, Statement, document
from catalunya.io.errors import ConfigurationError

GITHUB = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
BRANCHES: Mapping[str, str] = MappingProxyType({"dev": "develop", "prod": "main"})
"""The branch that each environment is deployed from."""
WORKFLOW = ".github/workflows/deploy.yml"
"""The workflow that deploys, below the repository."""
MFA_SECONDS = 3600
"""How old a person's MFA may be when a session begins."""
# Not `…IfExists`: requests signed with access keys lack both keys altogether.
BY_MFA: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "Bool": {"aws:MultiFactorAuthPresent": "true"},
        "NumericLessThan": {"aws:MultiFactorAuthAge": str(MFA_SECONDS)},
    }
)
"""The condition on a user of the account."""

# A pattern, and the same in words.
_PRINCIPAL = (
    r"arn:[\w-]+:iam::\d{12}:(user|role)/[\w+=,.@/-]+",
    "the ARN of a role or user, as arn:aws:iam::ACCOUNT:role/NAME",
)
_PROVIDER = (
    rf"arn:[\w-]+:iam::\d{{12}}:oidc-provider/{re.escape(GITHUB)}",
    f"an ARN as arn:aws:iam::ACCOUNT:oidc-provider/{GITHUB}",
)
_ANCHOR = (
    r"arn:[\w-]+:rolesanywhere:[\w-]+:\d{12}:trust-anchor/[\w-]+",
    "an ARN as arn:aws:rolesanywhere:REGION:ACCOUNT:trust-anchor/ID",
)
_PERMISSION_SET = (r"[\w+=,.@-]{1,32}", "the name of a permission set: 1 to 32 letters, digits, and + = , . @ - _")
_PEOPLE = "users of the account who are permitted to, with MFA of the last hour; users of named permission sets of IAM Identity Center"
IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "extractor": "Lambda",
        "transformer": "Lambda",
        "tables": "Lambda",
        "replication": "S3, for this account",
        "mart": "the orchestrator, in a session tagged with its run and nothing else",
        "orchestrator": "IAM Roles Anywhere, for a certificate of the environment's Airflow under the account's trust anchor",
        "deployment": f"GitHub's `{WORKFLOW}` on the environment's branch, in the environment's job, by OIDC: `aud`, `sub`, `ref` and "
        "`job_workflow_ref` compared in full",
        "monitoring": f"{_PEOPLE}; and principals named at deployment (`-c monitors=…`), such as an alerting system's",
        "engineer": _PEOPLE,
        "reader": f"{_PEOPLE}; and principals named at deployment (`-c readers=…`), such as a dashboard's",
    }
)
"""Who may assume a role: `trust` in words."""


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """The principals outside the project that roles trust. See `read` for where each comes from."""

    subject: str
    provider: str | None = None
    trust_anchor: str | None = None
    readers: tuple[str, ...] = ()
    monitors: tuple[str, ...] = ()
    permission_sets: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        """OWNER/NAME, as the other claims have it: without the numbers that the subject of a new repository has."""
        return re.sub(r"@\d+", "", self.subject.removeprefix("repo:"))

    @classmethod
    def read(cls, context: Mapping[str, Any]) -> Trusted:
        """From the CDK's context (`-c name=value`).

        `github_subject`: how a token's `sub` begins: `repo:OWNER/NAME`, with numbers if the repository's is immutable.
        `oidc_provider`: the ARN of the account's provider for GitHub's tokens, if it already has one; there can be only one.
        `trust_anchor`: the ARN of the IAM Roles Anywhere trust anchor that Airflow's certificate is signed under.
        `readers`: comma-separated ARNs of principals that may query the tables without MFA (a dashboard's).
        `monitors`: the same for monitoring (a monitoring or alerting system's).
        `identity_center`: comma-separated names of permission sets whose users count as people with MFA.
        Raises ConfigurationError if the subject is missing or would match more than one repository, an ARN is not one, or a permission
        set has a wildcard.
        """
        subject = str(context.get("github_subject") or "")
        if not re.fullmatch(r"repo:[\w.-]+(@\d+)?/[\w.-]+(@\d+)?", subject):
            raise ConfigurationError(
                f"-c github_subject={subject}: expected the beginning of the `sub` in the repository's tokens, such as repo:OWNER/NAME "
                "or repo:OWNER@NUMBER/NAME@NUMBER; GitHub shows it in the repository's settings, Actions, OIDC"
            )
        return cls(
            subject=subject,
            provider=_matching(context, "oidc_provider", _PROVIDER),
            trust_anchor=_matching(context, "trust_anchor", _ANCHOR),
            readers=_each(context, "readers", _PRINCIPAL),
            monitors=_each(context, "monitors", _PRINCIPAL),
            permission_sets=_each(context, "identity_center", _PERMISSION_SET),
        )


def _each(context: Mapping[str, Any], name: str, shape: tuple[str, str]) -> tuple[str, ...]:
    """The comma-separated values that were given, each once."""
    given = filter(None, str(context.get(name) or "").split(","))
    return tuple(dict.fromkeys(found for each in given if (found := _matching({name: each}, name, shape))))


def _matching(context: Mapping[str, Any], name: str, shape: tuple[str, str]) -> str | None:
    """The value that was given, if any. A wildcard would match anyone, and a misspelled ARN no one."""
    given = str(context.get(name) or "").strip()
    pattern, expected = shape
    if given and not re.fullmatch(pattern, given, flags=re.ASCII):
        raise ConfigurationError(f"-c {name}={given}: expected {expected}; wildcards are not allowed")
    return given or None


def trust(role: str, names: Names, trusted: Trusted) -> Document:
    """The trust policy of a role. Raises KeyError for a role that is not declared."""
    assume = ["sts:AssumeRole"]
    match role:
        case "extractor" | "transformer" | "tables":
            statements = [_allow({"Service": "lambda.amazonaws.com"}, assume)]
        case "replication":
            # S3 works for other accounts too, and must not be tricked into using this role for them.
            ours = {"StringEquals": {"aws:SourceAccount": names.account}}
            statements = [_allow({"Service": "s3.amazonaws.com"}, assume, ours)]
        case "mart":
            airflow = {"AWS": names.role_arn("orchestrator")}
            run = {"StringLike": {"aws:RequestTag/run": "?*"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["run"]}}
            statements = [
                _allow(airflow, [*assume, "sts:TagSession"], run),
                # The session's source identity (the certificate's name) is carried over; IAM has no tags to check for this action.
                _allow(airflow, ["sts:SetSourceIdentity"]),
            ]
        case "orchestrator":
            statements = [_airflow(names, trusted)]
        case "deployment":
            provider = trusted.provider or f"arn:{names.partition}:iam::{names.account}:oidc-provider/{GITHUB}"
            ref = f"refs/heads/{BRANCHES[names.env]}"
            # `StringEquals` fails if a claim is absent; `ForAllValues:` would hold. GitHub's environment has the same name as ours.
            claims = {
                "aud": AUDIENCE,
                "sub": f"{trusted.subject}:environment:{names.env}",
                "ref": ref,
                "job_workflow_ref": f"{trusted.repository}/{WORKFLOW}@{ref}",
            }
            job = {f"{GITHUB}:{claim}": value for claim, value in claims.items()}
            statements = [_allow({"Federated": provider}, ["sts:AssumeRoleWithWebIdentity"], {"StringEquals": job})]
        case "engineer":
            statements = _people(names, trusted)
        case "monitoring" | "reader":
            systems = trusted.monitors if role == "monitoring" else trusted.readers
            named = [_allow({"AWS": list(systems)}, assume)] if systems else []
            statements = [*_people(names, trusted), *named]
        case _:
            raise KeyError(role)
    return document(statements)


def _people(names: Names, trusted: Trusted) -> list[Statement]:
    """Users of the account with MFA, and users of the permission sets that were named. Each also needs a policy of their own for it."""
    account = {"AWS": f"arn:{names.partition}:iam::{names.account}:root"}
    statements = [_allow(account, ["sts:AssumeRole"], BY_MFA)]
    if trusted.permission_sets:
        # The role's path names Identity Center's region, except for North Virginia, and its name ends in a suffix that changes (IAM
        # Identity Center User Guide, Referencing permission sets). Only Identity Center creates roles below /aws-reserved/.
        start = f"arn:{names.partition}:iam::{names.account}:role/aws-reserved/sso.amazonaws.com"
        roles = [f"{start}*/AWSReservedSSO_{name}_*" for name in trusted.permission_sets]
        statements.append(_allow(account, ["sts:AssumeRole"], {"ArnLike": {"aws:PrincipalArn": roles}}))
    return statements


def _airflow(names: Names, trusted: Trusted) -> Statement:
    """Airflow runs outside AWS, without a machine role: it has a certificate instead (IAM Roles Anywhere)."""
    source = (
        {"ArnEquals": {"aws:SourceArn": trusted.trust_anchor}}
        if trusted.trust_anchor
        else {"ArnLike": {"aws:SourceArn": names.arn("rolesanywhere", "trust-anchor/*")}}
    )
    certificate = {"aws:SourceAccount": names.account, "aws:PrincipalTag/x509Subject/CN": names.certificate}
    return _allow(
        {"Service": "rolesanywhere.amazonaws.com"},
        ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
        {"StringEquals": certificate, **source},
    )


def _allow(principal: Mapping[str, Any], actions: list[str], condition: Mapping[str, Any] | None = None) -> Statement:
    found: Statement = {"Effect": "Allow", "Principal": dict(principal), "Action": actions}
    # A copy, inner mappings too: who changes a document changes no other one.
    own = {operator: dict(terms) for operator, terms in (condition or {}).items()}
    return found | ({"Condition": own} if own else {})
