"""Who may do what, compared with a matrix written by hand; for every denied action, a similar one is allowed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from catalunya.cdk.access import policy
from catalunya.cdk.policy import Document
from integration.cdk.account import BOUNDARIES, NAMES, POLICIES, bound, buckets, client_of, sessions
from integration.cdk.iam import Request, allowed
from small.aws import Aws

LAKE, RESULTS, BACKUP = "catalunya-data-dev", "catalunya-athena-results-dev", "catalunya-backup-dev"
MART_RESULTS = "catalunya-athena-marts-dev"
BATCH = "landing/gdp/ingested_process_at=20260803T140512000"
OBJECTS = {
    "landing page": f"{LAKE}/{BATCH}/page-00000.json",
    "landing manifest": f"{LAKE}/{BATCH}/_manifest.json",
    "staging": f"{LAKE}/staging/population/year_id=2024/file.parquet",
    "marts": f"{LAKE}/marts/dimensions/dim_time/file.parquet",
    "ledger of landing": f"{LAKE}/_ledger/landing/gdp/0000000001.json",
    "ledger of staging": f"{LAKE}/_ledger/staging/gdp/0000000001.json",
    "ledger of marts": f"{LAKE}/_ledger/marts/dim_time/0000000001.json",
    "merged ledger": f"{LAKE}/_ledger/staging/gdp/compacted.jsonl",
    "leases of landing": f"{LAKE}/_leases/landing/gdp/0000000001.json",
    "leases of staging": f"{LAKE}/_leases/staging/gdp/0000000001.json",
    "leases of marts": f"{LAKE}/_leases/marts/dim_time/0000000001.json",
    "acknowledgements": f"{LAKE}/_acknowledged/staging.gdp.json",
    "source checks": f"{LAKE}/_sources/gdp.json",
    "findings": f"{LAKE}/_watch/findings.json",
    "index of the ledger": f"{LAKE}/_watch/ledger.parquet",
    "answers of landing": f"{LAKE}/_answers/landing/landing.gdp-0123.json",
    "answers of staging": f"{LAKE}/_answers/staging/staging.gdp-0123.json",
    "superseded staging": f"{LAKE}/_superseded/staging/gdp/0123456789abcdef.parquet",
    "superseded marts": f"{LAKE}/_superseded/marts/dimensions/dim_time/0123456789abcdef.parquet",
    "quarantine of staging": f"{LAKE}/quarantine/staging/gdp/0123456789abcdef.parquet",
    "quarantine of marts": f"{LAKE}/quarantine/marts/dim_time/0123456789abcdef.parquet",
    "candidates": f"{LAKE}/_candidates/dim_time/dim_time/file.parquet",
    "mart results": f"{MART_RESULTS}/0123.csv",
    "dbt docs": f"{LAKE}/_dbt/manifest.json",
    "damaged objects": f"{LAKE}/_aside/run/staging/gdp/file.parquet",
    "elsewhere": f"{LAKE}/elsewhere",
    "results": f"{RESULTS}/0123.csv",
    "backup records": f"{BACKUP}/backups/0123.json",
    "backed-up objects": f"{BACKUP}/objects/0123",
    "lake of prod": "catalunya-data-prod/staging/gdp/file.parquet",
    "someone else's": "another-bucket/staging/gdp/file.parquet",
}
# r reads, w writes (overwrites, too), n creates but does not overwrite, d deletes.
# `engineer!` is a data engineer in a session named repair-…. The other roles (tables, replication) have none of it.
GOLDEN = """
                       extractor transformer mart orchestrator monitoring deployment reader engineer engineer!
landing page           rwd       rd          -    d            r          -          -      r        rd
landing manifest       rwd       rd          r    rd           r          -          -      r        rd
staging                -         rwd         r    r            r          -          r      r        rwd
marts                  -         -           rwd  r            r          -          r      r        rwd
ledger of landing      rn        r           r    rd           r          -          -      r        rwd
ledger of staging      r         rn          r    rd           r          -          -      r        rwd
ledger of marts        -         -           rn   rd           r          -          -      r        rwd
merged ledger          r         r           r    rwd          r          -          -      r        rwd
leases of landing      rwd       -           -    rwd          r          -          -      r        rwd
leases of staging      -         rwd         -    rwd          r          -          -      r        rwd
leases of marts        -         -           rwd  rwd          r          -          -      r        rwd
acknowledgements       -         -           -    r            r          -          -      r        rwd
source checks          -         -           -    rw           r          -          -      r        r
findings               -         -           -    rw           r          -          -      r        r
index of the ledger    -         -           -    rw           r          -          -      r        r
answers of landing     rw        -           -    r            -          -          -      r        r
answers of staging     -         rw          -    r            -          -          -      r        r
superseded staging     -         rw          -    rd           -          -          -      r        rwd
superseded marts       -         -           rw   rd           -          -          -      r        rwd
quarantine of staging  -         w           -    rd           -          -          -      r        rw
quarantine of marts    -         -           w    rd           -          -          -      r        rw
candidates             -         -           rwd  -            -          -          -      r        r
mart results           -         -           rw   -            -          -          -      -        -
dbt docs               -         -           -    -            -          w          -      r        r
damaged objects        -         -           -    -            -          -          -      r        rw
elsewhere              -         -           -    -            -          -          -      r        r
results                -         -           -    -            -          -          rw     rw       rw
backup records         -         -           -    rwd          r          -          -      r        r
backed-up objects      -         -           -    rwd          -          -          -      r        r
lake of prod           -         -           -    -            -          -          -      -        -
someone else's         -         -           -    -            -          -          -      -        -
"""
_LINES = [line for line in GOLDEN.splitlines() if line.strip()]
WHO = _LINES[0].split()
CELLS = {
    (who, place): set(cell) - {"-"}
    for line in _LINES[1:]
    for place in [line[:23].strip()]
    for who, cell in zip(WHO, line[23:].split(), strict=True)
}
REPAIRS = {"aws:userid": "AROAEXAMPLE:repair-maria"}
VIEWS = {"aws:userid": "AROAEXAMPLE:maria-repair-"}
NEW = {"s3:if-none-match": "*"}


def may(who: str, place: str, document: Document) -> set[str]:
    """What a policy and the boundary let a role do with an object, in the letters of the matrix."""
    context = REPAIRS if who.endswith("!") else VIEWS

    def can(action: str, **more: str) -> bool:
        request = Request(action, f"arn:aws:s3:::{OBJECTS[place]}", {**context, **more})
        return allowed(request, [document], boundary=BOUNDARIES[who.removesuffix("!")])

    found = {letter for letter, action in {"r": "GetObject", "d": "DeleteObject"}.items() if can(f"s3:{action}")}
    if can("s3:PutObject"):
        return found | {"w"}
    return found | ({"n"} if can("s3:PutObject", **NEW) else set())


def differences(role: str, document: Document) -> list[tuple[str, str]]:
    """The cells of the matrix that a role's policy contradicts."""
    return [
        (who, place)
        for who, place in CELLS
        if who.removesuffix("!") == role and may(who, place, document) != CELLS[who, place]
    ]


@pytest.mark.parametrize("who", WHO)
def test_what_a_role_may_do_with_objects_matches_the_matrix(who: str) -> None:
    document = POLICIES[who.removesuffix("!")]
    assert {place: may(who, place, document) for place in OBJECTS} == {place: CELLS[who, place] for place in OBJECTS}


def test_every_denied_cell_has_an_allowed_twin() -> None:
    """Another object for the same role, or the same object for another role: so no deny has a trivial cause."""
    assert set(OBJECTS) == {place for _, place in CELLS}
    for who in WHO:
        assert any(CELLS[who, place] for place in OBJECTS), who
    denied = {place for place in OBJECTS if not any(CELLS[who, place] for who in WHO)}
    assert denied == {"lake of prod", "someone else's"}
    request = Request("s3:GetObject", f"arn:aws:s3:::{OBJECTS['lake of prod']}")
    assert allowed(request, [policy("mart", NAMES["prod"])], boundary=bound("mart", NAMES["prod"]))


# Other services: who may call each action on each resource, again written by hand.

HERE = "eu-west-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role"
TAGGED, PREFIX = {"aws:RequestTag/run": "r1"}, "s3:prefix"
LISTS = "extractor transformer mart orchestrator monitoring engineer"
SERVICES: list[tuple[str, str, dict[str, str], str]] = [
    ("s3:ListBucket", f"arn:aws:s3:::{LAKE}", {}, LISTS),
    ("s3:ListBucket", f"arn:aws:s3:::{LAKE}", {PREFIX: "landing/gdp/"}, LISTS),
    ("s3:ListBucket", f"arn:aws:s3:::{LAKE}", {PREFIX: "staging/gdp/"}, f"{LISTS} reader"),
    ("s3:ListBucket", f"arn:aws:s3:::{LAKE}", {PREFIX: "_dbt/"}, LISTS),
    ("s3:ListBucket", f"arn:aws:s3:::{BACKUP}", {}, "orchestrator monitoring engineer"),
    ("s3:AbortMultipartUpload", f"arn:aws:s3:::{OBJECTS['landing page']}", {}, "extractor"),
    ("s3:ListMultipartUploadParts", f"arn:aws:s3:::{OBJECTS['mart results']}", {}, "mart"),
    ("s3:ListMultipartUploadParts", f"arn:aws:s3:::{OBJECTS['candidates']}", {}, "mart"),
    ("s3:ListMultipartUploadParts", f"arn:aws:s3:::{OBJECTS['results']}", {}, "reader engineer"),
    ("s3:ListMultipartUploadParts", f"arn:aws:s3:::{OBJECTS['marts']}", {}, ""),
    ("s3:ListBucketMultipartUploads", f"arn:aws:s3:::{LAKE}", {}, "mart"),
    ("s3:ListBucketMultipartUploads", f"arn:aws:s3:::{MART_RESULTS}", {}, "mart"),
    ("s3:ListBucketMultipartUploads", f"arn:aws:s3:::{RESULTS}", {}, "reader engineer"),
    ("sns:Publish", f"arn:aws:sns:{HERE}:catalunya-alarms-dev", {}, "orchestrator monitoring engineer"),
    ("sns:Publish", f"arn:aws:sns:{HERE}:catalunya-alarms-prod", {}, ""),
    ("sns:Subscribe", f"arn:aws:sns:{HERE}:catalunya-alarms-dev", {}, ""),
    ("cloudwatch:SetAlarmState", f"arn:aws:cloudwatch:{HERE}:alarm:catalunya-dev-findings", {}, "monitoring engineer"),
    ("cloudwatch:SetAlarmState", f"arn:aws:cloudwatch:{HERE}:alarm:catalunya-prod-failures", {}, ""),
    ("cloudwatch:DeleteAlarms", f"arn:aws:cloudwatch:{HERE}:alarm:catalunya-dev-findings", {}, ""),
    ("ce:GetCostAndUsage", "*", {"aws:RequestedRegion": "us-east-1"}, "monitoring engineer"),
    ("ce:CreateAnomalyMonitor", "*", {"aws:RequestedRegion": "us-east-1"}, ""),
    ("s3:AbortMultipartUpload", f"arn:aws:s3:::{OBJECTS['staging']}", {}, "transformer engineer!"),
    ("glue:GetTable", f"arn:aws:glue:{HERE}:table/catalunya_staging_dev/gdp", {}, "transformer mart monitoring reader tables engineer"),
    ("glue:GetTable", f"arn:aws:glue:{HERE}:table/catalunya_marts_dev/dim_time", {}, "mart monitoring reader engineer"),
    ("glue:GetTable", f"arn:aws:glue:{HERE}:table/catalunya_candidates_dev/dim_time", {}, "mart"),
    ("glue:GetDatabase", f"arn:aws:glue:{HERE}:database/default", {}, "mart reader engineer"),
    ("glue:CreateTable", f"arn:aws:glue:{HERE}:table/catalunya_staging_dev/gdp", {}, "transformer mart tables engineer!"),
    ("glue:DeleteTable", f"arn:aws:glue:{HERE}:table/catalunya_staging_dev/gdp", {}, "transformer tables engineer!"),
    ("glue:DeleteTable", f"arn:aws:glue:{HERE}:table/catalunya_marts_dev/dim_time", {}, "mart engineer!"),
    ("glue:DeleteTable", f"arn:aws:glue:{HERE}:table/catalunya_candidates_dev/dim_time", {}, "mart"),
    ("glue:GetTable", f"arn:aws:glue:{HERE}:table/catalunya_marts_prod/dim_time", {}, ""),
    ("athena:StartQueryExecution", f"arn:aws:athena:{HERE}:workgroup/catalunya_dev", {}, "mart"),
    ("athena:StartQueryExecution", f"arn:aws:athena:{HERE}:workgroup/catalunya_dev_readers", {}, "reader engineer"),
    ("athena:StartQueryExecution", f"arn:aws:athena:{HERE}:workgroup/primary", {}, ""),
    ("athena:CreateNamedQuery", f"arn:aws:athena:{HERE}:workgroup/catalunya_dev_readers", {}, "engineer!"),
    ("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:catalunya-extract-dev", {}, "orchestrator engineer"),
    ("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:catalunya-transform-prod", {}, ""),
    ("lambda:UpdateFunctionCode", f"arn:aws:lambda:{HERE}:function:catalunya-extract-dev", {}, ""),
    ("sqs:ReceiveMessage", f"arn:aws:sqs:{HERE}:catalunya-manifests-dev", {}, "orchestrator"),
    ("sqs:ReceiveMessage", f"arn:aws:sqs:{HERE}:catalunya-functions-dev-dead", {}, ""),
    ("sqs:GetQueueAttributes", f"arn:aws:sqs:{HERE}:catalunya-functions-dev-dead", {}, "monitoring engineer"),
    ("sqs:SendMessage", f"arn:aws:sqs:{HERE}:catalunya-functions-dev-dead", {}, "extractor transformer"),
    ("sqs:SendMessage", f"arn:aws:sqs:{HERE}:catalunya-manifests-dev", {}, ""),
    ("sts:AssumeRole", f"{ROLE}/catalunya-dev/catalunya-mart-role-dev", TAGGED, "orchestrator"),
    ("sts:AssumeRole", f"{ROLE}/catalunya-dev/catalunya-mart-role-dev", {}, ""),
    ("sts:AssumeRole", f"{ROLE}/catalunya-prod/catalunya-mart-role-prod", TAGGED, ""),
    ("sts:AssumeRole", f"{ROLE}/cdk-catdev-deploy-role-123456789012-eu-west-1", {}, "deployment engineer"),
    ("sts:AssumeRole", f"{ROLE}/cdk-catdev-cfn-exec-role-123456789012-eu-west-1", {}, ""),
    ("sts:AssumeRole", f"{ROLE}/cdk-catprod-deploy-role-123456789012-eu-west-1", {}, ""),
    ("logs:PutLogEvents", f"arn:aws:logs:{HERE}:log-group:/aws/lambda/catalunya-extract-dev:log-stream:x", {}, "extractor"),
    ("logs:PutLogEvents", f"arn:aws:logs:{HERE}:log-group:/catalunya/airflow/dev:log-stream:x", {}, "orchestrator"),
    ("logs:GetLogEvents", f"arn:aws:logs:{HERE}:log-group:/aws/lambda/catalunya-extract-dev:log-stream:x", {}, "monitoring engineer"),
    ("logs:GetLogEvents", f"arn:aws:logs:{HERE}:log-group:/catalunya/airflow/dev:log-stream:x", {}, "orchestrator monitoring engineer"),
    ("cloudwatch:GetMetricData", "*", {}, "monitoring engineer"),
    ("cloudwatch:PutMetricAlarm", "*", {}, ""),
    ("iam:PassRole", f"{ROLE}/catalunya-dev/catalunya-mart-role-dev", {}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("action", "resource", "context", "who"), SERVICES)
def test_what_a_role_may_call_on_services_matches_the_list(
    action: str, resource: str, context: dict[str, str], who: str
) -> None:
    viewing = Request(action, resource, {**VIEWS, **context})
    repairing = Request(action, resource, {**REPAIRS, **context})
    found = {role for role, document in POLICIES.items() if allowed(viewing, [document], boundary=BOUNDARIES[role])}
    if "engineer" not in found and allowed(repairing, [POLICIES["engineer"]], boundary=BOUNDARIES["engineer"]):
        found.add("engineer!")
    extra = {"replication"} if action == "s3:ListBucket" and resource.endswith(LAKE) else set()
    assert found == set(who.split()) | extra


# The same in moto, which evaluates policies itself, but without conditions: what is conditional counts as allowed.


@pytest.fixture(scope="module")
def account(shared_aws: Aws) -> Iterator[dict[str, dict[str, str]]]:
    from moto.core.authorization import enable_iam_authentication

    names = {path.partition("/")[0] for path in OBJECTS.values()}
    roles = {who: POLICIES[who] for who in WHO if not who.endswith("!")}
    with buckets(shared_aws, names), sessions(shared_aws, roles) as found, enable_iam_authentication():
        yield found


@pytest.mark.parametrize("who", [who for who in WHO if not who.endswith("!")])
def test_moto_agrees_with_the_matrix(shared_aws: Aws, account: dict[str, dict[str, str]], who: str) -> None:
    from botocore.exceptions import ClientError

    s3 = client_of(shared_aws, "s3", account[who])
    unconditional = (
        CELLS if who != "engineer" else {("engineer", place): CELLS["engineer!", place] for place in OBJECTS}
    )
    found = {}
    for place, path in OBJECTS.items():
        bucket, _, key = path.partition("/")
        found[place] = set()
        for letter, call in (("w", s3.put_object), ("r", s3.get_object), ("d", s3.delete_object)):
            try:
                call(Bucket=bucket, Key=key)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "AccessDenied":
                    continue
                if code != "NoSuchKey":  # allowed, but another role deleted the object
                    raise
            found[place].add(letter)
    assert found == {place: {letter.replace("n", "w") for letter in unconditional[who, place]} for place in OBJECTS}
