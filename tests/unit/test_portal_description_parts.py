"""When a table's content changes, what describes it is made again, and only then; what was published of it stays where it was."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rdflib import DCTERMS, RDF, Graph

from catalunya.io.environment import Settings
from catalunya.portal.build import moved, read_state
from catalunya.portal.descriptions.dcat import DCAT
from catalunya.portal.descriptions.feed import ATOM
from small.marts import DAY, KEY, NOON, MartShop, project_folder

DESCRIBING = {"catalog", "feeds"}


@pytest.fixture
def shop(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MartShop:
    """A small project in English without `assets/portal.toml`, with one mart."""
    monkeypatch.setenv("CATALUNYA_PROJECT", str(project_folder(tmp_path / "project")))
    return MartShop(settings, tmp_path / "site")


def entries(shop: MartShop) -> list[tuple[str | None, str | None]]:
    """The feed's entries: id and time."""
    feed = ET.parse(Path(shop.to.root) / "feed.en.atom")
    return [
        (entry.findtext(f"{{{ATOM}}}id"), entry.findtext(f"{{{ATOM}}}updated"))
        for entry in feed.iter(f"{{{ATOM}}}entry")
    ]


def test_a_new_version_is_a_new_entry_of_the_feed_and_the_others_stay(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.build(NOON)
    before = entries(shop)
    shop.publish(NOON + DAY, 2)
    assert set(shop.build(NOON + DAY).made) >= DESCRIBING
    assert entries(shop)[1:] == before
    assert entries(shop)[0] == ("http://localhost:8081/data/marts/dim_shops/2026-08-04T1200Z", "2026-08-04T12:00:00Z")


def test_time_alone_and_an_unchanged_content_move_nothing(shop: MartShop) -> None:
    shop.publish(NOON, 1)
    shop.build(NOON)
    assert moved(shop.site(NOON + DAY), read_state(shop.to), shop.to) == []
    shop.publish(NOON + DAY, 1)
    assert not DESCRIBING & set(shop.build(NOON + DAY).made)
    assert len(entries(shop)) == 1


def test_a_project_without_a_declaration_for_its_pages_has_a_catalogue_in_english(shop: MartShop) -> None:
    shop.publish(NOON, 1, 2)
    shop.build(NOON)
    root = Path(shop.to.root)
    made = Graph().parse(root / "catalog.ttl", format="turtle")
    (dataset,) = made.subjects(RDF.type, DCAT.Dataset)
    assert str(dataset) == f"http://localhost:8081/catalog.ttl#{KEY}"
    (catalog,) = made.subjects(RDF.type, DCAT.Catalog)
    assert {str(each) for each in made.objects(catalog, DCTERMS.title)} == {"Shops"}
    assert {each.language for each in made.objects(dataset, DCTERMS.title)} == {"en"}  # type: ignore[attr-defined]
    assert {str(each) for each in made.objects(dataset, DCAT.keyword)} == {"dim shops"}
    (resource,) = json.loads((root / "datapackage.json").read_text(encoding="utf-8"))["resources"]
    assert [field["name"] for field in resource["schema"]["fields"]] == ["shop_id", "places"]
    assert resource["bytes"] == (root / resource["path"]).stat().st_size
    assert (root / f"contracts/{KEY}.yaml").is_file()


def test_nothing_that_describes_a_table_names_a_personal_column(shop: MartShop) -> None:
    shop.publish(NOON, 1, 2)
    shop.build(NOON)
    root = Path(shop.to.root)
    names = ("catalog.ttl", "catalog.jsonld", "datapackage.json", f"contracts/{KEY}.yaml", f"en/table/{KEY}.html")
    assert [name for name in names if "telephone" in (root / name).read_text(encoding="utf-8")] == []
