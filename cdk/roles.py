"""The roles as constructs, each with exactly the trust, policy and boundary that the tables define; and accepted findings.

A role is handed out read-only: what CDK's own constructs would grant must be in the table. cdk-nag's findings are accepted where they
occur, each with its reason. Not here: the policy documents themselves (`access.py`, `trust.py`, `limits.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct

from catalunya.cdk.access import ROLES, engineer_policies, grants, policy
from catalunya.cdk.bootstrap import check_sizes, deployment_boundary
from catalunya.cdk.limits import account_boundary, boundary
from catalunya.cdk.naming import CLOUDFORMATION, Names
from catalunya.cdk.policy import PLACES, Document
from catalunya.cdk.trust import AUDIENCE, GITHUB, Trusted, trust


def accept(construct: IConstruct, finding: str, why: str) -> None:
    """Accept a finding of cdk-nag on a construct and everything in it."""
    _accept_all(construct, {finding: why})


def _accept_all(construct: IConstruct, findings: Mapping[str, str]) -> None:
    """Accept findings, with why, in one call: each call to the CDK goes to another process."""
    rules = [cdk.Acknowledgment(id=f"AwsSolutions::{finding}", reason=why) for finding, why in findings.items()]
    if rules:
        cdk.Validations.of(construct).acknowledge(*rules)


class Roles(Construct):
    """The roles of one environment. `replication` is None where nothing is replicated."""

    def __init__(self, scope: Construct, id: str, names: Names, trusted: Trusted, *, is_replicated: bool) -> None:  # noqa: A002
        super().__init__(scope, id)
        self._names, self._trusted = names, trusted
        self.extractor = self._role("extractor")
        self.transformer = self._role("transformer")
        self.orchestrator = self._role("orchestrator")
        # IAM accepts only principals that exist.
        self._role("mart").node.add_dependency(self.orchestrator)
        for role in ("monitoring", "reader"):
            self._role(role)
        self.tables = self._role("tables")
        self.replication = self._role("replication") if is_replicated else None

    def _role(self, role: str) -> iam.IRole:
        documents = {"access": policy(role, self._names)}
        return make_role(self, role, trust(role, self._names, self._trusted), documents, [self._names])


class AccountRoles(Construct):
    """What limits the environments, and who deploys them: all boundaries, GitHub's provider unless it exists already, the deployment roles
    and the engineer's role. No environment's deployment can change them, because they have another path and another bootstrap."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        environments: Sequence[Names],
        trusted: Trusted,
        *,
        regions: Iterable[str],
    ) -> None:
        super().__init__(scope, id)
        first, where = environments[0], list(regions)
        check_sizes(environments, where)
        bounds = {"engineer": self._boundary(first, "engineer", account_boundary(environments, where))}
        for names in environments:
            self._boundary(names, "extractor", boundary(names, where))
            bounds[names.env] = self._boundary(names, CLOUDFORMATION, deployment_boundary(names, where))
        provider = (
            None
            if trusted.provider
            else iam.CfnOIDCProvider(self, "GitHub", url=f"https://{GITHUB}", client_id_list=[AUDIENCE])
        )
        if provider:
            # `oidc_provider` may be set to this one by mistake: it would be deleted, and every deployment refused.
            provider.apply_removal_policy(cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
        for names in environments:
            documents = {"access": policy("deployment", names)}
            role = make_role(
                self,
                "deployment",
                trust("deployment", names, trusted),
                documents,
                [names],
                id=f"Deployment-{names.env}",
            )
            role.node.add_dependency(bounds[names.env], *([provider] if provider else []))
        policies = {
            f"{names.env}-{title}": found for names in environments for title, found in engineer_policies(names).items()
        }
        trusting = trust("engineer", first, trusted)
        engineer = make_role(self, "engineer", trusting, policies, environments, is_large=True)
        engineer.node.add_dependency(bounds["engineer"])

    def _boundary(self, names: Names, role: str, document: Document) -> iam.CfnManagedPolicy:
        """The boundary of a role, and of all others that have the same."""
        name = names.boundary(role)
        words = "".join(word.title() for word in name.removeprefix(names.project.name).split("-"))
        made = iam.CfnManagedPolicy(
            self,
            words,
            managed_policy_name=name,
            path=names.role_path("engineer"),
            description="The most that roles of the open data pipeline can do",
            policy_document=document,
        )
        _accept_boundary(made, document)
        return made


def make_role(
    scope: Construct,
    role: str,
    trusting: Document,
    documents: dict[str, Document],
    environments: Sequence[Names],
    *,
    is_large: bool = False,
    id: str | None = None,  # noqa: A002
) -> iam.IRole:
    """One role with these policies by name; a large one has managed policies (IAM: inline ones may have 10,240 characters at most)."""
    name, boundary_arn = environments[0].role(role), environments[0].boundary_arn(role)
    id = id or role.title()  # noqa: A001
    made = iam.Role(
        scope,
        id,
        role_name=name,
        path=environments[0].role_path(role),
        description=f"Open data pipeline: {ROLES[role]}",
        assumed_by=iam.AccountRootPrincipal(),  # replaced below
        permissions_boundary=iam.ManagedPolicy.from_managed_policy_arn(scope, f"{id}Limit", boundary_arn),
    )
    resource = made.node.default_child
    assert isinstance(resource, iam.CfnRole)
    resource.assume_role_policy_document = trusting
    holders: list[Any] = [made]
    if is_large:
        holders += [
            iam.CfnManagedPolicy(
                scope,
                f"{role.title()}{title.title().replace('-', '')}",
                managed_policy_name=f"{name}-{title}",
                path=environments[0].role_path(role),
                policy_document=found,
                roles=[resource.ref],
            )
            for title, found in documents.items()
        ]
    else:
        resource.policies = [
            iam.CfnRole.PolicyProperty(policy_name=title, policy_document=found) for title, found in documents.items()
        ]
    found = {
        _wildcard(arn): grant.why
        for names in environments
        for grant in grants(role)
        for place in grant.places
        for arn in PLACES[place](names)
        if "*" in arn
    }
    for holder in holders:
        _accept_all(holder, found)
    return made.without_policy_updates()


def _accept_boundary(policy: iam.CfnManagedPolicy, document: Document) -> None:
    why = "A boundary grants nothing: a role also needs its own policy to allow an action, and that one names resources"
    allowed = [statement for statement in document["Statement"] if statement["Effect"] == "Allow"]
    actions = [f"AwsSolutions-IAM5[Action::{each}]" for one in allowed for each in one["Action"] if "*" in each]
    resources = [_wildcard(each) for one in allowed for each in one["Resource"] if "*" in each]
    _accept_all(policy, dict.fromkeys([*actions, *resources], why))


def _wildcard(resource: str) -> str:
    """The finding that a policy names resources by a wildcard (an ARN); cdk-nag writes references as `<AWS::Region>`."""
    references = {
        cdk.Aws.PARTITION: "AWS::Partition",
        cdk.Aws.REGION: "AWS::Region",
        cdk.Aws.ACCOUNT_ID: "AWS::AccountId",
    }
    for token, name in references.items():
        resource = resource.replace(token, f"<{name}>")
    return f"AwsSolutions-IAM5[Resource::{resource}]"
