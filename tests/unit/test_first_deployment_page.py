"""docs/first-deployment.md is correct: its shell is valid, its commands and options exist, and its names are the code's.

The steps that a simulated account can take run as they are written in tests/e2e/test_localstack.py.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.session import Session

from catalunya.cdk.context import PREFIX, VALUES
from catalunya.cdk.naming import Names, account_stack, qualifiers
from catalunya.ops.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "first-deployment.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
SHOWN = [line.strip() for block in BLOCKS for line in re.sub(r"\\\n\s*", "", block).splitlines()] + INLINE
AWS = sorted(
    {
        found.rstrip(")") if opened else found
        for line in SHOWN
        for opened, found in re.findall(r"(\$\()?\b(aws [a-z][\w-]* [a-z][^`|]*)", line)
    }
)
# Of AWS's command: options of all its commands, and a command that is no operation of the API.
GLOBAL = {"--query", "--output", "--region"}
CUSTOM = {("logs", "tail"): {"--since", "--follow"}}


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_valid_shell(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def session() -> Session:
    return Session()


@pytest.mark.parametrize("command", AWS)
def test_aws_has_each_command_with_its_options(session: Session, command: str) -> None:
    _, service, operation, *rest = shlex.split(command, comments=True)
    given = {token for token in rest if token.startswith("--")}
    if (service, operation) in CUSTOM:
        assert given <= CUSTOM[service, operation] | GLOBAL
        return
    model = session.get_service_model({"s3api": "s3"}.get(service, service))
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(operations[operation]).input_shape
    members = {f"--{xform_name(name, '-')}": name for name in (shape.members if shape else ())}
    assert given <= set(members) | GLOBAL
    required = {f"--{xform_name(name, '-')}" for name in (shape.required_members if shape else ())}
    assert required <= given


def test_its_commands_are_found() -> None:
    assert len(AWS) >= 15
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize(
    "line", sorted({line for line in SHOWN if re.search(r"(?:\.venv/bin/|dokku run \S+ )catalunya ", line)})
)
def test_the_command_line_accepts_each_of_its_commands(line: str) -> None:
    command = re.sub(r"^.*?catalunya( --env \w+)? ", "", line)
    app.parse_args(shlex.split(command, comments=True), print_error=False, exit_on_error=False)


def test_its_names_are_those_of_the_code() -> None:
    dev, prod = (Names.of(env, partition="aws", account="123456789012", region="eu-west-1") for env in ("dev", "prod"))
    assert {found.lower() for found in re.findall(PREFIX + r"([A-Z_]+)\b", PAGE)} <= set(VALUES)
    assert set(re.findall(r"\bCatalunya\w+(?:-\w+)?", PAGE)) == {account_stack(), dev.stack, prod.stack}
    assert set(re.findall(r"\bcat(?:acct|dev|prod)\b", PAGE)) == set(qualifiers().values())
    boundaries = {names.boundary(role) for names in (dev, prod) for role in ("engineer", "deployment", "extractor")}
    assert len(boundaries) == 5
    for name in (
        *sorted(boundaries),
        dev.topic,
        dev.alarm("findings"),
        dev.airflow_log_group,
        dev.role("engineer"),
        dev.role("orchestrator"),
        dev.role_path("engineer"),
        dev.settings.lake.removeprefix("s3://"),
    ):
        assert name in PAGE, name
