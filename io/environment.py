"""The settings of local, dev and prod, all in one class. Every setting is a `CATALUNYA_` variable with a default.

Here: what each setting means. Not here: what is done with it. `CATALUNYA_ENV` selects the environment; no other code asks which one
it is.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from catalunya.io.base_url import host_of, is_web_address
from catalunya.io.errors import ConfigurationError
from catalunya.io.notifications import Channel, QuietHours, parse_channels, parse_quiet_hours, secrets_of
from catalunya.io.project_folder import FILE, active
from catalunya.io.safe_text import register_secret
from catalunya.io.sources.base import HttpSettings

if TYPE_CHECKING:
    from catalunya.io.sources.extraction import Source

LOCAL_MOCK = "http://127.0.0.1:8765"
PORTAL = "portal"
"""The folder of the lake with the public pages, unless a setting names another place."""
LOCAL_PORTAL = "http://localhost:8081"
NO_MOCK = "none"
MOCK_TOKEN = "token-for-the-mock"  # noqa: S105 - no secret: the mock takes any
BUCKET_PREFIX_LETTERS = 30  # a bucket's name may have 63
_RESERVED = ("xn--", "sthree-", "amzn-s3-demo-")
_BUCKET_PREFIX = re.compile(
    rf"(?!{'|'.join(_RESERVED)})(?=.{{1,{BUCKET_PREFIX_LETTERS}}}$)[a-z0-9]+(-[a-z0-9]+)*", flags=re.ASCII
)
_PUBLISHER = {
    "publisher": ("a name of one line", re.compile(r"\S|\S[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,198}\S")),
    # Source of the rule: DCAT-AP-ES 1.0.0, DIR3OrganismRestriction.
    "publisher_dir3": ("a letter and eight letters or digits, such as A00000000", re.compile(r"[A-Z][A-Z0-9]{8}")),
    "publisher_email": (
        "an address such as data@example.org",
        re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"),
    ),
    "publisher_phone": (
        "a number with its country code, such as +34 930 000 000",
        re.compile(r"\+[0-9]([ .-]?[0-9]){5,14}"),
    ),
}
"""What each setting of the publisher has to look like: they go into addresses and catalogues."""


class Host(BaseModel):
    """How one host is reached, where it differs from all others."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: SecretStr | None = None
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=32)] | None = None
    pool: str | None = None


class Settings(BaseModel):
    """Where this process reads and writes, and how many requests it may send to the sources."""

    # A caught ValidationError may be shown: hide the values, which may be secrets.
    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True, hide_input_in_errors=True)

    env: Literal["local", "dev", "prod"] = Field("local", description="the environment: local, dev or prod")
    site: Literal["home", "recovery"] = Field(
        "home",
        description="where dev or prod runs: home, or recovery after its region was lost (docs/recovery.md); names that are unique in the "
        "account or worldwide then end with -recovery",
    )
    project: Path | None = Field(
        None,
        description="the folder of the project to work on, with `assets/project.toml`, of the whole process "
        "([another region](another-region.md)); by default the one in the package",
    )
    bucket_prefix: str = Field(
        "",
        description="how the names of all buckets begin, which are unique worldwide: {prefix}-data-{env}, {prefix}-backup-{env}, …; "
        "by default the project's name",
    )
    lake: str = Field(
        "",
        description="the root of the lake: a folder or s3://bucket[/prefix]; by default ./data, or s3://{bucket_prefix}-data-{env}",
    )
    lake_encryption: Literal["AES256", "aws:kms"] = Field(
        "AES256", description="how S3 encrypts the lake's objects: AES256 (S3-managed keys) or aws:kms"
    )
    lake_kms_key_id: str | None = Field(
        None, description="the KMS key for aws:kms, by id or ARN; by default the account's AWS-managed key for S3"
    )
    lake_attempts: int = Field(
        8, ge=1, description="attempts at one request to S3 before the lake counts as unavailable"
    )
    backup: str = Field(
        "",
        description="where backups of the lake go: a folder or s3://bucket[/prefix] outside the lake; by default ./backups, "
        "or s3://{bucket_prefix}-backup-{env}",
    )
    backup_region: str = Field("", description="the AWS region of the backups' bucket; by default AWS_REGION")
    backup_days: int = Field(
        14,
        ge=1,
        description="number of days to keep the last backup of each day; all backups of the last two days are kept",
    )
    backup_weeks: int = Field(8, ge=0, description="number of weeks to keep the last backup of each week")
    rpo_hours: int = Field(
        0,
        description="recovery point objective: the most hours of work a disaster may cost, which is the interval between backups: 1, 2, 3, 4, 6, "
        "8, 12 or 24; 0 means no scheduled backups; by default 0 in local, 24 in dev, 4 in prod",
    )
    rto_minutes: int = Field(
        30,
        ge=1,
        description="recovery time objective: minutes until everything runs again after a disaster; by default 30 in local, 120 in dev, 240 in prod",
    )
    airflow_url: str = Field(
        "",
        description="the URL of Airflow: `ops.watch` watches its processes and tasks, and backups include its pools, variables and paused DAGs; "
        "empty: neither",
    )
    airflow_public_url: str = Field(
        "", description="the URL of Airflow in a browser, for links in notifications; by default CATALUNYA_AIRFLOW_URL"
    )
    airflow_user: str = Field("", description="Airflow user; empty if no login is needed")
    airflow_password: SecretStr | None = Field(None, description="Airflow password")
    airflow_database: SecretStr | None = Field(
        None,
        description="the address of Airflow's database, as postgresql://…, to include a dump of it in backups; `catalunya serve` sets it; empty: "
        "backups do without it",
    )
    notify: SecretStr | None = Field(
        None,
        description="the channels that are notified of what is wrong ([docs/watching.md](watching.md#notifications)), separated by spaces or as "
        "a JSON list: mailto://…, slack://…, json://… and other addresses of Apprise, the ARN of an SNS topic, or connection:ID; empty: no one is notified",
    )
    quiet_hours: str = Field(
        "",
        description="the hours in which only errors are notified, and warnings wait: 22:00-07:00 Europe/Madrid; empty: none",
    )
    portal_folder: str = Field(
        "",
        description="where the public pages are published: a folder or s3://bucket[/prefix]; by default portal/ in the lake",
    )
    portal_url: str = Field(
        LOCAL_PORTAL,
        description="the address of the public pages, for what needs whole addresses (catalogues, feeds, citations); by default that of "
        "`catalunya portal serve`",
    )
    publisher: str = Field(
        "", description="who publishes the public pages and their data: a name, for catalogues; empty: they name no one"
    )
    publisher_dir3: str = Field(
        "",
        description="the publisher's code in DIR3, the directory of Spain's public bodies: a letter and eight letters or digits; without it, "
        "the catalogue is not valid as DCAT-AP-ES",
    )
    publisher_email: str = Field("", description="an e-mail address for questions about the data")
    publisher_phone: str = Field(
        "", description="a telephone number for questions about the data, with its country code"
    )
    publisher_url: str = Field("", description="the publisher's own home page")
    cache: Path = Field(
        Path(".catalunya"),
        description="a folder for files that can be rebuilt: the compiled graph, dbt's parsed project",
    )
    scratch: Path | None = Field(None, description="a folder for temporary files; by default the system's")

    mock_url: str = Field(
        "",
        description="the mock through which all sources are read instead of their portals; none: the portals themselves; by default the mock of "
        "this machine in local, none in dev and prod",
    )
    socrata_app_token: SecretStr | None = Field(
        None, description="the application token for the project's Socrata portal, which lifts its shared rate limit"
    )
    hosts: dict[str, Host] = Field(
        {},
        description='what differs for the sources of one host, as JSON: {"data.ny.gov": {"token": "…", "requests_per_second": 5, "concurrency": 2, '
        '"pool": "new_york"}}, all of them optional; a token is sent to no other host',
    )

    http_concurrency: int = Field(4, ge=1, le=32, description="number of pages of one source fetched concurrently")
    http_requests_per_second: float = Field(
        0,
        gt=0,
        description="requests per second to one host; by default 1000 in local, where it is the mock, and 20 in dev and prod",
    )
    http_timeout_s: float = Field(60, gt=0, description="seconds without receiving anything before a request times out")
    http_deadline_s: float = Field(840, gt=0, description="seconds one extraction may take in total")
    http_attempts: int = Field(6, ge=1, description="attempts at one request before the source counts as unavailable")
    http_backoff_s: float = Field(
        0.5,
        ge=0,
        description="seconds before the first retry; doubled after each, plus a random wait of at most this long",
    )
    page_rows: int = Field(50_000, ge=1, le=50_000, description="rows requested per page")

    engine: Literal["duckdb", "athena"] = Field(
        "duckdb",
        description="the engine for marts and queries: duckdb, which reads the lake's objects, or athena, which reads the tables in Glue's "
        "catalog; by default athena in dev and prod if the lake is on S3",
    )
    athena_work_group: str = Field(
        "", description="the Athena work group that builds the marts; by default {project}_{env}"
    )
    athena_results: str = Field(
        "",
        description="where Athena writes results while it builds the marts; by default a bucket for them, {bucket_prefix}-athena-marts-{env}",
    )
    athena_readers: str = Field(
        "",
        description="the Athena work group for users' queries, which limits the bytes one query may scan and sets where results go; "
        "by default {project}_{env}_readers",
    )

    stop_before_s: float = Field(
        20,
        ge=0,
        description="seconds before a Lambda function's timeout at which an extraction stops, to be resumed by the next one",
    )
    lease_s: float = Field(900, gt=0, description="seconds after which the lease of a dead run may be taken over")
    sources_pool: str = Field(
        "default_pool",
        description="the Airflow pool for landing tasks; create the pool first, or they never run",
    )
    functions: str = Field(
        "",
        description="name pattern of the Lambda functions that run landing and staging, where {purpose} is extract or transform; "
        "empty: they run in the task's own process",
    )
    manifests_queue: str = Field(
        "",
        description="the URL of the SQS queue that announces landing batches sealed outside Airflow; empty: Airflow does not watch for them",
    )
    mart_role: str = Field(
        "", description="the ARN of the role to assume for building each mart; empty: the process's own role"
    )
    clocks: bool = Field(
        True, description="whether DAGs run on their schedules; if off, only when triggered or by events"
    )
    liveness_s: float = Field(
        60,
        ge=0,
        description="seconds between health checks of a process of a deployed Airflow, which ends, to be restarted, after five failures in "
        "a row; 0: no checks",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="the lowest level of log lines shown"
    )
    log_format: Literal["readable", "json"] = Field(
        "readable", description="readable lines, or one JSON object per line"
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_environment(cls, values: dict[str, object]) -> dict[str, object]:
        env = values.get("env", "local")
        local = env == "local"
        project = active()
        prefix = values.get("bucket_prefix") or project.name
        suffix = _suffix(values.get("site") or "home")
        lake = values.get("lake") or ("./data" if local else f"s3://{prefix}-data-{env}{suffix}")
        on_s3 = str(lake).startswith("s3://")
        defaults = {
            "airflow_public_url": values.get("airflow_url") or "",
            "bucket_prefix": prefix,
            "http_requests_per_second": 1000 if local else 20,  # the mock has no limit
            "lake": lake,
            "portal_folder": f"{str(lake).rstrip('/')}/{PORTAL}",
            "backup": "./backups" if local else f"s3://{prefix}-backup-{env}",
            "rpo_hours": {"dev": 24, "prod": 4}.get(str(env), 0),
            "rto_minutes": {"dev": 120, "prod": 240}.get(str(env), 30),
            "engine": "athena" if on_s3 and not local else "duckdb",
            "athena_work_group": f"{project.identifier}_{env}",
            "athena_readers": f"{project.identifier}_{env}_readers",
            "athena_results": f"s3://{prefix}-athena-marts-{env}{suffix}/" if on_s3 else "",
            "functions": "" if local else f"{project.name}-{{purpose}}-{env}",
            "mock_url": LOCAL_MOCK if local else NO_MOCK,
        }
        return defaults | {k: v for k, v in values.items() if v != ""}

    @field_validator("bucket_prefix")
    @classmethod
    def _begins_a_bucket_name(cls, prefix: str) -> str:
        """Source of the rule: Amazon S3 User Guide, General purpose bucket naming rules."""
        if not _BUCKET_PREFIX.fullmatch(prefix):
            raise ValueError(
                f"should be at most {BUCKET_PREFIX_LETTERS} lowercase letters, digits and single hyphens, begin and end with a letter or "
                f"digit, and not begin with {', '.join(_RESERVED)}"
            )
        return prefix

    @field_validator("portal_url", "publisher_url")
    @classmethod
    def _is_web_address(cls, url: str) -> str:
        if url and not is_web_address(url):
            raise ValueError("should be an address such as https://data.example.org/")
        return url

    @field_validator("portal_url")
    @classmethod
    def _can_have_paths(cls, url: str) -> str:
        if "?" in url or "#" in url:
            raise ValueError("should be an address without ? and #, because those of pages begin with it")
        return url

    @field_validator("publisher", "publisher_dir3", "publisher_email", "publisher_phone")
    @classmethod
    def _describes_the_publisher(cls, text: str, info: ValidationInfo) -> str:
        expected, pattern = _PUBLISHER[str(info.field_name)]
        if text and not pattern.fullmatch(text):
            raise ValueError(f"should be {expected}")
        return text

    @field_validator("hosts", mode="before")
    @classmethod
    def _are_hosts(cls, hosts: object) -> object:
        """A name that no source can have would be ignored, and its token never sent."""
        if not isinstance(hosts, dict):
            return hosts
        for name in hosts:
            if re.search(r"[/:@?#\s\[\]]", str(name)) or not host_of(f"https://{name}"):
                raise ValueError("should name hosts without scheme, port and path, such as data.ny.gov")
        return {host_of(f"https://{name}"): host for name, host in hosts.items()}

    @field_validator("notify")
    @classmethod
    def _lists_channels(cls, notify: SecretStr | None) -> SecretStr | None:
        parse_channels(notify.get_secret_value() if notify else "")
        return notify

    @field_validator("quiet_hours")
    @classmethod
    def _are_quiet_hours(cls, hours: str) -> str:
        parse_quiet_hours(hours)
        return hours

    @field_validator("rpo_hours")
    @classmethod
    def _divides_a_day(cls, hours: int) -> int:
        if hours and (hours < 0 or 24 % hours):
            raise ValueError("should be 0, or a number of hours that divides a day")
        return hours

    def model_post_init(self, _: object) -> None:
        """Register its secrets, so that nothing this process shows or logs contains them."""
        for secret in self.secrets():
            register_secret(secret)

    def secrets(self) -> list[str]:
        """The values that must never be shown."""
        values = [getattr(self, name) for name in type(self).model_fields]
        values += [host.token for host in self.hosts.values()]
        found = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        return found + (secrets_of(self.notify.get_secret_value()) if self.notify else [])

    def bucket(self, purpose: str) -> str:
        """The name of a bucket of the site: `logs` -> `catalunya-logs-dev`."""
        return f"{self.bucket_prefix}-{purpose}-{self.env}{self.suffix}"

    @property
    def suffix(self) -> str:
        """How names end that the other site has too, where they must differ: nothing at home."""
        return _suffix(self.site)

    def glue_database(self, schema: str) -> str:
        """The Glue database of a layer: `staging` -> `catalunya_staging_dev`."""
        return f"{active().identifier}_{schema}_{self.env}"

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Who is notified of what is wrong."""
        return parse_channels(self.notify.get_secret_value() if self.notify else "")

    @property
    def quiet(self) -> QuietHours | None:
        """When warnings wait."""
        return parse_quiet_hours(self.quiet_hours)

    @property
    def mock(self) -> str | None:
        """The base URL of the mock that stands for all portals; None: the portals themselves are asked."""
        return None if self.mock_url == NO_MOCK else self.mock_url.rstrip("/")

    def portal(self, source: Source[Any]) -> str:
        """The base URL of the source's API, whether or not the mock stands for it. Raises ConfigurationError if nothing gives one."""
        portals = active().portals
        if portal := source.portal or portals.get(source.kind):
            return portal
        raise ConfigurationError(
            f"{source.describe()}: expected `portal` in its declaration, because {FILE} has none for sources of kind {source.kind!r}, "
            f"only for {', '.join(portals) or 'no kind'}; add it"
        )

    def http(self, source: Source[Any]) -> HttpSettings:
        """How the source's API is reached: its portal, or the mock in its place. A token is for one host, and goes to no other."""
        portal = urlsplit(self.portal(source))
        host = self.hosts.get(host_of(portal.geturl()), Host())
        project_s = getattr(self, source.token_setting) if source.token_setting and not source.portal else None
        token: SecretStr | None = host.token or project_s
        base_url = portal.geturl()
        if self.mock:
            base_url = f"{self.mock}/{portal.netloc}{portal.path}" if source.portal else self.mock
        return HttpSettings(
            base_url=base_url,
            stands_for=host_of(portal.geturl()) if self.mock and source.portal else "",
            protocol=source.kind,
            app_token=(MOCK_TOKEN if self.mock else token.get_secret_value()) if token else None,
            concurrency=host.concurrency or self.http_concurrency,
            requests_per_second=host.requests_per_second or self.http_requests_per_second,
            attempts=self.http_attempts,
            timeout_s=self.http_timeout_s,
            deadline_s=self.http_deadline_s,
            page_rows=self.page_rows,
            backoff_initial_s=self.http_backoff_s,
            backoff_jitter_s=self.http_backoff_s,
            scratch=self.scratch,
        )

    def pool(self, portal: str | None) -> str:
        """The Airflow pool of landing tasks that read from this base URL; None: from one of the project's portals."""
        host = self.hosts.get(host_of(portal or ""))
        return (host.pool if host else None) or self.sources_pool

    @property
    def pools(self) -> list[str]:
        """All Airflow pools of landing tasks."""
        return sorted({self.sources_pool, *(host.pool for host in self.hosts.values() if host.pool)})


def _suffix(site: object) -> str:
    return "" if site == "home" else f"-{site}"


def local_port(settings: Settings) -> int:
    """The port at which this machine serves the public pages: that of their address, if it is one of this machine."""
    url = urlsplit(settings.portal_url)
    here = url if url.hostname in ("localhost", "127.0.0.1") and url.port else urlsplit(LOCAL_PORTAL)
    return here.port or 0


def _variables() -> dict[str, object]:
    """The settings that are set in the environment, by name. The case of a variable does not matter. Raises ConfigurationError."""
    found: dict[str, object] = {
        name.lower().removeprefix(_PREFIX): value
        for name, value in os.environ.items()
        if name.lower().startswith(_PREFIX)
    }
    try:
        return found | ({"hosts": json.loads(str(found["hosts"]))} if "hosts" in found else {})
    except ValueError:
        raise ConfigurationError(
            'CATALUNYA_HOSTS (value not shown): expected JSON, like {"data.ny.gov": {"requests_per_second": 5}}; correct it, or unset it'
        ) from None


_PREFIX = "catalunya_"


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment; `overrides` win. Raises a one-line ConfigurationError that names the variable."""
    try:
        settings = Settings.model_validate(_variables() | overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name, *within = map(str, first["loc"])
        field = Settings.model_fields.get(name)
        is_public = (
            field is not None and name != "hosts" and SecretStr not in (field.annotation, *get_args(field.annotation))
        )
        value = f"={first.get('input')!r}" if is_public else " (value not shown)"
        message = f"{': '.join(within)}: " * bool(within) + first["msg"].removeprefix("Value error, ").lower()
        raise ConfigurationError(
            f"CATALUNYA_{name.upper()}{value}: {message}; correct it, or unset it to use the default"
        ) from None
    for name in ("lake", "backup", "cache", "scratch"):
        value = getattr(settings, name)
        place = str(value) if value is None or "://" in str(value) else str(Path(value).absolute())
        if any("\ud800" <= letter <= "\udfff" for letter in place):  # how Python shows bytes that it cannot decode
            raise ConfigurationError(
                f"CATALUNYA_{name.upper()}={place!r}: expected a path in UTF-8; rename its folder, or set another"
            )
    return settings
