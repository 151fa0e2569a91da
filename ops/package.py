"""The zip that the Lambda functions run from: `make lambda` writes dist/lambda.zip. Zipped twice, it is the same bytes twice.

Here: what goes into it, and that it fits. The base install at the versions and hashes of the lock, as wheels for the machine
that Lambda runs, and of our own packages what takes a source from landing to staging. Not here: what the functions do
(`lambdas.py`). boto3 is in Lambda's own runtime; Airflow, dbt, DuckDB, pandas and pyarrow have no business there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import catalunya
from catalunya.io.errors import CatalunyaError, ConfigurationError

LIMIT_MB = 230  # unzipped: Lambda's limit is 250, and its runtime's boto3 does not count
UNWANTED = frozenset({"airflow", "boto3", "botocore", "dbt", "duckdb", "numpy", "pandas", "pyarrow"})
# What landing and staging are made with, link by link of src/catalunya; folders whole but for what a function never does.
OURS = ("__init__.py", "py.typed", "assets", "contracts", "io", "ops/__init__.py", "ops/lambdas.py", "ops/logging.py")
NOT_OURS = shutil.ignore_patterns("__pycache__", "mock")
_ZIPPED_AT = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can tell
_ROOT = Path(catalunya.__file__).parent


@dataclass(frozen=True)
class Target:
    """The machine that the wheels are for, as uv names it, and its Python."""

    platform: str = "aarch64-manylinux_2_28"
    python: str = "3.13"


@dataclass(frozen=True)
class Package:
    """What was made: sizes in bytes, `parts` by the name at the top of the zip, the largest first."""

    zipped: int
    unzipped: int
    parts: dict[str, int]


def build(path: Path, target: Target | None = None, *, level: int = 9) -> Package:
    """Write the zip. Raises ConfigurationError when it does not fit, or has in it what has no business there."""
    with tempfile.TemporaryDirectory(prefix="catalunya-lambda-") as folder:
        parts = stage(Path(folder), target or Target())
        unzipped = check(parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        _zip(Path(folder), beside, level)
        beside.replace(path)
    return Package(path.stat().st_size, unzipped, parts)


def stage(folder: Path, target: Target, *, offline: bool = False) -> dict[str, int]:
    """Put into the folder what is to be zipped; returns the bytes of each part, the largest first.

    `offline`: from uv's cache alone. Raises ConfigurationError when a wheel cannot be had.
    """
    lock = _ROOT.parents[1] / "requirements.lock"
    if not lock.exists():
        raise ConfigurationError(f"{lock} is expected beside src/, found none; the package is made from a checkout")
    wheels = ["--python-platform", target.platform, "--python-version", target.python, "--only-binary", ":all:"]
    wheels += ["--offline"] if offline else []
    with tempfile.TemporaryDirectory(prefix="catalunya-lambda-") as scratch:
        names, needed = Path(scratch, "names.txt"), Path(scratch, "needed.txt")
        bare = ["--no-annotate", "--no-header", "--no-emit-index-url", "--quiet", "--constraint", str(lock)]
        _uv("pip", "compile", str(lock.with_name("pyproject.toml")), *wheels, *bare, "--output-file", str(names))
        needed.write_text(_locked(names.read_text(), lock.read_text()))
        _uv("pip", "install", *wheels, "--no-deps", "--require-hashes", "--target", str(folder), "-r", str(needed))
    _strip(folder)
    for name in OURS:
        source, to = _ROOT / name, folder / "catalunya" / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to, ignore=NOT_OURS)
        else:
            shutil.copyfile(source, to)
    parts: Counter[str] = Counter()
    for file in _files(folder):
        parts[file.relative_to(folder).parts[0]] += file.stat().st_size
    return dict(parts.most_common())


def check(parts: dict[str, int]) -> int:
    """The bytes in all. Raises ConfigurationError when they do not fit, or a part has no business there."""
    unwanted = sorted(UNWANTED & parts.keys())
    if unwanted:
        raise ConfigurationError(
            f"the Lambda package is expected without {', '.join(sorted(UNWANTED))}; found {', '.join(unwanted)}. "
            "See which of pyproject.toml's dependencies brought it; it belongs into an extra"
        )
    unzipped = sum(parts.values())
    if unzipped > LIMIT_MB * 10**6:
        largest = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in list(parts.items())[:5])
        raise ConfigurationError(
            f"the Lambda package is expected to have {LIMIT_MB} MB at most, unzipped; found {unzipped / 1e6:.0f} MB, the largest parts "
            f"being {largest}. Do without one of them"
        )
    return unzipped


def main() -> int:
    """Write dist/lambda.zip and say how large it is. Returns the exit code."""
    path = _ROOT.parents[1] / "dist" / "lambda.zip"
    try:
        made = build(path)
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    largest = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in list(made.parts.items())[:3])
    sizes = f"{made.zipped / 1e6:.1f} MB, unzipped {made.unzipped / 1e6:.1f} MB of {LIMIT_MB} ({largest})"
    sys.stdout.write(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}: {sizes}\n")
    return 0


def _locked(names: str, lock: str) -> str:
    """Of the lock, with its hashes, the requirements that `names` has. Raises ConfigurationError where the lock has one not."""
    entries = {
        match["pin"]: match[0] for match in re.finditer(r"(?m)^(?P<pin>[\w.-]+==[^\s;\\]+).*(?:\n[ \t]+.*)*", lock)
    }
    pins = [line.split(";")[0].strip() for line in names.splitlines() if line[:1].isalnum()]
    missing = [pin for pin in pins if pin not in entries]
    if missing:
        raise ConfigurationError(f"requirements.lock is expected to have {', '.join(missing)}; run `make lock`")
    return "\n".join(re.sub(r" ;[^\\\n]*", " ", entries[pin], count=1) for pin in pins) + "\n"


def _strip(folder: Path) -> None:
    """Take away what no program at run time reads: commands, type stubs, byte code that is another Python's."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for cache in [*folder.rglob("__pycache__")]:
        shutil.rmtree(cache)
    for file in [*folder.rglob("*.pyi"), *folder.glob(".lock")]:
        file.unlink()


def _zip(folder: Path, path: Path, level: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as zipped:
        for file in _files(folder):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _ZIPPED_AT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if file.suffix == ".so" else 0o644) << 16
            entry.create_system = 3  # Unix: Lambda reads the permissions
            zipped.writestr(entry, file.read_bytes(), compresslevel=level)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([str(uv), *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ConfigurationError(f"uv {' '.join(arguments[:2])} was expected to succeed, found: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
