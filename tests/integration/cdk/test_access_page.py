"""The documentation of access matches the table, and the table does not need the CDK."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from catalunya.cdk.access import PAGE, ROLES, TABLE, access_page, policy
from catalunya.cdk.naming import Names
from catalunya.cdk.trust import IN_WORDS

ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date_with_the_table() -> None:
    page = access_page(ROOT)
    assert (ROOT / PAGE).read_text() == page, f"{PAGE} is stale: run make generate"
    assert page.count("\n| ") > len(TABLE) + len(ROLES)
    assert set(IN_WORDS) == set(ROLES)


def test_the_documented_reader_policy_is_the_deployed_one() -> None:
    shown = re.findall(r"```json\n(.*?)```", (ROOT / "docs/athena.md").read_text(), re.DOTALL)
    names = Names.of("prod", partition="aws", account="ACCOUNT", region="REGION")
    assert policy("reader", names) in [json.loads(each) for each in shown]


def test_policies_are_generated_without_the_cdk() -> None:
    modules = "access, limits, trust"
    check = (
        f"from catalunya.cdk import {modules}; import sys; sys.exit('aws_cdk' in sys.modules or 'jsii' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)
