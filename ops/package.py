"""The zip package of the Lambda functions: `make lambda` writes dist/lambda.zip. The build is reproducible byte for byte.

Here: its content and its size limit. It holds the base install at the versions and hashes of the lock, as wheels for Lambda's
platform, those of our packages that take a source from landing to staging, and the tables of the project. Not here: what the functions do (`lambdas.py`).
boto3 comes with Lambda's runtime; Airflow, dbt, DuckDB, pandas and pyarrow must not be in the package.
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
from catalunya.io.project_folder import SAMPLES, active

LIMIT_MB = 230  # unzipped; Lambda's limit is 250
UNWANTED = frozenset({
    "airflow", "apprise", "boto3", "botocore", "dbt", "duckdb", "numpy", "openlineage", "opentelemetry", "pandas", "pyarrow",
})  # fmt: skip
# What making landing and staging needs, as paths in src/catalunya.
OURS = ("__init__.py", "py.typed", "assets", "contracts", "io", "ops/__init__.py", "ops/lambdas.py", "ops/logging.py")
PROJECT = "project"
"""The folder in the package of a project that is not the package's own; a function finds it in `/var/task`."""
NOT_TABLES = (SAMPLES, "queries", "geometry", "translations")  # in `assets/`, and nothing that a function needs
_ZIPPED_AT = (1980, 1, 1, 0, 0, 0)  # the earliest date in the zip format
_ROOT = Path(catalunya.__file__).parent


@dataclass(frozen=True)
class Target:
    """The platform of the wheels, as uv names it, and its Python version."""

    platform: str = "aarch64-manylinux_2_28"
    python: str = "3.13"


@dataclass(frozen=True)
class Package:
    """The sizes of a package in bytes; `sizes` by top-level name, largest first, unzipped."""

    zipped: int
    unzipped: int
    sizes: dict[str, int]


def build(path: Path, target: Target | None = None, *, level: int = 9) -> Package:
    """Write the zip. Raises ConfigurationError if it is too large or contains an unwanted package."""
    with tempfile.TemporaryDirectory(prefix="catalunya-lambda-") as folder:
        sizes = stage(Path(folder), target or Target())
        unzipped = check(sizes)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        try:
            _zip(Path(folder), beside, level)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return Package(path.stat().st_size, unzipped, sizes)


def stage(folder: Path, target: Target, *, offline: bool = False) -> dict[str, int]:
    """Fill the folder with the package's content; returns the bytes by top-level name, largest first.

    `offline` uses only uv's cache. Raises ConfigurationError if a wheel is not available.
    """
    lock = _ROOT.parents[1] / "requirements.lock"
    if not lock.exists():
        raise ConfigurationError(f"{lock} does not exist; build the package from a checkout")
    wheels = ["--python-platform", target.platform, "--python-version", target.python, "--only-binary", ":all:"]
    wheels += ["--offline"] if offline else []
    with tempfile.TemporaryDirectory(prefix="catalunya-lambda-") as scratch:
        names, needed = Path(scratch, "names.txt"), Path(scratch, "needed.txt")
        bare = ["--no-annotate", "--no-header", "--no-emit-index-url", "--quiet", "--constraint", str(lock)]
        _uv("pip", "compile", str(lock.with_name("pyproject.toml")), *wheels, *bare, "--output-file", str(names))
        needed.write_text(
            _locked(names.read_text(encoding="utf-8"), lock.read_text(encoding="utf-8")), encoding="utf-8"
        )
        _uv("pip", "install", *wheels, "--no-deps", "--require-hashes", "--target", str(folder), "-r", str(needed))
    _strip(folder)
    copy_sources(folder)
    sizes: Counter[str] = Counter()
    for file in _files(folder):
        sizes[file.relative_to(folder).parts[0]] += file.stat().st_size
    return dict(sizes.most_common())


def copy_sources(folder: Path) -> None:
    """Copy our packages into a package's folder, and the project's if it is another."""
    project = active()
    sources = [(_ROOT / name, folder / "catalunya" / name) for name in OURS]
    if not project.is_ours:
        sources += [(project.folder / name, folder / PROJECT / name) for name in ("assets", "contracts")]
    for source, to in sources:
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__", *NOT_TABLES))
        else:
            shutil.copyfile(source, to)


def check(sizes: dict[str, int]) -> int:
    """The total size in bytes. Raises ConfigurationError if it is too large or a package is unwanted."""
    unwanted = sorted(UNWANTED & sizes.keys())
    if unwanted:
        raise ConfigurationError(
            f"the Lambda package must not contain {', '.join(unwanted)}; find the dependency in pyproject.toml that requires it, and "
            "move that to an extra"
        )
    unzipped = sum(sizes.values())
    if unzipped > LIMIT_MB * 10**6:
        largest = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in list(sizes.items())[:5])
        raise ConfigurationError(
            f"the Lambda package is too large: {unzipped / 1e6:.0f} MB unzipped, at most {LIMIT_MB} MB fit. Remove a dependency; the "
            f"largest are {largest}"
        )
    return unzipped


def main() -> int:
    """Write dist/lambda.zip and print its size. Returns the exit code."""
    path = _ROOT.parents[1] / "dist" / "lambda.zip"
    try:
        made = build(path)
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    largest = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in list(made.sizes.items())[:3])
    sizes = f"{made.zipped / 1e6:.1f} MB, unzipped {made.unzipped / 1e6:.1f} MB of {LIMIT_MB} ({largest})"
    sys.stdout.write(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}: {sizes}\n")
    return 0


def _locked(names: str, lock: str) -> str:
    """The lock's entries, with hashes, for the requirements in `names`. Raises ConfigurationError if one is not in the lock."""
    entries = {
        match["pin"]: match[0] for match in re.finditer(r"(?m)^(?P<pin>[\w.-]+==[^\s;\\]+).*(?:\n[ \t]+.*)*", lock)
    }
    pins = [line.split(";")[0].strip() for line in names.splitlines() if line[:1].isalnum()]
    missing = [pin for pin in pins if pin not in entries]
    if missing:
        raise ConfigurationError(f"requirements.lock lacks {', '.join(missing)}; run `make lock`")
    return "\n".join(re.sub(r" ;[^\\\n]*", " ", entries[pin], count=1) for pin in pins) + "\n"


def _strip(folder: Path) -> None:
    """Remove what is not needed at run time: commands, type stubs, byte code of another Python."""
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
    done = subprocess.run([str(uv), *arguments], capture_output=True, text=True, check=False, encoding="utf-8")  # noqa: S603
    if done.returncode:
        raise ConfigurationError(f"uv {' '.join(arguments[:2])} failed: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
