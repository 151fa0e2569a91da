"""Findings of cdk-nag that are meant: accepted where they are found, one by one, each with its reason."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import IConstruct


def accept(construct: IConstruct, finding: str, why: str) -> None:
    """Accept a finding of a rule on a construct and what it has within."""
    cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=f"AwsSolutions::{finding}", reason=why))


def accept_wildcard(construct: IConstruct, resource: str, why: str) -> None:
    """Accept that a policy names resources by a pattern (an ARN); cdk-nag writes references as `<AWS::Region>`."""
    named = {cdk.Aws.PARTITION: "AWS::Partition", cdk.Aws.REGION: "AWS::Region", cdk.Aws.ACCOUNT_ID: "AWS::AccountId"}
    for token, name in named.items():
        resource = resource.replace(token, f"<{name}>")
    accept(construct, f"AwsSolutions-IAM5[Resource::{resource}]", why)
