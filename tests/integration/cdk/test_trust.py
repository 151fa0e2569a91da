"""Who may assume which role: people with and without MFA, all kinds of GitHub workflows, Airflow, AWS services."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalunya.cdk.access import ROLES
from catalunya.cdk.naming import Names
from catalunya.cdk.policy import Document
from catalunya.cdk.trust import BRANCHES, GITHUB, WORKFLOW, Trusted, trust
from catalunya.io.errors import ConfigurationError
from integration.cdk.account import ACCOUNT, DEV, NAMES, role_arn
from integration.cdk.iam import Request, UnknownError, trusts

REPOSITORY, REPOSITORY_NAME = "repo:catalunya@4711/pipeline@1234567", "catalunya/pipeline"
ANCHOR = f"arn:aws:rolesanywhere:eu-west-1:{ACCOUNT}:trust-anchor/0a1b"
DASHBOARD = f"arn:aws:iam::{ACCOUNT}:role/dashboard"
TRUSTED = Trusted.read({"github_subject": REPOSITORY, "trust_anchor": ANCHOR, "readers": DASHBOARD})
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"
PERSON = f"arn:aws:iam::{ACCOUNT}:user/maria"
MFA = {"aws:MultiFactorAuthPresent": "true", "aws:MultiFactorAuthAge": "60"}


def lets(role: str, request: Request, names: Names = DEV, *, document: Document | None = None) -> bool:
    return trusts(document or trust(role, names, TRUSTED), request)


# People


def person(principal: str = PERSON, **context: str) -> Request:
    return Request("sts:AssumeRole", context=context, principal=principal)


@pytest.mark.parametrize("role", ["engineer", "monitoring", "reader"])
@pytest.mark.parametrize(
    ("context", "is_allowed"),
    [
        (MFA, True),
        (MFA | {"aws:MultiFactorAuthAge": "3599"}, True),
        (MFA | {"aws:MultiFactorAuthAge": "3600"}, False),
        ({"aws:MultiFactorAuthPresent": "true"}, False),
        (MFA | {"aws:MultiFactorAuthPresent": "false"}, False),
        ({}, False),  # requests with access keys lack both keys
    ],
    ids=["just now", "within the hour", "an hour ago", "of unknown age", "no MFA", "absent"],
)
def test_people_need_mfa_of_the_last_hour(role: str, context: dict[str, str], is_allowed: bool) -> None:
    assert lets(role, person(**context)) is is_allowed


def test_people_of_another_account_are_refused() -> None:
    assert not lets("engineer", person("arn:aws:iam::210987654321:user/maria", **MFA))
    assert lets("engineer", person(**MFA))


ENGINEERS = Trusted.read({"github_subject": REPOSITORY, "identity_center": "DataEngineer, DataReader"})


@pytest.mark.parametrize("role", ["engineer", "monitoring", "reader"])
@pytest.mark.parametrize("path", ["/eu-west-1", ""], ids=["a region in the path", "us-east-1, which has none"])
def test_users_of_a_named_permission_set_need_no_mfa_that_iam_sees(role: str, path: str) -> None:
    """Identity Center enforces it; its sessions have no `aws:MultiFactorAuthPresent`."""

    def from_set(name: str, account: str = ACCOUNT) -> Request:
        return person(f"arn:aws:iam::{account}:role/aws-reserved/sso.amazonaws.com{path}/AWSReservedSSO_{name}")

    document = trust(role, DEV, ENGINEERS)
    for name in ENGINEERS.permission_sets:
        assert lets(role, from_set(f"{name}_1234567890abcdef"), document=document)
        assert not lets(role, from_set(f"{name}_1234567890abcdef"))  # off unless it is named
    assert not lets(role, from_set("Administrator_1234567890abcdef"), document=document)
    assert not lets(role, from_set("DataEngineer_1234567890abcdef", "210987654321"), document=document)
    assert not lets(role, person(role_arn("AWSReservedSSO_DataEngineer_1234567890abcdef")), document=document)
    assert not lets(role, person(), document=document)
    assert lets(role, person(**MFA), document=document)


def test_services_and_workflows_do_not_trust_permission_sets() -> None:
    user = person(
        f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_DataEngineer_12"
    )
    for role in ROLES:
        admits = lets(role, user, document=trust(role, DEV, ENGINEERS))
        assert admits is (role in ("engineer", "monitoring", "reader")), role


@pytest.mark.parametrize(("role", "name"), [("reader", "readers"), ("monitoring", "monitors")])
def test_a_named_system_needs_no_mfa_for_its_role_alone(role: str, name: str) -> None:
    system = f"arn:aws:iam::{ACCOUNT}:role/system"
    trusted = Trusted.read({"github_subject": REPOSITORY, name: system})
    for each in ROLES:
        document = trust(each, DEV, trusted)
        assert lets(each, person(system), document=document) is (each == role)
        assert not lets(each, person(f"{system}2"), document=document)


def test_a_named_dashboard_may_only_read_without_mfa() -> None:
    assert lets("reader", person(DASHBOARD))
    assert not lets("monitoring", person(DASHBOARD))
    assert not lets("reader", person(role_arn("another")))
    assert not trusts(trust("reader", DEV, Trusted.read({"github_subject": REPOSITORY})), person(DASHBOARD))


# GitHub


def claims(
    env: str,
    *,
    owner: str = "catalunya@4711",
    name: str = "pipeline@1234567",
    branch: str | None = None,
    file: str = "deploy.yml",
    subject: str | None = None,
) -> dict[str, str]:
    """A token's claims, as GitHub writes them: of the job of a workflow that says `environment: {env}`, on a branch."""
    ref = f"refs/heads/{branch or {'dev': 'develop', 'prod': 'main'}[env]}"
    repository = f"{owner.partition('@')[0]}/{name.partition('@')[0]}"
    return {
        "aud": "sts.amazonaws.com",
        "sub": f"repo:{owner}/{name}:{subject or f'environment:{env}'}",
        "ref": ref,
        "job_workflow_ref": f"{repository}/.github/workflows/{file}@{ref}",
    }


def workflow(found: dict[str, str], principal: str = PROVIDER) -> Request:
    context = {f"{GITHUB}:{claim}": value for claim, value in found.items()}
    return Request("sts:AssumeRoleWithWebIdentity", context=context, principal=principal)


PULL = {
    "ref": "refs/pull/4/merge",
    "job_workflow_ref": f"{REPOSITORY_NAME}/.github/workflows/deploy.yml@refs/pull/4/merge",
}
TAG = {"ref": "refs/tags/main", "job_workflow_ref": f"{REPOSITORY_NAME}/.github/workflows/deploy.yml@refs/tags/main"}
INTRUDERS: dict[str, dict[str, str]] = {
    "a branch that says environment prod": claims("prod", branch="feature"),
    "develop that says environment prod": claims("prod", branch="develop"),
    "main that says environment dev": claims("dev", branch="main"),
    "a branch whose name begins like it": claims("prod", branch="main-2"),
    "a branch that calls the workflow of main": claims("prod") | {"ref": "refs/heads/feature"},
    "another workflow on main": claims("prod", file="ci.yml"),
    "a job outside the environment, which has no reviewers": claims("prod", subject="ref:refs/heads/main"),
    "a branch named like the environment": claims("prod", subject="ref:refs/heads/environment:prod"),
    "another environment": claims("prod", subject="environment:production"),
    "a pull request": claims("prod", subject="pull_request") | PULL,
    "a pull request that says environment prod": claims("prod") | PULL,
    "a tag named like the branch": claims("prod") | TAG,
    "a fork": claims("prod", owner="someone@99", name="pipeline@7654321"),
    "a repository recreated under the same name": claims("prod", name="pipeline@7654321"),
    "the repository after it was renamed": claims("prod", name="renamed@1234567"),
    "the repository after its owner was renamed": claims("prod", owner="renamed@4711"),
    "a repository with a longer name": claims("prod", name="pipeline@12345670"),
    "a pattern as the repository": claims("prod", name="*"),
    "a token for another service": claims("prod") | {"aud": "https://github.com/catalunya"},
}


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_the_workflow_on_the_branch_of_an_environment_deploys_it_and_no_other(env: str) -> None:
    for role in ("dev", "prod"):
        assert lets("deployment", workflow(claims(env)), NAMES[role]) is (role == env)


@pytest.mark.parametrize("who", INTRUDERS)
def test_no_other_token_deploys(who: str) -> None:
    for env, names in NAMES.items():
        assert not lets("deployment", workflow(INTRUDERS[who]), names)
        assert lets("deployment", workflow(claims(env)), names)


@pytest.mark.parametrize("env", ["dev", "prod"])
@pytest.mark.parametrize("claim", claims("dev"))
def test_a_token_without_one_of_the_claims_is_refused(env: str, claim: str) -> None:
    """The allowed twin: with the mistake that `ForAllValues:` would be, an absent claim counts as equal."""
    token = workflow({name: value for name, value in claims(env).items() if name != claim})
    assert not lets("deployment", token, NAMES[env])
    document = trust("deployment", NAMES[env], TRUSTED)
    condition = document["Statement"][0]["Condition"]
    condition["ForAllValues:StringEquals"] = {f"{GITHUB}:{claim}": condition["StringEquals"].pop(f"{GITHUB}:{claim}")}
    assert lets("deployment", token, document=document)


@pytest.mark.parametrize("subject", [REPOSITORY, f"repo:{REPOSITORY_NAME}"])
def test_the_workflow_is_known_by_the_name_of_the_repository_without_numbers(subject: str) -> None:
    trusted = Trusted.read({"github_subject": subject})
    owner, _, name = subject.removeprefix("repo:").partition("/")
    document = trust("deployment", DEV, trusted)
    assert trusted.repository == REPOSITORY_NAME
    assert lets("deployment", workflow(claims("dev", owner=owner, name=name)), document=document)
    assert not lets("deployment", workflow(claims("dev", owner=owner, name=name, file="other.yml")), document=document)


def test_the_trusted_workflow_deploys_the_trusted_branches() -> None:
    text = (Path(__file__).parents[3] / WORKFLOW).read_text()
    assert f"branches: [{', '.join(BRANCHES.values())}]" in text
    assert text.count(f"github.ref_name == '{BRANCHES['prod']}' && 'prod' || 'dev'") > 1


def test_a_token_must_come_from_github() -> None:
    assert lets("deployment", workflow(claims("dev")))
    assert not lets("deployment", workflow(claims("dev"), principal=PROVIDER.replace(GITHUB, "gitlab.com")))
    assert not lets("deployment", person(**MFA))


def test_an_existing_provider_can_be_named() -> None:
    document = trust("deployment", DEV, Trusted.read({"github_subject": REPOSITORY, "oidc_provider": PROVIDER}))
    assert lets("deployment", workflow(claims("dev")), document=document)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "catalunya/pipeline",
        "repo:catalunya/*",
        "repo:catalunya",
        "repo:a/b/c",
        "repo:a/b@*",
        "repo:a/b:ref:refs/heads/main",
    ],
)
def test_a_subject_that_is_not_exactly_one_repository_is_refused(subject: str) -> None:
    with pytest.raises(ConfigurationError, match="github_subject"):
        Trusted.read({"github_subject": subject})


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("readers", "*"),
        ("monitors", "*"),
        ("readers", f"{DASHBOARD},arn:aws:iam::{ACCOUNT}:role/*"),
        ("readers", f"arn:aws:iam::{ACCOUNT}:root"),
        ("oidc_provider", "https://token.actions.githubusercontent.com"),
        ("oidc_provider", PROVIDER.replace(GITHUB, "gitlab.com")),
        ("identity_center", "Data*"),
        ("identity_center", f"DataEngineer,arn:aws:iam::{ACCOUNT}:role/x"),
        ("trust_anchor", f"arn:aws:rolesanywhere:eu-west-1:{ACCOUNT}:trust-anchor/*"),
    ],
)
def test_an_invalid_or_wildcard_principal_is_refused(name: str, given: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Trusted.read({"github_subject": REPOSITORY, name: given})
    assert Trusted.read({"github_subject": REPOSITORY, "readers": f"{DASHBOARD}, {PERSON}"}).readers == (
        DASHBOARD,
        PERSON,
    )


# Airflow


def airflow(name: str = "catalunya-airflow-dev", anchor: str = ANCHOR, account: str = ACCOUNT) -> Request:
    context = {"aws:PrincipalTag/x509Subject/CN": name, "aws:SourceArn": anchor, "aws:SourceAccount": account}
    return Request("sts:AssumeRole", context=context, principal="rolesanywhere.amazonaws.com")


def test_airflow_is_identified_by_its_certificate() -> None:
    assert lets("orchestrator", airflow())
    assert not lets("orchestrator", airflow("catalunya-airflow-prod"))
    assert not lets("orchestrator", airflow(anchor=f"{ANCHOR}c"))
    assert not lets("orchestrator", airflow(account="210987654321"))
    assert not lets("orchestrator", person(**MFA))


def test_without_a_named_trust_anchor_only_those_of_the_account_are_trusted() -> None:
    document = trust("orchestrator", DEV, Trusted.read({"github_subject": REPOSITORY}))
    assert lets("orchestrator", airflow(), document=document)
    assert not lets("orchestrator", airflow(anchor=ANCHOR.replace(ACCOUNT, "210987654321")), document=document)


@pytest.mark.parametrize("action", ["sts:AssumeRole", "sts:TagSession"])
def test_only_airflow_assumes_the_mart_role_for_one_run(action: str) -> None:
    """As `io/aws.py` does: with one tag, the run."""

    def assuming(role: str = "orchestrator", **tags: str) -> Request:
        context = {**{f"aws:RequestTag/{name}": value for name, value in tags.items()}, "aws:TagKeys": [*tags]}
        known = {name: value for name, value in context.items() if name in ("aws:TagKeys", "aws:RequestTag/run")}
        return Request(action, context=known, principal=DEV.role_arn(role))

    assert lets("mart", assuming(run="scheduled__2026-08-03"))
    assert not lets("mart", assuming())
    assert not lets("mart", assuming(run=""))
    assert not lets("mart", assuming(run="r", team="data"))
    assert not lets(
        "mart", Request(action, context=assuming(run="r").context, principal=NAMES["prod"].role_arn("orchestrator"))
    )
    assert not lets("mart", assuming("transformer", run="r"))


def test_the_mart_role_keeps_the_source_identity_of_airflow() -> None:
    """IAM Roles Anywhere sets a source identity; assuming another role needs permission to keep it, and IAM checks no tags for that."""
    keeping = Request("sts:SetSourceIdentity", principal=DEV.role_arn("orchestrator"))
    assert lets("mart", keeping)
    assert not lets("mart", Request("sts:SetSourceIdentity", principal=DEV.role_arn("transformer")))
    assert not lets("mart", Request("sts:AssumeRole", principal=DEV.role_arn("orchestrator")))


# Services


@pytest.mark.parametrize("role", ["extractor", "transformer", "tables"])
def test_only_lambda_assumes_the_function_roles(role: str) -> None:
    assert lets(role, Request("sts:AssumeRole", principal="lambda.amazonaws.com"))
    assert not lets(role, Request("sts:AssumeRole", principal="ec2.amazonaws.com"))
    assert not lets(role, person(**MFA))


def test_s3_replicates_only_for_this_account() -> None:
    def s3(account: str) -> Request:
        return Request("sts:AssumeRole", context={"aws:SourceAccount": account}, principal="s3.amazonaws.com")

    assert lets("replication", s3(ACCOUNT))
    assert not lets("replication", s3("210987654321"))


# The documents, and the evaluator that tests them


def test_every_role_has_a_trust_policy_and_none_trusts_everyone() -> None:
    for role in ROLES:
        for statement in trust(role, DEV, TRUSTED)["Statement"]:
            assert statement["Principal"] not in ("*", {"AWS": "*"})
            assert "sts:*" not in statement["Action"]


def test_the_trust_of_the_workflow_has_no_wildcard() -> None:
    (statement,) = trust("deployment", DEV, TRUSTED)["Statement"]
    assert list(statement["Condition"]) == ["StringEquals"]
    assert not set("*?") & set("".join(statement["Condition"]["StringEquals"].values()))


@pytest.mark.parametrize(
    "condition",
    [{"StringEqualsIgnoreCase": {f"{GITHUB}:sub": "x"}}, {"StringEquals": {f"{GITHUB}:actor": "x"}}],
    ids=["operator", "key"],
)
def test_an_unknown_condition_is_an_error_and_not_a_denial(
    condition: dict[str, dict[str, str]],
) -> None:
    document = trust("deployment", DEV, TRUSTED)
    document["Statement"][0]["Condition"] |= condition
    with pytest.raises(UnknownError):
        lets("deployment", workflow(claims("dev")), document=document)
    with pytest.raises(UnknownError):
        lets("deployment", workflow(INTRUDERS["a fork"]), document=document)


@pytest.mark.parametrize(("role", "operator", "key", "intruder"), [
    ("engineer", "Bool", "aws:MultiFactorAuthPresent", person(**MFA | {"aws:MultiFactorAuthPresent": "false"})),
    ("engineer", "NumericLessThan", "aws:MultiFactorAuthAge", person(**MFA | {"aws:MultiFactorAuthAge": "7200"})),
    ("deployment", "StringEquals", f"{GITHUB}:sub", workflow(claims("dev", subject="ref:refs/heads/develop"))),
    ("deployment", "StringEquals", f"{GITHUB}:ref", workflow(claims("dev") | {"ref": "refs/heads/feature"})),
    ("deployment", "StringEquals", f"{GITHUB}:job_workflow_ref", workflow(claims("dev", file="ci.yml"))),
    ("deployment", "StringEquals", f"{GITHUB}:aud", workflow(claims("dev") | {"aud": "another"})),
    ("orchestrator", "StringEquals", "aws:PrincipalTag/x509Subject/CN", airflow("another")),
    ("orchestrator", "ArnEquals", "aws:SourceArn", airflow(anchor=f"{ANCHOR}c")),
    ("mart", "StringLike", "aws:RequestTag/run", Request("sts:AssumeRole", principal=DEV.role_arn("orchestrator"))),
])  # fmt: skip
def test_dropping_a_condition_admits_an_intruder(role: str, operator: str, key: str, intruder: Request) -> None:
    assert not lets(role, intruder)
    document = trust(role, DEV, TRUSTED)
    for statement in document["Statement"]:
        statement.get("Condition", {}).get(operator, {}).pop(key, None)
    assert lets(role, intruder, document=document)
