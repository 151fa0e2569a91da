"""What there is in an account, as ARNs, and what can be done with it: the requests that the limits of an environment are tested with.

The resources are those of the synthesized templates. The actions on each are what CloudFormation's own handlers of its type call (the
registry's schemas, in cfn-lint), and the dangerous ones of its service, written by hand. Here: requests. Not here: who may (`test_worst_role.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from catalunya.cdk.naming import ACCOUNT as OF_ACCOUNT
from catalunya.cdk.naming import Names, qualifiers
from integration.cdk.account import ACCOUNT, NAMES
from integration.cdk.iam import Context, Request
from small.templates import REGION, REPLICA_REGION, Template

HERE = f"{REGION}:{ACCOUNT}"
IAM = f"arn:aws:iam::{ACCOUNT}"
# How to name a resource of a type: the service and what follows the account, from the resource's name.
NAMED = {
    "AWS::Athena::WorkGroup": ("Name", [f"arn:aws:athena:{HERE}:workgroup/{{}}"]),
    "AWS::CloudWatch::Alarm": ("AlarmName", [f"arn:aws:cloudwatch:{HERE}:alarm:{{}}"]),
    "AWS::CloudWatch::Dashboard": ("DashboardName", [f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{{}}"]),
    "AWS::Lambda::Function": ("FunctionName", [f"arn:aws:lambda:{HERE}:function:{{}}"]),
    "AWS::Logs::LogGroup": (
        "LogGroupName",
        [f"arn:aws:logs:{HERE}:log-group:{{}}", f"arn:aws:logs:{HERE}:log-group:{{}}:log-stream:x"],
    ),
    "AWS::S3::Bucket": ("BucketName", ["arn:aws:s3:::{}", "arn:aws:s3:::{}/staging/x"]),
    "AWS::SNS::Topic": ("TopicName", [f"arn:aws:sns:{HERE}:{{}}"]),
    "AWS::SQS::Queue": ("QueueName", [f"arn:aws:sqs:{HERE}:{{}}"]),
}
# Belongs to another resource of the template, whose ARN it is authorized by.
PARTS = {
    "AWS::Athena::NamedQuery": "WorkGroup",
    "AWS::Lambda::EventInvokeConfig": "FunctionName",
    "AWS::Logs::MetricFilter": "LogGroupName",
    "AWS::S3::BucketPolicy": "Bucket",
    "AWS::SNS::Subscription": "TopicArn",
    "AWS::SNS::TopicPolicy": "Topics",
    "AWS::SQS::QueuePolicy": "Queues",
    "Custom::StagingTable": "ServiceToken",
}
OF_A_PERSON = ("CatalunyaAccount", *(names.pages_stack for names in NAMES.values()))
"""The stacks that only a person deploys."""
DANGEROUS = {
    "athena": ("StartQueryExecution", "GetQueryResults", "DeleteWorkGroup"),
    "budgets": ("ModifyBudget", "ViewBudget"),
    "cloudfront": ("UpdateDistribution", "DeleteDistribution", "CreateInvalidation", "TagResource", "UpdateOriginAccessControl"),
    "cloudwatch": ("DeleteAlarms", "DisableAlarmActions", "SetAlarmState", "DeleteDashboards"),
    "events": ("DisableRule", "PutTargets", "RemoveTargets", "DeleteRule"),
    "glue": ("GetTable", "UpdateTable", "DeleteTable", "GetPartitions", "DeleteDatabase"),
    "iam": (
        *("PassRole", "UpdateAssumeRolePolicy", "AttachRolePolicy", "PutRolePolicy", "DeleteRolePermissionsBoundary", "DeleteRole"),
        *("CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicy", "DeletePolicyVersion", "TagRole"),
        *("DeleteOpenIDConnectProvider", "AddClientIDToOpenIDConnectProvider", "UpdateOpenIDConnectProviderThumbprint"),
    ),
    "lambda": ("InvokeFunction", "UpdateFunctionCode", "AddPermission", "CreateFunctionUrlConfig"),
    "logs": ("GetLogEvents", "PutLogEvents", "DeleteLogGroup", "PutSubscriptionFilter", "FilterLogEvents"),
    "rolesanywhere": ("UpdateProfile", "DisableProfile", "DeleteProfile", "TagResource", "UntagResource", "PutAttributeMapping"),
    "s3": ("GetObject", "PutObject", "DeleteObject", "DeleteObjectVersion", "ListBucket", "PutBucketPolicy", "PutReplicationConfiguration"),
    "sns": ("Publish", "Subscribe", "AddPermission", "DeleteTopic"),
    "sqs": ("ReceiveMessage", "SendMessage", "PurgeQueue", "AddPermission", "SetQueueAttributes"),
    "cloudformation": ("UpdateStack", "DeleteStack", "CreateChangeSet", "ExecuteChangeSet", "SetStackPolicy", "UpdateTerminationProtection"),
    "ecr": ("PutImage", "SetRepositoryPolicy"),
    "secretsmanager": ("GetSecretValue", "PutSecretValue", "PutResourcePolicy"),
    "ssm": ("PutParameter", "DeleteParameter"),
    "sts": ("AssumeRole", "TagSession"),
}  # fmt: skip
# What no environment may do at all: it has no owner's name, and holds for the account.
OF_NO_ENVIRONMENT = (
    *("iam:CreateUser", "iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:CreateGroup", "iam:AddUserToGroup", "iam:PutUserPolicy"),
    *("iam:CreatePolicy", "iam:CreateSAMLProvider", "iam:CreateOpenIDConnectProvider", "iam:CreateInstanceProfile"),
    *("rolesanywhere:CreateTrustAnchor", "rolesanywhere:UpdateTrustAnchor", "rolesanywhere:ImportCrl", "rolesanywhere:CreateProfile"),
    *("organizations:LeaveOrganization", "account:CloseAccount", "s3:PutAccountPublicAccessBlock", "sns:Unsubscribe"),
    *("lakeformation:PutDataLakeSettings", "lakeformation:GrantPermissions", "logs:PutResourcePolicy", "logs:DeleteResourcePolicy"),
    *("cloudformation:CreateStackSet", "cloudformation:CreateStackRefactor", "lambda:PublishLayerVersion", "ec2:RunInstances"),
    *("kms:CreateKey", "ssm:UpdateServiceSetting", "cloudwatch:PutMetricStream", "sts:GetFederationToken"),
)  # fmt: skip


@cache
def handlers(kind: str) -> frozenset[str]:
    """The actions that CloudFormation's handlers of a resource type call."""
    import cfnlint

    schemas = Path(cfnlint.__file__).parent / "data" / "schemas"
    file = json.loads((schemas / "providers" / f"{REGION}.json").read_text())[kind]
    schema = json.loads((schemas / "resources" / f"{file}.json").read_text())
    return frozenset(action for each in schema["handlers"].values() for action in each["permissions"])


def resources(template: Template) -> Iterator[tuple[str, list[str], Context]]:
    """Each resource of a template: its type, its ARNs, and the condition keys that requests for it have."""
    for logical, resource in template.content["Resources"].items():
        yield resource["Type"], *arns(template, logical)


def arns(template: Template, logical: str) -> tuple[list[str], Context]:  # noqa: PLR0911
    """The ARNs of a resource by its logical id, and its condition keys. Raises KeyError for a type that is not known here."""
    resource = template.content["Resources"][logical]
    kind, properties = resource["Type"], template.resolved(resource.get("Properties", {}))
    if kind in PARTS:
        owner = properties[PARTS[kind]]
        found = str(owner[0] if isinstance(owner, list) else owner).strip("<>").partition(".")[0]
        return arns(
            template,
            next(each for each in template.content["Resources"] if each == found or _is_named(template, each, found)),
        )
    match kind:
        case "AWS::IAM::Role":
            limit = {"iam:PermissionsBoundary": properties["PermissionsBoundary"]}
            return [f"{IAM}:role{properties['Path']}{properties['RoleName']}"], limit
        case "AWS::IAM::ManagedPolicy":
            return [f"{IAM}:policy{properties['Path']}{properties['ManagedPolicyName']}"], {}
        case "AWS::IAM::OIDCProvider":
            return [f"{IAM}:oidc-provider/{properties['Url'].removeprefix('https://')}"], {}
        case "AWS::Events::Rule":
            rule = [f"arn:aws:events:{HERE}:rule/{properties['Name']}"]
            return rule, {"events:source": properties["EventPattern"]["source"]}
        case "AWS::Budgets::Budget":
            return [f"arn:aws:budgets::{ACCOUNT}:budget/{properties['Budget']['BudgetName']}"], {}
        case "AWS::Glue::Database":
            name = properties["DatabaseInput"]["Name"]
            return [f"arn:aws:glue:{HERE}:{arn}" for arn in (f"database/{name}", f"table/{name}/x")], {}
        case "AWS::CloudFront::Distribution" | "AWS::CloudFront::OriginAccessControl":
            return [
                f"arn:aws:cloudfront::{ACCOUNT}:{part}/E0A1B" for part in ("distribution", "origin-access-control")
            ], {}
        case "AWS::RolesAnywhere::Profile":
            tags = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
            keys = {f"aws:{of}Tag/environment": tags["environment"] for of in ("Resource", "Request")}
            return [f"arn:aws:rolesanywhere:{HERE}:profile/0a1b"], keys
    name, patterns = NAMED[kind]
    return [pattern.format(properties[name]) for pattern in patterns], {}


def _is_named(template: Template, logical: str, name: str) -> bool:
    resource = template.content["Resources"][logical]
    return resource["Type"] in NAMED and resource["Properties"].get(NAMED[resource["Type"]][0]) == name


def bootstrap(of: str, names: Names) -> Iterator[str]:
    """The ARNs of a CDK bootstrap and of the stacks deployed with it."""
    prefix = f"cdk-{qualifiers()[of]}"
    kinds = ("deploy", "file-publishing", "image-publishing", "lookup", "cfn-exec")
    for region in (REGION, REPLICA_REGION):
        yield from (f"{IAM}:role/{prefix}-{kind}-role-{ACCOUNT}-{region}" for kind in kinds)
        yield from (f"arn:aws:s3:::{prefix}-assets-{ACCOUNT}-{region}{end}" for end in ("", "/x"))
        yield f"arn:aws:ecr:{region}:{ACCOUNT}:repository/{prefix}-container-assets-{ACCOUNT}-{region}"
        yield f"arn:aws:ssm:{region}:{ACCOUNT}:parameter/cdk-bootstrap/{qualifiers()[of]}/version"
        stacks = OF_A_PERSON if of == OF_ACCOUNT else (names.stack, names.replica_stack)
        yield from (
            f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{stack}/1"
            for stack in (*stacks, f"CDKToolkit-{qualifiers()[of]}")
        )
    if of != OF_ACCOUNT:
        yield f"arn:aws:secretsmanager:{HERE}:secret:{names.secret('socrata')}-AbCdEf"


def of_owner(templates: Mapping[str, Template], owner: str) -> list[Request]:
    """Every dangerous request on what belongs to dev, prod, or the account."""
    names = NAMES.get(owner, NAMES["dev"])
    stacks = list(OF_A_PERSON) if owner == OF_ACCOUNT else [names.stack, names.replica_stack]
    found: dict[tuple[Any, ...], Request] = {}

    def add(action: str, arn: str, keys: Context) -> None:
        found[action, arn, str(keys)] = Request(action, arn, keys)

    for stack in stacks:
        for kind, places, keys in resources(templates[stack]):
            own = (
                {action for action in handlers(kind) if not action.startswith("iam:Pass")}
                if kind.startswith("AWS::")
                else set()
            )
            for arn in places:
                service = arn.split(":")[2]
                for action in (*(each for each in own if each.startswith(f"{service}:")), *_dangerous(arn)):
                    add(action, arn, keys)
    for arn in bootstrap(owner, names):
        for action in _dangerous(arn):
            add(action, arn, {})
    return list(found.values())


def _dangerous(arn: str) -> Iterator[str]:
    services = (arn.split(":")[2], *(["sts"] if ":role/" in arn else []))
    return (f"{service}:{name}" for service in services for name in DANGEROUS[service])
