"""The GitHub workflows: their permissions, their commands, and which branch deploys where. `make lint` checks their syntax."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = {path.stem: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
ACTIONS = [*FILES.values(), *(ROOT / ".github" / "actions").rglob("action.yml")]


def read(name: str) -> dict[str, Any]:
    """A workflow. YAML 1.1 reads the key `on` as a boolean."""
    found: dict[Any, Any] = yaml.safe_load(FILES[name].read_text())
    return {("on" if key is True else key): value for key, value in found.items()}


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    return list(job.get("steps", []))


def test_there_are_four_workflows() -> None:
    assert set(FILES) == {"ci", "deploy", "nightly", "plan"}


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.parent.name + "/" + path.name)
def test_third_party_actions_are_pinned_to_a_commit_with_its_version(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.search(r"uses: (\S+)(.*)", line):
            assert match[1].startswith("$/") or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", match[1]), line
            assert match[1].startswith("$/") or re.search(r"# v\d+\.\d+\.\d+", match[2]), line


@pytest.mark.parametrize("name", FILES)
def test_every_job_declares_its_permissions(name: str) -> None:
    assert read(name)["permissions"] == {}
    assert all("permissions" in job for job in read(name)["jobs"].values())


@pytest.mark.parametrize("name", [name for name in FILES if "pull_request" in read(name)["on"]])
def test_code_of_a_pull_request_gets_no_credentials_and_no_write_token(name: str) -> None:
    workflow = read(name)
    assert "pull_request_target" not in workflow["on"]
    for job in workflow["jobs"].values():
        runs_its_code = any("checkout" in step.get("uses", "") for step in steps(job))
        assert "id-token" not in job["permissions"]
        assert not runs_its_code or job["permissions"] == {"contents": "read"}
        assert "secrets." not in yaml.safe_dump(job)


def test_only_the_deployment_gets_aws_credentials_after_all_checks_and_in_an_environment() -> None:
    authorized = {
        (name, key)
        for name in FILES
        for key, job in read(name)["jobs"].items()
        if "id-token" in job["permissions"] or "aws-actions" in yaml.safe_dump(job)
    }
    assert authorized == {("deploy", "deploy")}
    job = read("deploy")["jobs"]["deploy"]
    assert job["needs"] == "ci"
    assert read("deploy")["jobs"]["ci"]["uses"].endswith("/ci.yml")
    assert read("deploy")["on"] == {"push": {"branches": ["develop", "main"]}}
    assert job["environment"] == job["env"]["CATALUNYA_ENV"] == "${{ github.ref_name == 'main' && 'prod' || 'dev' }}"


def test_every_make_target_in_the_workflows_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for path in ACTIONS:
        text = re.sub(r"#.*", "", path.read_text())
        assert set(re.findall(r"\bmake (?:--\w+ )*([a-z][a-z0-9-]*)", text)) <= targets, path


def test_every_job_has_a_timeout() -> None:
    for name in FILES:
        assert all("timeout-minutes" in job or "uses" in job for job in read(name)["jobs"].values()), name
