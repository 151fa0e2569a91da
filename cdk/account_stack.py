"""The stack that an account has once, `CatalunyaAccount`: deployed before the others, by a person.

Here: its parts. Not here: what the boundary and the roles say (`limits.py`, `access.py`, `trust.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from constructs import Construct

from catalunya.cdk.deployment import Deployment
from catalunya.cdk.naming import ACCOUNT_STACK, Names
from catalunya.cdk.roles import AccountRoles


class AccountStack(cdk.Stack):
    """The boundary of all roles, GitHub's provider, and the engineers' role."""

    def __init__(
        self, scope: Construct, environments: Sequence[Names], deployment: Deployment, **arguments: Any
    ) -> None:
        super().__init__(
            scope,
            ACCOUNT_STACK,
            description="Open data of Catalonia: what the account has once",
            termination_protection=True,
            **arguments,
        )
        AccountRoles(self, "Roles", environments, deployment.trusted, regions=deployment.regions)
