"""The checks of the templates can fail: one thing undone, and they say so."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from small.flaws import flaws
from small.templates import Template

Resources = dict[str, Any]
Undo = Callable[[Resources], None]


def first(resources: Resources, kind: str, having: str) -> dict[str, Any]:
    """The properties of the first resource of a type that has one of that name."""
    found: dict[str, Any] = next(
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == kind and having in resource["Properties"]
    )
    return found


def without(kind: str, name: str) -> Undo:
    return lambda resources: first(resources, kind, name).pop(name)


def without_tls(resources: Resources) -> None:
    policy = first(resources, "AWS::S3::BucketPolicy", "PolicyDocument")["PolicyDocument"]
    policy["Statement"] = [each for each in policy["Statement"] if "aws:SecureTransport" not in str(each)]


def tls_for_objects_only(resources: Resources) -> None:
    policy = first(resources, "AWS::S3::BucketPolicy", "PolicyDocument")["PolicyDocument"]
    for each in policy["Statement"]:
        if "aws:SecureTransport" in str(each):
            each["Resource"] = each["Resource"][1:]


def public_policies(resources: Resources) -> None:
    blocked = first(resources, "AWS::S3::Bucket", "PublicAccessBlockConfiguration")
    blocked["PublicAccessBlockConfiguration"]["BlockPublicPolicy"] = False


def no_alarm_on_the_dead(resources: Resources) -> None:
    for logical, resource in [*resources.items()]:
        if resource["Properties"].get("MetricName") == "ApproximateNumberOfMessagesVisible":
            del resources[logical]


def alarms_that_tell_nobody(resources: Resources) -> None:
    for resource in resources.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            resource["Properties"]["AlarmActions"] = []


def longer_than_lambda_lets(resources: Resources) -> None:
    first(resources, "AWS::Lambda::Function", "Timeout")["Timeout"] = 1000


def former_versions_of_the_rest(resources: Resources) -> None:
    for resource in resources.values():
        if resource["Type"] == "AWS::S3::Bucket":
            rules = resource["Properties"]["LifecycleConfiguration"]
            rules["Rules"] = [rule for rule in rules["Rules"] if rule["Id"] not in ("rest", "all")]


def parts_of_uploads(resources: Resources) -> None:
    for rule in first(resources, "AWS::S3::Bucket", "LifecycleConfiguration")["LifecycleConfiguration"]["Rules"]:
        rule.pop("AbortIncompleteMultipartUpload", None)


UNDONE: dict[str, Undo] = {
    "may be made public": public_policies,
    "is not encrypted": without("AWS::S3::Bucket", "BucketEncryption"),
    "has no versions": without("AWS::S3::Bucket", "VersioningConfiguration"),
    "nobody sees who asks": without("AWS::S3::Bucket", "LoggingConfiguration"),
    "answers without TLS": without_tls,
    "answers without TLS ": tls_for_objects_only,
    "former versions stay": former_versions_of_the_rest,
    "parts of uploads stay": parts_of_uploads,
    "never forgets": without("AWS::Logs::LogGroup", "RetentionInDays"),
    "logs to a group that Lambda makes": without("AWS::Lambda::Function", "LoggingConfig"),
    "come again and again": without("AWS::SQS::Queue", "RedrivePolicy"),
    "is not encrypted ": without("AWS::SQS::Queue", "SqsManagedSseEnabled"),
    "nobody is told of messages": no_alarm_on_the_dead,
    "nobody is told of messages ": alarms_that_tell_nobody,
    "may take all of the account's concurrency": without("AWS::Lambda::Function", "ReservedConcurrentExecutions"),
    "are lost": without("AWS::Lambda::Function", "DeadLetterConfig"),
    "has no time limit of its own": longer_than_lambda_lets,
}


@pytest.mark.parametrize("said", UNDONE)
def test_what_was_undone_is_found(templates: dict[str, Template], said: str) -> None:
    content = copy.deepcopy(templates["CatalunyaData-dev"].content)
    UNDONE[said](content["Resources"])

    assert any(said.strip() in flaw for flaw in flaws(Template("mutated", content)))
