"""The settings of a deployment, and the errors if one is missing or wrong. No template is written here."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalunya.cdk.__main__ import main
from catalunya.cdk.access import ROLES, access_page
from catalunya.cdk.context import NO_ACCOUNT, PAGE, PREFIX, VALUES, context_page, given, variable
from catalunya.cdk.deployment import PROFILES, Deployment
from catalunya.cdk.naming import ACCOUNT_ROLES, Names, check_separate_lakes
from catalunya.cdk.trust import BRANCHES
from catalunya.io.errors import ConfigurationError

ROOT = Path(__file__).parents[3]
NEEDED = {
    "account": "123456789012",
    "region": "eu-west-1",
    "replica_region": "eu-central-1",
    "github_subject": "repo:example/catalunya",
}
UNWANTED = {name: "none" for name, value in VALUES.items() if value.removes}
WORKFLOW = ROOT / ".github" / "workflows" / "deploy.yml"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "CDK_DEFAULT_ACCOUNT",
        "CDK_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        *map(variable, VALUES),
    ):
        monkeypatch.delenv(name, raising=False)


def read(**context: str) -> Deployment:
    return Deployment.read((UNWANTED | context).get, built)


def built() -> Path:
    return Path("built.zip")


def test_optional_settings_have_defaults() -> None:
    found = read(**NEEDED)

    assert (found.alarm_email, found.token_secret, found.hosts_secret, found.is_home) == (None, None, None, True)
    assert (found.trusted.readers, found.trusted.trust_anchor, found.trusted.permission_sets) == ((), None, ())
    assert (
        found.budgets == {env: profile.budget_usd for env, profile in PROFILES.items()} == {"dev": 5.75, "prod": 20.25}
    )
    assert (found.owner, found.cost_center, found.reserves_concurrency) == ("data", "open-data", True)
    assert (found.environments, found.package) == (("dev", "prod"), built())


def test_a_given_package_is_not_rebuilt(tmp_path: Path) -> None:
    def never() -> Path:
        raise AssertionError("it was built")

    given_one = tmp_path / "given.zip"
    given_one.touch()
    context = NEEDED | UNWANTED | {"package": str(given_one)}
    assert Deployment.read(context.get, never).package == given_one


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
    found = read(**NEEDED, owner="open data", alarm_email="")

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
    "no budget": ({"budget_dev": "none"}, "above 0"),
    "neither true nor false": ({"reserved_concurrency": "on"}, "-c reserved_concurrency=on: expected true or false"),
    "no repository": ({"github_subject": ""}, "-c github_subject="),
    "no environment": ({"environments": ","}, "found nothing"),
    "an account that is a name": ({"account": "ours"}, "-c account=ours: expected 12 digits"),
    "a region in quotes": ({"region": '"eu-west-1"'}, "-c region="),
    "a recovery region with a typo": ({"replica_region": "eu-central"}, "-c replica_region=eu-central: expected"),
    "several addresses": ({"alarm_email": "a@example.org,b@example.org"}, "expected one address"),
    "an address in quotes": ({"alarm_email": '"a@example.org"'}, "expected one address"),
    "a budget without end": ({"budget_prod": "inf"}, "-c budget_prod=inf"),
    "a tag that AWS refuses": ({"owner": "data\nteam"}, "-c owner="),
    "no owner": ({"owner": "none"}, "-c owner=: expected 1 to 256 letters"),
    "the whole name of a secret": ({"socrata_token_secret": "catalunya/dev/socrata"}, "without `catalunya/{env}/`"),
    "the ARN of a secret": ({"socrata_token_secret": "arn:aws:secretsmanager:eu-west-1:1:secret:s"}, "and no ARN"),
    "a package that is not there": ({"package": "nowhere.zip"}, "make lambda"),
    "a trust anchor elsewhere": (
        {"trust_anchor": "arn:aws:rolesanywhere:eu-central-1:123456789012:trust-anchor/0a"},
        "expected one in account 123456789012 and region eu-west-1, found eu-central-1 123456789012",
    ),
    "a provider of another account": (
        {"oidc_provider": "arn:aws:iam::210987654321:oidc-provider/token.actions.githubusercontent.com"},
        "expected one in account 123456789012, found 210987654321",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_the_setting_and_how_to_set_it(case: str) -> None:
    changes, message = WRONG[case]
    with pytest.raises(ConfigurationError) as raised:
        read(**NEEDED | changes)

    assert message in str(raised.value)


def test_white_space_around_a_value_is_no_part_of_it_and_alone_it_is_no_value() -> None:
    """A form in the browser may add it: GitHub keeps a line break at the end of a variable."""
    padded = {name: f" {value}\n" for name, value in (NEEDED | UNWANTED).items()}
    assert read(**padded) == read(**NEEDED)
    assert read(**NEEDED, environments=" prod , dev,prod").environments == ("prod", "dev")
    with pytest.raises(ConfigurationError, match="CATALUNYA_CDK_ALARM_EMAIL"):
        read(**NEEDED, alarm_email=" \t")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "error: no account to deploy to: add -c account="),
        ({"account": "1\n2"}, "error: -c account=1 2: expected 12 digits"),
        ({"alarm_mail": "data@example.org"}, "error: -c alarm_mail: expected names that are listed in docs/"),
    ],
    ids=["missing", "of two lines", "misspelled"],
)
def test_the_command_reports_a_wrong_setting_in_one_line(
    more: dict[str, str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CDK_OUTDIR", str(tmp_path))
    rest = {name: value for name, value in (NEEDED | UNWANTED).items() if name != "account"}
    assert main([f"--context={name}={value}" for name, value in (rest | more).items()]) == 2

    err = capsys.readouterr().err
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_page_on_access_does_not_depend_on_who_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {
        "BACKUP": "./backups",
        "LAKE": "./data",
        "BUCKET_PREFIX": "mine",
        "SITE": "recovery",
        "LAKE_ENCRYPTION": "aws:kms",
    }
    for name, value in own.items():
        monkeypatch.setenv(f"CATALUNYA_{name}", value)
    assert access_page(ROOT) == (ROOT / "docs" / "access.md").read_text(encoding="utf-8")


def test_backups_in_a_folder_are_no_backups_of_a_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_BACKUP", "./backups")
    with pytest.raises(ConfigurationError, match=r"expected a bucket for backups, .*; unset CATALUNYA_BACKUP"):
        Names.of("dev")


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


# What would be removed


@pytest.mark.parametrize("name", UNWANTED)
@pytest.mark.parametrize("unset", [None, ""], ids=["absent", "empty, as GitHub passes it"])
def test_a_value_that_was_forgotten_fails_before_it_removes_something(name: str, unset: str | None) -> None:
    context = NEEDED | UNWANTED | {name: unset}
    with pytest.raises(ConfigurationError) as raised:
        Deployment.read(context.get, built)

    found = str(raised.value)
    assert f"{variable(name)} ({VALUES[name].removes})" in found
    assert found.count(PREFIX) == 1
    assert "\n" not in found
    assert Deployment.read((context | {name: "none"}).get, built)


def test_the_documented_first_deployment_sets_what_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first block is run as it is written, with what stands in for AWS's command."""
    page = (ROOT / "docs" / "first-deployment.md").read_text().replace("OWNER/NAME", "example/catalunya")
    block = page.partition("```sh\n")[2].partition("```")[0]
    script = f"aws() {{ echo {NEEDED['account']}; }}\n{block}\nexport CDK_DEFAULT_ACCOUNT=$ACCOUNT; env"
    shown = subprocess.run(
        ["bash", "-euc", script], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )
    for name, value in (line.split("=", 1) for line in shown.stdout.splitlines()):
        if name.startswith((PREFIX, "AWS_", "CDK_")):
            monkeypatch.setenv(name, value)
    found = Deployment.read({}.get, built)
    assert (found.account, found.regions) == (NEEDED["account"], ("eu-west-1", "eu-central-1"))
    assert found.alarm_email == "you@example.org"


def test_the_documented_first_deployment_gives_github_all_that_its_workflow_must_have() -> None:
    """The block is run for each environment, with a stand-in for GitHub's command that prints what it was given."""
    given_before = {variable(name): "x y" for name in UNWANTED | NEEDED if name not in ("account", "region")}
    workflow = set(re.findall(r"\b(?:vars|secrets)\.(\w+)", WORKFLOW.read_text()))
    may_be_absent = {variable(name) for name in VALUES.keys() - UNWANTED.keys() - NEEDED.keys()}
    may_be_absent |= {"CATALUNYA_SITE", "CATALUNYA_LAKE_ENCRYPTION", "CATALUNYA_LAKE_KMS_KEY_ID"}
    for env in PROFILES:
        shown = given_to_github(env, given_before)
        set_there = re.findall(r"^(?:variable|secret) set (\w+) --env (\w+)(?: --body (.*))?", shown, re.MULTILINE)
        names = {name for name, _, _ in set_there}
        assert {at for _, at, _ in set_there} == {env}
        assert names - workflow == set()
        assert workflow - names <= may_be_absent
        assert {body.strip() for name, _, body in set_there if name in given_before} == {"x y"}


def test_the_documented_keys_of_dev_and_prod_are_different_and_reach_different_hosts() -> None:
    """A key that Dokku accepts manages every app of its host: with dev's, a push to develop would reach prod."""
    found = {env: given_to_github(env, {}) for env in PROFILES}
    keys = {env: set(re.findall(r"^(?:secret|root).*(key-\w+)", shown, re.MULTILINE)) for env, shown in found.items()}
    assert {len(used) for used in keys.values()} == {1}
    assert len(set.union(*keys.values())) == len(PROFILES)
    for env, shown in found.items():
        assert f"root@host-{env} dokku ssh-keys:add github-{env}" in shown
        assert f"variable set DOKKU_HOST --env {env} --body host-{env}" in shown
        assert f"environments/{env}/deployment-branch-policies -f name={BRANCHES[env]}" in shown


def given_to_github(env: str, given_before: Mapping[str, str]) -> str:
    """What the block of step 8 gives to GitHub's command and to ssh, standard input included, for one environment."""
    page = (ROOT / "docs" / "first-deployment.md").read_text()
    block = page.partition("## 8.")[2].partition("```sh\n")[2].partition("```")[0]
    branch = BRANCHES[env]
    assert "BRANCH=develop " in block
    here = {
        **given_before,
        "PATH": os.environ["PATH"],
        "ACCOUNT": "1",
        "AWS_REGION": "eu",
        "CATALUNYA_BUCKET_PREFIX": "ours",
        "ENV": env,
        "APP": f"catalunya-{env}",
        "HOST": f"host-{env}",
    }
    stand_ins = """
        show() { printf '%s ' "$@"; case "$*" in *secret*|*ssh-keys*) cat ;; *) echo ;; esac; }
        gh() { show "$@"; }; ssh() { show "$@"; }; git() { :; }; ssh-keyscan() { :; }
        ssh-keygen() { echo "key-$RANDOM$RANDOM" | tee dokku-deploy > dokku-deploy.pub; }
    """
    script = f"cd $(mktemp -d); {stand_ins}\n{block.replace('BRANCH=develop', f'BRANCH={branch}')}"
    return subprocess.run(["bash", "-euc", script], env=here, capture_output=True, text=True, check=True).stdout


def test_values_that_may_be_forgotten_remove_nothing() -> None:
    """Without each value: the same deployment as with its default, or an error."""
    for name in VALUES.keys() - UNWANTED.keys() - NEEDED.keys() - {"package"}:
        assert read(**NEEDED | {name: ""}) == read(**NEEDED), name
    for name in NEEDED:
        with pytest.raises(ConfigurationError, match=name):
            read(**NEEDED | {name: ""})


def test_templates_that_are_only_looked_at_need_no_values() -> None:
    context = NEEDED | {"account": NO_ACCOUNT}
    assert Deployment.read(context.get, built).alarm_email is None
    assert f"CATALUNYA_CDK_ACCOUNT:-{NO_ACCOUNT}" in (ROOT / "Makefile").read_text()


def test_a_misspelled_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_CDK_ALARM_MAIL", "data@example.org")
    with pytest.raises(ConfigurationError, match="CATALUNYA_CDK_ALARM_MAIL: expected variables that"):
        read(**NEEDED)


@pytest.mark.parametrize("target", ["deploy", "diff"])
def test_make_deploys_one_environment_and_none_if_it_is_not_said_which(target: str) -> None:
    def shown(**more: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--dry-run", "--no-print-directory", target]
        here = {"PATH": os.environ["PATH"], **more}
        return subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, check=False)

    for env in PROFILES:
        assert f"{target} '*Data-{env}*'" in shown(CATALUNYA_ENV=env).stdout
    for unset in (shown(), shown(CATALUNYA_ENV="")):
        assert unset.returncode != 0
        assert "set CATALUNYA_ENV to dev or prod" in unset.stderr


# Code, documentation and workflow know the same values


def test_the_code_reads_every_declared_value_and_no_other() -> None:
    asked: set[str] = set()

    def context(name: str) -> str | None:
        asked.add(name)
        return (NEEDED | UNWANTED).get(name)

    Deployment.read(context, built)
    assert asked == set(VALUES)
    with pytest.raises(KeyError):
        given(context)("alarm_mail")


def test_the_documentation_shows_every_declared_value_and_no_other() -> None:
    page = (ROOT / PAGE).read_text()
    assert page == context_page(ROOT), f"{PAGE} is stale: run make generate"
    section = page.partition("## Settings of a deployment")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(VALUES)


def test_all_buckets_have_the_prefix_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_BUCKET_PREFIX", "girona")
    names = Names.of("prod")
    here = ("data-prod", "athena-results-prod", "athena-marts-prod", "logs-prod")
    elsewhere = ("backup-prod", "data-prod-replica", "logs-prod-replica")
    assert names.buckets == tuple(f"girona-{bucket}" for bucket in (*here, *elsewhere))


def test_the_workflow_takes_names_of_buckets_from_the_settings() -> None:
    workflow = WORKFLOW.read_text()
    assert "CATALUNYA_BUCKET_PREFIX: ${{ vars.CATALUNYA_BUCKET_PREFIX }}" in workflow
    assert "s3://" not in workflow


def test_the_workflow_passes_every_declared_value_and_no_other() -> None:
    """From the variable of the same name, so that none can be mistaken for another. The package is built there."""
    passed = {name: value for name, value in job()["env"].items() if name.startswith(PREFIX)}
    assert set(passed) == {variable(name) for name in VALUES} - {variable("package")}
    assert passed.pop(variable("environments")) == job()["environment"]
    assert passed == {name: f"${{{{ vars.{name} }}}}" for name in passed}


def test_the_workflow_without_its_variables_deploys_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that does not exist is an empty string."""
    known = {variable(name): value for name, value in NEEDED.items()} | {variable("environments"): "prod"}
    for name in job()["env"]:
        if name not in ("CATALUNYA_ENV", "AWS_REGION"):
            monkeypatch.setenv(name, known.get(name, ""))
    with pytest.raises(ConfigurationError, match="this deployment would remove what they gave") as raised:
        Deployment.read({}.get, built)
    assert all(variable(name) in str(raised.value) for name in UNWANTED)
    for name in UNWANTED:
        monkeypatch.setenv(variable(name), "none")
    assert Deployment.read({}.get, built).environments == ("prod",)
    assert Names.of("prod").data_bucket == "catalunya-data-prod"


def job() -> dict[str, Any]:
    """The job of the workflow that deploys."""
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]["deploy"]
    return found


def test_the_documentation_lists_every_other_variable_of_the_workflow() -> None:
    page = (ROOT / PAGE).read_text()
    used = set(re.findall(r"\b(?:vars|secrets)\.(\w+)", WORKFLOW.read_text()))
    assert {name for name in used if not name.startswith(PREFIX) and f"`{name}`" not in page} == set()
    assert {"DOKKU_SSH_KEY", "CATALUNYA_CDK_ACCOUNT"} <= used
