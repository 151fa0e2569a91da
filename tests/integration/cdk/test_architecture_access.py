"""The access that the architecture asks for, sentence by sentence: what a role may do, what it may not, who may be it.

Whoever asked for the system reads this file first: each row quotes a sentence of the architecture's access control. For each request
that is refused, another role is named that may make exactly this request, so that no refusal has another cause. The whole matrix, of
every role and place, is in test_access.py; the details of trust are in test_trust.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from catalunya.cdk.access import policy
from catalunya.cdk.limits import bucket_policy
from catalunya.cdk.policy import Document
from catalunya.cdk.trust import Trusted, trust
from integration.cdk.account import ACCOUNT, NAMES, bound
from integration.cdk.iam import Request, allowed, trusts
from integration.cdk.test_trust import DASHBOARD, MFA, claims, person, workflow
from small.templates import Template

HERE, OTHER = f"eu-west-1:{ACCOUNT}", {"dev": "prod", "prod": "dev"}
LAKE = "arn:aws:s3:::catalunya-data-{env}"
LANDING, STAGING, MARTS = (
    f"{LAKE}/landing/gdp/batch/page.json",
    f"{LAKE}/staging/gdp/1.parquet",
    f"{LAKE}/marts/facts/x/1.parquet",
)
OTHERS_LANDING, OTHERS_STAGING, OTHERS_MARTS = (each.replace("{env}", "{other}") for each in (LANDING, STAGING, MARTS))
RESULTS, READERS_RESULTS = (f"arn:aws:s3:::catalunya-athena-{kind}-{{env}}/1.csv" for kind in ("marts", "results"))
CATALOG, OTHERS_CATALOG = (f"arn:aws:glue:{HERE}:table/catalunya_staging_{env}/gdp" for env in ("{env}", "{other}"))
GROUP, READERS_GROUP = (
    f"arn:aws:athena:{HERE}:workgroup/catalunya_{{env}}",
    f"arn:aws:athena:{HERE}:workgroup/catalunya_{{env}}_readers",
)
TOPIC, ALARM = (
    f"arn:aws:sns:{HERE}:catalunya-alarms-{{env}}",
    f"arn:aws:cloudwatch:{HERE}:alarm:catalunya-{{env}}-failures",
)
EXTRACT, DEPLOY = (
    f"arn:aws:lambda:{HERE}:function:catalunya-extract-{{env}}",
    f"arn:aws:iam::{ACCOUNT}:role/cdk-cat{{env}}-deploy-role-{ACCOUNT}-eu-west-1",
)
OTHERS_DEPLOY = DEPLOY.replace("{env}", "{other}")
NORTH_VIRGINIA = {"aws:RequestedRegion": "us-east-1"}


@dataclass(frozen=True)
class Row:
    """A sentence about a role: requests it `may` make, and others it `may_not`, each with a role that may (`@other`: of the other environment)."""

    role: str
    says: str
    may: tuple[tuple[str, str], ...]
    may_not: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        return f"{self.role}: {self.says}"


ROWS = (
    Row(
        "engineer",
        "comprehensive access to develop, deploy, and manage the Catalunya data pipeline infrastructure",
        (
            *(("s3:GetObject", each) for each in (LANDING, STAGING, MARTS)),
            *(("lambda:InvokeFunction", EXTRACT), ("athena:StartQueryExecution", READERS_GROUP)),
            *(("cloudwatch:GetMetricData", "*"), ("sns:Publish", TOPIC), ("ce:GetCostAndUsage", "*")),
        ),
        (("s3:PutObject", STAGING, "transformer"), ("athena:StartQueryExecution", GROUP, "mart")),
    ),
    Row(
        "extractor",
        "Can only write to S3 landing layer (`s3://catalunya-data-{env}/landing/*`)",
        (("s3:PutObject", LANDING),),
        (
            ("s3:PutObject", STAGING, "transformer"),
            ("s3:PutObject", MARTS, "mart"),
            ("s3:PutObject", RESULTS, "mart"),
            ("s3:PutObject", OTHERS_LANDING, "extractor@other"),
            ("s3:GetObject", STAGING, "transformer"),
            ("lambda:InvokeFunction", EXTRACT, "orchestrator"),
        ),
    ),
    Row(
        "transformer",
        "Read access to S3 landing layer only",
        # And to staging: the table it replaces, and the tables it looks values up in.
        (("s3:GetObject", LANDING), ("s3:GetObject", STAGING)),
        (("s3:GetObject", MARTS, "mart"), ("s3:GetObject", OTHERS_LANDING, "transformer@other")),
    ),
    Row(
        "transformer",
        "Write access to S3 staging layer only",
        (("s3:PutObject", STAGING),),
        (
            ("s3:PutObject", LANDING, "extractor"),
            ("s3:PutObject", MARTS, "mart"),
            ("s3:PutObject", OTHERS_STAGING, "transformer@other"),
        ),
    ),
    Row(
        "deployment",
        "CloudFormation deployment permissions",
        (("sts:AssumeRole", DEPLOY),),
        (("lambda:InvokeFunction", EXTRACT, "orchestrator"), ("s3:PutObject", STAGING, "transformer")),
    ),
    Row(
        "deployment",
        "Environment-specific resource access",
        (("s3:PutObject", f"{LAKE}/_dbt/manifest.json"),),
        (
            ("s3:PutObject", f"{LAKE.replace('{env}', '{other}')}/_dbt/manifest.json", "deployment@other"),
            ("sts:AssumeRole", OTHERS_DEPLOY, "deployment@other"),
        ),
    ),
    Row(
        "mart",
        "Read access to S3 staging layer and Glue Data Catalog",
        (("s3:GetObject", STAGING), ("glue:GetTable", CATALOG), ("glue:GetPartitions", CATALOG)),
        (
            ("s3:GetObject", LANDING, "transformer"),
            ("s3:GetObject", OTHERS_STAGING, "mart@other"),
            ("glue:GetTable", OTHERS_CATALOG, "mart@other"),
            ("glue:DeleteTable", CATALOG, "transformer"),
        ),
    ),
    Row(
        "mart",
        "Write access to S3 marts layer",
        (("s3:PutObject", MARTS),),
        (
            ("s3:PutObject", STAGING, "transformer"),
            ("s3:PutObject", LANDING, "extractor"),
            ("s3:PutObject", OTHERS_MARTS, "mart@other"),
        ),
    ),
    Row(
        "mart",
        "Athena query execution permissions within designated workgroup",
        (("athena:StartQueryExecution", GROUP), ("athena:GetQueryResults", GROUP)),
        (
            ("athena:StartQueryExecution", READERS_GROUP, "reader"),
            ("athena:StartQueryExecution", GROUP.replace("{env}", "{other}"), "mart@other"),
        ),
    ),
    Row(
        "mart",
        "Access to dedicated Athena results S3 bucket",
        (
            *(
                (f"s3:{action}", RESULTS)
                for action in ("GetObject", "PutObject", "ListMultipartUploadParts", "AbortMultipartUpload")
            ),
            *(
                (f"s3:{action}", RESULTS.partition("/")[0])
                for action in ("GetBucketLocation", "ListBucketMultipartUploads")
            ),
        ),
        (
            ("s3:GetObject", READERS_RESULTS, "reader"),
            ("s3:PutObject", READERS_RESULTS, "reader"),
            ("s3:PutObject", RESULTS.replace("{env}", "{other}"), "mart@other"),
        ),
    ),
    Row(
        "monitoring",
        "Read-only access to all data layers for monitoring purposes",
        tuple(("s3:GetObject", each) for each in (LANDING, STAGING, MARTS)),
        (
            ("s3:PutObject", LANDING, "extractor"),
            ("s3:DeleteObject", LANDING, "transformer"),
            ("s3:PutObject", STAGING, "transformer"),
            ("s3:PutObject", MARTS, "mart"),
            ("s3:GetObject", OTHERS_STAGING, "monitoring@other"),
            ("s3:GetObject", f"{LAKE}/quarantine/staging/gdp/1.parquet", "engineer"),
        ),
    ),
    Row(
        "monitoring",
        "CloudWatch and SNS permissions for alerting",
        (
            *((f"cloudwatch:{action}", "*") for action in ("DescribeAlarms", "DescribeAlarmHistory", "GetMetricData")),
            *((f"sns:{action}", TOPIC) for action in ("Publish", "ListSubscriptionsByTopic", "GetTopicAttributes")),
            ("cloudwatch:SetAlarmState", ALARM),
            ("logs:FilterLogEvents", f"arn:aws:logs:{HERE}:log-group:/catalunya/airflow/{{env}}:log-stream:x"),
        ),
        (
            ("sns:Publish", TOPIC.replace("{env}", "{other}"), "monitoring@other"),
            ("cloudwatch:SetAlarmState", ALARM.replace("{env}", "{other}"), "monitoring@other"),
            ("lambda:InvokeFunction", EXTRACT, "orchestrator"),
        ),
    ),
    Row(
        "monitoring",
        "Cost Explorer access for usage analysis",
        tuple(
            (f"ce:{action}", "*") for action in ("GetCostAndUsage", "GetCostForecast", "GetDimensionValues", "GetTags")
        ),
        (("sqs:ReceiveMessage", f"arn:aws:sqs:{HERE}:catalunya-manifests-{{env}}", "orchestrator"),),
    ),
)


def arn(resource: str, env: str) -> str:
    return resource.format(env=env, other=OTHER[env])


def may(role: str, env: str, action: str, resource: str) -> bool:
    """Whether a role's policies and boundary allow a request; the data engineer's role is one, with the policies of both environments."""
    environments = NAMES.values() if role == "engineer" else [NAMES[env]]
    context = NORTH_VIRGINIA if action.startswith("ce:") else {}  # Cost Explorer's only region
    request = Request(action, resource, {"aws:userid": "AROAEXAMPLE:maria", **context})
    return allowed(request, [policy(role, names) for names in environments], boundary=bound(role, NAMES[env]))


@pytest.mark.parametrize("env", ["dev", "prod"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_role_may_do_what_the_architecture_says_and_no_more(row: Row, env: str) -> None:
    assert [(action, place) for action, place in row.may if not may(row.role, env, action, arn(place, env))] == []
    for action, place, twin in row.may_not:
        role, _, of_other = twin.partition("@")
        assert not may(row.role, env, action, arn(place, env)), f"{action} {place}"
        assert may(role, OTHER[env] if of_other else env, action, arn(place, env)), f"no twin: {role} {action} {place}"


def test_a_data_engineer_deploys_dev_and_the_workflow_alone_deploys_prod() -> None:
    """ "to develop, deploy, and manage": prod is deployed by pushing to main."""
    for env in NAMES:
        assert may("engineer", env, "sts:AssumeRole", arn(DEPLOY, env)) is (env == "dev")
        assert may("deployment", env, "sts:AssumeRole", arn(DEPLOY, env))


# Who may be whom


@dataclass(frozen=True)
class Being:
    """A sentence about who assumes a role: requests that its trust policy admits, and others that it refuses."""

    role: str
    says: str
    is_admitted: tuple[Request, ...]
    is_refused: tuple[Request, ...]

    def __str__(self) -> str:
        return f"{self.role}: {self.says}"


ALERTING = f"arn:aws:iam::{ACCOUNT}:role/alerting"
TRUSTED = Trusted.read({"github_subject": "repo:catalunya@4711/pipeline@1234567", "monitors": ALERTING})


def service(name: str) -> Request:
    return Request("sts:AssumeRole", principal=f"{name}.amazonaws.com")


BEINGS = {
    "dev": (
        Being(
            "deployment",
            "(OIDC: develop branch)",
            (workflow(claims("dev")),),
            (workflow(claims("dev", branch="main")),),
        ),
        *(
            Being(role, "Runtime Context: AWS Lambda functions", (service("lambda"),), (service("ec2"), person(**MFA)))
            for role in ("extractor", "transformer")
        ),
        Being(
            "engineer",
            "Assumed by IAM users with MFA authentication required for security compliance",
            (person(**MFA),),
            (person(), person(**MFA | {"aws:MultiFactorAuthAge": "86400"}), service("lambda")),
        ),
        Being(
            "mart",
            "Runtime Context: Apache Airflow DAGs executing DBT Core commands",
            (Request("sts:SetSourceIdentity", principal=NAMES["dev"].role_arn("orchestrator")),),
            (Request("sts:SetSourceIdentity", principal=NAMES["prod"].role_arn("orchestrator")), person(**MFA)),
        ),
        Being(
            "monitoring",
            "Runtime Context: Monitoring services and alerting systems",
            (person(**MFA), person(ALERTING)),
            (person(), service("lambda")),
        ),
    ),
    "prod": (
        Being(
            "deployment",
            "(OIDC: main branch)",
            (workflow(claims("prod")),),
            (workflow(claims("prod", branch="develop")),),
        ),
    ),
}


@pytest.mark.parametrize(("env", "row"), [(env, row) for env, rows in BEINGS.items() for row in rows], ids=str)
def test_a_role_is_assumed_by_whom_the_architecture_says(env: str, row: Being) -> None:
    document = trust(row.role, NAMES[env], TRUSTED)
    assert all(trusts(document, each) for each in row.is_admitted)
    assert not any(trusts(document, each) for each in row.is_refused)


def test_access_across_accounts_is_through_assumed_roles() -> None:
    """ "Cross-account access through assumed roles": of the reader's role alone, and by named principals alone."""
    abroad = DASHBOARD.replace(ACCOUNT, "210987654321")
    named = Trusted.read({"github_subject": "repo:a/b", "readers": abroad})
    assert trusts(trust("reader", NAMES["dev"], named), person(abroad))
    assert not trusts(trust("reader", NAMES["dev"], TRUSTED), person(abroad))
    assert not trusts(trust("engineer", NAMES["dev"], named), person(abroad))
    # Nobody else has access: no policy of a bucket allows anything to people or roles. CloudFront reads what is public of the lake.
    for names in NAMES.values():
        for bucket in names.buckets:
            of_pages = {"cloudfront.amazonaws.com"} if bucket == names.data_bucket else set()
            assert principals(bucket_policy(names, bucket)) <= {"logging.s3.amazonaws.com"} | of_pages


def principals(statements: Iterable[Document]) -> set[str]:
    """Whom statements allow something."""
    return {str(each["Principal"]["Service"]) for each in statements if each["Effect"] == "Allow"}


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_buckets_have_policies_of_their_own(env: str) -> None:
    """ "Resource-based policies for S3 buckets": they refuse even who is granted everything."""
    anything = {"Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]}
    for bucket in NAMES[env].buckets:
        document = {"Statement": bucket_policy(NAMES[env], bucket)}
        for context, is_allowed in (({}, True), ({"aws:SecureTransport": "false"}, False)):
            request = Request("s3:GetObject", f"arn:aws:s3:::{bucket}/x", context)
            assert allowed(request, [anything], resource_policy=document) is is_allowed


def test_functions_have_internet_access(template: Template) -> None:
    """ "Internet access for external API calls": Lambda gives it to functions that are in no VPC."""
    functions = template.of("AWS::Lambda::Function").values()
    assert functions
    assert not any("VpcConfig" in each for each in functions)


def test_roles_have_the_names_of_the_architecture() -> None:
    for env, names in NAMES.items():
        found = [names.role(role) for role in ("extractor", "transformer", "deployment", "mart", "monitoring")]
        kinds = ("lambda-extractor", "lambda-transformer", "deployment", "mart", "monitoring")
        assert found == [f"catalunya-{kind}-role-{env}" for kind in kinds]
        assert names.role("engineer") == "catalunya-data-engineer-role"
