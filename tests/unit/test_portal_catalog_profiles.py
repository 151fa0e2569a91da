"""The catalogue is what DCAT-AP 3.0 and DCAT-AP-ES 1.0 want it to be, by their own shapes; one that is not is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdflib import DCTERMS, FOAF, Graph, URIRef

from catalunya.portal.descriptions.dcat import DCAT, catalog
from catalunya.portal.site import Site
from small.catalogs import PUBLISHER, dataset, judged, node, site_with, violations

BOX = (0.15, 40.52, 3.33, 42.86)


@pytest.fixture(scope="module")
def site(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site_with(compiled, tmp_path_factory.mktemp("lake"), mock_url="none", **PUBLISHER)


@pytest.fixture
def made(site: Site) -> Graph:
    """A catalogue with two datasets: of a table with a last day, and of one without."""
    return catalog(site, [dataset(), dataset(name="marts.dim_time", last_day=dataset().first_day)], BOX)


def test_a_catalogue_is_valid_as_dcat_ap(made: Graph) -> None:
    found = judged(made, "dcat-ap-3.0.1")
    assert [each for each in found if each.severity == "Violation"] == []
    # Spain's own vocabularies are not the EU's; the kind of the publisher is not known; what holds until it changes has no last day.
    assert {each.path.rpartition("/")[2] for each in found} <= {
        "dcat#theme",
        "publisher",
        "spatial",
        "type",
        "dcat#endDate",
    }


def test_a_catalogue_is_valid_as_dcat_ap_es(site: Site) -> None:
    found = judged(catalog(site, [dataset()], BOX), "dcat-ap-es-1.0.0")
    assert {(each.severity, each.path.rpartition("/")[2]) for each in found} == {("Warning", "publisher")}


def test_without_a_publisher_a_catalogue_is_not_valid(compiled: Path, tmp_path: Path) -> None:
    made = catalog(site_with(compiled, tmp_path), [dataset()], BOX)
    assert {(each.path, each.node.rpartition("#")[2]) for each in violations(made, "dcat-ap-3.0.1")} == {
        (str(DCTERMS.publisher), "catalog")
    }


def test_without_a_dir3_code_a_catalogue_is_valid_as_dcat_ap_only(compiled: Path, tmp_path: Path) -> None:
    known = {name: value for name, value in PUBLISHER.items() if name != "publisher_dir3"}
    made = catalog(site_with(compiled, tmp_path, **known), [dataset()], BOX)
    assert violations(made, "dcat-ap-3.0.1") == []
    assert {each.path for each in violations(made, "dcat-ap-es-1.0.0")} == {str(DCTERMS.publisher)}


@pytest.mark.parametrize(
    ("name", "predicate"),
    [
        ("catalog", DCTERMS.title),
        ("marts.dim_time", DCTERMS.description),
        ("marts.dim_time/latest.csv", DCAT.accessURL),
    ],
)
def test_a_catalogue_without_what_is_mandatory_is_not_valid(
    name: str, predicate: URIRef, made: Graph, site: Site
) -> None:
    made.remove((node(site, name), predicate, None))
    found = violations(made, "dcat-ap-3.0.1")
    assert {(each.path, each.node) for each in found} == {(str(predicate), str(node(site, name)))}


def test_a_theme_that_spain_does_not_have_is_not_valid(site: Site) -> None:
    made = catalog(site, [dataset(subjects=())], BOX)
    made.remove((node(site, "catalog"), FOAF.homepage, None))
    found = violations(made, "dcat-ap-es-1.0.0")
    assert {each.path for each in found} == {str(DCAT.theme), str(DCAT.themeTaxonomy), str(FOAF.homepage)}
