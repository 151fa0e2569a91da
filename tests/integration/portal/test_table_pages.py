"""The pages of the project's own tables: nothing on them is left without words, and large tables have small pages."""

from __future__ import annotations

from pathlib import Path

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.portal.site import read_site
from catalunya.portal.table_checks import word_of

OWN_TESTS = {"population_adds_up_to_the_total", "versions_follow_each_other"}
"""dbt's tests that the project wrote itself: their names are sentences, which pages show."""


def test_every_check_of_every_table_has_words(made: Path, compiled: Path) -> None:
    site = read_site(Project(load_settings(env="local", lake=str(made), cache=compiled)))
    entries = [entry for asset in site.published if (entry := site.entry(asset.key))]
    checks = {(entry.asset, check.name) for entry in entries for check in entry.checks}
    # What a rule about rows says is its description in the contract.
    named = {(key, name) for key, name in checks if not name.startswith("rows: ")}
    assert {name for key, name in named if not word_of(name, site.graph[key])} <= OWN_TESTS


def test_pages_of_tables_stay_small(portal: Path) -> None:
    pages = list(portal.glob("*/table/*.html"))
    assert pages
    assert max(page.stat().st_size for page in pages) < 150_000
