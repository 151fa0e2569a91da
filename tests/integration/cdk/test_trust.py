"""Who may assume which role: people with and without MFA, all kinds of GitHub workflows, Airflow, AWS services."""

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
    ("context", "is_allowed"),
    [
        ({"aws:MultiFactorAuthPresent": "true"}, True),
        ({"aws:MultiFactorAuthPresent": "false"}, False),
        ({}, False),  # requests with access keys lack the key
    ],
    ids=["MFA", "no MFA", "absent"],
)
def test_people_need_mfa(role: str, context: dict[str, str], is_allowed: bool) -> None:
    assert lets(role, person(**context)) is is_allowed


def test_people_of_another_account_are_refused() -> None:
    with_mfa = {"aws:MultiFactorAuthPresent": "true"}
    assert not lets("engineer", person("arn:aws:iam::210987654321:user/maria", **with_mfa))
    assert lets("engineer", person(**with_mfa))


def test_a_named_dashboard_may_only_read_without_mfa() -> None:
    assert lets("reader", person(DASHBOARD))
    assert not lets("monitoring", person(DASHBOARD))
    assert not lets("reader", person(role_arn("another")))
    assert not trusts(trust("reader", DEV, Trusted.read({"github_subject": REPOSITORY})), person(DASHBOARD))


# GitHub

SUBJECTS = {
    "dev": f"{REPOSITORY}:environment:dev",
    "prod": f"{REPOSITORY}:environment:prod",
    "a branch": f"{REPOSITORY}:ref:refs/heads/main",
    "a branch named like it": f"{REPOSITORY}:ref:refs/heads/environment:prod",
    "a pull request": f"{REPOSITORY}:pull_request",
    "a fork": "repo:someone@99/pipeline@7654321:environment:prod",
    "a repository recreated under the same name": "repo:catalunya@4711/pipeline@7654321:environment:prod",
    "a longer name": f"{REPOSITORY}0:environment:prod",
    "another environment": f"{REPOSITORY}:environment:production",
    "a pattern": "repo:catalunya@4711/*:environment:prod",
}


def workflow(subject: str, audience: str = "sts.amazonaws.com", principal: str = PROVIDER) -> Request:
    context = {f"{GITHUB}:sub": subject, f"{GITHUB}:aud": audience}
    return Request("sts:AssumeRoleWithWebIdentity", context=context, principal=principal)


@pytest.mark.parametrize("env", ["dev", "prod"])
@pytest.mark.parametrize("who", SUBJECTS)
def test_only_the_job_of_the_environment_deploys_it(env: str, who: str) -> None:
    """GitHub's own rules admit develop to dev and main to prod; the job's token names the environment."""
    assert lets("deployment", workflow(SUBJECTS[who]), NAMES[env]) is (who == env)


def test_a_token_must_come_from_github_and_be_meant_for_aws() -> None:
    assert lets("deployment", workflow(SUBJECTS["dev"]))
    assert not lets("deployment", workflow(SUBJECTS["dev"], audience="https://github.com/catalunya"))
    assert not lets("deployment", workflow(SUBJECTS["dev"], principal=PROVIDER.replace(GITHUB, "gitlab.com")))
    assert not lets("deployment", Request("sts:AssumeRoleWithWebIdentity", principal=PROVIDER))
    assert not lets(
        "deployment", Request("sts:AssumeRole", principal=PERSON, context={"aws:MultiFactorAuthPresent": "true"})
    )


def test_an_existing_provider_can_be_named() -> None:
    mine = f"arn:aws:iam::{ACCOUNT}:oidc-provider/github.example.org"
    document = trust("deployment", DEV, Trusted.read({"github_subject": REPOSITORY, "oidc_provider": mine}))
    assert lets("deployment", workflow(SUBJECTS["dev"], principal=mine), document=document)
    assert not lets("deployment", workflow(SUBJECTS["dev"]), document=document)


@pytest.mark.parametrize(
    "subject", ["", "catalunya/pipeline", "repo:catalunya/*", "repo:catalunya", "repo:a/b:ref:refs/heads/main"]
)
def test_a_subject_that_is_not_exactly_one_repository_is_refused(subject: str) -> None:
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
    assert not lets("orchestrator", person(**{"aws:MultiFactorAuthPresent": "true"}))


def test_without_a_named_trust_anchor_only_those_of_the_account_are_trusted() -> None:
    document = trust("orchestrator", DEV, Trusted.read({"github_subject": REPOSITORY}))
    assert lets("orchestrator", airflow(), document=document)
    assert not lets("orchestrator", airflow(anchor=ANCHOR.replace(ACCOUNT, "210987654321")), document=document)


@pytest.mark.parametrize("action", ["sts:AssumeRole", "sts:TagSession"])
def test_only_airflow_assumes_the_mart_role_for_one_run(action: str) -> None:
    """As `io/aws.py` does: with one tag, the run."""

    def assuming(principal: str = DEV.role("orchestrator"), **tags: str) -> Request:
        context = {**{f"aws:RequestTag/{name}": value for name, value in tags.items()}, "aws:TagKeys": [*tags]}
        known = {name: value for name, value in context.items() if name in ("aws:TagKeys", "aws:RequestTag/run")}
        return Request(action, context=known, principal=role_arn(principal))

    assert lets("mart", assuming(run="scheduled__2026-08-03"))
    assert not lets("mart", assuming())
    assert not lets("mart", assuming(run=""))
    assert not lets("mart", assuming(run="r", team="data"))
    assert not lets("mart", assuming(NAMES["prod"].role("orchestrator"), run="r"))
    assert not lets("mart", assuming(DEV.role("transformer"), run="r"))


def test_the_mart_role_keeps_the_source_identity_of_airflow() -> None:
    """IAM Roles Anywhere sets a source identity; assuming another role needs permission to keep it, and IAM checks no tags for that."""
    keeping = Request("sts:SetSourceIdentity", principal=role_arn(DEV.role("orchestrator")))
    assert lets("mart", keeping)
    assert not lets("mart", Request("sts:SetSourceIdentity", principal=role_arn(DEV.role("transformer"))))
    assert not lets("mart", Request("sts:AssumeRole", principal=role_arn(DEV.role("orchestrator"))))


# Services


@pytest.mark.parametrize("role", ["extractor", "transformer", "tables"])
def test_only_lambda_assumes_the_function_roles(role: str) -> None:
    assert lets(role, Request("sts:AssumeRole", principal="lambda.amazonaws.com"))
    assert not lets(role, Request("sts:AssumeRole", principal="ec2.amazonaws.com"))
    assert not lets(role, person(**{"aws:MultiFactorAuthPresent": "true"}))


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
        lets("deployment", workflow(SUBJECTS["dev"]), document=document)
    with pytest.raises(UnknownError):
        lets("deployment", workflow(SUBJECTS["a fork"]), document=document)


@pytest.mark.parametrize(("role", "operator", "key", "intruder"), [
    ("engineer", "Bool", "aws:MultiFactorAuthPresent", person()),
    ("deployment", "StringEquals", f"{GITHUB}:sub", workflow(SUBJECTS["a fork"])),
    ("deployment", "StringEquals", f"{GITHUB}:aud", workflow(SUBJECTS["dev"], audience="another")),
    ("orchestrator", "StringEquals", "aws:PrincipalTag/x509Subject/CN", airflow("another")),
    ("orchestrator", "ArnEquals", "aws:SourceArn", airflow(anchor=f"{ANCHOR}c")),
    ("mart", "StringLike", "aws:RequestTag/run", Request("sts:AssumeRole", principal=role_arn(DEV.role("orchestrator")))),
])  # fmt: skip
def test_dropping_a_condition_admits_an_intruder(role: str, operator: str, key: str, intruder: Request) -> None:
    assert not lets(role, intruder)
    document = trust(role, DEV, TRUSTED)
    for statement in document["Statement"]:
        statement.get("Condition", {}).get(operator, {}).pop(key, None)
    assert lets(role, intruder, document=document)
