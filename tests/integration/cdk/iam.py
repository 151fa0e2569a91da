"""IAM's evaluation rules, as far as our policies use them: whether policies, a boundary and a bucket's policy allow a request.

An unknown operator or key raises an error: an evaluator that denied what it does not understand would confirm every deny.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

KEYS = frozenset(
    {
        "aws:MultiFactorAuthAge",
        "aws:MultiFactorAuthPresent",
        "aws:PrincipalArn",
        "aws:PrincipalTag/x509Subject/CN",
        "aws:RequestTag/environment",
        "aws:RequestTag/run",
        "aws:RequestedRegion",
        "aws:ResourceTag/environment",
        "aws:SecureTransport",
        "aws:SourceAccount",
        "aws:SourceArn",
        "aws:TagKeys",
        "aws:userid",
        "events:source",
        "iam:PassedToService",
        "iam:PermissionsBoundary",
        "kms:ResourceAliases",
        "kms:ViaService",
        "s3:TlsVersion",
        "s3:if-none-match",
        "s3:prefix",
        "s3:x-amz-server-side-encryption",
        "s3:x-amz-server-side-encryption-customer-algorithm",
        "sts:ExternalId",
        "token.actions.githubusercontent.com:aud",
        "token.actions.githubusercontent.com:job_workflow_ref",
        "token.actions.githubusercontent.com:ref",
        "token.actions.githubusercontent.com:sub",
    }
)
Context = Mapping[str, str | list[str]]
ORDINARY: Context = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3", "aws:RequestedRegion": "eu-west-1"}


class UnknownError(Exception):
    """A policy uses something that is not implemented here."""


@dataclass(frozen=True)
class Request:
    """One action on one resource by a principal (an ARN, a service, a provider), with its condition keys."""

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)
    principal: str = "arn:aws:iam::123456789012:role/someone"

    @property
    def known(self) -> Context:
        return {**ORDINARY, "aws:PrincipalArn": self.principal, **self.context}


def allowed(
    request: Request,
    policies: Iterable[Mapping[str, Any]],
    *,
    boundary: Mapping[str, Any] | None = None,
    resource_policy: Mapping[str, Any] | None = None,
) -> bool:
    """Whether a role with these policies may do it: any deny wins; otherwise its own policies and the boundary must both allow it.

    Within one account. Of a bucket's policy only the denies count here, because ours allow roles nothing.
    """
    own = [each for policy in policies for each in matching(policy, request)]
    limits = matching(boundary, request) if boundary else []
    theirs = matching(resource_policy, request) if resource_policy else []
    if any(each["Effect"] == "Deny" for each in (*own, *limits, *theirs)):
        return False
    return any(each["Effect"] == "Allow" for each in own) and (
        boundary is None or any(each["Effect"] == "Allow" for each in limits)
    )


def trusts(policy: Mapping[str, Any], request: Request) -> bool:
    """Whether a trust policy lets the principal assume the role. AssumeRole with tags also needs TagSession: check both."""
    found = [each["Effect"] for each in matching(policy, request)]
    return "Allow" in found and "Deny" not in found


def matching(policy: Mapping[str, Any], request: Request) -> list[Mapping[str, Any]]:
    """The statements that apply to the request."""
    return [each for each in policy["Statement"] if _applies_to(each, request)]


def _applies_to(statement: Mapping[str, Any], request: Request) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Action", "NotAction", "Resource", "Principal", "Condition"}
    if unknown:
        raise UnknownError(f"elements {unknown} of {statement.get('Sid')}")
    # Evaluate the conditions of statements that do not match, too, so that any test finds what is unknown.
    conditions = [
        _holds(operator, key, wanted, request.known.get(key))
        for operator, terms in statement.get("Condition", {}).items()
        for key, wanted in terms.items()
    ]
    is_named = any(_acts(each, request.action) for each in _list(statement.get("Action", statement.get("NotAction"))))
    if is_named is ("NotAction" in statement):
        return False
    where = "Resource" not in statement or any(like(each, request.resource) for each in _list(statement["Resource"]))
    return where and _is_principal(statement.get("Principal"), request.principal) and all(conditions)


@cache
def _acts(pattern: str, action: str) -> bool:
    return like(pattern.lower(), action.lower())


def _is_principal(wanted: Any, found: str) -> bool:
    if wanted is None or wanted == "*":
        return True
    for kind, values in wanted.items():
        if kind not in ("AWS", "Service", "Federated"):
            raise UnknownError(f"principal {kind}")
        for value in _list(values):
            account = re.fullmatch(r"arn:aws:iam::(\d+):root", value)
            if value == found or (account and found.startswith(f"arn:aws:iam::{account[1]}:")):
                return True
    return False


def _holds(operator: str, key: str, wanted: Any, found: str | list[str] | None) -> bool:
    """One condition. With an absent key, a positive operator fails; a negated one and `…IfExists` succeed."""
    if key not in KEYS:
        raise UnknownError(f"condition key {key}")
    values = [str(each) for each in _list(wanted)]
    if operator == "Null":
        return (found is None) == (values == ["true"])
    if operator == "ForAllValues:StringEquals":
        return all(each in values for each in _list(found if found is not None else []))
    if operator == "ForAnyValue:StringEquals":
        return any(each in values for each in _list(found if found is not None else []))
    if isinstance(found, list):
        raise UnknownError(f"{operator} on many values of {key}")
    rules: Mapping[str, Callable[[str, str], bool]] = {
        "StringEquals": lambda want, is_: want == is_,
        "StringLike": like,
        "Bool": lambda want, is_: want.lower() == is_.lower(),
        "NumericLessThan": lambda want, is_: float(is_) < float(want),
        "ArnEquals": like,
        "ArnLike": like,
    }
    if operator == "StringNotEquals":
        return found is None or found not in values
    plain = operator.removesuffix("IfExists")
    if plain not in rules:
        raise UnknownError(f"operator {operator}")
    if found is None:
        return operator.endswith("IfExists")
    return any(rules[plain](want, found) for want in values)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern), re.DOTALL)


def like(pattern: str, value: str) -> bool:
    return _pattern(pattern).fullmatch(value) is not None
