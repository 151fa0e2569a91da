"""Dokku's files and docs/dokku.md: the processes are those of compose, and the page's blocks are shell with commands that exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from catalunya.io.environment import Settings
from catalunya.ops.cli import app as commands
from catalunya.ops.deployed_airflow.processes import MIGRATE, PROCESSES, SHARED
from small.composed import ROOT, resolved

APP = json.loads((ROOT / "app.json").read_text())
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
PAGE = (ROOT / "docs/dokku.md").read_text()
BLOCKS = [textwrap.dedent(body) for body in re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", PAGE)]

# Dokku's documentation, "app.json", at 0.38.
KEYS = {"name", "description", "buildpacks", "cron", "env", "formation", "healthchecks", "scripts"}
ENV_KEYS = {"description", "value", "required", "generator", "sync"}
FORMATION_KEYS = {"autoscaling", "max_parallel", "quantity", "service"}
CHECK_KEYS = {
    "attempts",
    "command",
    "content",
    "httpHeaders",
    "initialDelay",
    "listening",
    "name",
    "onFailure",
    "path",
    "port",
}
CHECK_KEYS |= {"scheme", "timeout", "type", "uptime", "wait", "warn"}
# The commands of Dokku and its plugins, from their documentation.
DOKKU = {
    "apps:create", "checks:run", "checks:set", "config:export", "config:get", "config:set", "docker-options:add", "domains:set", "enter",
    "git:set", "letsencrypt:cron-job", "letsencrypt:enable", "letsencrypt:set", "logs", "network:create", "network:set", "plugin:install",
    "postgres:backup-schedule", "postgres:create", "postgres:export", "postgres:import", "postgres:link", "ps:report", "ps:restart",
    "ps:scale", "ps:set", "ps:start", "ps:stop", "redis:connect", "redis:create", "redis:link", "resource:limit", "run", "storage:create",
    "storage:mount",
}  # fmt: skip


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Airflow's options and executor, and the errors of the commands on the page, read once in a process of its own."""
    ours = [list(process.command) for process in PROCESSES.values()]
    ours += [["api-server", "--proxy-headers"], ["db", "migrate"], *map(list, airflow_calls())]
    code = """
import gc; gc.disable()  # with the freeze, a quarter of the time
import json, sys
from airflow.configuration import conf
from airflow.cli.cli_parser import get_parser
from airflow.providers.celery.executors.celery_executor import CeleryExecutor
from airflow.providers.celery.get_provider_info import get_provider_info
options = {name: [*found["options"]] for name, found in {**conf.configuration_description, **get_provider_info()["config"]}.items()}
parser = get_parser()
for command in json.loads(sys.argv[1]):
    parser.parse_args(command)
print(json.dumps({"options": options, "executor": CeleryExecutor.__name__}))
gc.freeze()
"""
    env = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow-home"))}
    command = [sys.executable, "-c", code, json.dumps(ours)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def airflow_calls() -> set[tuple[str, ...]]:
    """The arguments of each `catalunya airflow` on the page."""
    lines = [line for block in BLOCKS for line in block.splitlines() if "catalunya airflow" in line]
    return {tuple(shlex.split(line)[shlex.split(line).index("airflow") + 1 :]) for line in lines}


def test_the_procfile_has_every_process_and_a_release_that_migrates_the_database() -> None:
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) for name in PROCFILE)  # Dokku's strict mode
    started = {command.split()[-1] for name, command in PROCFILE.items() if name != "release"}
    assert started == set(PROCESSES)
    assert PROCFILE["release"].split()[-1] == MIGRATE
    assert PROCFILE["web"].split()[-1] == "api-server"


def test_processes_and_health_checks_are_those_of_compose() -> None:
    secrets = {"CATALUNYA_FERNET_KEY", "CATALUNYA_SECRET_KEY", "CATALUNYA_JWT_SECRET", "CATALUNYA_POSTGRES_PASSWORD"}
    services = resolved(dict.fromkeys(secrets, "x"))["services"]
    names = {"release": MIGRATE, "web": "api-server"}
    for process, command in PROCFILE.items():
        if process == "worker":  # in compose, the scheduler runs the tasks
            continue
        service = services[names.get(process, process)]
        assert service["command"] == command.split()
        if process != "release":
            (check,) = APP["healthchecks"][process]
            assert service["healthcheck"]["test"] == ["CMD", *check["command"]]


def test_app_json_has_valid_keys_and_a_health_check_for_each_process() -> None:
    assert set(APP) <= KEYS
    assert set(APP["formation"]) == set(APP["healthchecks"]) == set(PROCFILE) - {"release"}
    for process, formation in APP["formation"].items():
        assert set(formation) <= FORMATION_KEYS
        assert formation["quantity"] >= 1, process  # with a formation, a process without a quantity does not run
    for process, checks in APP["healthchecks"].items():
        for check in checks:
            assert set(check) <= CHECK_KEYS
            assert check["type"] == "startup"
            assert check["command"] == ["catalunya", "healthy", PROCFILE[process].split()[-1]]
            assert check["attempts"] * check["wait"] >= 60  # Airflow starts slowly
    assert all(set(each) <= ENV_KEYS and each["required"] for each in APP["env"].values())


def test_dokku_requires_every_shared_variable_before_it_deploys() -> None:
    linked = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "DATABASE_URL"}
    assert {linked.get(name, name) for name in SHARED} | {"REDIS_URL", "CATALUNYA_ENV"} == set(APP["env"])
    assert all(name in PAGE for name in APP["env"])


def test_airflow_accepts_the_arguments_of_processes_and_of_the_page(airflow: dict[str, Any]) -> None:
    assert airflow_calls()
    assert "core" in airflow["options"]


def test_the_locked_celery_works_with_airflows_executor(airflow: dict[str, Any]) -> None:
    assert airflow["executor"] == "CeleryExecutor"


def test_every_airflow_option_that_is_mentioned_exists(airflow: dict[str, Any]) -> None:
    files = [
        "docker-compose.yml",
        "Dockerfile",
        "app.json",
        "docs/dokku.md",
        "ops/deployed_airflow/processes.py",
    ]
    text = " ".join((ROOT / name).read_text() for name in files)
    named = set(re.findall(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)\b", text))
    named |= set(re.findall(r'"(?!AIRFLOW)([A-Z_]+?)__([A-Z_]+)"', text))
    assert len(named) > 15
    options = airflow["options"]
    assert [(section, option) for section, option in named if option.lower() not in options[section.lower()]] == []


def test_every_block_is_valid_shell(tmp_path: Path) -> None:
    assert len(BLOCKS) > 15
    compose = re.findall(r"(?ms)^```sh\n(.*?)^```$", (ROOT / "docs/compose.md").read_text())
    assert compose
    for at, block in enumerate([*BLOCKS, *compose]):
        path = tmp_path / f"{at}.sh"
        path.write_text(block)
        done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block


def test_every_variable_of_a_block_is_set_before_it_on_the_page() -> None:
    known = {"USER"}
    for block in BLOCKS:
        known |= set(re.findall(r"(?m)(?:^export |^|\(|; )([A-Z]+)=", block))
        used = set(re.findall(r"\$\{?([A-Z]+)\b", block.replace(r"\${", "")))
        assert used <= known, block
    assert "<" not in re.sub(r"<<<?|< \"\$DUMP\"", "", " ".join(BLOCKS)), "a placeholder that was not filled in"


def test_every_command_on_the_page_exists() -> None:
    text = "\n".join(BLOCKS)
    called = set(re.findall(r"(?m)(?:^\s*|sudo )dokku ([\w:-]+)", text)) | set(
        re.findall(r"`(?:dokku )?([a-z]+:[a-z-]+)[ `]", PAGE)
    )
    assert called - {"default"} <= DOKKU
    ours = set(re.findall(r"\bcatalunya (?!-)([a-z]+)", text))
    assert ours
    assert ours <= {name for name in commands if not name.startswith("-")}
    for process in re.findall(r"catalunya (?:serve|healthy) ([\w-]+)", PAGE):
        assert process in {*PROCESSES, MIGRATE}


def test_every_setting_file_and_heading_on_the_page_exists() -> None:
    settings = {f"CATALUNYA_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bCATALUNYA_[A-Z_]+", PAGE)) <= settings
    for path in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|yml|md|json))`", PAGE):
        assert (ROOT / path).exists() or path.startswith(".github/"), path
    headings = {re.sub(r"[^a-z -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"(?m)^## (.*)$", PAGE)}
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert link.startswith("https://") or link[1:] in headings or (ROOT / "docs" / link).exists(), link
