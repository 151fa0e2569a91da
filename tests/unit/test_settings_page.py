"""docs/settings.md has every setting, and every variable that a document names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalunya.io.environment import Settings
from catalunya.ops.settings_page import PAGE, settings_page

ROOT = Path(__file__).parents[2]
OF_TESTS = {"CATALUNYA_REAL_DATA", "CATALUNYA_TEST_PATIENCE"}
COMPOSE = ROOT / "docker-compose.yml"  # has variables of its own
# The deployment's variables are named after the keys of its context (cdk/deployment.py).
VARIABLE = re.compile(r"\bCATALUNYA_(?!CDK_)[A-Z][A-Z_]*[A-Z]\b")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / PAGE).read_text() == settings_page(), f"{PAGE} is stale: run make generate"


def test_the_page_does_not_depend_on_the_environment_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings_page()
    monkeypatch.setenv("CATALUNYA_SOCRATA_APP_TOKEN", "not-for-you")
    monkeypatch.setenv("CATALUNYA_LAKE", "s3://mine")
    assert settings_page() == before


@pytest.mark.parametrize("document", DOCUMENTS, ids=[document.name for document in DOCUMENTS])
def test_every_variable_that_a_document_names_exists(document: Path) -> None:
    known = {f"CATALUNYA_{name.upper()}" for name in Settings.model_fields} | OF_TESTS
    known |= set(VARIABLE.findall(COMPOSE.read_text() if COMPOSE.exists() else ""))
    assert set(VARIABLE.findall(document.read_text(encoding="utf-8"))) <= known
