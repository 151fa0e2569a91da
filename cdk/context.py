"""The values that a deployment takes from the CDK's context: their names, what they mean, and what is lost without them.

Each is `-c name=value` of the CDK's command, or the variable CATALUNYA_CDK_NAME; the variables of GitHub's environments have the same
names. This is the only list of them: the code cannot read another, docs/infrastructure.md shows it, and `deploy.yml` passes all of it.
Not here: what the values become (`deployment.py`, `trust.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from catalunya.io.errors import ConfigurationError

Context = Callable[[str], Any]
"""The value of a name in the CDK's context, or None."""

PREFIX = "CATALUNYA_CDK_"
NONE = "none"
"""The value that says that something is not wanted. An empty one says nothing: GitHub passes it for a variable that does not exist."""
NO_ACCOUNT = "0" * 12
"""The account of templates that are only looked at (`make synth`, `make plan`): nothing can be removed from it."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value: what it means, its default, or in words what happens `otherwise`, and what a deployment without it would remove."""

    meaning: str
    default: str | None = None
    otherwise: str = NONE
    removes: str = ""


VALUES: Mapping[str, Value] = MappingProxyType(
    {
        "account": Value(meaning="the AWS account", otherwise="the one of your credentials"),
        "region": Value(meaning="where everything is deployed", otherwise="`AWS_REGION`"),
        "replica_region": Value(
            meaning="the recovery region: where backups and prod's copies are, and where everything can be deployed if `region` is lost",
            otherwise="required",
        ),
        "github_subject": Value(
            meaning="how the `sub` of the repository's OIDC tokens begins: `repo:OWNER/NAME`, or `repo:OWNER@NUMBER/NAME@NUMBER` "
            "(GitHub: settings, Actions, OIDC)",
            otherwise="required",
        ),
        "environments": Value(meaning="the environments in this account", default="dev,prod"),
        "alarm_email": Value(
            meaning="address notified by alarms and the budget", removes="the subscriber of the alarms and the budget"
        ),
        "budget_dev": Value(meaning="USD per month in dev", default="5.75"),
        "budget_prod": Value(meaning="USD per month in prod", default="20.25"),
        "dashboards": Value(
            meaning="the environments with dashboards, and the metrics by table that only they show: an account's first three dashboards are free",
            default="prod",
        ),
        "portal": Value(
            meaning="the environments whose [public pages](portal.md) CloudFront publishes", default="dev,prod"
        ),
        "portal_domain": Value(meaning="the domain of prod's public pages", removes="the domain of the public pages"),
        "portal_certificate": Value(
            meaning="ARN of that domain's certificate in ACM, in us-east-1", otherwise="required with a domain"
        ),
        "owner": Value(meaning="value of the tag `owner`", default="data"),
        "cost_center": Value(meaning="value of the tag `cost-center`", default="open-data"),
        "reserved_concurrency": Value(
            meaning="`false` reserves no concurrency for the functions: in a new account, whose limit of 10 leaves none to reserve",
            default="true",
        ),
        "socrata_token_secret": Value(
            meaning="the Secrets Manager secret with the portal's application token, by its name below `{project}/{env}/`",
            removes="the portal's token",
        ),
        "hosts_secret": Value(
            meaning="the Secrets Manager secret whose text is the functions' `CATALUNYA_HOSTS` ([sources](sources.md)), by its name below "
            "`{project}/{env}/`",
            removes="tokens and pace of single hosts",
        ),
        "oidc_provider": Value(
            meaning="ARN of the account's provider for GitHub's tokens, if it already has one (there can be only one)",
            otherwise="created",
        ),
        "trust_anchor": Value(
            meaning="ARN of the trust anchor (IAM Roles Anywhere) that Airflow's certificate is signed under; `none`: any in the account",
            removes="the restriction to one trust anchor of who is Airflow",
        ),
        "readers": Value(
            meaning="comma-separated ARNs that may query the tables without MFA: a dashboard's role, which must exist already",
            removes="the access of dashboards",
        ),
        "monitors": Value(
            meaning="comma-separated ARNs that may monitor without MFA, which includes reading all layers: an alerting system's role, which must "
            "exist already",
            removes="the access of monitoring systems",
        ),
        "identity_center": Value(
            meaning="comma-separated names of permission sets of IAM Identity Center whose users count as people with MFA "
            "([access.md](access.md#a-data-engineer))",
            removes="the access of Identity Center's users",
        ),
        "package": Value(meaning="the functions' zip, if already built (`make lambda`)", otherwise="built"),
    }
)


def variable(name: str) -> str:
    """The variable that stands in for a value."""
    return f"{PREFIX}{name.upper()}"


def given(context: Context) -> Context:
    """The values by name, from the context, else from the variables, else the default; None for what is `none`, or none of these.

    The result raises KeyError for a name that is not declared. Raises ConfigurationError for a variable that is not.
    """
    unknown = sorted(each for each in os.environ if each.startswith(PREFIX) and each not in map(variable, VALUES))
    if unknown:
        raise ConfigurationError(
            f"{', '.join(unknown)}: expected variables that a deployment reads, listed in {PAGE}; unset or correct them"
        )

    def find(name: str) -> str | None:
        found = _found(context, name) or VALUES[name].default
        return None if found is None or found.lower() == NONE else found

    return find


def check_nothing_is_forgotten(context: Context, account: str) -> None:
    """Raises ConfigurationError if a value is not given without which a deployment to this account would take something away.

    A template cannot tell a value that is not wanted from one that was forgotten, and CloudFormation deletes what is no longer in it.
    """
    if account == NO_ACCOUNT:
        return
    forgotten = {name: value.removes for name, value in VALUES.items() if value.removes and not _found(context, name)}
    if forgotten:
        lost = ", ".join(f"{variable(name)} ({removes})" for name, removes in forgotten.items())
        raise ConfigurationError(
            f"not set, and this deployment would remove what they gave: {lost}; set each, or to `{NONE}` if it is not wanted"
        )


def _found(context: Context, name: str) -> str | None:
    """The value that was given, without the white space around it, which a form in the browser may add. None if there is nothing else."""
    VALUES[name]
    given = (context(name), os.environ.get(variable(name)))
    return next(filter(None, (str(found).strip() for found in given if found is not None)), None)


# The page

PAGE = "docs/infrastructure.md"
BEGIN, END = "<!-- the values of cdk/context.py, written by `make generate` -->", "<!-- end of the values -->"


def context_page(root: Path) -> str:
    """The page of a repository with today's values between its two marks; everything else on it is written by hand."""
    return between_marks(root / PAGE, BEGIN, _table(), END)


def between_marks(page: Path, begin: str, lines: Iterable[str], end: str) -> str:
    """The text of a page with these lines between its two marks. A page that does not exist consists of them alone."""
    before, _, rest = (page.read_text(encoding="utf-8") if page.exists() else "").partition(begin)
    return "\n".join([f"{before}{begin}", *lines, f"{end}{rest.partition(end)[2]}"])


def _table() -> Iterator[str]:
    yield from ("| name | meaning | default |", "| --- | --- | --- |")
    for name, value in VALUES.items():
        default = (
            f"`{value.default}`" if value.default else f"must be set, or `{NONE}`" if value.removes else value.otherwise
        )
        yield f"| `{name}` | {value.meaning} | {default} |"
