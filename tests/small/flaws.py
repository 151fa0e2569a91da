"""What is wrong with a template, as a list of sentences: empty for ours, and tests see that each check can fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from small.templates import Template, statements


def flaws(template: Template) -> list[str]:
    """Everything that is wrong: something open, endless, unlimited or unwatched."""
    return [*_of_buckets(template), *_of_logs(template), *_of_queues(template), *_of_functions(template)]


def _of_buckets(template: Template) -> Iterator[str]:
    policies = {policy["Bucket"]: policy["PolicyDocument"] for policy in template.of("AWS::S3::BucketPolicy").values()}
    for bucket in template.of("AWS::S3::Bucket").values():
        name = bucket["BucketName"]
        if set(bucket.get("PublicAccessBlockConfiguration", {"": False}).values()) != {True}:
            yield f"{name} may be made public"
        if "BucketEncryption" not in bucket:
            yield f"{name} is not encrypted"
        if bucket.get("VersioningConfiguration") != {"Status": "Enabled"}:
            yield f"{name} has no versions"
        if "LoggingConfiguration" not in bucket and "-logs-" not in name and not name.endswith("-replica"):
            yield f"nobody sees who asks {name}"
        rules = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if rule["Status"] == "Enabled"]
        if not any("AbortIncompleteMultipartUpload" in rule and "Prefix" not in rule for rule in rules):
            yield f"parts of uploads stay in {name} for good"
        if not any("NoncurrentVersionExpiration" in rule and "Prefix" not in rule for rule in rules):
            yield f"former versions stay in {name} for good"
        denied = [found for found in statements(policies.get(name, {"Statement": []})) if _is_tls_only(found, name)]
        if not denied:
            yield f"{name} answers without TLS"


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
            yield f"{group['LogGroupName']} never forgets"
    for function in template.of("AWS::Lambda::Function").values():
        if function.get("LoggingConfig", {}).get("LogGroup", "").strip("<>") not in groups:
            yield f"{function['FunctionName']} logs to a group that Lambda makes, without end"


def _of_queues(template: Template) -> Iterator[str]:
    queues = template.of("AWS::SQS::Queue")
    redriven = {queue["RedrivePolicy"]["deadLetterTargetArn"] for queue in queues.values() if "RedrivePolicy" in queue}
    functions = template.of("AWS::Lambda::Function").values()
    dead = redriven | {function.get("DeadLetterConfig", {}).get("TargetArn") for function in functions}
    watched = {
        dimension["Value"]
        for alarm in template.of("AWS::CloudWatch::Alarm").values()
        for dimension in alarm.get("Dimensions", [])
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible" and alarm["AlarmActions"]
    }
    for logical, queue in queues.items():
        name = queue["QueueName"]
        if f"<{logical}.Arn>" in dead and f"<{logical}.QueueName>" not in watched:
            yield f"nobody is told of messages in {name}"
        if f"<{logical}.Arn>" not in dead and "RedrivePolicy" not in queue:
            yield f"messages of {name} that nobody can deal with come again and again"
        if not queue.get("SqsManagedSseEnabled"):
            yield f"{name} is not encrypted"


def _of_functions(template: Template) -> Iterator[str]:
    for function in template.of("AWS::Lambda::Function").values():
        name, is_ours = function["FunctionName"], "S3Key" in function["Code"]
        if (function["Runtime"], function["Architectures"]) != ("python3.13", ["arm64"]):
            yield f"{name} is for {function['Runtime']} on {function['Architectures']}"
        if not 0 < function.get("Timeout", 0) <= 900:
            yield f"{name} has no time limit of its own"
        if is_ours and "ReservedConcurrentExecutions" not in function:
            yield f"{name} may take all of the account's concurrency"
        if is_ours and "DeadLetterConfig" not in function:
            yield f"events of {name} are lost"
