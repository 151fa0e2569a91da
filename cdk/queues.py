"""Queues: what tells Airflow of sealed landing batches, and where messages end that nobody could deal with.

Not here: the bucket's side of the notification (`buckets.py`), what Airflow does with it (`dags/build.py`).
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from catalunya.cdk.accepted import accept
from catalunya.cdk.naming import Names

RECEIVED_AT_MOST = 5
KEPT = cdk.Duration.days(4)
DEAD_KEPT = cdk.Duration.days(14)  # the longest there is


class Queues(Construct):
    """The queue of manifests, with the one for messages that were received too often."""

    def __init__(self, scope: Construct, id: str, names: Names) -> None:  # noqa: A002
        super().__init__(scope, id)
        self.dead = dead_queue(self, "Dead", names.manifests_dead_queue)
        self.manifests = sqs.Queue(
            self,
            "Manifests",
            queue_name=names.manifests_queue,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=KEPT,
            receive_message_wait_time=cdk.Duration.seconds(20),
            visibility_timeout=cdk.Duration.minutes(1),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead, max_receive_count=RECEIVED_AT_MOST),
        )
        said = self.manifests.add_to_resource_policy(
            iam.PolicyStatement(
                sid="TheLakeTells",
                principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.manifests.queue_arn],
                conditions={
                    "ArnEquals": {"aws:SourceArn": names.bucket_arn(names.data_bucket)},
                    "StringEquals": {"aws:SourceAccount": names.account},
                },
            )
        )
        assert said.policy_dependable is not None
        self.policy = said.policy_dependable


def dead_queue(scope: Construct, id: str, name: str) -> sqs.Queue:  # noqa: A002
    """A queue at the end of another's or a function's way."""
    queue = sqs.Queue(
        scope,
        id,
        queue_name=name,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=DEAD_KEPT,
    )
    accept(queue, "AwsSolutions-SQS3", "It is where dead messages go; there is no further place")
    return queue
