"""What is written of access is what the table says, and the table needs nothing of the CDK's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from catalunya.cdk.access import ROLES, TABLE, policy
from catalunya.cdk.access_page import PAGE, access_page
from catalunya.cdk.naming import Names
from catalunya.cdk.trust import IN_WORDS

ROOT = Path(__file__).parents[3]


def test_the_page_is_what_the_table_is_today() -> None:
    assert (ROOT / PAGE).read_text() == access_page(), f"{PAGE} is stale: run make generate"
    assert access_page().count("\n| ") > len(TABLE) + len(ROLES)
    assert set(IN_WORDS) == set(ROLES)


def test_the_policy_that_readers_are_shown_is_the_one_that_they_have() -> None:
    shown = re.findall(r"```json\n(.*?)```", (ROOT / "docs/athena.md").read_text(), re.DOTALL)
    names = Names.of("prod", partition="aws", account="ACCOUNT", region="REGION")
    assert policy("reader", names) in [json.loads(each) for each in shown]


def test_policies_are_made_without_the_cdk() -> None:
    modules = "access, access_page, limits, trust"
    check = (
        f"from catalunya.cdk import {modules}; import sys; sys.exit('aws_cdk' in sys.modules or 'jsii' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)
