"""The limits of the environments, by an evaluator of IAM policies that is not ours, and with the CDK's own bootstrap template."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalunya.cdk import node
from catalunya.cdk.__main__ import run_cdk
from catalunya.cdk.naming import ACCOUNT as OF_ACCOUNT
from catalunya.cdk.naming import qualifiers
from integration.cdk.account import ACCOUNT, NAMES
from integration.cdk.conftest import assembly, graph, synthesized, templates  # noqa: F401
from integration.cdk.iam import ORDINARY, Request, like
from integration.cdk.reach import IAM, of_owner
from integration.cdk.test_worst_role import DEPLOYING, RUNNING, bootstrap_trusts, may
from small.templates import Template

SCRIPT = Path(__file__).with_name("independent_iam.mjs")


def evaluated(limits: dict[str, Any], requests: list[tuple[str, Request]]) -> list[str]:
    """What the other evaluator answers to each request within a boundary."""
    asked = [
        {
            "limit": limit,
            "action": request.action,
            "resource": request.resource,
            "keys": {
                "aws:SecureTransport": "true",
                "aws:RequestedRegion": ORDINARY["aws:RequestedRegion"],
                **request.context,
            },
            "principal": f"{IAM}:role/catalunya-dev/worst",
        }
        for limit, request in requests
    ]
    given = json.dumps({"limits": limits, "requests": asked, "account": ACCOUNT})
    done = subprocess.run(
        node.command(SCRIPT), input=given, capture_output=True, text=True, env=node.environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("env", NAMES)
def test_another_evaluator_agrees_on_every_request(templates: dict[str, Template], env: str) -> None:  # noqa: F811
    limits = {"running": RUNNING[env], "deploying": DEPLOYING[env]}
    requests = [
        (limit, request) for owner in (*NAMES, OF_ACCOUNT) for request in of_owner(templates, owner) for limit in limits
    ]
    answers = evaluated(limits, requests)
    known = [
        (limit, request, answer)
        for (limit, request), answer in zip(requests, answers, strict=True)
        if not answer.startswith("error")
    ]
    # Some actions of the schemas are not in IAM, or not of this type of resource; IAM could not be asked about them.
    assert len(known) > 0.5 * len(requests), Counter(answers)
    differ = [
        f"{limit} {request.action} {request.resource}: {answer}"
        for limit, request, answer in known
        if (answer == "Allowed") is not may(limits[limit], request)
    ]
    assert differ == []
    assert len({answer for *_, answer in known}) > 1


# What the resources of another environment, or of someone else in the account, may be called; some have dev's or prod's names in the part after theirs.
NAMES_OF_OTHERS = {
    env: ("x", f"catalunya-{other}-x", f"CatalunyaData-{other}", f"catalunya_staging_{other}", f"catalunya-data-{other}/catalunya-{env}-x")
    for env, other in (("dev", "prod"), ("prod", "dev"))
}  # fmt: skip


@pytest.mark.parametrize("env", NAMES)
def test_of_all_actions_of_aws_none_changes_what_is_named_otherwise(env: str) -> None:
    """Each action that IAM knows, on each type of resource that it is authorized by, or on everything if there is none."""
    node.command(SCRIPT)  # installs the list of actions, which the other evaluator uses
    data = node.MODULES / "@cloud-copilot" / "iam-data" / "data"
    limits = (RUNNING[env], DEPLOYING[env])
    patterns = {arn for limit in limits for each in limit["Statement"] for arn in each["Resource"] if arn != "*"}
    reached, asked = set(), 0
    for path in sorted((data / "actions").glob("*.json")):
        types = json.loads((data / "resourceTypes" / path.name).read_text())
        arns = {kind: list(_of_others(found["arn"], env)) for kind, found in types.items()}
        near = {
            kind: [arn for arn in found if any(like(each, arn) for each in patterns)] for kind, found in arns.items()
        }
        for action in json.loads(path.read_text()).values():
            kinds = [each["name"].lower() for each in action["resourceTypes"]]
            asked += sum(len(arns[kind]) for kind in kinds) or 1
            changes = action["accessLevel"] not in ("Read", "List")
            # Glue checks everything that a table is in; the catalog is all that environments share.
            where = [arn for kind in kinds for arn in near[kind] if not arn.endswith(":catalog")]
            for arn in where if kinds else ["*"] * changes:
                request = Request(f"{path.stem}:{action['name']}", arn)
                reached |= {f"{request.action} {arn}" for limit in limits if may(limit, request)}
    assert asked > 50_000
    assert reached == set()


def _of_others(pattern: str, env: str) -> Iterator[str]:
    known = {"Partition": "aws", "Region": "eu-west-1", "Account": ACCOUNT}
    for name in NAMES_OF_OTHERS[env]:
        yield re.sub(r"\$\{(\w+)\}", lambda found, name=name: known.get(found[1], name), pattern)  # type: ignore[misc]


def test_the_template_of_the_pinned_cdk_is_narrowed_in_every_role() -> None:
    shown = run_cdk(["bootstrap", "--show-template", "--json"], capture=True)
    standard = json.loads(shown.stdout)
    roles = {name for name, found in standard["Resources"].items() if found["Type"] == "AWS::IAM::Role"}
    for of in qualifiers():
        found = bootstrap_trusts(of, standard)
        assert found.keys() == roles
        for document in found.values():
            for statement in document["Statement"]:
                trusted = statement.get("Condition", {}).get("ArnLike", {}).get("aws:PrincipalArn")
                assert trusted or statement["Principal"] == {"Service": "cloudformation.amazonaws.com"}
                assert not [arn for arn in trusted or [] if arn in ("*", f"{IAM}:role/*")]
