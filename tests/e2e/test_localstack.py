"""A first deployment, with the CDK's own command, into an empty account that LocalStack simulates with its own CloudFormation.

What its CloudFormation cannot make is taken out of the templates (`LEFT_OUT`), with the test that covers it instead; a test fails when
it has learned one of them. So this proves that the rest is accepted, in this order, that a second deployment changes nothing, that
notifications arrive, and that a deleted stack leaves its data. It proves nothing about permissions: LocalStack enforces none.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from catalunya.cdk import node
from catalunya.cdk.naming import Names
from catalunya.io.environment import load_settings
from small.aws import Aws
from small.patience import patience, wait_until
from small.servers import installed, localstack
from small.templates import ACCOUNT, REGION, REPLICA_REGION

ROOT = Path(__file__).parents[2]
NO_TYPE = "no such type in its CloudFormation"
# Type -> why it is left out, and where it is tested.
LEFT_OUT: Mapping[str, str] = {
    "AWS::Athena::NamedQuery": f"{NO_TYPE}; tests/integration/cdk/test_catalog.py",
    "AWS::Athena::WorkGroup": f"{NO_TYPE}; tests/integration/cdk/test_catalog.py",
    "AWS::Budgets::Budget": f"{NO_TYPE}; tests/integration/cdk/test_stacks.py",
    "AWS::CloudFront::Distribution": f"{NO_TYPE}; tests/integration/cdk/test_public_pages.py",
    "AWS::CloudFront::OriginAccessControl": f"{NO_TYPE}; tests/integration/cdk/test_public_pages.py",
    "AWS::CloudWatch::Dashboard": f"{NO_TYPE}; tests/integration/cdk/test_cloudwatch.py",
    "AWS::Glue::Database": f"{NO_TYPE}; tests/integration/cdk/test_catalog.py",
    "AWS::IAM::OIDCProvider": f"{NO_TYPE}; tests/integration/cdk/test_trust.py",
    "AWS::Lambda::EventInvokeConfig": "its function is left out; tests/integration/cdk/test_stacks.py",
    "AWS::Lambda::Function": "becomes active only with Docker; tests/integration/test_lambda_package.py",
    "AWS::Logs::MetricFilter": f"{NO_TYPE}; tests/integration/cdk/test_cloudwatch.py",
    "AWS::RolesAnywhere::Profile": f"{NO_TYPE}; tests/integration/cdk/test_trust.py",
    "Custom::StagingTable": "made by a function, which is left out; tests/integration/cdk/test_catalog.py",
}
PAGE = (ROOT / "docs" / "first-deployment.md").read_text(encoding="utf-8")
Content = dict[str, Any]
# One test waits for the whole deployment.
pytestmark = pytest.mark.timeout(patience(1800))


def without(content: Content, kinds: Mapping[str, str]) -> Content:
    """A template without the resources of these types, and without the outputs and dependencies that name them."""
    gone = {name: found for name, found in content["Resources"].items() if found["Type"] in kinds}
    kept = {name: found for name, found in content["Resources"].items() if name not in gone}
    for resource in kept.values():
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
            resource["DeletionPolicy"] = "Retain"  # the same once it was made; LocalStack knows only this
        depends = resource.get("DependsOn", [])
        resource["DependsOn"] = [
            name for name in ([depends] if isinstance(depends, str) else depends) if name not in gone
        ]
    outputs = {name: found for name, found in content.get("Outputs", {}).items() if not _names(found, gone)}
    return named({**content, "Resources": kept, "Outputs": outputs}, gone)


def named(value: Any, gone: Mapping[str, Any]) -> Any:
    """The value, where a reference to a function that is gone is the function's name, or its ARN."""
    match value:
        case {"Ref": str(name)} if name in gone:
            return gone[name]["Properties"]["FunctionName"]
        case {"Fn::GetAtt": [str(name), "Arn"]} if name in gone:
            return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{gone[name]['Properties']['FunctionName']}"
        case dict():
            return {key: named(inner, gone) for key, inner in value.items()}
        case list():
            return [named(inner, gone) for inner in value]
        case _:
            return value


def _names(value: Any, gone: Mapping[str, Any]) -> bool:
    return any(f'"{name}"' in json.dumps(value) for name in gone)


@pytest.fixture(scope="module")
def assembly(synthesized: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the CDK deploys: all stacks, without what LocalStack cannot make."""
    folder = tmp_path_factory.mktemp("assembly") / "cdk.out"
    shutil.copytree(synthesized / "cdk.out", folder)
    for path in folder.glob("*.template.json"):
        path.write_text(json.dumps(without(json.loads(path.read_text()), LEFT_OUT)))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of LocalStack."""
    return tmp_path_factory.mktemp("localstack")


@pytest.fixture(scope="module")
def account(home: Path) -> Iterator[Aws]:
    """An empty account."""
    with localstack(home) as url:
        yield Aws(url, is_moto=False, key=ACCOUNT)


def ignored(home: Path) -> set[str]:
    """The types that its CloudFormation has ignored so far: it reports them as made, and says so only in its log."""
    log = (home / "server.log").read_text(encoding="utf-8")
    return set(re.findall(r'No resource provider found for "([\w:]+)"', log))


def run(account: Aws, assembly: Path, script: str) -> str:
    """Run a script of the shell in the checkout, as a person does, with AWS's command and this account. Returns its output."""
    found = {
        **node.environment(),
        **account.environment,
        "CDK_APP": str(assembly),  # instead of writing the templates again
        "CDK_REQUIRE_APPROVAL": "never",
        "CDK_NOTICES": "false",
    }
    found["PATH"] = f"{installed() / 'bin'}:{found['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, env=found, capture_output=True, text=True, check=False, timeout=patience(1500)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def deployed(account: Aws, assembly: Path) -> Aws:
    """The account after the first steps of docs/first-deployment.md, as they are written there: all stacks are deployed."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.split("## 5.")[0], flags=re.DOTALL)
    assert len(blocks) == 4
    run(account, assembly, "\n".join(blocks))
    return account


def client(account: Aws, service: str, stack: str) -> Any:
    """A client in the region of a stack."""
    region = REPLICA_REGION if stack.endswith("Replica") else REGION
    keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "testing"}
    return boto3.client(service, endpoint_url=account.url, region_name=region, **keys)  # type: ignore[call-overload]


def stacks(assembly: Path) -> dict[str, Content]:
    """The template of each stack of which something is left."""
    suffix = ".template.json"
    found = {path.name.removesuffix(suffix): json.loads(path.read_text()) for path in assembly.glob(f"*{suffix}")}
    return {name: content for name, content in found.items() if content["Resources"]}


def test_everything_that_can_be_made_is_made(deployed: Aws, assembly: Path) -> None:
    assert len(stacks(assembly)) >= 4
    for stack, template in stacks(assembly).items():
        pages = client(deployed, "cloudformation", stack).get_paginator("list_stack_resources")
        found = [each for page in pages.paginate(StackName=stack) for each in page["StackResourceSummaries"]]
        wanted = {name: resource["Type"] for name, resource in template["Resources"].items()}

        assert {each["LogicalResourceId"]: each["ResourceType"] for each in found} == wanted
        assert {each["ResourceStatus"] for each in found} == {"CREATE_COMPLETE"}, stack


def test_a_second_deployment_changes_nothing(deployed: Aws, assembly: Path) -> None:
    output = run(deployed, assembly, ".venv/bin/python -m catalunya.cdk deploy --all")
    assert {stack for stack in stacks(assembly) if f"{stack} (no changes)" in output} == set(stacks(assembly))


def types(assembly: Path) -> set[str]:
    """The types of all resources."""
    return {found["Type"] for template in stacks(assembly).values() for found in template["Resources"].values()}


def test_what_is_left_out_is_in_the_templates_and_nothing_else_is(synthesized: Path, assembly: Path) -> None:
    assert types(synthesized / "cdk.out") - types(assembly) == set(LEFT_OUT)


def test_a_type_is_left_out_only_as_long_as_it_is_unknown(deployed: Aws, assembly: Path, home: Path) -> None:
    """If this fails, LocalStack has learned a type: take it off the list. Or it does not know one of ours: put it on the list."""
    templates = [json.loads(path.read_text()) for path in assembly.glob("*.template.json")]
    assert (
        ignored(home) & {found["Type"] for template in templates for found in template["Resources"].values()} == set()
    )

    unknown = {kind for kind, why in LEFT_OUT.items() if why.startswith(NO_TYPE)}
    formation = deployed.client("cloudformation")
    for kind in unknown:
        template = json.dumps({"Resources": {"Only": {"Type": kind, "Properties": {}}}})
        formation.create_stack(StackName=f"only-{kind.replace('::', '-')}", TemplateBody=template)
    wait_until(lambda: unknown <= ignored(home), 60, lambda: unknown - ignored(home))


def test_a_sealed_batch_in_the_lake_arrives_in_the_queue_and_nothing_else_does(deployed: Aws, names: Names) -> None:
    lake = load_settings(env=names.env).lake.removeprefix("s3://")
    s3, queues = deployed.client("s3"), deployed.client("sqs")
    url = queues.get_queue_url(QueueName=names.manifests_queue)["QueueUrl"]
    s3.put_object(Bucket=lake, Key="landing/population/page-0001.json", Body=b"[]", ServerSideEncryption="AES256")
    manifest = "landing/population/ingested_process_at=20260803T000000000/_manifest.json"
    s3.put_object(Bucket=lake, Key=manifest, Body=b"{}", ServerSideEncryption="AES256")
    records: list[str] = []

    def arrived() -> bool:
        for message in queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            records.extend(record["s3"]["object"]["key"] for record in json.loads(message["Body"]).get("Records", []))
        return bool(records)

    wait_until(arrived, 30)
    assert records == [manifest.replace("=", "%3D")]


def test_an_alarm_arrives_at_a_subscriber_of_the_topic(deployed: Aws, names: Names) -> None:
    queues, topics = deployed.client("sqs"), deployed.client("sns")
    inbox = queues.create_queue(QueueName=f"inbox-{names.env}")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=inbox, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:{names.topic}"
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    alarm = names.alarm("watch-silent")
    deployed.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a rehearsal")
    found: list[str] = []

    def arrived() -> bool:
        for message in queues.receive_message(QueueUrl=inbox).get("Messages", []):
            found.append(json.loads(json.loads(message["Body"])["Message"])["AlarmName"])
        return alarm in found

    wait_until(arrived, 60)
    email = [
        each
        for each in topics.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        if each["Protocol"] == "email"
    ]
    assert len(email) == 1, "the address that must be confirmed by hand"


def test_a_lake_is_private_versioned_and_encrypted(deployed: Aws, names: Names) -> None:
    s3, lake = deployed.client("s3"), load_settings(env=names.env).lake.removeprefix("s3://")
    (rule,) = s3.get_bucket_encryption(Bucket=lake)["ServerSideEncryptionConfiguration"]["Rules"]

    assert s3.get_bucket_versioning(Bucket=lake)["Status"] == "Enabled"
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert set(s3.get_public_access_block(Bucket=lake)["PublicAccessBlockConfiguration"].values()) == {True}
    # If this fails, LocalStack has learned them: compare them here. Until then, tests/integration/cdk/test_lifecycle.py has the rules.
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=lake)


def test_a_deleted_stack_leaves_its_buckets_and_their_objects(deployed: Aws, assembly: Path) -> None:
    """The last test: dev is gone after it."""
    lake = load_settings(env="dev").lake.removeprefix("s3://")
    s3 = deployed.client("s3")
    s3.put_object(Bucket=lake, Key="marts/kept", Body=b"x", ServerSideEncryption="AES256")
    run(deployed, assembly, ".venv/bin/python -m catalunya.cdk destroy CatalunyaData-dev --exclusively --force")

    remaining = deployed.client("cloudformation").describe_stacks()["Stacks"]
    assert "CatalunyaData-dev" not in {
        found["StackName"] for found in remaining if found["StackStatus"] != "DELETE_COMPLETE"
    }
    assert s3.get_object(Bucket=lake, Key="marts/kept")["Body"].read() == b"x"
