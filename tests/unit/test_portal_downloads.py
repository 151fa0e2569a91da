"""The data to take away: what is in each file, and which versions there are."""

from __future__ import annotations

from pathlib import Path

from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.io.lake import Lake
from catalunya.portal.build import build
from catalunya.portal.site import read_site


def test_a_project_without_tables_has_no_files(settings: Settings, compiled: Path, tmp_path: Path) -> None:
    project = Project(settings.model_copy(update={"cache": compiled}))
    to = Lake(str(tmp_path / "site"))
    build(read_site(project), to)
    assert to.objects("data") == []
