"""What a deployment itself may not do: the boundary of the role that CloudFormation works under, one for each environment.

That role has to make roles, so it comes with an administrator's permissions (`cdk bootstrap`). Without a boundary, who may push to
develop could have a template change prod, or make a role that may do everything. It denies only that, so that no deployment
fails for want of an action that a handler of CloudFormation's happens to need. `python -m catalunya.cdk.bootstrap ENV ACCOUNT REGION`
prints it, for what has to be there before anything is deployed (docs/infrastructure.md). Not here: the boundary of the roles that are
deployed (`limits.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

from catalunya.cdk.deployment import PROFILES
from catalunya.cdk.naming import ACCOUNT_STACK, BOUNDARY, PROJECT, Names
from catalunya.cdk.policy import Document, Statement, deny, document
from catalunya.cdk.trust import GITHUB
from catalunya.cdk.vocabulary import QUALIFIERS
from catalunya.io.errors import CatalunyaError, UsageError

NAME = f"{PROJECT}-deployment-boundary"
_HOLDER = "prod"  # whose bootstrap the account's stack is deployed by (app.py)


def deployment_boundary(names: Names, others: Iterable[Names]) -> Document:
    """The boundary of CloudFormation's role in an environment, beside other environments of the account."""
    bounds = f"{PROJECT}-deployment-boundary*"
    statements: list[Statement] = [
        {"Sid": "AsGranted", "Effect": "Allow", "Action": ["*"], "Resource": ["*"]},
        *(_nothing_of(other) for other in others),
        # An absent key is unequal too: a role without a boundary is none that may be made or given more.
        deny(
            "RolesWithinTheBoundary",
            ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePermissionsBoundary"],
            ["*"],
            {"StringNotEquals": {"iam:PermissionsBoundary": names.boundary_arn}},
        ),
        {
            "Sid": "NoOtherIdentities",
            "Effect": "Deny",
            "Action": [
                *(
                    "iam:DeleteRolePermissionsBoundary",
                    "iam:CreateUser",
                    "iam:CreateAccessKey",
                    "iam:CreateLoginProfile",
                ),
                *(
                    "iam:CreateGroup",
                    "iam:PutUserPolicy",
                    "iam:AttachUserPolicy",
                    "iam:PutGroupPolicy",
                    "iam:AttachGroupPolicy",
                ),
                *(
                    "iam:AddUserToGroup",
                    "iam:UpdateLoginProfile",
                    "iam:CreateSAMLProvider",
                    "organizations:*",
                    "account:*",
                ),
            ],
            "Resource": ["*"],
        },
        {
            "Sid": "NotItsOwnBounds",
            "Effect": "Deny",
            "Action": ["iam:*"],
            "Resource": [
                f"arn:{names.partition}:iam::{names.account}:policy/{bounds}",
                names.role_arn(f"cdk-{QUALIFIERS[names.env]}-*"),
            ],
        },
    ]
    if names.env != _HOLDER:
        statements.append(_nothing_of_the_account(names))
    return document(statements)


def _nothing_of(other: Names) -> Statement:
    """Nothing that bears another environment's name."""
    buckets = (other.data_bucket, other.results_bucket, other.log_bucket, other.replica_bucket, other.backup_bucket)
    here = f"arn:{other.partition}"
    files = f"cdk-{QUALIFIERS[other.env]}-*"
    glue = other.catalog_arn.removesuffix("catalog")
    return {
        "Sid": f"NothingOf{other.env.title()}",
        "Effect": "Deny",
        "Action": ["*"],
        "Resource": [
            *(f"{other.bucket_arn(bucket)}{objects}" for bucket in (*buckets, files) for objects in ("", "/*")),
            *(other.role_arn(name) for name in (f"{PROJECT}-*-{other.env}", f"cdk-{QUALIFIERS[other.env]}-*")),
            f"{here}:lambda:*:{other.account}:function:{PROJECT}-*-{other.env}",
            *(f"{here}:sqs:*:{other.account}:{PROJECT}-*-{other.env}{end}" for end in ("", "-dead")),
            f"{here}:sns:*:{other.account}:{other.topic}",
            f"{here}:logs:*:{other.account}:log-group:/aws/lambda/{PROJECT}-*-{other.env}*",
            f"{here}:logs:*:{other.account}:log-group:{other.airflow_log_group}*",
            *(f"{glue}{kind}" for name in other.databases.values() for kind in (f"database/{name}", f"table/{name}/*")),
            *(other.work_group_arn(group) for group in (other.work_group, other.readers_work_group)),
            f"{here}:cloudformation:*:{other.account}:stack/{other.stack}*",
        ],
    }


def _nothing_of_the_account(names: Names) -> Statement:
    iam = f"arn:{names.partition}:iam::{names.account}"
    return {
        "Sid": "NothingOfTheAccount",
        "Effect": "Deny",
        "Action": [
            *(
                "iam:Create*",
                "iam:Delete*",
                "iam:Update*",
                "iam:Put*",
                "iam:Attach*",
                "iam:Detach*",
                "iam:Add*",
                "iam:Remove*",
            ),
            *("iam:Set*", "iam:Tag*", "iam:Untag*", "cloudformation:*"),
        ],
        "Resource": [
            f"{iam}:policy/{BOUNDARY}",
            f"{iam}:policy/{names.engineer_role}*",
            names.role_arn(names.engineer_role),
            f"{iam}:oidc-provider/{GITHUB}",
            f"arn:{names.partition}:cloudformation:*:{names.account}:stack/{ACCOUNT_STACK}*",
        ],
    }


def main(arguments: Sequence[str]) -> int:
    """Print the boundary. Returns the exit code."""
    try:
        if len(arguments) != 3 or arguments[0] not in PROFILES:
            raise UsageError(
                f"expected an environment ({', '.join(PROFILES)}), an account and a region, found {' '.join(arguments) or 'nothing'}"
            )
        env, account, region = arguments
        every = {name: Names.of(name, partition="aws", account=account, region=region) for name in PROFILES}
        bounds = deployment_boundary(every.pop(env), every.values())
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(bounds, separators=(",", ":")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
