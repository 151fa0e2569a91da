"""Who may assume which role: the trust policies, as plain data.

GitHub's workflow proves its identity by OIDC: `aud` and `sub` are compared in full, without wildcards. The job of `deploy.yml` runs in
a GitHub environment, dev or prod, so its `sub` ends in `environment:NAME` and does not name the branch. The environment's own rule
(deployments from develop only for dev, from main only for prod) covers that, and GitHub enforces it; a pull request or a fork has a
different `sub`, or none. New repositories have an immutable `sub` with numbers in it, so what precedes the environment is configuration.
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

_PEOPLE = "users of the account who are permitted to, with MFA"
IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "extractor": "Lambda",
        "transformer": "Lambda",
        "tables": "Lambda",
        "replication": "S3, for this account",
        "mart": "the orchestrator, in a session tagged with its run and nothing else",
        "orchestrator": "IAM Roles Anywhere, for a certificate of the environment's Airflow under the account's trust anchor",
        "deployment": "GitHub's workflow in the environment's job, by OIDC: `aud` and `sub` compared in full",
        "monitoring": _PEOPLE,
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

    @classmethod
    def read(cls, context: Mapping[str, Any]) -> Trusted:
        """From the CDK's context (`-c name=value`).

        `github_subject`: how a token's `sub` begins: `repo:OWNER/NAME`, with numbers if the repository's is immutable.
        `oidc_provider`: the ARN of the account's provider for GitHub's tokens, if it already has one; there can be only one.
        `trust_anchor`: the ARN of the IAM Roles Anywhere trust anchor that Airflow's certificate is signed under.
        `readers`: comma-separated ARNs of principals that may query the tables without MFA (a dashboard's).
        Raises ConfigurationError if the subject is missing or would match more than one repository, or an ARN is not one.
        """
        subject = str(context.get("github_subject") or "")
        if not subject.startswith("repo:") or "/" not in subject or set("*?") & set(subject) or ":" in subject[5:]:
            raise ConfigurationError(
                f"-c github_subject={subject}: expected the beginning of the `sub` in the repository's tokens, such as repo:OWNER/NAME "
                "or repo:OWNER@NUMBER/NAME@NUMBER; GitHub shows it in the repository's settings, Actions, OIDC"
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
    """The ARN that was given, if any. A wildcard would match anyone, and a misspelled ARN no one."""
    given = str(context.get(name) or "").strip()
    if given and not re.fullmatch(pattern, given):
        raise ConfigurationError(f"-c {name}={given}: expected an ARN without wildcards, matching {pattern}")
    return given or None


def trust(role: str, names: Names, trusted: Trusted) -> Document:
    """The trust policy of a role. Raises KeyError for a role that is not declared."""
    assume = ["sts:AssumeRole"]
    # `Bool`, not `BoolIfExists`: requests signed with access keys lack the key altogether.
    mfa = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    people = _allow({"AWS": f"arn:{names.partition}:iam::{names.account}:root"}, assume, mfa)
    match role:
        case "extractor" | "transformer" | "tables":
            statements = [_allow({"Service": "lambda.amazonaws.com"}, assume)]
        case "replication":
            # S3 works for other accounts too, and must not be tricked into using this role for them.
            ours = {"StringEquals": {"aws:SourceAccount": names.account}}
            statements = [_allow({"Service": "s3.amazonaws.com"}, assume, ours)]
        case "mart":
            airflow = {"AWS": names.role_arn(names.role("orchestrator"))}
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
            # GitHub's environment has the same name as ours.
            job = {f"{GITHUB}:aud": AUDIENCE, f"{GITHUB}:sub": f"{trusted.subject}:environment:{names.env}"}
            statements = [_allow({"Federated": provider}, ["sts:AssumeRoleWithWebIdentity"], {"StringEquals": job})]
        case "monitoring" | "engineer":
            statements = [people]
        case "reader":
            named = [_allow({"AWS": list(trusted.readers)}, assume)] if trusted.readers else []
            statements = [people, *named]
        case _:
            raise KeyError(role)
    return document(statements)


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
    return found | ({"Condition": dict(condition)} if condition else {})
