"""Servers that are not ours and not Python of this environment: a real S3 (SeaweedFS), and LocalStack, which deploys CloudFormation.

`tests/e2e/servers.lock` pins both with hashes; they are installed into an environment of their own, `.catalunya/servers`, when first
used. Each runs on free ports of 127.0.0.1, with its files in a folder of the test, and ends with the block that started it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from catalunya.ops.processes import child, free_ports
from small.apart import environment
from small.patience import wait_until

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "tests" / "e2e" / "servers.lock"
PYTHON = "python3.13"


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """SeaweedFS with an S3 endpoint, whose URL this yields. Everybody is admitted; objects are encrypted if the request says so."""
    s3, *others = free_ports(8)
    names = (
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
    )
    options = {
        **dict(zip(names, map(str, others), strict=True)),
        "s3.port": str(s3),
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.autoCreateBucket": "false",  # S3 does not
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "dir": str(folder),
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": "1024",
        "volume.max": "1000",  # each bucket has its own
        "volume.preStopSeconds": "0",
        "filer.localSocket": str(folder / "filer.sock"),
        "s3.localSocket": str(folder / "s3.sock"),
    }
    variables = {"WEED_S3_SSE_KEK": os.urandom(32).hex(), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
    command = [
        installed() / "bin" / "weed",
        "server",
        "-s3",
        "-filer",
        *(f"-{name}={value}" for name, value in options.items()),
    ]
    with _running(list(map(str, command)), variables, folder, f"http://127.0.0.1:{s3}/healthz") as url:
        yield url.removesuffix("/healthz")


@contextmanager
def localstack(folder: Path) -> Iterator[str]:
    """LocalStack, the community's, whose URL this yields. It needs neither Docker nor an account, and asks nobody for updates."""
    (port,) = free_ports(1)
    options = {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "DISABLE_EVENTS": "1",  # no telemetry
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "FILESYSTEM_ROOT": str(folder),
        "TMPDIR": str(folder),
        "HOME": str(folder),
    }
    command = [str(installed() / "bin" / "python"), "-m", "localstack.runtime.main"]
    with _running(command, options, folder, f"http://127.0.0.1:{port}/_localstack/health") as url:
        yield url.removesuffix("/_localstack/health")


@contextmanager
def _running(command: list[str], variables: Mapping[str, str], folder: Path, health: str) -> Iterator[str]:
    """The server, from when it answers at `health` until the block ends."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CATALUNYA_"))}
    log = folder / "server.log"
    with child(command, log=log, env={**kept, **variables}) as process:

        def answers() -> bool:
            assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
            try:
                return httpx.get(health, timeout=5).is_success
            except httpx.HTTPError:
                return False

        wait_until(answers, 120, lambda: log.read_text(encoding="utf-8")[-2000:])
        yield health


def installed() -> Path:
    """The environment of the servers."""
    return environment("servers", LOCK, _python())


def _python() -> str:
    """A Python 3.13, whose syntax LocalStack uses: this one, one on the path or of pyenv; otherwise uv is asked for it, which downloads it."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    candidates = [sys.executable, shutil.which(PYTHON), *pyenv.glob(f"versions/*/bin/{PYTHON}")]
    for candidate in filter(None, candidates):
        # pyenv has a command of this name whether or not it has that Python.
        done = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if done.stdout.startswith("Python 3.13."):
            return str(candidate)
    return "cpython-3.13"
