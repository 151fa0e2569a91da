"""Every text of a contract that readers see is translated, and no translation is of a text that is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError
from catalunya.portal.translations import translated, translations


@pytest.fixture(scope="module")
def graph(compiled: Path) -> AssetGraph:
    return load_graph(load_settings(env="local", cache=compiled))


@pytest.mark.parametrize("language", ["ca", "es"])
def test_every_text_of_a_published_table_is_translated(graph: AssetGraph, language: str) -> None:
    shown = {
        text
        for asset in graph
        if asset.layer is not Layer.LANDING
        for text in (asset.description, *(column.description for column in asset.columns if not column.personal))
    }
    known = translations(language)
    assert sorted(shown - known.keys()) == [], "not translated"
    assert sorted(known.keys() - shown) == [], "of no contract any more"


@pytest.mark.parametrize("language", ["ca", "es"])
def test_what_is_code_stays_code(language: str) -> None:
    def code(text: str) -> set[str]:
        return set(text.split("`")[1::2])

    lost = [text for text, other in translations(language).items() if not code(text) <= code(other)]
    assert lost == []


def test_a_text_without_a_translation_is_shown_as_english() -> None:
    assert translated("No contract says this", "ca") == ("No contract says this", "en")
    assert translated("Places", "es") == ("Plazas", "es")
    assert translated("Places", "en") == ("Places", "en")


@pytest.mark.parametrize("content", ["[Places]\nx = 1", '"Places" = ', '"Places" = 3'])
def test_a_broken_file_is_one_line(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets/translations").mkdir(parents=True)
    (tmp_path / "assets/project.toml").write_text('name = "other"\ntitle = "Other"\nqualifier = "o"\n[portals]\n')
    (tmp_path / "assets/translations/ca.toml").write_text(content, encoding="utf-8")
    monkeypatch.setenv("CATALUNYA_PROJECT", str(tmp_path))
    with pytest.raises(ConfigurationError, match="expected a translation by English text") as error:
        translated("Places", "ca")
    assert "\n" not in str(error.value)
