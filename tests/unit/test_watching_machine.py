"""A disk that is full is one finding: what was seen of the disk, and what could not be made on it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.ops.watching.findings import Kind, Seen, Severity
from catalunya.ops.watching.machine import one_per_disk, see_disks
from small.shops import declare

SINCE = datetime(2026, 11, 1, 12, tzinfo=UTC)


def full(subject: str, **more: object) -> Seen:
    values = {"severity": Severity.ERROR, "what": f"the disk of the {subject} is 100 % full", "remedy": "free space"}
    return Seen(kind=Kind.DISK_FULL, subject=subject, **(values | more))  # type: ignore[arg-type]


TABLES = full(
    "tables",
    what="no space is left on the disk: staging.gdp could not be made",
    cause="No space left on device",
    since=SINCE,
    affected=("marts.fact_gdp_quarterly", "staging.gdp"),
)
OTHER = Seen(kind=Kind.BACKUP_OLD, subject="backups", severity=Severity.ERROR, what="old", remedy="back up")


def test_tables_that_failed_on_a_full_disk_are_part_of_its_finding() -> None:
    found = one_per_disk([OTHER, full("lake", severity=Severity.WARNING), TABLES])
    assert [each.identity for each in found] == ["backup_old:backups", "disk_full:lake"]
    assert found[1].severity is Severity.ERROR
    assert found[1].what == "the disk of the lake is 100 % full; staging.gdp could not be made"
    assert (found[1].cause, found[1].since, found[1].affected) == (TABLES.cause, SINCE, TABLES.affected)
    assert one_per_disk([TABLES, OTHER]) == [TABLES, OTHER], "of a disk elsewhere, only that the tables failed is known"
    assert one_per_disk([full("lake")]) == [full("lake")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB with 10 kB free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a disk of 1 MB cannot be mounted here: {mounted.stderr.strip()}")
    (disk / "filling").write_bytes(bytes(2**20 - 8192))
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_with_the_lake_and_the_temporary_files_is_seen_once(
    settings: Settings, small_disk: Path, tmp_path: Path
) -> None:
    _, declared = declare(tmp_path / "source")
    both = {"lake": str(small_disk / "lake"), "scratch": small_disk / "scratch"}
    (seen,) = see_disks(Project(settings.model_copy(update=both), declared))
    assert (seen.identity, seen.severity) == ("disk_full:temporary files and lake", Severity.ERROR)
    (seen,) = see_disks(Project(settings.model_copy(update={"scratch": small_disk / "scratch"}), declared))
    assert seen.identity == "disk_full:temporary files"
