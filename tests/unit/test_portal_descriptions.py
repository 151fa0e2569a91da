"""Descriptions for machines: whatever a title or description holds, each form gives it back; nothing is invented; the same site gives the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rdflib import DCTERMS, Graph, Literal

from catalunya.portal.build import File
from catalunya.portal.descriptions.datapackage import data_package, table_schema
from catalunya.portal.descriptions.datasets import contract_of, public_columns
from catalunya.portal.descriptions.dcat import DCAT, catalog, json_ld, turtle
from catalunya.portal.descriptions.feed import ATOM, feed
from catalunya.portal.descriptions.odcs import odcs
from catalunya.portal.descriptions.sitemap import SCHEMA, robots, sitemaps
from catalunya.portal.descriptions.xml import document, text_of
from catalunya.portal.site import Site
from small.catalogs import dataset, node, site_with

pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")  # rdflib's own
HOSTILE = (
    'a "quoted" \\ \'text\'\r\n\t]]> --> </script> <img onerror=x> {{ t }} \x00\x0b\x85\u2028\u202e "" """ <> “l·l”'
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lake")


@pytest.fixture(scope="module")
def site(compiled: Path, folder: Path) -> Site:
    """A site of a lake in which nothing was made yet, with real data and a publisher."""
    return site_with(compiled, folder, mock_url="none", publisher="Example", publisher_email="data@example.org")


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=TEXTS, description=TEXTS, keyword=TEXTS)
def test_every_text_comes_back_from_turtle_and_json_ld(site: Site, title: str, description: str, keyword: str) -> None:
    made = catalog(
        site, [dataset(titles={"ca": title}, descriptions={"en": description}, keywords={"es": (keyword, HOSTILE)})]
    )
    for form, body in (("turtle", turtle(made)), ("json-ld", json_ld(made))):
        read = Graph().parse(data=body, format=form)
        here = node(site, "marts.dim_economic_sectors")
        assert list(read.objects(here, DCTERMS.title)) == [Literal(title, lang="ca")], form
        assert list(read.objects(here, DCTERMS.description)) == [Literal(description, lang="en")], form
        assert set(read.objects(here, DCAT.keyword)) == {Literal(each, lang="es") for each in (keyword, HOSTILE)}, form
        assert set(read) == set(made), form


def test_the_catalogue_has_the_same_bytes_in_whatever_order_it_was_made(site: Site) -> None:
    made = catalog(site, [dataset(), dataset(name="marts.dim_time", titles={"ca": "Calendari"})])
    other = Graph(namespace_manager=made.namespace_manager)
    for triple in sorted(made, reverse=True):
        other.add(triple)
    assert turtle(other) == turtle(made)
    assert json_ld(other) == json_ld(made)


def test_json_ld_is_read_without_fetching_anything(site: Site) -> None:
    assert all(isinstance(each, str) for each in json.loads(json_ld(catalog(site, [dataset()])))["@context"].values())


def test_a_catalogue_names_nobody_unless_the_operator_does(compiled: Path, folder: Path) -> None:
    made = catalog(site_with(compiled, folder), [dataset()])
    assert not set(made.predicates()) & {DCTERMS.publisher, DCAT.contactPoint}


def test_a_catalogue_of_sample_data_says_so(compiled: Path, folder: Path) -> None:
    site = site_with(compiled, folder)
    assert site.is_sample
    (text,) = (
        each for each in catalog(site, []).objects(node(site, "catalog"), DCTERMS.description) if each.language == "en"
    )  # type: ignore[attr-defined]
    assert str(text).startswith("Sample data: not real.")
    assert "Sample data: not real." in json.loads(data_package(site, []))["description"]
    assert b"Sample data: not real." in feed(site, "en")
    assert b"limitations: 'Sample data: not real." in odcs(site, site.graph["staging.gdp"])
    assert b"Disallow: /\n" in robots(site)


def test_a_catalogue_of_real_data_says_nothing_of_samples(site: Site) -> None:
    assert not site.is_sample
    assert b"not real" not in turtle(catalog(site, [dataset()])) + feed(site, "en") + odcs(
        site, site.graph["marts.dim_time"]
    )
    assert b"Sitemap: https://data.example.org/x/sitemap.xml\n" in robots(site)


@given(text=TEXTS)
def test_every_text_makes_xml_that_can_be_read(text: str) -> None:
    root = ET.Element("feed", {"title": text_of(text)})
    root.text = text_of(text)
    read = ET.fromstring(document(root))
    assert read.text == text_of(text).replace("\r\n", "\n").replace("\r", "\n")


def test_a_feed_is_valid_without_any_version(site: Site) -> None:
    read = ET.fromstring(feed(site, "ca"))
    assert {read.find(f"{{{ATOM}}}{name}") is not None for name in ("id", "title", "updated", "author")} == {True}
    assert read.findall(f"{{{ATOM}}}entry") == []


def test_a_sitemap_has_every_page_in_every_language_with_its_alternates(site: Site) -> None:
    (file,) = sitemaps(site, ["about", "municipality/080193"])
    assert isinstance(file.body, bytes)
    read = ET.fromstring(file.body)
    addresses = [str(url.findtext(f"{{{SCHEMA}}}loc")) for url in read]
    assert len(addresses) == len(set(addresses)) == 6
    assert addresses[0] == "https://data.example.org/x/ca/about.html"
    assert {tuple(link.get("hreflang") for link in url[1:]) for url in read} == {("ca", "es", "en", "x-default")}


def test_more_pages_than_a_sitemap_may_have_are_in_several(site: Site) -> None:
    files = {file.path: file for file in sitemaps(site, [f"p{number}" for number in range(5)], most=6)}
    assert list(files) == ["sitemap-1.xml", "sitemap-2.xml", "sitemap-3.xml", "sitemap.xml"]
    assert [len(_read(files[name])) for name in files] == [6, 6, 3, 3]
    assert _read(files["sitemap.xml"])[0][0].text == "https://data.example.org/x/sitemap-1.xml"


def _read(file: File) -> ET.Element:
    assert isinstance(file.body, bytes)
    return ET.fromstring(file.body)


def test_a_table_schema_has_what_the_contract_says(site: Site) -> None:
    asset = site.graph["marts.agg_population_trends_yearly"]
    schema = table_schema(
        contract_of(site, asset), public_columns(asset), "marts", {"marts.dim_municipalities", asset.key}
    )
    fields = {field["name"]: field for field in schema["fields"]}
    assert schema["primaryKey"] == ["year_number", "municipality_id"]
    assert fields["municipality_id"]["constraints"] == {"required": True, "pattern": "^[0-9]{6}$"}
    assert fields["area_km2"]["constraints"] == {"exclusiveMinimum": 0.0}
    assert fields["comarca_share_pct"]["constraints"] == {"minimum": 0.0, "maximum": 100.0}
    assert {key["reference"]["resource"] for key in schema["foreignKeys"]} == {"marts.dim_municipalities"}


def test_a_data_contract_has_what_the_contract_says(site: Site) -> None:
    import yaml

    read = yaml.safe_load(odcs(site, site.graph["marts.dim_economic_sectors"]))
    assert (read["apiVersion"], read["kind"], read["version"]) == ("v3.1.0", "DataContract", "1.0.0")
    (table,) = read["schema"]
    columns = {column["name"]: column for column in table["properties"]}
    assert columns["sector_id"]["primaryKeyPosition"] == 1
    assert columns["parent_sector_id"]["relationships"][0]["to"] == "dim_economic_sectors.sector_id"
    assert columns["level_number"]["logicalTypeOptions"] == {"minimum": 1, "maximum": 5}
    assert columns["classification"]["quality"][0]["arguments"]["validValues"] == ["CCAE-2009", "CCAE-2025", "GDP"]
    assert [each["name"] for each in table["quality"]] == ["all_but_gdp_are_part_of_something"]
