"""The buckets of one environment: the lake, results of Athena, access logs; backups and copies.

Here: encryption, versions, archival, notification, replication. Not here: what S3 deletes in the lake (`lifecycle.py`), who may read or write
(`access.py`, `limits.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct, IDependable

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.paths import MANIFEST
from catalunya.assets.record.retention import SUPERSEDED
from catalunya.cdk.lifecycle import rules
from catalunya.cdk.limits import bucket_policy
from catalunya.cdk.naming import Names
from catalunya.cdk.policy import CRITICAL, document
from catalunya.cdk.roles import accept
from catalunya.ops.backup.store import OBJECTS

RESULT_DAYS = 7
"""Results of queries, readers' and dbt's, are copies."""
ACCESS_LOG_DAYS = 90
BACKUP_VERSION_DAYS = 30
REPLICA_VERSION_DAYS = 30
UPLOAD_DAYS = 1

ARCHIVE = s3.StorageClass.INFREQUENT_ACCESS
"""Where S3 moves what is kept only in case it is needed. It is read as before, within milliseconds, which the RTO counts on.

Not a Glacier class: those charge for at least 90 days, and nothing here is kept that long after it is moved (`keep` is 90 days, of which
30 are over; backups are kept 8 weeks). Not Intelligent-Tiering: it moves after 30 days too, and charges for watching each object.
Not tables, ledger or logs: Athena reads tables all the time, which this class charges for, and the others are objects of some KB.
"""
ARCHIVE_DAYS = 30  # S3 moves nothing to this class earlier
ARCHIVE_BYTES = 1024 * 1024
"""Smaller objects stay: moving one costs 0.01 USD per 1,000, as much as this class saves (0.0105 USD per GB) on 1 MB in a month."""


class Buckets(Construct):
    """The buckets in the region of the site: the lake, readers' and marts' results, and the access logs of all of them."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        assets: Iterable[Asset],
    ) -> None:
        super().__init__(scope, id)
        self.logs = PrivateBucket(self, "Logs", names, names.log_bucket)
        self.logs.expire(objects=ACCESS_LOG_DAYS)
        accept(self.logs, "AwsSolutions-S1", "It stores access logs: logging access to it would never end")
        self.results = PrivateBucket(self, "Results", names, names.results_bucket)
        self.results.expire(objects=RESULT_DAYS)
        self.mart_results = PrivateBucket(self, "MartResults", names, names.mart_results_bucket)
        self.mart_results.expire(objects=RESULT_DAYS)
        self.data = PrivateBucket(self, "Data", names, names.data_bucket)
        for logged in (self.results, self.mart_results, self.data):
            # S3 checks that it can write there.
            logged.node.add_dependency(self.logs)
        self.data.archive(name="archive", prefix=f"{SUPERSEDED}/")
        for rule in rules(assets):
            self.data.expire(name=rule.name, prefix=rule.prefix or None, versions=rule.versions, objects=rule.objects)

    def notify(self, queue_arn: str, policy: IDependable) -> None:
        """Send a message to the queue for each sealed landing batch; `policy` must allow it first.

        Set on the bucket itself: CDK's own construct would deploy an extra function with its own role to set it.
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
        """Copy what cannot be rebuilt from a source to the bucket of that ARN in another region."""
        self.data.resource.replication_configuration = s3.CfnBucket.ReplicationConfigurationProperty(
            role=role.role_arn,
            rules=[
                s3.CfnBucket.ReplicationRuleProperty(
                    id=prefix.strip("/_"),
                    status="Enabled",
                    priority=number,
                    filter=s3.CfnBucket.ReplicationRuleFilterProperty(prefix=prefix),
                    destination=s3.CfnBucket.ReplicationDestinationProperty(bucket=replica),
                    # Deletions are replicated; the old versions there stay for a while.
                    delete_marker_replication=s3.CfnBucket.DeleteMarkerReplicationProperty(status="Enabled"),
                )
                for number, prefix in enumerate(CRITICAL)
            ],
        )
        self.data.node.add_dependency(role)


class Copies(Construct):
    """The buckets in the recovery region: backups, which both sites use, prod's copies of the lake, and the access logs of both."""

    def __init__(self, scope: Construct, id: str, names: Names, *, is_replicated: bool) -> None:  # noqa: A002
        super().__init__(scope, id)
        logs = PrivateBucket(self, "Logs", names, names.copies_log_bucket)
        logs.expire(objects=ACCESS_LOG_DAYS)
        accept(logs, "AwsSolutions-S1", "It stores access logs: logging access to it would never end")
        backups = PrivateBucket(self, "Backups", names, names.backup_bucket)
        backups.expire(versions=BACKUP_VERSION_DAYS)
        backups.archive(name="archive", prefix=f"{OBJECTS}/")
        backups.node.add_dependency(logs)
        if is_replicated:
            replica = PrivateBucket(self, "Replica", names, names.replica_bucket)
            replica.expire(versions=REPLICA_VERSION_DAYS)
            replica.archive(name="archive", prefix=f"{SUPERSEDED}/")
            replica.node.add_dependency(logs)


class PrivateBucket(Construct):
    """A private bucket: no public access, TLS only, encrypted, versioned. It outlives its stack."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        name: str,
    ) -> None:
        super().__init__(scope, id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        found = self.bucket.node.default_child
        assert isinstance(found, s3.CfnBucket)
        self.resource = found
        self.resource.bucket_encryption = _encryption(names, name)
        for logs, logged in names.logged.items():
            if name in logged:
                self.resource.logging_configuration = s3.CfnBucket.LoggingConfigurationProperty(
                    destination_bucket_name=logs, log_file_prefix=f"{name}/"
                )
        policy = s3.CfnBucketPolicy(self, "Policy", bucket=name, policy_document=document(bucket_policy(names, name)))
        policy.add_resource_dependency(self.resource)
        self.bucket.add_lifecycle_rule(
            id="uploads",
            abort_incomplete_multipart_upload_after=cdk.Duration.days(UPLOAD_DAYS),
            expired_object_delete_marker=True,
        )

    def expire(
        self, *, name: str = "all", prefix: str | None = None, versions: int = 1, objects: int | None = None
    ) -> None:
        """Delete old versions below the prefix after so many days, and objects themselves if days are given for them."""
        self.bucket.add_lifecycle_rule(
            id=name,
            prefix=prefix,
            noncurrent_version_expiration=cdk.Duration.days(versions),
            expiration=cdk.Duration.days(objects) if objects else None,
        )

    def archive(self, *, name: str, prefix: str) -> None:
        """Move objects below the prefix that have become old and are large enough to the archive."""
        self.bucket.add_lifecycle_rule(
            id=name,
            prefix=prefix,
            object_size_greater_than=ARCHIVE_BYTES,
            transitions=[s3.Transition(storage_class=ARCHIVE, transition_after=cdk.Duration.days(ARCHIVE_DAYS))],
        )
        why = "The CDK writes a size as a number, and CloudFormation takes it as text"
        cdk.Validations.of(self).acknowledge(cdk.Acknowledgment(id="CloudFormation-Validate::W9003", reason=why))


def _encryption(names: Names, name: str) -> s3.CfnBucket.BucketEncryptionProperty:
    """As the settings define for the lake. S3 writes access logs and replicas itself, with its own keys."""
    settings = names.settings
    is_by_kms = settings.lake_encryption == "aws:kms" and name not in (*names.logged, names.replica_bucket)
    by_default = s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
        sse_algorithm="aws:kms" if is_by_kms else "AES256",
        # A key is of one region: backups have the recovery region's own.
        kms_master_key_id=settings.lake_kms_key_id if is_by_kms and name != names.backup_bucket else None,
    )
    return s3.CfnBucket.BucketEncryptionProperty(
        server_side_encryption_configuration=[
            s3.CfnBucket.ServerSideEncryptionRuleProperty(
                server_side_encryption_by_default=by_default, bucket_key_enabled=is_by_kms or None
            )
        ]
    )
