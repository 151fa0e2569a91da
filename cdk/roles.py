"""The roles as constructs: each with its trust, its policy and the boundary, exactly as the tables say.

A role is handed out so that nothing can be added to it: what CDK's own constructs would grant, the table grants, or nobody does.
Not here: what is in the documents (`access.py`, `trust.py`, `limits.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aws_cdk import aws_iam as iam
from constructs import Construct

from catalunya.cdk.accepted import accept, accept_wildcard
from catalunya.cdk.access import ROLES, engineer_policies, grants, policy
from catalunya.cdk.limits import boundary
from catalunya.cdk.naming import BOUNDARY, Names
from catalunya.cdk.policy import Document
from catalunya.cdk.trust import AUDIENCE, GITHUB, Trusted, trust
from catalunya.cdk.vocabulary import PLACES


class Roles(Construct):
    """The roles of one environment. A role that the environment has no use for is None."""

    def __init__(self, scope: Construct, id: str, names: Names, trusted: Trusted, *, is_replicated: bool) -> None:  # noqa: A002
        super().__init__(scope, id)
        self._names, self._trusted = names, trusted
        self.extractor = self._role("extractor", names.extractor_role)
        self.transformer = self._role("transformer", names.transformer_role)
        self.orchestrator = self._role("orchestrator", names.orchestrator_role)
        self.mart = self._role("mart", names.mart_role)
        # IAM takes only principals that exist.
        self.mart.node.add_dependency(self.orchestrator)
        self.monitoring = self._role("monitoring", names.monitoring_role)
        self.deployment = self._role("deployment", names.deployment_role)
        self.reader = self._role("reader", names.reader_role)
        self.tables = self._role("tables", names.tables_role)
        self.replication = self._role("replication", names.replication_role) if is_replicated else None

    def _role(self, role: str, name: str) -> iam.IRole:
        documents = {"access": policy(role, self._names)}
        return make_role(self, role, name, trust(role, self._names, self._trusted), documents, [self._names])


class AccountRoles(Construct):
    """What an account has once: the boundary of all roles, GitHub's provider unless there is one, and the engineer's role."""

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
        names = environments[0]
        bounds = boundary(environments, regions)
        self.boundary = iam.CfnManagedPolicy(
            self,
            "Boundary",
            managed_policy_name=BOUNDARY,
            description="What no role of the open data pipeline can ever do more than",
            policy_document=bounds,
        )
        _accept_bounds(self.boundary, bounds)
        self.provider = None
        if trusted.provider is None:
            self.provider = iam.CfnOIDCProvider(self, "GitHub", url=f"https://{GITHUB}", client_id_list=[AUDIENCE])
        policies = {
            f"{names.env}-{title}": found for names in environments for title, found in engineer_policies(names).items()
        }
        self.engineer = make_role(
            self,
            "engineer",
            names.engineer_role,
            trust("engineer", names, trusted),
            policies,
            environments,
            is_large=True,
        )
        self.engineer.node.add_dependency(self.boundary)


def make_role(
    scope: Construct,
    role: str,
    name: str,
    trusted: Document,
    documents: dict[str, Document],
    environments: Sequence[Names],
    *,
    is_large: bool = False,
) -> iam.IRole:
    """One role with these policies by name; a large one has them beside it (IAM: 10,240 characters are in a role at most)."""
    boundary_arn = environments[0].boundary_arn
    made = iam.Role(
        scope,
        role.title(),
        role_name=name,
        description=f"Open data pipeline: {ROLES[role]}",
        assumed_by=iam.AccountRootPrincipal(),  # replaced below
        permissions_boundary=iam.ManagedPolicy.from_managed_policy_arn(scope, f"{role.title()}Boundary", boundary_arn),
    )
    resource = made.node.default_child
    assert isinstance(resource, iam.CfnRole)
    resource.assume_role_policy_document = trusted
    holders: list[Any] = [made]
    if is_large:
        holders += [
            iam.CfnManagedPolicy(
                scope,
                f"{role.title()}{title.title().replace('-', '')}",
                managed_policy_name=f"{name}-{title}",
                policy_document=found,
                roles=[resource.ref],
            )
            for title, found in documents.items()
        ]
    else:
        resource.policies = [
            iam.CfnRole.PolicyProperty(policy_name=title, policy_document=found) for title, found in documents.items()
        ]
    for names in environments:
        for grant in grants(role):
            for arn in dict.fromkeys(arn for place in grant.places for arn in PLACES[place](names) if "*" in arn):
                for holder in holders:
                    accept_wildcard(holder, arn, grant.why)
    return made.without_policy_updates()


def _accept_bounds(policy: iam.CfnManagedPolicy, bounds: Document) -> None:
    why = "A boundary grants nothing: a role may do what its own policy says as well, and that one names things"
    for statement in bounds["Statement"]:
        for action in statement.get("Action", ()):
            if "*" in action and statement["Effect"] == "Allow":
                accept(policy, f"AwsSolutions-IAM5[Action::{action}]", why)
        for resource in statement["Resource"]:
            if "*" in resource and statement["Effect"] == "Allow":
                accept_wildcard(policy, resource, why)
