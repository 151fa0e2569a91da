"""What is wrong with a template, as a list of sentences: empty for ours. test_flaws.py shows that each check can fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from small.templates import Template, statements


def flaws(template: Template) -> list[str]:
    """All flaws: public access, missing retention, missing limits, missing alarms."""
    return [*_of_buckets(template), *_of_logs(template), *_of_queues(template), *_of_functions(template)]


def _of_buckets(template: Template) -> Iterator[str]:
    policies = {policy["Bucket"]: policy["PolicyDocument"] for policy in template.of("AWS::S3::BucketPolicy").values()}
    for bucket in template.of("AWS::S3::Bucket").values():
        name = bucket["BucketName"]
        if set(bucket.get("PublicAccessBlockConfiguration", {"": False}).values()) != {True}:
            yield f"{name} can be made public"
        if "BucketEncryption" not in bucket:
            yield f"{name} is not encrypted"
        if bucket.get("VersioningConfiguration") != {"Status": "Enabled"}:
            yield f"{name} is not versioned"
        if "LoggingConfiguration" not in bucket and "-logs-" not in name:
            yield f"{name} has no access logs"
        rules = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if rule["Status"] == "Enabled"]
        if not any("AbortIncompleteMultipartUpload" in rule and "Prefix" not in rule for rule in rules):
            yield f"{name} keeps unfinished uploads forever"
        if not any("NoncurrentVersionExpiration" in rule and "Prefix" not in rule for rule in rules):
            yield f"{name} keeps old versions forever"
        denied = [found for found in statements(policies.get(name, {"Statement": []})) if _is_tls_only(found, name)]
        if not denied:
            yield f"{name} allows requests without TLS"


def _is_tls_only(statement: dict[str, Any], bucket: str) -> bool:
    arn = f"arn:aws:s3:::{bucket}"
    return (
        statement["Effect"] == "Deny"
        and statement["Principal"] in ("*", {"AWS": "*"})
        and statement["Action"] in ("s3:*", ["s3:*"])
        and set(statement["Resource"]) == {arn, f"{arn}/*"}
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    )


def _of_logs(template: Template) -> Iterator[str]:
    groups = template.of("AWS::Logs::LogGroup")
    for group in groups.values():
        if not group.get("RetentionInDays"):
            yield f"{group['LogGroupName']} has no retention"
    for function in template.of("AWS::Lambda::Function").values():
        if function.get("LoggingConfig", {}).get("LogGroup", "").strip("<>") not in groups:
            yield f"{function['FunctionName']} logs to a group that Lambda creates, without retention"


def _of_queues(template: Template) -> Iterator[str]:
    queues = template.of("AWS::SQS::Queue")
    functions = template.of("AWS::Lambda::Function").values()
    dead_letters = {function.get("DeadLetterConfig", {}).get("TargetArn") for function in functions}
    watched = {
        (alarm["MetricName"], dimension["Value"])
        for alarm in template.of("AWS::CloudWatch::Alarm").values()
        for dimension in alarm.get("Dimensions", [])
        if alarm.get("MetricName") and alarm["AlarmActions"]
    }
    for logical, queue in queues.items():
        name, is_dead = queue["QueueName"], f"<{logical}.Arn>" in dead_letters
        metric = "ApproximateNumberOfMessagesVisible" if is_dead else "ApproximateAgeOfOldestMessage"
        if (metric, f"<{logical}.QueueName>") not in watched:
            yield f"{name} has no alarm on its messages"
        if "RedrivePolicy" in queue:
            yield f"{name} has a dead-letter queue that stays empty: its messages are deleted when they are received"
        if not queue.get("SqsManagedSseEnabled"):
            yield f"{name} is not encrypted"


def _of_functions(template: Template) -> Iterator[str]:
    queued = {found["FunctionName"]: found for found in template.of("AWS::Lambda::EventInvokeConfig").values()}
    heard = {
        dimension["Value"]
        for alarm in template.of("AWS::CloudWatch::Alarm").values()
        for dimension in alarm.get("Dimensions", [])
        if alarm.get("MetricName") == "Errors" and not alarm["Threshold"]
    }
    for logical, function in template.of("AWS::Lambda::Function").items():
        name, is_ours = function["FunctionName"], "S3Key" in function["Code"]
        if (function["Runtime"], function["Architectures"]) != ("python3.13", ["arm64"]):
            yield f"{name} is built for {function['Runtime']} on {function['Architectures']}"
        if not 0 < function.get("Timeout", 0) <= 900:
            yield f"{name} has no valid timeout"
        if is_ours and "ReservedConcurrentExecutions" not in function:
            yield f"{name} can use all of the account's concurrency"
        if is_ours and "DeadLetterConfig" not in function:
            yield f"{name} loses failed events"
        if is_ours and queued[f"<{logical}>"]["MaximumRetryAttempts"]:
            yield f"{name} is run again by Lambda, and by Airflow"
        if is_ours and f"<{logical}>" not in heard:
            yield f"{name} can crash once and no alarm is raised"
