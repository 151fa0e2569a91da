"""What the stacks contain: graph and templates agree in both directions, and the checks of small/flaws.py pass."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import FUNCTIONS, Layer
from catalunya.assets.record.paths import batch_prefix, manifest_path, quarantine_folder
from catalunya.assets.record.retention import superseded_folder
from catalunya.cdk.deployment import PROFILES
from catalunya.cdk.naming import Names
from catalunya.io.environment import Settings, load_settings
from catalunya.ops import lambdas
from small.flaws import flaws
from small.templates import ACCOUNT, REGION, REPLICA_REGION, Template, statements

REDUNDANT_DEPENDENCY = "W3005"
MANAGED_POLICY, ROLE_POLICIES, TRUST_POLICY = 6144, 10_240, 2048  # IAM and AWS STS quotas, characters
LIFECYCLE = "LifecycleConfiguration"
KEPT = ("staging/", "marts/", "_superseded/", "quarantine/", "_ledger/", "_leases/")


def test_the_command_writes_all_stacks_without_output(synthesized: Path, templates: dict[str, Template]) -> None:
    assert (synthesized / "output.txt").read_text() == ""
    assert sorted(templates) == [
        "CatalunyaAccount",
        "CatalunyaData-dev",
        "CatalunyaData-dev-Replica",
        "CatalunyaData-prod",
        "CatalunyaData-prod-Replica",
        "CatalunyaPages-dev",
        "CatalunyaPages-prod",
    ]


def test_cdk_nag_and_the_rules_of_cloudformation_find_nothing(assembly: Path) -> None:
    reports = json.loads((assembly / "validation-report.json").read_text())["pluginReports"]

    assert {report["pluginName"]: report["conclusion"] for report in reports}["AwsSolutions"] == "success"
    assert [found["ruleName"] for report in reports for found in report["violations"]] == []


def test_cfn_lint_finds_nothing(assembly: Path) -> None:
    names = ("CatalunyaAccount", "CatalunyaData-prod", "CatalunyaData-prod-Replica")  # dev is prod without replication
    lint = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", REDUNDANT_DEPENDENCY, "--"]
    done = subprocess.run(
        [*lint, *(str(assembly / f"{name}.template.json") for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_policies_are_within_iam_size_limits(templates: dict[str, Template]) -> None:
    for template in templates.values():
        for name, found in template.of("AWS::IAM::ManagedPolicy").items():
            assert size(found["PolicyDocument"]) <= MANAGED_POLICY, name
        for name, found in template.of("AWS::IAM::Role").items():
            assert sum(size(each["PolicyDocument"]) for each in found.get("Policies", [])) <= ROLE_POLICIES, name
            assert size(found["AssumeRolePolicyDocument"]) <= TRUST_POLICY, name


def size(document: object) -> int:
    """Characters as IAM counts them: without white space."""
    return len(json.dumps(document, separators=(",", ":")))


def test_dev_is_prod_without_replication_early_warnings_and_dashboards(templates: dict[str, Template]) -> None:
    dev, prod = (templates[f"CatalunyaData-{env}"].content["Resources"] for env in ("dev", "prod"))
    only_dev = [dev[logical]["Properties"]["AlarmName"] for logical in dev.keys() - prod.keys()]

    only_prod = {prod[logical]["Type"] for logical in prod.keys() - dev.keys()}
    # Each metric and dashboard that dev does not have: test_cloudwatch.py.
    assert only_prod == {
        "AWS::IAM::Role",
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::Logs::MetricFilter",
    }
    assert only_dev == [Names.of("dev").alarm("findings")]  # prod has an alarm for each kind of finding


def test_the_templates_have_no_flaws(templates: dict[str, Template]) -> None:
    assert [flaw for template in templates.values() for flaw in flaws(template)] == []


def test_each_staging_asset_has_a_table_and_there_are_no_others(graph: AssetGraph, template: Template) -> None:
    tables = template.of("Custom::StagingTable").values()

    assert {table["TableInput"]["Name"] for table in tables} == {asset.name for asset in graph.select("layer:staging")}


def test_the_lifecycle_rules_match_each_asset_retention(graph: AssetGraph, template: Template, names: Names) -> None:
    rules = template.named("AWS::S3::Bucket", names.data_bucket)[LIFECYCLE]["Rules"]
    versions = {
        rule["Prefix"]: rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
        for rule in rules
        if "Prefix" in rule and "Transitions" not in rule
    }
    objects = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}

    for asset in graph:
        if asset.layer is Layer.LANDING:
            assert (versions[f"{asset.prefix}/"], objects[f"{asset.prefix}/"]) == (1, asset.keep_days)
        else:
            assert versions[f"{asset.prefix}/"] == asset.keep_days
    # Only the pipeline deletes objects that the ledger names.
    assert [prefix for prefix in objects if prefix.startswith(KEPT)] == []
    owned = {f"{asset.prefix}/" for asset in graph}
    assert {prefix for prefix in versions if prefix.startswith(("landing/", "staging/", "marts/"))} == owned


def test_each_function_exists_in_the_code_and_its_concurrency_follows_from_its_assets(
    graph: AssetGraph, template: Template, names: Names
) -> None:
    made = {name: template.named("AWS::Lambda::Function", name) for _, name in names.functions()}

    assert set(made) == {
        load_settings(env=names.env).functions.format(purpose=purpose) for purpose in FUNCTIONS.values()
    }
    for layer, name in names.functions():
        module, _, handler = made[name]["Handler"].rpartition(".")
        assert module == lambdas.__name__
        assert callable(getattr(lambdas, handler))
        wanted = len(graph.select(f"layer:{layer}"))
        assert made[name]["ReservedConcurrentExecutions"] == wanted


def test_a_function_has_the_settings_of_its_environment(
    template: Template, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = template.named("AWS::Lambda::Function", names.function(Layer.STAGING))
    for name, value in function["Environment"]["Variables"].items():
        monkeypatch.setenv(name, '{"data.ny.gov": {"token": "t"}}' if name == "CATALUNYA_HOSTS" else value)
    settings = load_settings()

    assert (settings.env, settings.lake) == (names.env, f"s3://{names.data_bucket}")
    assert settings.glue_database("staging") == names.database("staging")


@pytest.mark.parametrize(("variable", "secret"), [("SOCRATA_APP_TOKEN", "socrata"), ("HOSTS", "hosts")])
def test_tokens_of_portals_are_only_references_to_secrets(
    template: Template, names: Names, variable: str, secret: str
) -> None:
    variables = template.named("AWS::Lambda::Function", names.function(Layer.LANDING))["Environment"]["Variables"]

    assert variables[f"CATALUNYA_{variable}"].startswith(f"{{{{resolve:secretsmanager:catalunya/{names.env}/{secret}:")


def test_the_queue_is_notified_of_sealed_batches_only(graph: AssetGraph, template: Template, names: Names) -> None:
    bucket = template.named("AWS::S3::Bucket", names.data_bucket)
    (configured,) = bucket["NotificationConfiguration"]["QueueConfigurations"]
    rules = {rule["Name"]: rule["Value"] for rule in configured["Filter"]["S3Key"]["Rules"]}

    def is_notified(path: str) -> bool:
        return path.startswith(rules["prefix"]) and path.endswith(rules["suffix"])

    for asset in graph.select("layer:landing"):
        batch = batch_prefix(asset, datetime(2026, 11, 23, tzinfo=UTC))
        assert is_notified(manifest_path(batch))
        assert not is_notified(f"{batch}/page-00001.json")
    assert not any(is_notified(f"{asset.prefix}/_manifest.json") for asset in graph.select("layer:staging"))


def test_only_the_lake_may_send_to_the_queue(template: Template, names: Names) -> None:
    (queue,) = [
        logical
        for logical, queue in template.of("AWS::SQS::Queue").items()
        if queue["QueueName"] == names.manifests_queue
    ]
    (policy,) = [each for each in template.of("AWS::SQS::QueuePolicy").values() if f"<{queue}>" in each["Queues"]]
    allowed = [each for each in statements(policy["PolicyDocument"]) if each["Effect"] == "Allow"]

    assert [each["Principal"] for each in allowed] == [{"Service": "s3.amazonaws.com"}]
    assert allowed[0]["Condition"]["ArnEquals"] == {"aws:SourceArn": names.bucket_arn(names.data_bucket)}


def test_the_outputs_are_the_settings_that_airflow_needs(template: Template, names: Names) -> None:
    outputs = {
        output["Description"]: template.resolved(output["Value"])
        for output in template.content["Outputs"].values()
        if output["Description"].startswith("CATALUNYA_")
    }

    assert outputs == {
        "CATALUNYA_MANIFESTS_QUEUE": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{names.manifests_queue}",
        "CATALUNYA_MART_ROLE": names.role_arn("mart"),
        "CATALUNYA_BACKUP_REGION": REPLICA_REGION,
    }
    assert {name.removeprefix("CATALUNYA_").lower() for name in outputs} <= set(Settings.model_fields)


def test_only_prod_replicates_to_another_region(templates: dict[str, Template], graph: AssetGraph) -> None:
    prod, dev = (Names.of(env) for env in ("prod", "dev"))
    copied = templates[prod.stack].named("AWS::S3::Bucket", prod.data_bucket)["ReplicationConfiguration"]
    replica = templates[prod.replica_stack].named("AWS::S3::Bucket", prod.replica_bucket)
    prefixes = [rule["Filter"]["Prefix"] for rule in copied["Rules"] if rule["Status"] == "Enabled"]

    assert "ReplicationConfiguration" not in templates[dev.stack].named("AWS::S3::Bucket", dev.data_bucket)
    assert {rule["Destination"]["Bucket"] for rule in copied["Rules"]} == {f"arn:aws:s3:::{prod.replica_bucket}"}
    assert replica["VersioningConfiguration"] == {"Status": "Enabled"}
    # Everything that cannot be fetched again, and nothing with personal fields.
    made = [asset for asset in graph if asset.layer is not Layer.LANDING]
    wanted = [place for asset in made for place in (asset.prefix, superseded_folder(asset), quarantine_folder(asset))]
    assert all(f"{place}/".startswith(tuple(prefixes)) for place in wanted)
    assert not any(asset.prefix.startswith(tuple(prefixes)) for asset in graph if asset.layer is Layer.LANDING)
    assert "_ledger/" in prefixes


def test_the_replica_is_in_the_other_region_and_is_deployed_first(assembly: Path) -> None:
    stacks = json.loads((assembly / "manifest.json").read_text())["artifacts"]

    assert stacks["CatalunyaData-prod-Replica"]["environment"].endswith(f"/{REPLICA_REGION}")
    assert {"CatalunyaAccount", "CatalunyaData-prod-Replica"} <= set(stacks["CatalunyaData-prod"]["dependencies"])
    assert "CatalunyaAccount" in stacks["CatalunyaData-dev"]["dependencies"]


def test_backups_are_in_the_recovery_region(
    assembly: Path, templates: dict[str, Template], template: Template, names: Names
) -> None:
    stacks = json.loads((assembly / "manifest.json").read_text())["artifacts"]
    copies = templates[names.replica_stack]
    logs = copies.named("AWS::S3::Bucket", names.backup_bucket)["LoggingConfiguration"]["DestinationBucketName"]

    assert stacks[names.replica_stack]["environment"].endswith(f"/{REPLICA_REGION}")
    assert names.replica_stack in stacks[names.stack]["dependencies"]
    assert names.backup_bucket not in [bucket["BucketName"] for bucket in template.of("AWS::S3::Bucket").values()]
    assert copies.named("AWS::S3::Bucket", logs), "S3 delivers access logs within a region only"


def test_only_what_is_kept_in_case_it_is_needed_is_archived(
    templates: dict[str, Template], template: Template, names: Names
) -> None:
    archived = {
        (bucket["BucketName"], rule["Prefix"])
        for each in (template, templates[names.replica_stack])
        for bucket in each.of("AWS::S3::Bucket").values()
        for rule in bucket[LIFECYCLE]["Rules"]
        if (moved := rule.get("Transitions"))
        and (rule["Status"], rule["ObjectSizeGreaterThan"]) == ("Enabled", 1024 * 1024)
        and [(move["StorageClass"], move["TransitionInDays"]) for move in moved] == [("STANDARD_IA", 30)]
    }
    copied = {(names.replica_bucket, "_superseded/")} if PROFILES[names.env].is_replicated else set()

    assert archived == {(names.data_bucket, "_superseded/"), (names.backup_bucket, "objects/"), *copied}


def test_resources_that_hold_data_outlive_their_stack(template: Template) -> None:
    holders = ("AWS::S3::Bucket", "AWS::Glue::Database", "AWS::Logs::LogGroup")
    kept = [found for found in template.content["Resources"].values() if found["Type"] in holders]

    assert {found["DeletionPolicy"] for found in kept} == {"RetainExceptOnCreate"}
    assert {found["UpdateReplacePolicy"] for found in kept} == {"Retain"}


def test_resources_that_cost_money_have_cost_allocation_tags(template: Template, names: Names) -> None:
    for kind in (
        "AWS::S3::Bucket",
        "AWS::Lambda::Function",
        "AWS::SQS::Queue",
        "AWS::Athena::WorkGroup",
        "AWS::SNS::Topic",
    ):
        for properties in template.of(kind).values():
            tags = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
            assert tags == {
                "project": "catalunya",
                "environment": names.env,
                "owner": "data",
                "cost-center": "open-data",
            }


def test_the_budget_notifies_the_topic_at_80_and_100_percent(template: Template, names: Names) -> None:
    (found,) = template.of("AWS::Budgets::Budget").values()
    topic = next(iter(template.of("AWS::SNS::Topic")))

    assert found["Budget"]["BudgetLimit"] == {"Amount": PROFILES[names.env].budget_usd, "Unit": "USD"}
    assert found["Budget"]["CostFilters"] == {"TagKeyValue": [f"user:environment${names.env}"]}
    notified = {
        each["Notification"]["Threshold"]: each["Subscribers"] for each in found["NotificationsWithSubscribers"]
    }
    assert notified == {limit: [{"Address": f"<{topic}>", "SubscriptionType": "SNS"}] for limit in (80, 100)}


def test_the_code_names_no_account_and_no_region() -> None:
    folder = Path(__file__).parents[3] / "cdk"
    found = {
        (path.name, match[0])
        for path in folder.glob("*.py")
        if path.name != "__main__.py"  # it compares two commits with placeholder values
        for match in re.finditer(r"\b\d{12}\b|\b(?:eu|us|ap|sa|ca)-(?:[a-z]+)-\d\b", path.read_text())
    }

    # The region of billing metrics, and of the certificates that CloudFront takes.
    assert found <= {(file, "us-east-1") for file in ("dashboards.py", "context.py", "deployment.py")}
