"""The settings of local, dev and prod: one class, one home. Every setting is a `CATALUNYA_` variable with a default.

What a setting means belongs here; what is done with it does not. `CATALUNYA_ENV` chooses the environment, and nothing
else in the code asks which one it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalunya.io.errors import ConfigurationError
from catalunya.io.safe_text import register_secret
from catalunya.io.sources.base import HttpSettings

LOCAL_MOCK = "http://127.0.0.1:8765"


class Settings(BaseSettings):
    """Where this process reads and writes, and how hard it may lean on the sources."""

    # A ValidationError may be shown by whoever catches it first: without the values, which may be secrets.
    model_config = SettingsConfigDict(env_prefix="CATALUNYA_", frozen=True, extra="ignore", hide_input_in_errors=True)

    env: Literal["local", "dev", "prod"] = Field("local", description="the environment: local, dev or prod")
    lake: str = Field(
        "",
        description="the lake's root: a folder or s3://bucket[/prefix]; by default ./data, or the environment's bucket",
    )
    lake_encryption: Literal["AES256", "aws:kms"] = Field(
        "AES256", description="how S3 encrypts the lake's objects: AES256 (its own keys) or aws:kms"
    )
    lake_kms_key_id: str | None = Field(
        None, description="the KMS key for aws:kms, by id or ARN; by default the account's own for S3"
    )
    lake_attempts: int = Field(8, ge=1, description="tries of one request to S3 before the lake counts as unavailable")
    backup: str = Field(
        "",
        description="where backups of the lake go: a folder or s3://bucket[/prefix], never in the lake's own; by default ./backups, "
        "or s3://catalunya-backup-{env}",
    )
    backup_days: int = Field(14, ge=1, description="days whose last backup is kept; of the last two, all are")
    backup_weeks: int = Field(8, ge=0, description="weeks whose last backup is kept")
    rpo_hours: int = Field(
        0,
        description="hours of work that a disaster may cost at most, and so the hours between backups: 1, 2, 3, 4, 6, 8, 12 or 24; "
        "0, as in local, makes none by itself; by default 24 in dev, 4 in prod",
    )
    rto_minutes: int = Field(
        30, ge=1, description="minutes in which all is to run again after a disaster; by default 30, dev 120, prod 240"
    )
    airflow_url: str = Field(
        "",
        description="Airflow's own address, whose pools, variables and paused DAGs backups are to hold; empty, they do not",
    )
    airflow_user: str = Field("", description="who logs in there; empty, as on this machine, nobody has to")
    airflow_password: SecretStr | None = Field(None, description="the password of that user")
    cache: Path = Field(
        Path(".catalunya"), description="a folder for what can be made again: the compiled graph, dbt's parse"
    )
    scratch: Path | None = Field(
        None, description="a folder for work in progress; by default the system's temporary folder"
    )

    socrata_url: str = Field(
        "", description="the Socrata portal; by default the mock in local, the Generalitat's in dev and prod"
    )
    idescat_url: str = Field(
        "", description="IDESCAT's API; by default the mock in local, the real one in dev and prod"
    )
    socrata_app_token: SecretStr | None = Field(
        None, description="an application token of the portal: lifts its shared rate limit"
    )

    http_concurrency: int = Field(4, ge=1, le=32, description="pages of one source fetched at once")
    http_requests_per_second: float = Field(
        0, gt=0, description="requests per second to one source; by default 20, and 1000 to the mock"
    )
    http_timeout_s: float = Field(60, gt=0, description="seconds without a byte before a request counts as lost")
    http_deadline_s: float = Field(840, gt=0, description="seconds one extraction may take in all")
    http_attempts: int = Field(6, ge=1, description="tries of one request before the source counts as unavailable")
    http_backoff_s: float = Field(
        0.5, ge=0, description="seconds before the first retry; doubled at each, with as much jitter"
    )
    page_rows: int = Field(50_000, ge=1, le=50_000, description="rows asked for per page")

    engine: Literal["duckdb", "athena"] = Field(
        "duckdb",
        description="what answers a person's queries: duckdb, from the lake's objects, or athena, over tables that Glue is told of; "
        "by default athena in dev and prod, whose lakes are on S3",
    )
    athena_work_group: str = Field("", description="the work group that marts are made in; by default catalunya_{env}")
    athena_results: str = Field(
        "", description="where Athena puts what the making of marts needs; by default _athena/ in the lake"
    )
    athena_readers: str = Field(
        "",
        description="the work group of people's queries, which limits the bytes one may scan and says where results go; "
        "by default catalunya_{env}_readers",
    )

    stop_before_s: float = Field(
        20,
        ge=0,
        description="seconds before a Lambda function's time limit at which an extraction stops, to go on next time",
    )
    lease_s: float = Field(900, gt=0, description="seconds after which the lease of a run that died may be taken over")
    sources_pool: str = Field(
        "default_pool",
        description="Airflow's pool for landing tasks; create a pool before naming it here, or they never run",
    )
    functions: str = Field(
        "",
        description="name pattern of the Lambda functions that landing and staging run in, {purpose} being extract or transform; "
        "empty, they run in the task's own process",
    )
    manifests_queue: str = Field(
        "", description="the queue that tells of landing batches sealed outside Airflow (its URL); empty, nothing does"
    )
    mart_role: str = Field(
        "", description="the role that marts are made under (its ARN), assumed for each; empty, the process's own"
    )
    clocks: bool = Field(True, description="whether DAGs run at their times; off, they run when triggered or woken")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="the least severe log line shown"
    )
    log_format: Literal["readable", "json"] = Field("readable", description="readable lines or one JSON object a line")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_environment(cls, values: dict[str, object]) -> dict[str, object]:
        env = values.get("env", "local")
        local = env == "local"
        lake = values.get("lake") or ("./data" if local else f"s3://catalunya-data-{env}")
        on_s3 = str(lake).startswith("s3://")
        defaults = {
            "http_requests_per_second": 1000 if local else 20,  # the mock is ours to lean on
            "lake": lake,
            "backup": "./backups" if local else f"s3://catalunya-backup-{env}",
            "rpo_hours": {"dev": 24, "prod": 4}.get(str(env), 0),
            "rto_minutes": {"dev": 120, "prod": 240}.get(str(env), 30),
            "engine": "athena" if on_s3 and not local else "duckdb",
            "athena_work_group": f"catalunya_{env}",
            "athena_readers": f"catalunya_{env}_readers",
            "athena_results": f"{str(lake).rstrip('/')}/_athena/" if on_s3 else "",
            "functions": "" if local else f"catalunya-{{purpose}}-{env}",
            "socrata_url": LOCAL_MOCK if local else "https://analisi.transparenciacatalunya.cat",
            "idescat_url": LOCAL_MOCK if local else "https://api.idescat.cat",
        }
        return defaults | {k: v for k, v in values.items() if v != ""}

    @field_validator("rpo_hours")
    @classmethod
    def _divides_a_day(cls, hours: int) -> int:
        if hours and (hours < 0 or 24 % hours):
            raise ValueError("should be 0, or hours that divide a day")
        return hours

    def model_post_init(self, _: object) -> None:
        """Have its secrets hidden wherever this process speaks."""
        for secret in self.secrets():
            register_secret(secret)

    def secrets(self) -> list[str]:
        """The values that must never be shown."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]

    def glue_database(self, schema: str) -> str:
        """The Glue database of a layer: `staging` -> `catalunya_staging_dev`."""
        return f"catalunya_{schema}_{self.env}"

    def http(self, kind: str) -> HttpSettings:
        """How the API of one kind of source (`socrata`, `idescat`) is reached. Raises ConfigurationError for another kind."""
        base_urls = {"socrata": self.socrata_url, "idescat": self.idescat_url}
        if kind not in base_urls:
            raise ConfigurationError(f"no address is known for sources of kind {kind!r}; add one to io/environment.py")
        return HttpSettings(
            base_url=base_urls[kind],
            app_token=self.socrata_app_token.get_secret_value()
            if kind == "socrata" and self.socrata_app_token
            else None,
            concurrency=self.http_concurrency,
            requests_per_second=self.http_requests_per_second,
            attempts=self.http_attempts,
            timeout_s=self.http_timeout_s,
            deadline_s=self.http_deadline_s,
            page_rows=self.page_rows,
            backoff_initial_s=self.http_backoff_s,
            backoff_jitter_s=self.http_backoff_s,
        )


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment; `overrides` win. Raises ConfigurationError, one line, naming the variable."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        field = Settings.model_fields.get(name)
        is_open = field is not None and SecretStr not in (field.annotation, *get_args(field.annotation))
        found = f"={first.get('input')!r}" if is_open else " (not shown)"
        raise ConfigurationError(
            f"CATALUNYA_{name.upper()}{found}: {first['msg'].lower()}. Set it right or unset it to take the default"
        ) from None
