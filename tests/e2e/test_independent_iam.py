"""The limits of the environments, by an evaluator of IAM policies that is not ours, and with the CDK's own bootstrap template."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from catalunya.cdk import node
from catalunya.cdk.__main__ import run_cdk
from catalunya.cdk.naming import ACCOUNT as OF_ACCOUNT
from catalunya.cdk.naming import QUALIFIERS
from integration.cdk.account import ACCOUNT, NAMES
from integration.cdk.conftest import assembly, graph, synthesized, templates  # noqa: F401
from integration.cdk.iam import ORDINARY, Request
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


def test_the_template_of_the_pinned_cdk_is_narrowed_in_every_role() -> None:
    shown = run_cdk(["bootstrap", "--show-template", "--json"], capture=True)
    standard = json.loads(shown.stdout)
    roles = {name for name, found in standard["Resources"].items() if found["Type"] == "AWS::IAM::Role"}
    for of in QUALIFIERS:
        found = bootstrap_trusts(of, standard)
        assert found.keys() == roles
        for document in found.values():
            for statement in document["Statement"]:
                trusted = statement.get("Condition", {}).get("ArnLike", {}).get("aws:PrincipalArn")
                assert trusted or statement["Principal"] == {"Service": "cloudformation.amazonaws.com"}
                assert not [arn for arn in trusted or [] if arn in ("*", f"{IAM}:role/*")]
