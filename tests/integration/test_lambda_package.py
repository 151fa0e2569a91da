"""The zip package of the Lambda functions: built, unpacked, and run from landing to staging with nothing else on its path.

It is built for this machine and Python, by the code that builds it for Lambda. For Lambda's own platform, the size is checked if
its wheels are available.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalunya.io.errors import ConfigurationError
from catalunya.ops.mock import serve
from catalunya.ops.package import LIMIT_MB, UNWANTED, Package, Target, _locked, _zip, build, check, stage

HERE = Target(f"{platform.machine()}-manylinux_2_28", f"{sys.version_info.major}.{sys.version_info.minor}")
RUN = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
from catalunya.ops.lambdas import extract, transform
seconds = time.perf_counter() - began

class Context:
    aws_request_id = "8a4b"
    def get_remaining_time_in_millis(self):
        return 900_000

answers = [extract({"asset": "landing.service_usage", "run_id": "r1"}, Context()),
           transform({"asset": "staging.service_usage", "run_id": "r1"}, Context())]
stray = [path for path in {getattr(module, "__file__", None) or "" for module in sys.modules.values()} if "site-packages" in path]
print(json.dumps({"answers": answers, "modules": sorted({name.partition(".")[0] for name in sys.modules}), "stray": stray,
                  "seconds": round(seconds, 2)}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Package]]:
    """The unpacked zip and its sizes. Compression takes the time, so there is none."""
    folder = tmp_path_factory.mktemp("lambda")
    package = build(folder / "lambda.zip", HERE, level=0)
    with zipfile.ZipFile(folder / "lambda.zip") as zipped:
        zipped.extractall(folder / "task")
    (folder / "lambda.zip").unlink()
    yield folder / "task", package
    shutil.rmtree(folder)  # 200 MB, which pytest would keep


def test_the_package_is_small_enough_and_contains_nothing_unwanted(built: tuple[Path, Package]) -> None:
    task, package = built
    files = [file for file in task.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) == package.unzipped <= LIMIT_MB * 10**6
    assert not {folder.name for folder in task.iterdir()} & UNWANTED
    ours = {path.relative_to(task).as_posix() for path in (task / "catalunya").rglob("*.py")}
    assert "catalunya/ops/lambdas.py" in ours
    assert not [name for name in ours if name.startswith(("catalunya/ops/mock", "catalunya/dags", "catalunya/ops/cli"))]
    assert not [file for file in files if file.is_symlink() or "__pycache__" in file.parts or file.suffix == ".pyi"]


def test_the_package_alone_takes_a_source_from_landing_to_staging(built: tuple[Path, Package], tmp_path: Path) -> None:
    with serve(rows=100) as mock:
        environment = {
            "PATH": os.environ["PATH"],
            "CATALUNYA_LAKE": str(tmp_path / "lake"),
            "CATALUNYA_MOCK_URL": mock.url,
        }
        # -I -S: without this environment's packages and the current folder, which is read-only.
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", RUN, str(built[0])],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    printed = json.loads(done.stdout.splitlines()[-1])
    assert [answer["status"] for answer in printed["answers"]] == ["materialized", "materialized"]
    assert printed["stray"] == []
    assert not set(printed["modules"]) & UNWANTED
    assert list((tmp_path / "lake/staging/service_usage").rglob("file.parquet"))


def test_the_package_for_lambda_fits_it(tmp_path: Path) -> None:
    try:
        parts = stage(tmp_path, Target(), offline=True)
    except ConfigurationError as error:
        pytest.skip(
            f"the wheels for {Target().platform} are not in uv's cache; `make lambda` gets them ({error})"[:300]
        )
    assert check(parts) <= LIMIT_MB * 10**6
    libraries = [file for file in tmp_path.rglob("*.so") if "polars" in file.name]
    assert libraries
    assert libraries[0].read_bytes()[18:20] == b"\xb7\x00", "an ELF file for aarch64"
    shutil.rmtree(tmp_path)


def test_a_package_that_is_too_large_is_an_error_with_the_largest_dependencies() -> None:
    with pytest.raises(ConfigurationError, match=r"261 MB unzipped, at most 230 MB fit.*polars 200 MB, obstore 61 MB"):
        check({"polars": 200_000_000, "obstore": 61_000_000})
    with pytest.raises(ConfigurationError, match="must not contain pandas, pyarrow"):
        check({"pyarrow": 1, "pandas": 1})


def test_the_same_files_give_the_same_zip_whatever_their_dates(tmp_path: Path) -> None:
    zips = []
    for name, modified in (("a", 1_000_000_000), ("b", 1_700_000_000)):
        for file in ("z.py", "deep/a.so"):
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file)
            os.utime(path, (modified, modified))
        _zip(tmp_path / name, tmp_path / f"{name}.zip", 9)
        zips.append((tmp_path / f"{name}.zip").read_bytes())
    assert zips[0] == zips[1]


def test_requirements_keep_the_hashes_of_the_lock() -> None:
    lock = "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\ntwo==2.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:cc\n"
    assert _locked("two==2.0\n", lock) == "two==2.0 \\\n    --hash=sha256:cc\n"
    assert _locked("one==1.0\n", lock).count("--hash") == 2
    with pytest.raises(ConfigurationError, match=r"three==3.0; run `make lock`"):
        _locked("three==3.0\n", lock)
