"""A small dataset for catalogues, and catalogues in DCAT as others judge them: the SHACL shapes of DCAT-AP and DCAT-AP-ES, and the EU's metadata
quality assessment (MQA).

The shapes are real data; the vocabularies that they ask about are not, so that what the catalogue takes from them is taken as right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyshacl
from rdflib import DCTERMS, RDF, SKOS, Graph, Namespace, URIRef
from rdflib import Literal as Text

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.portal.declaration import Subject
from catalunya.portal.descriptions.datasets import Dataset, address_of
from catalunya.portal.descriptions.dcat import DCAT, EU, MEDIA_TYPES, SECTORS
from catalunya.portal.downloads import Distribution
from catalunya.portal.site import Site, read_site
from small.real import real_data

PUBLISHER = {
    "publisher": "Example",
    "publisher_dir3": "A00000000",
    "publisher_email": "data@example.org",
    "publisher_phone": "+34 930 000 000",
    "publisher_url": "https://example.org/",
}
AT = datetime(2026, 8, 3, 14, 5, tzinfo=UTC)
SH = Namespace("http://www.w3.org/ns/shacl#")
LICENCE_TYPES = "http://purl.org/adms/licencetype/"
Profile = Literal["dcat-ap-3.0.1", "dcat-ap-es-1.0.0"]
NON_PROPRIETARY = MACHINE_READABLE = frozenset({"CSV", "JSON", "GEOJSON"})
"""As far as our formats go: Parquet is in neither list of the MQA, XLSX only machine-readable."""


def site_with(compiled: Path, folder: Path, **changed: Any) -> Site:
    """The site of a lake in a folder, at 14:05 on 3 August 2026, with these settings."""
    settings = load_settings(env="local", lake=str(folder), portal_url="https://data.example.org/x", **changed)
    return read_site(Project(settings.model_copy(update={"cache": compiled})), AT)


def dataset(**changed: Any) -> Dataset:
    """A dataset with one file."""
    file = Distribution(
        path="data/marts/dim_economic_sectors/latest.csv",
        format="csv",
        media_type="text/csv",
        title="download.csv",
        issued=AT,
        is_latest=True,
        version="2026-08-03T1405Z",
        bytes=10,
        sha256="ab" * 32,
    )
    known: dict[str, Any] = {
        "name": "marts.dim_economic_sectors",
        "titles": {"ca": "Sectors", "es": "Sectores", "en": "Sectors"},
        "descriptions": {"ca": "Els sectors", "es": "Los sectores", "en": "The sectors"},
        "keywords": {"ca": ("economia",), "es": ("economía",), "en": ("economy",)},
        "page": "table/marts.dim_economic_sectors",
        "subjects": (Subject(tables="*", eu_theme="ECON", es_sector="economia"),),
        "rights": (),
        "first_day": date(2000, 1, 1),
        "last_day": None,
        "issued": AT,
        "modified": AT,
        "version": "2026-08-03T1405Z",
        "contract": "contracts/marts.dim_economic_sectors.yaml",
        "files": (file,),
    }
    return Dataset(**{**known, **changed})


def node(site: Site, name: str) -> URIRef:
    """The address of a node of the catalogue."""
    return URIRef(address_of(site, name))


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that a shape says of a node: its severity, the property, the node, the message."""

    severity: str
    path: str
    node: str
    message: str


def judged(catalog: Graph, profile: Profile) -> list[Result]:
    """What the shapes of a profile say of a catalogue; none if it is right. Skips the test where the shapes are not at hand."""
    _, found, _ = pyshacl.validate(
        catalog + _vocabularies(catalog),
        shacl_graph=_shapes(profile),
        do_owl_imports=False,
        advanced=True,
        allow_warnings=True,
    )
    assert isinstance(found, Graph)
    return [
        Result(
            *(
                _short(found.value(each, name))
                for name in (SH.resultSeverity, SH.resultPath, SH.focusNode, SH.resultMessage)
            )
        )
        for each in found.objects(None, SH.result)
    ]


@cache
def _shapes(profile: Profile) -> Graph:
    """Those of a profile. To read them takes as long as to judge a catalogue by them."""
    shapes = Graph()
    for path in sorted(Path(real_data("shacl"), profile).glob("*.ttl")):
        shapes.parse(path)
    return shapes


def violations(catalog: Graph, profile: Profile) -> list[Result]:
    """What makes a catalogue invalid in a profile."""
    return [each for each in judged(catalog, profile) if each.severity == "Violation"]


def mqa(catalog: Graph, dataset: URIRef, answers: Callable[[str], bool], *, is_valid: bool) -> Mapping[str, int]:
    """The points of each distribution of a dataset, by its download address, of 405.

    Source of the rules: the MQA's methodology (data.europa.eu), as mjanez/ckan-mqa lists them. `answers`: whether an address does.
    """

    def has(node: URIRef, *names: URIRef) -> bool:
        return all((node, name, None) in catalog for name in names)

    def at(node: URIRef, name: URIRef) -> str:
        return str(catalog.value(node, name) or "")

    of_dataset = {
        "keyword": 30 * has(dataset, DCAT.keyword),
        "theme": 30 * has(dataset, DCAT.theme),
        "spatial": 20 * has(dataset, DCTERMS.spatial),
        "temporal": 20 * has(dataset, DCTERMS.temporal),
        "dcat-ap": 30 * is_valid,
        "access rights": 10 * has(dataset, DCTERMS.accessRights),
        "access rights listed": 5 * at(dataset, DCTERMS.accessRights).startswith(f"{EU}access-right/"),
        "contact": 20 * has(dataset, DCAT.contactPoint),
        "publisher": 10 * has(dataset, DCTERMS.publisher),
    }
    found = {}
    for file in catalog.objects(dataset, DCAT.distribution):
        assert isinstance(file, URIRef)
        kind, url = at(file, DCTERMS["format"]).rpartition("/")[2], at(file, DCAT.downloadURL)
        points = {
            "access": 50 * answers(at(file, DCAT.accessURL)),
            "download": 20 * bool(url),
            "download answers": 30 * answers(url),
            "format": 20 * has(file, DCTERMS["format"]),
            "media type": 10 * has(file, DCAT.mediaType),
            "format listed": 10
            * (
                at(file, DCTERMS["format"]).startswith(f"{EU}file-type/")
                and at(file, DCAT.mediaType).startswith(MEDIA_TYPES)
            ),
            "non-proprietary": 20 * (kind in NON_PROPRIETARY),
            "machine-readable": 20 * (kind in MACHINE_READABLE or kind == "XLSX"),
            "licence": 20 * has(file, DCTERMS.license),
            "licence listed": 10 * at(file, DCTERMS.license).startswith(f"{EU}licence/"),
            "rights": 5 * has(file, DCTERMS.rights),
            "size": 5 * has(file, DCAT.byteSize),
            "issued": 5 * has(file, DCTERMS.issued),
            "modified": 5 * has(file, DCTERMS.modified),
        }
        found[url] = sum(of_dataset.values()) + sum(points.values())
    return found


def _vocabularies(catalog: Graph) -> Graph:
    """The terms that a catalogue uses, as their vocabularies have them, in the place of the vocabularies, which are elsewhere."""
    found = Graph()
    for term in {each for each in catalog.objects() if isinstance(each, URIRef)}:
        address = str(term)
        scheme, _, name = address.rpartition("/")
        if not address.startswith((EU, LICENCE_TYPES, f"{SECTORS}/")) or f"{scheme}/" == EU:
            continue
        of = URIRef(f"{LICENCE_TYPES}1.0" if address.startswith(LICENCE_TYPES) else scheme)
        found.add((term, RDF.type, SKOS.Concept))
        found.add((term, SKOS.prefLabel, Text(name, lang="en")))
        found.add((term, SKOS.inScheme, of))
        found.add((of, RDF.type, SKOS.ConceptScheme))
        found.add((of, DCTERMS.title, Text(scheme, lang="en")))
    return found


def _short(value: object) -> str:
    return str(value or "").rpartition("#")[2] if str(value).startswith(str(SH)) else str(value or "")
