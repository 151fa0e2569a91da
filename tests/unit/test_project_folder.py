"""The declaration of a project, `assets/project.toml`, and what everything is called after it."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from catalunya.assets.graph.discovery import declarations
from catalunya.cdk.bootstrap import check_sizes
from catalunya.cdk.naming import Names, account_stack, qualifiers
from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError
from catalunya.io.project_folder import FILE, NAME_LETTERS, VARIABLE, active
from catalunya.ops.cli import main
from catalunya.ops.scaffold import files
from small.commands import Ran

REGIONS = ("ap-southeast-1", "ap-southeast-2")
DECLARED = """
name = "{name}"
title = "Open data of Galway"
qualifier = "{qualifier}"
[portals]
socrata = "{portal}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project with a contract in it, chosen as a person would."""
    for name in [name for name in os.environ if name.startswith("CATALUNYA_")]:
        monkeypatch.delenv(name)
    (tmp_path / "assets").mkdir()
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "wells.py").write_text('"""Wells."""\n\nDEPTH_M = 3\n')
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def declare(
    folder: Path, name: str = "galway-bay", qualifier: str = "gal", portal: str = "https://data.example.ie"
) -> None:
    (folder / FILE).write_text(DECLARED.format(name=name, qualifier=qualifier, portal=portal))


def test_everything_is_called_after_the_project(folder: Path) -> None:
    declare(folder)
    settings, names = load_settings(env="dev"), Names.of("dev", partition="aws", account="1", region="eu-west-1")

    assert settings.lake == "s3://galway-bay-data-dev"
    assert settings.glue_database("marts") == "galway_bay_marts_dev"
    assert settings.athena_readers == "galway_bay_dev_readers"
    assert settings.functions == "galway-bay-{purpose}-dev"
    assert (account_stack(), names.stack, names.metrics) == ("GalwayBayAccount", "GalwayBayData-dev", "GalwayBay/dev")
    assert names.role_arn("mart") == "arn:aws:iam::1:role/galway-bay-dev/galway-bay-mart-role-dev"
    assert qualifiers() == {"dev": "galdev", "prod": "galprod", "account": "galacct"}


def test_the_longest_name_makes_no_name_that_aws_refuses(folder: Path) -> None:
    """Sources: IAM and AWS STS quotas, 64 characters of a role's name; Amazon S3 User Guide, 63 of a bucket's."""
    declare(folder, name="g" * NAME_LETTERS)
    names = Names.of("prod", partition="aws", account="1" * 12, region="eu-west-1").sites[1]

    assert max(len(names.role(role)) for role in ("transformer", "extractor", "replication", "orchestrator")) <= 64
    assert max(map(len, names.buckets)) <= 63
    assert max(len(name) for _, name in names.functions()) <= 64
    check_sizes([Names.of("dev"), Names.of("prod")], REGIONS)


def test_names_that_make_a_boundary_too_large_for_iam_are_refused_before_a_deployment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(folder, name="g" * NAME_LETTERS)
    monkeypatch.setenv("CATALUNYA_BUCKET_PREFIX", "b" * 30)
    monkeypatch.setenv("CATALUNYA_LAKE_KMS_KEY_ID", "k" * 36)
    monkeypatch.setenv("CATALUNYA_LAKE_ENCRYPTION", "aws:kms")
    names = Names.of("dev", partition="aws", account="1" * 12, region="eu-west-1")
    with pytest.raises(
        ConfigurationError, match=r"at most 6144 characters .*; choose a shorter CATALUNYA_BUCKET_PREFIX"
    ):
        check_sizes([names], REGIONS)


def test_its_modules_are_imported_under_its_name_and_nothing_beside_them(folder: Path) -> None:
    declare(folder)
    (folder.parent / "stray.py").write_text("")
    before = list(sys.path)

    assert importlib.import_module(f"{active().package}.contracts.wells").DEPTH_M == 3
    assert sys.path == before
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("stray")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"name": "Galway"}, "name = 'Galway': expected at most 18 lowercase letters"),
        ({"name": "galway_bay"}, "name = 'galway_bay': expected at most 18 lowercase letters"),
        ({"name": "g" * (NAME_LETTERS + 1)}, "expected at most 18 lowercase letters"),
        ({"qualifier": "galwaybay"}, "qualifier = 'galwaybay': expected 1 to 6"),
        ({"name": "lambda"}, "name = 'lambda': expected no keyword of Python"),
        ({"portal": "data.example.ie"}, "portals: socrata: expected a source's URL as http(s)://host"),
        ({"portal": "http://[::1"}, "portals: socrata: expected a source's URL as http(s)://host"),
        ({"portal": "https://data.example.ie:99999"}, "found one whose host or port cannot be read"),
        ({"portal": "https://me:pw@data.example.ie"}, "without user or query, found https://data.example.ie"),
        ({"portal": "https://data.example.ie/?a=1"}, "without user or query"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(folder: Path, declared: dict[str, str], expected: str) -> None:
    declare(folder, **declared)
    with pytest.raises(ConfigurationError) as refused:
        active()
    assert expected in str(refused.value)
    assert str(folder / FILE) in str(refused.value)


def test_a_name_that_python_has_already_is_refused(folder: Path) -> None:
    declare(folder, name="json")
    with pytest.raises(
        ConfigurationError,
        match=r"name = 'json': expected a name that no Python module has, found json in .*json/__init__.py",
    ):
        _ = active().package


def test_a_folder_that_is_no_project_is_one_line_and_not_a_bug(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(main(["ls"]), *capsys.readouterr())
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert f"{VARIABLE}={folder}: expected a project's folder, with {FILE}" in ran.err


def test_a_mistake_in_one_of_its_files_is_reported_with_the_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(folder, name="donegal")
    monkeypatch.setenv("CATALUNYA_CACHE", str(folder / "cache"))
    (folder / "contracts" / "tides.py").write_text("HEIGHT_M = 3\nDEPTH_M = HEIGTH_M\n")
    (folder / "assets" / "tides.py").write_text("from donegal.contracts.tides import DEPTH_M\n")
    ran = Ran(main(["ls"]), *capsys.readouterr())
    assert ran.code == 1
    assert f"assets/tides.py cannot be imported ({folder / 'contracts/tides.py'}:2): NameError" in ran.err


def test_a_line_that_is_missing_or_unknown_is_named(folder: Path) -> None:
    declare(folder)
    path = folder / FILE
    path.write_text(path.read_text().replace("title =", "heading ="))
    with pytest.raises(ConfigurationError, match="missing or unknown: heading, title"):
        active()


def test_files_are_added_to_a_project_that_is_named_by_a_relative_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(folder)
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv(VARIABLE, folder.name)
    assert "docs/graph.json" in files.put(folder, {"contracts/springs.py": b'"""Springs."""\n'})


def test_a_name_is_checked_before_the_first_table_is_there(folder: Path) -> None:
    declare(folder, name="catalunya")
    with pytest.raises(ConfigurationError, match="expected a name that no Python module has, found catalunya"):
        declarations()
