"""What a deployment decides and the graph does not: account, regions, addresses, and the sizes of dev and prod.

Here: reading the context's values, with the errors of each, and sizes as data. Not here: which values there are (`context.py`), names
(`naming.py`), what is built from it (`stacks.py`). No account and no region is in the code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from catalunya.assets.graph.spec import Layer
from catalunya.cdk.context import NO_ACCOUNT, VALUES, Context, check_nothing_is_forgotten, given, variable
from catalunya.cdk.trust import Trusted
from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError
from catalunya.io.project_folder import active

TRUSTED = ("github_subject", "oidc_provider", "trust_anchor", "readers", "monitors", "identity_center")
"""What `trust.py` reads from the context."""

_ACCOUNT = (r"\d{12}", "12 digits")
_REGION = (r"[a-z]{2}(-[a-z]+)+-\d+", "the code of a region, as in AWS_REGION")
_EMAIL = (r"[^\s@,;<>\"']+@[^\s@,;<>\"']+", "one address; for several people, that of a mailing list")
_DOMAIN = (r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", "a domain, such as dades.example.org")
_CERTIFICATE = (
    r"arn:[\w-]+:acm:us-east-1:\d{12}:certificate/[\w-]+",
    "the ARN of a certificate in us-east-1, where CloudFront looks for it",
)
# AWS Tagging guide, Tag naming limits and requirements.
_TAG = (r"[\w .:/=+@-]{1,256}", "1 to 256 letters, digits, spaces, and . : / = + - @ _")


@dataclass(frozen=True, kw_only=True)
class Size:
    """What one invocation of a function gets."""

    memory_mb: int
    timeout_s: int
    disk_mb: int


FUNCTION_SIZES: Mapping[Layer, Size] = MappingProxyType(
    {
        # An extraction waits for the source: it needs time rather than memory. A file by URL is on its disk as a whole.
        Layer.LANDING: Size(memory_mb=1024, timeout_s=900, disk_mb=4096),
        # Memory buys CPU: 1,769 MB is one vCPU.
        Layer.STAGING: Size(memory_mb=3008, timeout_s=900, disk_mb=2048),
    }
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The sizes of an environment: USD per month, and the GB that one reader's query, or all of them in a day, may scan.

    `warns_early`: it also has the alarms for what may become a failure, and one for each kind of finding in place of one for all that is urgent.
    Each costs 0.10 USD a month.
    """

    budget_usd: float
    log_days: int
    is_replicated: bool
    is_protected: bool
    warns_early: bool
    query_scan_gb: int = 1
    daily_scan_gb: int = 50


def _usd(env: str) -> float:
    return float(VALUES[f"budget_{env}"].default or 0)


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "dev": Profile(budget_usd=_usd("dev"), log_days=30, is_replicated=False, is_protected=False, warns_early=False),
        "prod": Profile(budget_usd=_usd("prod"), log_days=365, is_replicated=True, is_protected=True, warns_early=True),
    }
)


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain of one's own, and its certificate in ACM."""

    name: str
    certificate: str


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The settings of a deployment, from the values of `context.py`."""

    account: str
    region: str
    replica_region: str
    is_home: bool
    environments: tuple[str, ...]
    package: Path
    alarm_email: str | None
    owner: str
    cost_center: str
    reserves_concurrency: bool
    token_secret: str | None
    hosts_secret: str | None
    budgets: Mapping[str, float]
    dashboards: frozenset[str]
    portal: frozenset[str]
    domain: Domain | None
    trusted: Trusted

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions in which the project has resources."""
        return tuple(dict.fromkeys((self.region, self.replica_region)))

    @classmethod
    def read(cls, context: Context, make_package: Callable[[], Path]) -> Deployment:
        """From the context, else from variables; without `-c package` the functions' zip is built.

        Raises ConfigurationError that names what is missing and how to set it.
        """
        raw, context = context, given(context)
        account = _like(_ACCOUNT, "account", _required(context, "account", "CDK_DEFAULT_ACCOUNT"))
        check_nothing_is_forgotten(raw, account)
        environments = _environments(context, "environments")
        if not environments:
            raise ConfigurationError(f"-c environments: expected some of {', '.join(PROFILES)}, found nothing")
        region = _required(context, "region", "CDK_DEFAULT_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
        region = _like(_REGION, "region", region)
        is_home = load_settings().site == "home"
        replica = str(context("replica_region") or "") if is_home else region
        if is_home and replica in ("", region):
            raise ConfigurationError(
                f"backups and copies need a second region, other than {region}; found {replica or 'none'}: add -c replica_region=REGION"
            )
        package = context("package")
        if package and not Path(package).is_file():
            raise ConfigurationError(
                f"-c package={package}: there is no such file; build it with `make lambda`, or leave this out"
            )
        trusted = Trusted.read({name: context(name) for name in TRUSTED})
        if account != NO_ACCOUNT:
            _check_place("trust_anchor", trusted.trust_anchor, account, region)
            _check_place("oidc_provider", trusted.provider, account, "")
        return cls(
            account=account,
            region=region,
            replica_region=_like(_REGION, "replica_region", replica),
            is_home=is_home,
            environments=environments,
            alarm_email=_optional(_EMAIL, context, "alarm_email"),
            owner=_like(_TAG, "owner", context("owner") or ""),
            cost_center=_like(_TAG, "cost_center", context("cost_center") or ""),
            reserves_concurrency=_flag(context, "reserved_concurrency"),
            token_secret=_optional(_secret(), context, "socrata_token_secret"),
            hosts_secret=_optional(_secret(), context, "hosts_secret"),
            trusted=trusted,
            portal=frozenset(_environments(context, "portal")),
            domain=_domain(context),
            dashboards=frozenset(_environments(context, "dashboards")),
            budgets={env: _money(context, f"budget_{env}") for env in environments},
            package=Path(package) if package else make_package(),
        )


def _required(context: Context, name: str, *variables: str) -> str:
    for found in (context(name), *(os.environ.get(each) for each in variables)):
        if found:
            return str(found)
    raise ConfigurationError(f"no {name} to deploy to: add -c {name}=…, or set {variable(name)} or {variables[0]}")


def _environments(context: Context, name: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(each.strip() for each in (context(name) or "").split(",") if each.strip()))
    if unknown := sorted(set(found) - PROFILES.keys()):
        raise ConfigurationError(
            f"-c {name}={','.join(found)}: expected some of {', '.join(PROFILES)}, found {', '.join(unknown)}"
        )
    return found


def _domain(context: Context) -> Domain | None:
    name, certificate = (
        _optional(_DOMAIN, context, "portal_domain"),
        _optional(_CERTIFICATE, context, "portal_certificate"),
    )
    if name and certificate:
        return Domain(name=name, certificate=certificate)
    if name or certificate:
        raise ConfigurationError(
            "expected portal_domain and portal_certificate, found only one: add -c portal_domain=… -c portal_certificate=…, or neither"
        )
    return None


def _like(shape: tuple[str, str], name: str, found: str) -> str:
    """The value, which has to have a shape: a pattern, and the same in words."""
    pattern, expected = shape
    if not re.fullmatch(pattern, found, flags=re.ASCII):
        raise ConfigurationError(f"-c {name}={found}: expected {expected}")
    return found


def _optional(shape: tuple[str, str], context: Context, name: str) -> str | None:
    found = context(name)
    return None if found is None else _like(shape, name, found)


def _secret() -> tuple[str, str]:
    """The shape of a secret's name. Source: AWS Secrets Manager API Reference, CreateSecret."""
    project = active().name
    return (
        rf"(?!{project}/)[\w/+=.@-]{{1,400}}",
        f"a name without `{project}/{{env}}/`, which is put before it, and no ARN",
    )


def _check_place(name: str, arn: str | None, account: str, region: str) -> None:
    """One in another account or region would let no one in."""
    if arn and (found := arn.split(":")[3:5]) != [region, account]:
        expected = f"account {account}{region and f' and region {region}'}"
        raise ConfigurationError(f"-c {name}={arn}: expected one in {expected}, found {' '.join(filter(None, found))}")


def _flag(context: Context, name: str) -> bool:
    found = str(context(name) or "false").lower()
    if found not in ("true", "false"):
        raise ConfigurationError(f"-c {name}={found}: expected true or false")
    return found == "true"


def _money(context: Context, name: str) -> float:
    found = context(name)
    try:
        amount = float(found or 0)
    except ValueError:
        amount = 0.0
    if not 0 < amount < float("inf"):
        raise ConfigurationError(f"-c {name}={found}: expected an amount above 0, in USD per month")
    return amount
