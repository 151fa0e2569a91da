"""The settings of a deployment, and the errors if one is missing or wrong. No template is written here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalunya.cdk.access import ROLES
from catalunya.cdk.deployment import PROFILES, Deployment
from catalunya.cdk.naming import ACCOUNT_ROLES, Names, check_separate_lakes
from catalunya.io.errors import ConfigurationError

ROOT = Path(__file__).parents[3]
NEEDED = {
    "account": "123456789012",
    "region": "eu-west-1",
    "replica_region": "eu-central-1",
    "github_subject": "repo:example/catalunya",
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CDK_DEFAULT_ACCOUNT", "CDK_DEFAULT_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def read(**context: str) -> Deployment:
    return Deployment.read(context.get, built)


def built() -> Path:
    return Path("built.zip")


def test_optional_settings_have_defaults() -> None:
    found = read(**NEEDED)

    assert (found.alarm_email, found.token_secret, found.is_home) == (None, None, True)
    assert found.budgets == {env: profile.budget_usd for env, profile in PROFILES.items()}
    assert (found.environments, found.package) == (("dev", "prod"), built())


def test_a_given_package_is_not_rebuilt() -> None:
    def never() -> Path:
        raise AssertionError("it was built")

    context = NEEDED | {"package": "given.zip"}
    assert Deployment.read(context.get, never).package == Path("given.zip")


def test_the_cdk_command_provides_account_and_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_DEFAULT_ACCOUNT", "210987654321")
    monkeypatch.setenv("AWS_REGION", "eu-south-2")
    rest = {name: value for name, value in NEEDED.items() if name not in ("account", "region")}
    found = read(**rest)

    assert (found.account, found.region) == ("210987654321", "eu-south-2")


def test_variables_stand_in_for_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_CDK_ALARM_EMAIL", "data@example.org")
    monkeypatch.setenv("CATALUNYA_CDK_BUDGET_DEV", "7.5")
    monkeypatch.setenv("CATALUNYA_CDK_OWNER", "overridden")
    found = read(**NEEDED, owner="open data")

    assert (found.alarm_email, found.budgets["dev"], found.owner) == ("data@example.org", 7.5, "open data")


def test_the_recovery_site_needs_no_other_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_SITE", "recovery")
    found = read(**NEEDED | {"region": "eu-central-1"})

    assert (found.is_home, found.regions) == (False, ("eu-central-1",))


@pytest.mark.parametrize("env", PROFILES)
def test_names_that_are_not_of_a_region_differ_at_the_recovery_site(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Names.of(env)
    monkeypatch.setenv("CATALUNYA_SITE", "recovery")
    away = Names.of(env)

    def unique(names: Names) -> set[str]:
        here = {names.data_bucket, names.results_bucket, names.log_bucket, names.budget, names.dashboard("cost")}
        return here | {names.role(role) for role in ROLES if role not in ACCOUNT_ROLES}

    assert unique(home) & unique(away) == set()
    assert {f"{name}-recovery" for name in unique(home)} == unique(away)
    assert away.backup_bucket == home.backup_bucket, "it is in the recovery region already"
    assert {role: away.role(role) for role in ACCOUNT_ROLES} == {role: home.role(role) for role in ACCOUNT_ROLES}
    assert [away.role_path(role) for role in ROLES] == [home.role_path(role) for role in ROLES]


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no account": ({"account": ""}, "-c account="),
    "no region": ({"region": ""}, "-c region="),
    "no recovery region": ({"replica_region": ""}, "-c replica_region="),
    "recovery in the same region": ({"replica_region": "eu-west-1"}, "other than eu-west-1"),
    "an unknown environment": ({"environments": "dev,test"}, "found test"),
    "a budget that is not a number": ({"budget_prod": "much"}, "-c budget_prod=much"),
    "a budget of nothing": ({"budget_dev": "0"}, "above 0"),
    "no repository": ({"github_subject": ""}, "-c github_subject="),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_the_setting_and_how_to_set_it(case: str) -> None:
    changes, message = WRONG[case]
    with pytest.raises(ConfigurationError) as raised:
        read(**NEEDED | changes)

    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_command_reports_a_missing_setting_in_one_line(tmp_path: Path) -> None:
    given = [f"--context={name}={value}" for name, value in NEEDED.items() if name != "account"]
    here = os.environ | {"CDK_OUTDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "catalunya.cdk", *given], env=here, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert done.stderr.startswith("error: no account to deploy to: add -c account=")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "variables",
    [{"CATALUNYA_LAKE": "./data"}, {"CATALUNYA_LAKE": "s3://bucket/folder"}],
    ids=["a folder", "a folder of a bucket"],
)
def test_the_lake_must_be_a_whole_bucket(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="unset CATALUNYA_LAKE"):
        Names.of("dev")


def test_replicating_objects_encrypted_with_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Names.of("prod").check_replication()
    monkeypatch.setenv("CATALUNYA_LAKE_ENCRYPTION", "aws:kms")
    with pytest.raises(ConfigurationError, match="expected AES256 in prod"):
        Names.of("prod").check_replication()


def test_two_environments_cannot_share_a_lake(monkeypatch: pytest.MonkeyPatch) -> None:
    check_separate_lakes([Names.of("dev"), Names.of("prod")])
    monkeypatch.setenv("CATALUNYA_LAKE", "s3://ours")
    check_separate_lakes([Names.of("prod")])
    with pytest.raises(ConfigurationError, match="found ours for all"):
        check_separate_lakes([Names.of("dev"), Names.of("prod")])


def test_the_local_environment_has_no_infrastructure() -> None:
    with pytest.raises(ConfigurationError, match="expected dev or prod"):
        Names.of("local")


def test_the_documentation_lists_every_setting_of_a_deployment() -> None:
    asked: set[str] = set()

    def context(name: str) -> str | None:
        asked.add(name)
        return NEEDED.get(name)

    Deployment.read(context, built)
    section = (ROOT / "docs" / "infrastructure.md").read_text().partition("## Settings of a deployment")[2]
    rows = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])} == asked


def test_all_buckets_have_the_prefix_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_BUCKET_PREFIX", "girona")
    names = Names.of("prod")
    here = ("data-prod", "athena-results-prod", "logs-prod")
    elsewhere = ("backup-prod", "data-prod-replica", "logs-prod-replica")
    assert names.buckets == tuple(f"girona-{bucket}" for bucket in (*here, *elsewhere))


def test_the_workflow_takes_names_of_buckets_from_the_settings() -> None:
    workflow = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    assert "CATALUNYA_BUCKET_PREFIX: ${{ vars.BUCKET_PREFIX }}" in workflow
    assert "s3://" not in workflow


def test_the_documentation_lists_every_variable_of_the_workflow() -> None:
    workflow = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    page = (ROOT / "docs" / "infrastructure.md").read_text()
    given = set(re.findall(r"\b(?:vars|secrets)\.(\w+)", workflow))

    assert {name for name in given if f"`{name}`" not in page} == set()
    assert "AWS_ACCOUNT_ID" in given
