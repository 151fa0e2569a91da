"""docker-compose.yml without containers: its services run as processes of this machine.

The real Compose resolves the file. Service names become ports of 127.0.0.1, volumes and tmpfs become folders, and the image's ENV is
read from the Dockerfile; commands, environment and health checks are those of the file.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalunya.ops.processes import child, free_ports
from small.entry_point import python_path
from small.patience import patience, wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WAIT_S = 180


def resolved(secrets: Mapping[str, str], file: Path = ROOT / "docker-compose.yml") -> dict[str, Any]:
    """The file as Compose resolves it, with these variables and no others."""
    env = {"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), **secrets}
    command = [BIN / "docker-compose", "--file", file, "--env-file", os.devnull, "config", "--format", "json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def image_env(text: str) -> dict[str, str]:
    """The ENV of the last stage of a Dockerfile."""
    last = text[text.rindex("\nFROM ") :].replace("\\\n", " ")
    return {
        name: value for line in re.findall(r"(?m)^ENV (.*)$", last) for name, value in re.findall(r"(\w+)=(\S+)", line)
    }


def postgres_programs() -> Path | None:
    """The program folder of the newest PostgreSQL server on this machine, if any."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    here = shutil.which("initdb")
    return max(found, key=lambda path: int(path.parent.name), default=Path(here).resolve().parent if here else None)


@dataclass
class Composed:
    """The services of the file, as they run here."""

    services: dict[str, Any]
    folder: Path
    image: dict[str, str]
    ports: dict[tuple[str, str], int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    healthy: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, folder: Path) -> Composed:
        """The services with new secrets and without schedules; none runs yet."""
        variables = {
            "CATALUNYA_POSTGRES_PASSWORD": secrets.token_hex(24),
            "CATALUNYA_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "CATALUNYA_SECRET_KEY": secrets.token_hex(32),
            "CATALUNYA_JWT_SECRET": secrets.token_hex(64),
            "CATALUNYA_CLOCKS": "off",
        }
        return cls(resolved(variables)["services"], folder, image_env((ROOT / "Dockerfile").read_text()))

    def __post_init__(self) -> None:
        values = " ".join(
            value for service in self.services.values() for value in (service.get("environment") or {}).values()
        )
        named = sorted(set(re.findall(rf"\b({'|'.join(map(re.escape, self.services))}):(\d+)\b", values)))
        self.ports = dict(zip(named, free_ports(len(named)), strict=True))

    def url(self, service: str) -> str:
        """The address of a service that others reach at one port."""
        (port,) = [port for (name, _), port in self.ports.items() if name == service]
        return f"http://127.0.0.1:{port}"

    def volume(self, name: str) -> Path:
        """The folder in place of a volume."""
        path = self.folder / "volumes" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def environment(self, name: str) -> dict[str, str]:
        """The service's environment: its image's ENV, then the file's, and the PATH of these tests."""
        service = self.services[name]
        own = self.image if "build" in service or service["image"] == self.services["migrate"]["image"] else {}
        declared = {**own, **(service.get("environment") or {})}
        machine = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.folder), "AIRFLOW__API__HOST": "127.0.0.1"}
        code = {
            "PYTHONPATH": python_path(self.folder / "metadata")
        }  # of this working copy, with the plugin's entry point
        return {**code, **{key: self.here(name, value) for key, value in declared.items()}, **machine}

    def here(self, name: str, text: str) -> str:
        """A text of the file, with this machine's addresses and folders in place of the container's."""
        service = self.services[name]
        for (other, port), mine in self.ports.items():
            text = re.sub(rf"\b{re.escape(other)}:{port}\b", f"127.0.0.1:{mine}", text)
            if other == name:
                text = re.sub(rf"(?<![\d:.]){port}\b", str(mine), text)
        for volume in service.get("volumes") or []:
            text = text.replace(volume["target"], str(self.volume(volume["source"])))
        for mount in service.get("tmpfs") or []:
            target = mount.partition(":")[0]
            if target in text and target != "/tmp":  # this machine has one too
                text = text.replace(target, str(self.volume(f"{name}{target.replace('/', '-')}")))
        return text.replace("0.0.0.0", "127.0.0.1")

    def command(self, name: str) -> list[str]:
        return [self.here(name, word) for word in self.services[name]["command"]]

    def start(self, stack: ExitStack, name: str) -> None:
        """Start a service once the conditions of its depends_on hold."""
        for other, wanted in (self.services[name].get("depends_on") or {}).items():
            if other not in self.running:
                self.start(stack, other)
            if wanted["condition"] == "service_completed_successfully":
                self.wait_for_end(other)
            else:
                self.wait_until_healthy(other)
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
        """Wait until it has exited with 0."""
        code = self.running[name].wait(patience(WAIT_S))
        assert code == 0, self.log(name)

    def wait_until_healthy(self, name: str) -> None:
        """Run the service's own health check until it passes."""
        if name in self.healthy:
            return
        kind, *check = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        command, output = [self.here(name, word) for word in check], self.folder / f"{name}.health"

        def passes() -> bool:
            assert self.running[name].poll() is None, self.log(name)
            with output.open("wb") as out:
                done = subprocess.run(
                    command, env=self.environment(name), stdout=out, stderr=subprocess.STDOUT, check=False
                )
            return done.returncode == 0

        # Every three seconds, as Compose does (start_interval): each check is a process of its own.
        wait_until(passes, WAIT_S, lambda: f"{output.read_text(errors='replace')}\n{self.log(name)}", poll_s=3)
        self.healthy.add(name)

    def stop(self) -> None:
        """Terminate all but the database at once; those that do not end are killed when their context ends."""
        for name, process in self.running.items():
            if name != "postgres" and process.poll() is None:
                process.terminate()

    def log(self, name: str) -> str:
        """The end of the service's log."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]


@contextmanager
def postgres(composed: Composed, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """This machine's PostgreSQL in place of the image's: a new cluster with the service's user, password and database.

    The image's entry point creates these; here initdb does. The server refuses to run as root, and its user cannot read pytest's
    folders: the cluster has its own folder, removed afterwards.
    """
    programs, env = postgres_programs(), composed.services[name]["environment"]
    assert programs is not None
    _, *options = composed.command(name)
    (port,) = [mine for (other, _), mine in composed.ports.items() if other == name]
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="catalunya-postgres-") as folder:
        data, password = f"{folder}/data", Path(folder, "password")
        password.write_text(env["POSTGRES_PASSWORD"], encoding="utf-8")
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
            is_ready = [str(programs / "pg_isready"), "--quiet", *at]
            wait_until(lambda: subprocess.run(is_ready, env=login, check=False).returncode == 0, WAIT_S)
            subprocess.run([str(programs / "createdb"), *at, env["POSTGRES_DB"]], env=login, check=True)
            yield process
