"""The settings that documents speak of exist, and every setting there is stands in docs/settings.md as it is today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalunya.io.environment import Settings
from catalunya.ops.settings_page import PAGE, settings_page

ROOT = Path(__file__).parents[2]
OF_TESTS = {"CATALUNYA_REAL_DATA", "CATALUNYA_TEST_PATIENCE"}
COMPOSE = ROOT / "docker-compose.yml"  # has variables of its own
# Those of the deployment are named after whatever its context has (cdk/deployment.py).
VARIABLE = re.compile(r"\bCATALUNYA_(?!CDK_)[A-Z][A-Z_]*[A-Z]\b")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_page_is_what_the_settings_are_today() -> None:
    assert (ROOT / PAGE).read_text() == settings_page(), f"{PAGE} is stale: run make generate"


def test_the_page_is_the_same_wherever_it_is_made_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings_page()
    monkeypatch.setenv("CATALUNYA_SOCRATA_APP_TOKEN", "not-for-you")
    monkeypatch.setenv("CATALUNYA_LAKE", "s3://mine")
    assert settings_page() == before


@pytest.mark.parametrize("document", DOCUMENTS, ids=[document.name for document in DOCUMENTS])
def test_every_variable_that_a_document_names_is_read_by_somebody(document: Path) -> None:
    known = {f"CATALUNYA_{name.upper()}" for name in Settings.model_fields} | OF_TESTS
    known |= set(VARIABLE.findall(COMPOSE.read_text() if COMPOSE.exists() else ""))
    assert set(VARIABLE.findall(document.read_text())) <= known
