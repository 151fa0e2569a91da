"""docker-compose.yml without containers: its services as processes of this machine, told what their containers would be told.

The real Compose resolves the file. Names of services become ports of 127.0.0.1, volumes and tmpfs become folders, and the image's
own ENV is read from the Dockerfile; commands, environment and health checks stay the file's very own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalunya.ops.processes import child, free_ports

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WAIT_S = 90.0


def resolved(secrets: Mapping[str, str], file: Path = ROOT / "docker-compose.yml") -> dict[str, Any]:
    """The file as Compose understands it, with these variables and no others."""
    env = {"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), **secrets}
    command = [BIN / "docker-compose", "--file", file, "--env-file", os.devnull, "config", "--format", "json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def image_env(text: str) -> dict[str, str]:
    """What the last stage of a Dockerfile sets by ENV."""
    last = text[text.rindex("\nFROM ") :].replace("\\\n", " ")
    return {
        name: value for line in re.findall(r"(?m)^ENV (.*)$", last) for name, value in re.findall(r"(\w+)=(\S+)", line)
    }


def postgres_programs() -> Path | None:
    """The folder of a PostgreSQL server's programs, the newest; None without one."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    here = shutil.which("initdb")
    return max(found, key=lambda path: int(path.parent.name), default=Path(here).resolve().parent if here else None)


@dataclass
class Composed:
    """The services of the file, as they are run here."""

    services: dict[str, Any]
    folder: Path
    image: dict[str, str]
    ports: dict[tuple[str, str], int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    well: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        told = " ".join(
            value for service in self.services.values() for value in (service.get("environment") or {}).values()
        )
        named = sorted(set(re.findall(rf"\b({'|'.join(map(re.escape, self.services))}):(\d+)\b", told)))
        self.ports = dict(zip(named, free_ports(len(named)), strict=True))

    def url(self, service: str) -> str:
        """Where a service that others know by one port is reached."""
        (port,) = [port for (name, _), port in self.ports.items() if name == service]
        return f"http://127.0.0.1:{port}"

    def volume(self, name: str) -> Path:
        """The folder that stands for a volume."""
        path = self.folder / "volumes" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def environment(self, name: str) -> dict[str, str]:
        """What the service is told: its image's ENV, then the file's; and the PATH of these tests."""
        service = self.services[name]
        own = self.image if "build" in service or service["image"] == self.services["migrate"]["image"] else {}
        told = {**own, **(service.get("environment") or {})}
        machine = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.folder), "AIRFLOW__API__HOST": "127.0.0.1"}
        return {**{key: self.here(name, value) for key, value in told.items()}, **machine}

    def here(self, name: str, text: str) -> str:
        """One word of a service, with addresses and folders of this machine for the container's."""
        service = self.services[name]
        for (other, port), mine in self.ports.items():
            text = re.sub(rf"\b{re.escape(other)}:{port}\b", f"127.0.0.1:{mine}", text)
            if other == name:
                text = re.sub(rf"(?<![\d:.]){port}\b", str(mine), text)
        for volume in service.get("volumes") or []:
            text = text.replace(volume["target"], str(self.volume(volume["source"])))
        for mount in service.get("tmpfs") or []:
            target = mount.partition(":")[0]
            if target in text and target != "/tmp":  # this machine has one, too
                text = text.replace(target, str(self.volume(f"{name}{target.replace('/', '-')}")))
        return text.replace("0.0.0.0", "127.0.0.1")

    def command(self, name: str) -> list[str]:
        return [self.here(name, word) for word in self.services[name]["command"]]

    def start(self, stack: ExitStack, name: str) -> None:
        """Start a service once what it depends on is as the file wants it."""
        for other, wanted in (self.services[name].get("depends_on") or {}).items():
            if other not in self.running:
                self.start(stack, other)
            if wanted["condition"] == "service_completed_successfully":
                self.wait_for_end(other)
            else:
                self.wait_until_well(other)
        if name in self.running:
            return
        log = self.folder / f"{name}.log"
        start = (
            postgres(self, name)
            if name == "postgres"
            else child(self.command(name), log=log, env=self.environment(name))
        )
        self.running[name] = stack.enter_context(start)

    def wait_for_end(self, name: str) -> None:
        """Wait until it has ended well."""
        code = self.running[name].wait(WAIT_S)
        assert code == 0, self.log(name)

    def wait_until_well(self, name: str) -> None:
        """Ask the service's own health check until it is content."""
        if name in self.well:
            return
        kind, *check = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        until = time.monotonic() + WAIT_S
        while True:
            asked = subprocess.run(
                [self.here(name, word) for word in check],
                env=self.environment(name),
                capture_output=True,
                text=True,
                check=False,
            )
            if asked.returncode == 0:
                break
            assert self.running[name].poll() is None, self.log(name)
            assert time.monotonic() < until, f"{asked.stdout}{asked.stderr}\n{self.log(name)}"
            time.sleep(1)
        self.well.add(name)

    def stop(self) -> None:
        """Tell all but the database to end, at once; what does not is killed one by one when its context ends."""
        for name, process in self.running.items():
            if name != "postgres" and process.poll() is None:
                process.terminate()

    def log(self, name: str) -> str:
        """The end of what the service said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]


@contextmanager
def postgres(composed: Composed, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """The system's PostgreSQL in place of the image's: a new cluster with the service's user, password and database.

    The entry point of the image makes these; here initdb does. The server refuses root, and its user cannot look into pytest's
    folders: the cluster has a folder of its own, removed afterwards.
    """
    programs, env = postgres_programs(), composed.services[name]["environment"]
    assert programs is not None
    _, *options = composed.command(name)
    (port,) = [mine for (other, _), mine in composed.ports.items() if other == name]
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="catalunya-postgres-") as folder:
        data, password = f"{folder}/data", Path(folder, "password")
        password.write_text(env["POSTGRES_PASSWORD"])
        if as_user:
            for path in (folder, password):
                shutil.chown(path, "postgres")
        user = ["--username", env["POSTGRES_USER"], "--pwfile", str(password)]
        initdb = [str(programs / "initdb"), "--pgdata", data, *user, *env["POSTGRES_INITDB_ARGS"].split(), "--no-sync"]
        subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd=folder)
        here = ["-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        server = [*as_user, str(programs / "postgres"), *options, *here]
        with child(server, log=composed.folder / f"{name}.log", env={"PATH": os.environ["PATH"]}) as process:
            composed.running[name] = process
            login = {"PGPASSWORD": env["POSTGRES_PASSWORD"], "PATH": os.environ["PATH"]}
            at = ["--host=127.0.0.1", f"--port={port}", f"--username={env['POSTGRES_USER']}"]
            _until([str(programs / "pg_isready"), "--quiet", *at], login)
            subprocess.run([str(programs / "createdb"), *at, env["POSTGRES_DB"]], env=login, check=True)
            yield process


def _until(command: list[str], env: Mapping[str, str]) -> None:
    until = time.monotonic() + WAIT_S
    while subprocess.run(command, env=dict(env), check=False).returncode:
        assert time.monotonic() < until, command
        time.sleep(0.1)
