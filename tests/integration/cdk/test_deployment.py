"""What a deployment has to be told, and how it hears what is missing. No template is written here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalunya.cdk.deployment import PROFILES, Deployment
from catalunya.cdk.naming import Names, check_apart
from catalunya.io.errors import ConfigurationError

ROOT = Path(__file__).parents[3]
NEEDED = {
    "account": "123456789012",
    "region": "eu-west-1",
    "replica_region": "eu-central-1",
    "github_subject": "repo:example/catalunya",
}


@pytest.fixture(autouse=True)
def _told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CDK_DEFAULT_ACCOUNT", "CDK_DEFAULT_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def read(**context: str) -> Deployment:
    return Deployment.read(context.get, made)


def made() -> Path:
    return Path("made.zip")


def test_what_is_not_said_is_left_out_or_the_environment_s_own() -> None:
    found = read(**NEEDED)

    assert (found.is_accelerated, found.alarm_email, found.token_secret) == (False, None, None)
    assert found.budgets == {env: profile.budget_usd for env, profile in PROFILES.items()}
    assert (found.environments, found.package) == (("dev", "prod"), made())


def test_a_package_that_is_given_is_not_made() -> None:
    def never() -> Path:
        raise AssertionError("it was made")

    context = NEEDED | {"package": "given.zip"}
    assert Deployment.read(context.get, never).package == Path("given.zip")


def test_the_cdk_s_command_tells_account_and_region_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_DEFAULT_ACCOUNT", "210987654321")
    monkeypatch.setenv("AWS_REGION", "eu-south-2")
    rest = {name: value for name, value in NEEDED.items() if name not in ("account", "region")}
    found = read(**rest)

    assert (found.account, found.region) == ("210987654321", "eu-south-2")


def test_a_variable_says_what_the_context_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_CDK_ALARM_EMAIL", "data@example.org")
    monkeypatch.setenv("CATALUNYA_CDK_BUDGET_DEV", "7.5")
    monkeypatch.setenv("CATALUNYA_CDK_OWNER", "nobody")
    found = read(**NEEDED, owner="open data")

    assert (found.alarm_email, found.budgets["dev"], found.owner) == ("data@example.org", 7.5, "open data")


def test_dev_alone_needs_no_other_region() -> None:
    context = {name: value for name, value in NEEDED.items() if name != "replica_region"}

    assert read(**context, environments="dev").regions == ("eu-west-1",)


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no account": ({"account": ""}, "-c account="),
    "no region": ({"region": ""}, "-c region="),
    "no region for prod's copies": ({"replica_region": ""}, "-c replica_region="),
    "copies in the same region": ({"replica_region": "eu-west-1"}, "another than eu-west-1"),
    "an environment that is none": ({"environments": "dev,test"}, "found test"),
    "a budget that is no amount": ({"budget_prod": "much"}, "-c budget_prod=much"),
    "a budget of nothing": ({"budget_dev": "0"}, "above 0"),
    "no repository": ({"github_subject": ""}, "-c github_subject="),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_missing_or_wrong_is_said_with_how_to_say_it_right(case: str) -> None:
    changes, said = WRONG[case]
    with pytest.raises(ConfigurationError) as raised:
        read(**NEEDED | changes)

    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_command_says_in_one_line_what_it_was_not_told(tmp_path: Path) -> None:
    told = [f"--context={name}={value}" for name, value in NEEDED.items() if name != "account"]
    here = os.environ | {"CDK_OUTDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "catalunya.cdk", *told], env=here, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert done.stderr.startswith("error: expected to be told the account to deploy to")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "variables",
    [{"CATALUNYA_LAKE": "./data"}, {"CATALUNYA_LAKE": "s3://bucket/folder"}],
    ids=["a folder", "a part of a bucket"],
)
def test_a_lake_that_is_no_whole_bucket_cannot_be_made(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="unset CATALUNYA_LAKE"):
        Names.of("dev")


def test_copies_of_objects_under_a_key_are_refused_before_s3_leaves_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    Names.of("prod").check_copies()
    monkeypatch.setenv("CATALUNYA_LAKE_ENCRYPTION", "aws:kms")
    with pytest.raises(ConfigurationError, match="expected AES256 in prod"):
        Names.of("prod").check_copies()


def test_two_environments_never_share_a_lake(monkeypatch: pytest.MonkeyPatch) -> None:
    check_apart([Names.of("dev"), Names.of("prod")])
    monkeypatch.setenv("CATALUNYA_LAKE", "s3://ours")
    check_apart([Names.of("prod")])
    with pytest.raises(ConfigurationError, match="found ours for all"):
        check_apart([Names.of("dev"), Names.of("prod")])


def test_there_is_no_infrastructure_of_the_local_environment() -> None:
    with pytest.raises(ConfigurationError, match="expected dev or prod"):
        Names.of("local")


def test_the_how_to_names_all_that_a_deployment_may_be_told() -> None:
    asked: set[str] = set()

    def context(name: str) -> str | None:
        asked.add(name)
        return NEEDED.get(name)

    Deployment.read(context, made)
    told = (ROOT / "docs" / "infrastructure.md").read_text().partition("## What a deployment is told")[2]
    rows = [line for line in told.partition("\n## ")[0].splitlines() if line.startswith("| `")]

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])} == asked


def test_the_how_to_names_all_that_the_workflow_is_given() -> None:
    workflow = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    told = (ROOT / "docs" / "infrastructure.md").read_text()
    given = set(re.findall(r"\b(?:vars|secrets)\.(\w+)", workflow))

    assert {name for name in given if f"`{name}`" not in told} == set()
    assert "AWS_ACCOUNT_ID" in given
