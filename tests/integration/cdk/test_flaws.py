"""The checks of the templates can fail: each mutation of a template is reported."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from small.flaws import flaws
from small.templates import Template

Resources = dict[str, Any]
Mutation = Callable[[Resources], None]


def first(resources: Resources, kind: str, having: str) -> dict[str, Any]:
    """The properties of the first resource of a type that has a property of that name."""
    found: dict[str, Any] = next(
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == kind and having in resource["Properties"]
    )
    return found


def without(kind: str, name: str) -> Mutation:
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


def no_alarm_on(metric: str) -> Mutation:
    def mutate(resources: Resources) -> None:
        for logical, resource in [*resources.items()]:
            if resource["Properties"].get("MetricName") == metric:
                del resources[logical]

    return mutate


def a_queue_that_dies(resources: Resources) -> None:
    first(resources, "AWS::SQS::Queue", "ReceiveMessageWaitTimeSeconds")["RedrivePolicy"] = {"maxReceiveCount": 5}


def alarms_without_action(resources: Resources) -> None:
    for resource in resources.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            resource["Properties"]["AlarmActions"] = []


def retried_by_lambda(resources: Resources) -> None:
    first(resources, "AWS::Lambda::EventInvokeConfig", "MaximumRetryAttempts")["MaximumRetryAttempts"] = 2


def one_error_is_tolerated(resources: Resources) -> None:
    for resource in resources.values():
        if resource["Properties"].get("MetricName") == "Errors":
            resource["Properties"]["Threshold"] = 1


def longer_than_lambda_allows(resources: Resources) -> None:
    first(resources, "AWS::Lambda::Function", "Timeout")["Timeout"] = 1000


def no_rule_for_old_versions(resources: Resources) -> None:
    for resource in resources.values():
        if resource["Type"] == "AWS::S3::Bucket":
            rules = resource["Properties"]["LifecycleConfiguration"]
            rules["Rules"] = [rule for rule in rules["Rules"] if rule["Id"] not in ("rest", "all")]


def no_rule_for_uploads(resources: Resources) -> None:
    for rule in first(resources, "AWS::S3::Bucket", "LifecycleConfiguration")["LifecycleConfiguration"]["Rules"]:
        rule.pop("AbortIncompleteMultipartUpload", None)


MUTATIONS: dict[str, Mutation] = {
    "can be made public": public_policies,
    "is not encrypted": without("AWS::S3::Bucket", "BucketEncryption"),
    "is not versioned": without("AWS::S3::Bucket", "VersioningConfiguration"),
    "has no access logs": without("AWS::S3::Bucket", "LoggingConfiguration"),
    "allows requests without TLS": without_tls,
    "allows requests without TLS ": tls_for_objects_only,
    "keeps old versions": no_rule_for_old_versions,
    "keeps unfinished uploads": no_rule_for_uploads,
    "has no retention": without("AWS::Logs::LogGroup", "RetentionInDays"),
    "logs to a group that Lambda creates": without("AWS::Lambda::Function", "LoggingConfig"),
    "has a dead-letter queue that stays empty": a_queue_that_dies,
    "is not encrypted ": without("AWS::SQS::Queue", "SqsManagedSseEnabled"),
    "functions-dev-dead has no alarm": no_alarm_on("ApproximateNumberOfMessagesVisible"),
    "manifests-dev has no alarm": no_alarm_on("ApproximateAgeOfOldestMessage"),
    "has no alarm": alarms_without_action,
    "can use all of the account's concurrency": without("AWS::Lambda::Function", "ReservedConcurrentExecutions"),
    "is run again by Lambda": retried_by_lambda,
    "can crash once and no alarm is raised": one_error_is_tolerated,
    "loses failed events": without("AWS::Lambda::Function", "DeadLetterConfig"),
    "has no valid timeout": longer_than_lambda_allows,
}


@pytest.mark.parametrize("flaw", MUTATIONS)
def test_a_mutation_of_the_template_is_reported(templates: dict[str, Template], flaw: str) -> None:
    content = copy.deepcopy(templates["CatalunyaData-dev"].content)
    MUTATIONS[flaw](content["Resources"])

    assert any(flaw.strip() in found for found in flaws(Template("mutated", content)))
