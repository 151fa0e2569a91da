"""The buckets of one environment: the lake, readers' results, backups, access logs.

Here: encryption, versions, who may not come in, lifecycle, notification, replication. Not here: which objects go when
(`lifecycle.py`), who may read or write (`access.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct, IDependable

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.paths import MANIFEST
from catalunya.cdk.accepted import accept
from catalunya.cdk.deployment import CRITICAL
from catalunya.cdk.lifecycle import UPLOAD_DAYS, rules
from catalunya.cdk.limits import bucket_policy
from catalunya.cdk.naming import Names
from catalunya.cdk.policy import document

RESULT_DAYS = 7  # readers' results are copies
ACCESS_LOG_DAYS = 90
BACKUP_FORMER_DAYS = 30
REPLICA_FORMER_DAYS = 30


class Buckets(Construct):
    """The lake, readers' results, backups, and the access logs of all three."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        assets: Iterable[Asset],
        *,
        is_accelerated: bool,
    ) -> None:
        super().__init__(scope, id)
        self.logs = PrivateBucket(self, "Logs", names, names.log_bucket)
        self.logs.forget(current=ACCESS_LOG_DAYS)
        accept(self.logs, "AwsSolutions-S1", "It is where access logs go: logging its own access would never end")
        self.results = PrivateBucket(self, "Results", names, names.results_bucket, has_access_logs=True)
        self.results.forget(current=RESULT_DAYS)
        self.backups = PrivateBucket(self, "Backups", names, names.backup_bucket, has_access_logs=True)
        self.backups.forget(former=BACKUP_FORMER_DAYS)
        self.data = PrivateBucket(
            self, "Data", names, names.data_bucket, has_access_logs=True, is_accelerated=is_accelerated
        )
        for logged in (self.results, self.backups, self.data):
            # S3 tries whether it may write there.
            logged.node.add_dependency(self.logs)
        for rule in rules(assets, names.settings):
            self.data.forget(name=rule.name, prefix=rule.prefix or None, former=rule.former, current=rule.current)

    def tell(self, queue_arn: str, policy: IDependable) -> None:
        """Have the lake tell the queue of each landing batch that was sealed; `policy` is what lets it.

        Said on the bucket itself: CDK's own way would bring a function with a role to say it at each deployment.
        """
        filters = [
            s3.CfnBucket.FilterRuleProperty(name="prefix", value=f"{Layer.LANDING}/"),
            s3.CfnBucket.FilterRuleProperty(name="suffix", value=MANIFEST),
        ]
        self.data.resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            queue_configurations=[
                s3.CfnBucket.QueueConfigurationProperty(
                    event="s3:ObjectCreated:*",
                    queue=queue_arn,
                    filter=s3.CfnBucket.NotificationFilterProperty(
                        s3_key=s3.CfnBucket.S3KeyFilterProperty(rules=filters)
                    ),
                )
            ]
        )
        self.data.node.add_dependency(policy)

    def replicate(self, role: iam.IRole, replica: str) -> None:
        """Have what cannot be made again copied to the bucket of that ARN in another region."""
        self.data.resource.replication_configuration = s3.CfnBucket.ReplicationConfigurationProperty(
            role=role.role_arn,
            rules=[
                s3.CfnBucket.ReplicationRuleProperty(
                    id=prefix.strip("/_"),
                    status="Enabled",
                    priority=number,
                    filter=s3.CfnBucket.ReplicationRuleFilterProperty(prefix=prefix),
                    destination=s3.CfnBucket.ReplicationDestinationProperty(
                        bucket=replica, storage_class="STANDARD_IA"
                    ),
                    # What is deleted is deleted there too; its former versions stay for a while.
                    delete_marker_replication=s3.CfnBucket.DeleteMarkerReplicationProperty(status="Enabled"),
                )
                for number, prefix in enumerate(CRITICAL)
            ],
        )
        self.data.node.add_dependency(role)


class PrivateBucket(Construct):
    """A bucket that nobody outside can see, that only TLS reaches, encrypted and versioned. It stays when its stack goes."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        name: str,
        *,
        has_access_logs: bool = False,
        is_accelerated: bool = False,
    ) -> None:
        super().__init__(scope, id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            transfer_acceleration=is_accelerated or None,
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        found = self.bucket.node.default_child
        assert isinstance(found, s3.CfnBucket)
        self.resource = found
        self.resource.bucket_encryption = _encryption(names, name)
        if has_access_logs:
            self.resource.logging_configuration = s3.CfnBucket.LoggingConfigurationProperty(
                destination_bucket_name=names.log_bucket, log_file_prefix=f"{name}/"
            )
        policy = s3.CfnBucketPolicy(self, "Policy", bucket=name, policy_document=document(bucket_policy(names, name)))
        policy.add_resource_dependency(self.resource)
        self.bucket.add_lifecycle_rule(
            id="uploads",
            abort_incomplete_multipart_upload_after=cdk.Duration.days(UPLOAD_DAYS),
            expired_object_delete_marker=True,
        )

    def forget(
        self, *, name: str = "all", prefix: str | None = None, former: int = 1, current: int | None = None
    ) -> None:
        """Have former versions of objects below the prefix go after so many days, and objects themselves where it is said."""
        self.bucket.add_lifecycle_rule(
            id=name,
            prefix=prefix,
            noncurrent_version_expiration=cdk.Duration.days(former),
            expiration=cdk.Duration.days(current) if current else None,
        )


def _encryption(names: Names, name: str) -> s3.CfnBucket.BucketEncryptionProperty:
    """As the settings say of the lake. Access logs are S3's own to write, which it does with its own keys."""
    settings = names.settings
    is_by_kms = settings.lake_encryption == "aws:kms" and name not in (names.log_bucket, names.replica_bucket)
    by_default = s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
        sse_algorithm="aws:kms" if is_by_kms else "AES256",
        kms_master_key_id=settings.lake_kms_key_id if is_by_kms else None,
    )
    return s3.CfnBucket.BucketEncryptionProperty(
        server_side_encryption_configuration=[
            s3.CfnBucket.ServerSideEncryptionRuleProperty(
                server_side_encryption_by_default=by_default, bucket_key_enabled=is_by_kms or None
            )
        ]
    )
