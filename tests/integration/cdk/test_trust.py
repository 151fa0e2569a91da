"""Who may become whom: people with and without a second factor, GitHub's workflows of all kinds, Airflow, AWS's services."""

from __future__ import annotations

import pytest

from catalunya.cdk.access import ROLES
from catalunya.cdk.naming import Names
from catalunya.cdk.policy import Document
from catalunya.cdk.trust import GITHUB, Trusted, trust
from catalunya.io.errors import ConfigurationError
from integration.cdk.account import ACCOUNT, DEV, NAMES, role_arn
from integration.cdk.iam import Request, UnknownError, trusts

REPOSITORY = "repo:catalunya@4711/pipeline@1234567"
ANCHOR = f"arn:aws:rolesanywhere:eu-west-1:{ACCOUNT}:trust-anchor/0a1b"
DASHBOARD = f"arn:aws:iam::{ACCOUNT}:role/dashboard"
TRUSTED = Trusted.read({"github_subject": REPOSITORY, "trust_anchor": ANCHOR, "readers": DASHBOARD})
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"
PERSON = f"arn:aws:iam::{ACCOUNT}:user/maria"


def lets(role: str, request: Request, names: Names = DEV, *, document: Document | None = None) -> bool:
    return trusts(document or trust(role, names, TRUSTED), request)


# People


def person(principal: str = PERSON, **context: str) -> Request:
    return Request("sts:AssumeRole", context=context, principal=principal)


@pytest.mark.parametrize("role", ["engineer", "monitoring", "reader"])
@pytest.mark.parametrize(
    ("context", "is_let"),
    [
        ({"aws:MultiFactorAuthPresent": "true"}, True),
        ({"aws:MultiFactorAuthPresent": "false"}, False),
        ({}, False),  # long-lived keys say nothing of it at all
    ],
    ids=["MFA", "no MFA", "absent"],
)
def test_people_have_to_show_a_second_factor(role: str, context: dict[str, str], is_let: bool) -> None:
    assert lets(role, person(**context)) is is_let


def test_people_of_another_account_are_nobody() -> None:
    with_mfa = {"aws:MultiFactorAuthPresent": "true"}
    assert not lets("engineer", person("arn:aws:iam::210987654321:user/maria", **with_mfa))
    assert lets("engineer", person(**with_mfa))


def test_a_dashboard_that_is_named_reads_without_a_second_factor_and_does_nothing_else() -> None:
    assert lets("reader", person(DASHBOARD))
    assert not lets("monitoring", person(DASHBOARD))
    assert not lets("reader", person(role_arn("another")))
    assert not trusts(trust("reader", DEV, Trusted.read({"github_subject": REPOSITORY})), person(DASHBOARD))


# GitHub

SUBJECTS = {
    "dev": f"{REPOSITORY}:environment:dev",
    "prod": f"{REPOSITORY}:environment:prod",
    "a branch": f"{REPOSITORY}:ref:refs/heads/main",
    "a branch of that name": f"{REPOSITORY}:ref:refs/heads/environment:prod",
    "a pull request": f"{REPOSITORY}:pull_request",
    "a fork": "repo:somebody@99/pipeline@7654321:environment:prod",
    "a repository made anew under the name": "repo:catalunya@4711/pipeline@7654321:environment:prod",
    "a name that goes on": f"{REPOSITORY}0:environment:prod",
    "another environment": f"{REPOSITORY}:environment:production",
    "a pattern": "repo:catalunya@4711/*:environment:prod",
}


def workflow(subject: str, audience: str = "sts.amazonaws.com", principal: str = PROVIDER) -> Request:
    context = {f"{GITHUB}:sub": subject, f"{GITHUB}:aud": audience}
    return Request("sts:AssumeRoleWithWebIdentity", context=context, principal=principal)


@pytest.mark.parametrize("env", ["dev", "prod"])
@pytest.mark.parametrize("who", SUBJECTS)
def test_only_the_job_of_the_environment_deploys_it(env: str, who: str) -> None:
    """develop is let into GitHub's environment dev, and main into prod, by their rules; the job's token names the environment."""
    assert lets("deployment", workflow(SUBJECTS[who]), NAMES[env]) is (who == env)


def test_a_token_is_for_us_and_from_github() -> None:
    assert lets("deployment", workflow(SUBJECTS["dev"]))
    assert not lets("deployment", workflow(SUBJECTS["dev"], audience="https://github.com/catalunya"))
    assert not lets("deployment", workflow(SUBJECTS["dev"], principal=PROVIDER.replace(GITHUB, "gitlab.com")))
    assert not lets("deployment", Request("sts:AssumeRoleWithWebIdentity", principal=PROVIDER))
    assert not lets(
        "deployment", Request("sts:AssumeRole", principal=PERSON, context={"aws:MultiFactorAuthPresent": "true"})
    )


def test_an_account_that_has_the_provider_names_it() -> None:
    mine = f"arn:aws:iam::{ACCOUNT}:oidc-provider/github.example.org"
    document = trust("deployment", DEV, Trusted.read({"github_subject": REPOSITORY, "oidc_provider": mine}))
    assert lets("deployment", workflow(SUBJECTS["dev"], principal=mine), document=document)
    assert not lets("deployment", workflow(SUBJECTS["dev"]), document=document)


@pytest.mark.parametrize(
    "subject", ["", "catalunya/pipeline", "repo:catalunya/*", "repo:catalunya", "repo:a/b:ref:refs/heads/main"]
)
def test_a_subject_that_is_none_or_more_than_one_repository_is_refused(subject: str) -> None:
    with pytest.raises(ConfigurationError, match="github_subject"):
        Trusted.read({"github_subject": subject})


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("readers", "*"),
        ("readers", f"{DASHBOARD},arn:aws:iam::{ACCOUNT}:role/*"),
        ("readers", f"arn:aws:iam::{ACCOUNT}:root"),
        ("oidc_provider", "https://token.actions.githubusercontent.com"),
        ("trust_anchor", f"arn:aws:rolesanywhere:eu-west-1:{ACCOUNT}:trust-anchor/*"),
    ],
)
def test_a_principal_that_is_none_or_a_pattern_is_refused(name: str, given: str) -> None:
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


def test_airflow_is_known_by_its_certificate() -> None:
    assert lets("orchestrator", airflow())
    assert not lets("orchestrator", airflow("catalunya-airflow-prod"))
    assert not lets("orchestrator", airflow(anchor=f"{ANCHOR}c"))
    assert not lets("orchestrator", airflow(account="210987654321"))
    assert not lets("orchestrator", person(**{"aws:MultiFactorAuthPresent": "true"}))


def test_without_a_trust_anchor_that_is_named_only_those_of_the_account_count() -> None:
    document = trust("orchestrator", DEV, Trusted.read({"github_subject": REPOSITORY}))
    assert lets("orchestrator", airflow(), document=document)
    assert not lets("orchestrator", airflow(anchor=ANCHOR.replace(ACCOUNT, "210987654321")), document=document)


@pytest.mark.parametrize("action", ["sts:AssumeRole", "sts:TagSession"])
def test_the_mart_role_is_for_airflow_and_for_one_run(action: str) -> None:
    """As `io/aws.py` asks for it: with one tag, the run."""

    def asked(principal: str = DEV.orchestrator_role, **tags: str) -> Request:
        context = {**{f"aws:RequestTag/{name}": value for name, value in tags.items()}, "aws:TagKeys": [*tags]}
        known = {name: value for name, value in context.items() if name in ("aws:TagKeys", "aws:RequestTag/run")}
        return Request(action, context=known, principal=role_arn(principal))

    assert lets("mart", asked(run="scheduled__2026-08-03"))
    assert not lets("mart", asked())
    assert not lets("mart", asked(run=""))
    assert not lets("mart", asked(run="r", team="data"))
    assert not lets("mart", asked(NAMES["prod"].orchestrator_role, run="r"))
    assert not lets("mart", asked(DEV.transformer_role, run="r"))


def test_airflow_stays_known_by_its_certificate_as_the_mart_role() -> None:
    """IAM Roles Anywhere sets a session's source identity; who goes on to another role needs to be let, and no tag is told then."""
    asked = Request("sts:SetSourceIdentity", principal=role_arn(DEV.orchestrator_role))
    assert lets("mart", asked)
    assert not lets("mart", Request("sts:SetSourceIdentity", principal=role_arn(DEV.transformer_role)))
    assert not lets("mart", Request("sts:AssumeRole", principal=role_arn(DEV.orchestrator_role)))


# Services


@pytest.mark.parametrize("role", ["extractor", "transformer", "tables"])
def test_functions_are_lambdas(role: str) -> None:
    assert lets(role, Request("sts:AssumeRole", principal="lambda.amazonaws.com"))
    assert not lets(role, Request("sts:AssumeRole", principal="ec2.amazonaws.com"))
    assert not lets(role, person(**{"aws:MultiFactorAuthPresent": "true"}))


def test_s3_replicates_for_this_account() -> None:
    def s3(account: str) -> Request:
        return Request("sts:AssumeRole", context={"aws:SourceAccount": account}, principal="s3.amazonaws.com")

    assert lets("replication", s3(ACCOUNT))
    assert not lets("replication", s3("210987654321"))


# The documents, and what tests them


def test_every_role_has_a_trust_policy_and_none_trusts_everybody() -> None:
    for role in ROLES:
        for statement in trust(role, DEV, TRUSTED)["Statement"]:
            assert statement["Principal"] not in ("*", {"AWS": "*"})
            assert "sts:*" not in statement["Action"]


def test_nothing_in_the_workflows_trust_is_a_pattern() -> None:
    (statement,) = trust("deployment", DEV, TRUSTED)["Statement"]
    assert list(statement["Condition"]) == ["StringEquals"]
    assert not set("*?") & set("".join(statement["Condition"]["StringEquals"].values()))


@pytest.mark.parametrize(
    "condition",
    [{"StringEqualsIgnoreCase": {f"{GITHUB}:sub": "x"}}, {"StringEquals": {f"{GITHUB}:actor": "x"}}],
    ids=["operator", "key"],
)
def test_a_condition_that_the_evaluator_does_not_know_is_an_error_and_no_denial(
    condition: dict[str, dict[str, str]],
) -> None:
    document = trust("deployment", DEV, TRUSTED)
    document["Statement"][0]["Condition"] |= condition
    with pytest.raises(UnknownError):
        lets("deployment", workflow(SUBJECTS["dev"]), document=document)
    with pytest.raises(UnknownError):
        lets("deployment", workflow(SUBJECTS["a fork"]), document=document)


@pytest.mark.parametrize(("role", "operator", "key", "wrongly_let"), [
    ("engineer", "Bool", "aws:MultiFactorAuthPresent", person()),
    ("deployment", "StringEquals", f"{GITHUB}:sub", workflow(SUBJECTS["a fork"])),
    ("deployment", "StringEquals", f"{GITHUB}:aud", workflow(SUBJECTS["dev"], audience="another")),
    ("orchestrator", "StringEquals", "aws:PrincipalTag/x509Subject/CN", airflow("another")),
    ("orchestrator", "ArnEquals", "aws:SourceArn", airflow(anchor=f"{ANCHOR}c")),
    ("mart", "StringLike", "aws:RequestTag/run", Request("sts:AssumeRole", principal=role_arn(DEV.orchestrator_role))),
])  # fmt: skip
def test_a_condition_that_is_dropped_lets_in_whom_these_tests_keep_out(
    role: str, operator: str, key: str, wrongly_let: Request
) -> None:
    assert not lets(role, wrongly_let)
    document = trust(role, DEV, TRUSTED)
    for statement in document["Statement"]:
        statement.get("Condition", {}).get(operator, {}).pop(key, None)
    assert lets(role, wrongly_let, document=document)
