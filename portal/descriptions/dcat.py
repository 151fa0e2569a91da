"""The catalogue of the datasets in DCAT, as the profiles DCAT-AP 3.0 (the EU's) and DCAT-AP-ES 1.0 (Spain's) want it: Turtle and JSON-LD.

Every node has an address, `catalog.ttl#…`, so that the same site gives the same bytes. What is not known is left out: without the settings of the
publisher the catalogue is not valid (`publisher.py` says what each costs). Dated versions are on the page of a dataset, not in the catalogue: each would
be a dataset with everything that a dataset has. Here: the graph and its two forms. Not here: what is known of a dataset (`datasets.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from rdflib import DCTERMS, FOAF, RDF, RDFS, SKOS, XSD, Graph, Literal, Namespace, URIRef

from catalunya.assets.graph.titles import PROJECT
from catalunya.portal.descriptions.datasets import Dataset, address_of, file_words, names_of
from catalunya.portal.downloads import Distribution
from catalunya.portal.language import Language
from catalunya.portal.publisher import publisher_of
from catalunya.portal.site import Site

JSON_LD = "catalog.jsonld"
EU = "http://publications.europa.eu/resource/authority/"
SECTORS = "http://datos.gob.es/kos/sector-publico/sector"
MEDIA_TYPES = "https://www.iana.org/assignments/media-types/"
LANGUAGES = {"ca": "CAT", "es": "SPA", "en": "ENG"}
FILE_TYPES = {
    "text/csv": "CSV",
    "application/json": "JSON",
    "application/geo+json": "GEOJSON",
    "application/vnd.apache.parquet": "PARQUET",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "XLSX",
}
"""The EU's name of each kind of file."""
ADMS = Namespace("http://www.w3.org/ns/adms#")
DCAT = Namespace("http://www.w3.org/ns/dcat#")  # rdflib's is that of an earlier version
DCATAP = Namespace("http://data.europa.eu/r5r/")
ELI = Namespace("http://data.europa.eu/eli/ontology#")
GEO = Namespace("http://www.opengis.net/ont/geosparql#")
VCARD = Namespace("http://www.w3.org/2006/vcard/ns#")
LICENCE_TYPES = Namespace("http://purl.org/adms/licencetype/")
PREFIXES = {
    "adms": ADMS, "dcat": DCAT, "dcatap": DCATAP, "dct": DCTERMS, "eli": ELI, "foaf": FOAF, "geo": GEO, "rdf": RDF, "rdfs": RDFS,
    "skos": SKOS, "vcard": VCARD, "xsd": XSD,
}  # fmt: skip


def turtle(catalog: Graph) -> bytes:
    """The catalogue as Turtle."""
    return catalog.serialize(format="turtle").encode()


def json_ld(catalog: Graph) -> bytes:
    """The catalogue as JSON-LD, with its context in it: nothing has to be fetched to read it."""
    context = {name: str(namespace) for name, namespace in PREFIXES.items()}
    found = json.loads(catalog.serialize(format="json-ld", context=context))
    return json.dumps(_sorted(found), ensure_ascii=False, indent=1).encode()


Box = tuple[float, float, float, float]
"""A rectangle in degrees: west, south, east, north."""


def catalog(site: Site, datasets: Sequence[Dataset], box: Box | None = None) -> Graph:
    """The catalogue of these datasets. `box`: the one around the territory."""
    found = _Catalog(site, box)
    found.add(datasets)
    return found.graph


class _Catalog:
    """The graph while it is made."""

    def __init__(self, site: Site, box: Box | None) -> None:
        self.site, self.box, self.graph = site, box, Graph(bind_namespaces="none")
        for name, namespace in PREFIXES.items():
            self.graph.bind(name, namespace)
        self.publisher = publisher_of(site.project.settings)

    def add(self, datasets: Sequence[Dataset]) -> None:
        site, here = self.site, self._node("catalog")
        self._type(here, DCAT.Catalog)
        self._texts(here, DCTERMS.title, names_of(site, PROJECT))
        self._texts(here, DCTERMS.description, self._about())
        self._publisher(here)
        self._link(here, FOAF.homepage, f"{site.base}/", FOAF.Document)
        if datasets:
            self._moment(here, DCTERMS.issued, min(each.issued for each in datasets))
            self._moment(here, DCTERMS.modified, max(each.modified for each in datasets))
        self._languages(here)
        self._licence(here)
        self._places(here)
        subjects = [subject for each in datasets for subject in each.subjects]
        if any(each.eu_theme for each in subjects):
            self._link(here, DCAT.themeTaxonomy, f"{EU}data-theme", SKOS.ConceptScheme)
        if any(each.es_sector for each in subjects):
            self._link(here, DCAT.themeTaxonomy, SECTORS, SKOS.ConceptScheme)
        for each in datasets:
            self.graph.add((here, DCAT.dataset, self._dataset(each)))

    def _about(self) -> dict[str, str]:
        found = {}
        for language, title in names_of(self.site, PROJECT).items():
            words = Language(language)
            sample = [words.t("common.sample")] if self.site.is_sample else []
            found[language] = " ".join([*sample, words.t("description.catalog", title=title)])
        return found

    def _dataset(self, of: Dataset) -> URIRef:
        here, site = self._node(of.name), self.site
        self._type(here, DCAT.Dataset)
        self._texts(here, DCTERMS.title, of.titles)
        self._texts(here, DCTERMS.description, of.descriptions)
        for language, words in of.keywords.items():
            for word in words:
                self.graph.add((here, DCAT.keyword, Literal(word, lang=language)))
        self.graph.add((here, DCTERMS.identifier, Literal(of.name)))
        self.graph.add((here, DCAT.version, Literal(of.version)))
        self._publisher(here)
        self._contact(here)
        self._moment(here, DCTERMS.issued, of.issued)
        self._moment(here, DCTERMS.modified, of.modified)
        self._languages(here)
        self._places(here)
        self._days(here, of)
        self._link(here, DCTERMS.accessRights, f"{EU}access-right/PUBLIC", DCTERMS.RightsStatement, SKOS.Concept)
        for subject in of.subjects:
            if subject.eu_theme:
                self._link(here, DCAT.theme, f"{EU}data-theme/{subject.eu_theme}", SKOS.Concept)
            if subject.es_sector:
                self._link(here, DCAT.theme, f"{SECTORS}/{subject.es_sector}", SKOS.Concept)
        self._laws(here)
        for language in site.languages:
            self._link(here, DCAT.landingPage, site.absolute(site.page(language, of.page)), FOAF.Document)
        if of.contract:
            self._link(here, FOAF.page, site.absolute(of.contract), FOAF.Document)
        for file in of.files:
            self.graph.add((here, DCAT.distribution, self._distribution(of, file)))
        return here

    def _distribution(self, of: Dataset, file: Distribution) -> URIRef:
        here, site = self._node(f"{of.name}/{file.path.rpartition('/')[2]}"), self.site
        self._type(here, DCAT.Distribution)
        words = {code: file_words(file, Language(code)) for code in of.titles}
        self._texts(here, DCTERMS.title, {code: f"{of.titles[code]}: {name}" for code, (name, _) in words.items()})
        self._texts(here, DCTERMS.description, {code: f"{name}, {about}" for code, (name, about) in words.items()})
        page = site.page(site.languages[0], of.page)
        self._link(here, DCAT.accessURL, site.absolute(page), RDFS.Resource)
        self._link(here, DCAT.downloadURL, site.absolute(file.path), RDFS.Resource)
        if kind := FILE_TYPES.get(file.media_type):
            self._link(here, DCTERMS["format"], f"{EU}file-type/{kind}", DCTERMS.MediaTypeOrExtent, SKOS.Concept)
        self._link(here, DCAT.mediaType, f"{MEDIA_TYPES}{file.media_type}", DCTERMS.MediaType)
        if file.bytes is not None:
            self.graph.add((here, DCAT.byteSize, Literal(file.bytes, datatype=XSD.nonNegativeInteger)))
        self._moment(here, DCTERMS.issued, file.issued)
        self._moment(here, DCTERMS.modified, file.issued)
        self._licence(here)
        self._rights(here, of)
        self._languages(here)
        self._laws(here)
        self._link(here, DCATAP.availability, f"{EU}planned-availability/STABLE", SKOS.Concept)
        self._link(here, ADMS.status, f"{EU}distribution-status/COMPLETED", SKOS.Concept)
        return here

    def _publisher(self, of: URIRef) -> None:
        if not self.publisher.name:
            return
        here = URIRef(self.publisher.address or self._node("publisher"))
        self.graph.add((of, DCTERMS.publisher, here))
        self._type(here, FOAF.Agent)
        self._texts(here, FOAF.name, dict.fromkeys(self.site.languages, self.publisher.name))
        if self.publisher.dir3:
            self.graph.add((here, DCTERMS.identifier, Literal(self.publisher.dir3)))
        if self.publisher.url:
            self._link(here, FOAF.homepage, self.publisher.url, FOAF.Document)

    def _contact(self, of: URIRef) -> None:
        known = self.publisher
        if not known.name or not (known.email or known.url):
            return
        here = self._node("contact")
        self.graph.add((of, DCAT.contactPoint, here))
        self._type(here, VCARD.Kind, VCARD.Organization)
        for name in (VCARD.fn, VCARD["organization-name"]):
            self._texts(here, name, dict.fromkeys(self.site.languages, known.name))
        addresses = {
            VCARD.hasEmail: known.email and f"mailto:{known.email}",
            VCARD.hasTelephone: known.phone
            and f"tel:{''.join(letter for letter in known.phone if letter not in ' .-')}",
            VCARD.hasURL: known.url,
            VCARD.hasUID: known.address,
        }
        for name, address in addresses.items():
            if address:
                self.graph.add((here, name, URIRef(address)))

    def _licence(self, of: URIRef) -> None:
        licence = self.site.declared.licence
        here = URIRef(f"{EU}licence/{licence.eu}" if licence.eu else licence.url)
        self.graph.add((of, DCTERMS.license, here))
        self._type(here, DCTERMS.LicenseDocument)
        if licence.kind:
            self._link(here, DCTERMS.type, LICENCE_TYPES[licence.kind], SKOS.Concept)

    def _rights(self, of: URIRef, dataset: Dataset) -> None:
        """One statement, because DCAT-AP-ES allows no more: what all publishers ask for, or else the licence."""
        names = [each.name for each in dataset.rights] + ([dataset.name] if dataset.credit else [])
        here = self._node("-".join(["rights", *names]))
        self.graph.add((of, DCTERMS.rights, here))
        self._type(here, DCTERMS.RightsStatement)
        for language in self.site.languages:
            licence = f"{Language(language).t('common.licence')} {self.site.declared.licence.name}"
            texts = [*(each.text(language) for each in dataset.rights), dataset.credit]
            self.graph.add((here, RDFS.label, Literal(" ".join(filter(None, texts)) or licence, lang=language)))
        for each in dataset.rights:
            self.graph.add((here, RDFS.seeAlso, URIRef(each.url)))

    def _places(self, of: URIRef) -> None:
        for address in self.site.declared.spatial:
            here = self._link(of, DCTERMS.spatial, address, DCTERMS.Location)
            if self.box:
                west, south, east, north = (round(each, 3) for each in self.box)
                corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
                around = ", ".join(f"{x} {y}" for x, y in corners)
                middle = f"{round((west + east) / 2, 3)} {round((south + north) / 2, 3)}"
                self.graph.add((here, DCAT.bbox, Literal(f"POLYGON(({around}))", datatype=GEO.wktLiteral)))
                self.graph.add((here, DCAT.centroid, Literal(f"POINT({middle})", datatype=GEO.wktLiteral)))

    def _days(self, of: URIRef, dataset: Dataset) -> None:
        # What has no period, such as a classification, holds from the day on which it was published.
        first = dataset.first_day or dataset.issued.date()
        here = self._node(f"{dataset.name}/days")
        self.graph.add((of, DCTERMS.temporal, here))
        self._type(here, DCTERMS.PeriodOfTime)
        self._day(here, DCAT.startDate, first)
        if dataset.last_day:
            self._day(here, DCAT.endDate, dataset.last_day)

    def _languages(self, of: URIRef) -> None:
        for code in self.site.languages:
            self._link(of, DCTERMS.language, f"{EU}language/{LANGUAGES[code]}", DCTERMS.LinguisticSystem, SKOS.Concept)

    def _laws(self, of: URIRef) -> None:
        for address in self.site.declared.legislation:
            self._link(of, DCATAP.applicableLegislation, address, ELI.LegalResource)

    def _texts(self, of: URIRef, name: URIRef, texts: Mapping[str, str]) -> None:
        for language, text in texts.items():
            self.graph.add((of, name, Literal(text, lang=language)))

    def _moment(self, of: URIRef, name: URIRef, at: datetime) -> None:
        self.graph.add((of, name, Literal(f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", datatype=XSD.dateTime)))

    def _day(self, of: URIRef, name: URIRef, day: date) -> None:
        self.graph.add((of, name, Literal(day.isoformat(), datatype=XSD.date)))

    def _link(self, of: URIRef, name: URIRef, address: str, *types: URIRef) -> URIRef:
        here = URIRef(address)
        self.graph.add((of, name, here))
        self._type(here, *types)
        return here

    def _type(self, here: URIRef, *types: URIRef) -> None:
        """Say what a node is, also of one elsewhere: who validates a catalogue does not fetch it."""
        for each in types:
            self.graph.add((here, RDF.type, each))

    def _node(self, name: str) -> URIRef:
        return URIRef(address_of(self.site, name))


def _sorted(value: Any) -> Any:
    """JSON-LD in one order: a graph has none."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return sorted(map(_sorted, value), key=lambda each: json.dumps(each, ensure_ascii=False))
    return value
