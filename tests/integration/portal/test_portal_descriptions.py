"""The whole site as machines see it: its catalogue's points in the EU's assessment, its data package row by row, its contracts, its feeds and pages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from rdflib import DCTERMS, Graph, URIRef

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.lake import Lake
from catalunya.portal.build import read_state
from catalunya.portal.descriptions.datasets import address_of, datasets
from catalunya.portal.descriptions.dcat import DCAT, catalog, json_ld
from catalunya.portal.descriptions.feed import ATOM
from catalunya.portal.descriptions.places import places_dataset
from catalunya.portal.descriptions.sitemap import SCHEMA
from catalunya.portal.place_map import geometry_of
from catalunya.portal.site import Site, read_site
from small.apart import environment
from small.catalogs import PUBLISHER, mqa, violations

pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")  # rdflib's own
BEST = 405
ROWS = 1000
"""Of each table, that frictionless reads: it takes a minute for the largest one."""
EMBEDDED = re.compile(r'<script type="application/ld\+json">(.*?)</script>', re.DOTALL)
LINT = """
import json, sys
from datacontract.data_contract import DataContract
runs = {path: DataContract(data_contract_file=path).lint() for path in sys.argv[1:]}
print(json.dumps({path: [check.reason for check in run.checks if check.result != "passed"] for path, run in runs.items()}))
"""


@pytest.fixture(scope="module")
def site(portal: Path, site_url: str, compiled: Path) -> Site:
    """The site that is served, with a publisher."""
    lake = str(portal.parent / "lake")
    settings = load_settings(env="local", lake=lake, cache=compiled, portal_url=site_url, **PUBLISHER)
    site, state = read_site(Project(settings)), read_state(Lake(str(portal)))
    assert state
    site.files.update({path: about for part in state.parts.values() for path, about in part.files.items()})
    return site


@pytest.fixture(scope="module")
def described(site: Site) -> Graph:
    """The catalogue of that site."""
    geometry = geometry_of(site)
    assert geometry
    return catalog(site, [*datasets(site), *places_dataset(site)], geometry.box("comarca"))


def test_every_dataset_has_all_points_of_the_eus_assessment(site: Site, described: Graph) -> None:
    is_valid = violations(described, "dcat-ap-3.0.1") == []

    with httpx.Client(trust_env=False) as client:

        @cache
        def answers(address: str) -> bool:
            return client.head(address).is_success

        points = {
            str(each): mqa(described, each, answers, is_valid=is_valid)
            for each in described.objects(None, DCAT.dataset)
            if isinstance(each, URIRef)
        }
    assert len(points) == len(site.marts) + 1
    assert {name: max(of_files.values()) for name, of_files in points.items()} == dict.fromkeys(points, BEST)
    all_points = [each for of_files in points.values() for each in of_files.values()]
    assert sum(all_points) / len(all_points) >= 385


def test_the_catalogue_is_the_same_in_both_forms(portal: Path) -> None:
    turtle = Graph().parse(portal / "catalog.ttl", format="turtle")
    assert set(Graph().parse(portal / "catalog.jsonld", format="json-ld")) == set(turtle)
    assert len(set(turtle.objects(None, DCAT.dataset))) == 9


def test_the_catalogue_links_to_files_of_the_site(portal: Path) -> None:
    published = Graph().parse(portal / "catalog.ttl", format="turtle")
    base = "http://localhost:8081/"
    links = {
        str(each)
        for name in (DCAT.downloadURL, DCAT.accessURL, DCAT.landingPage)
        for each in published.objects(None, name)
    }
    assert links
    assert [link for link in sorted(links) if not (portal / link.removeprefix(base)).is_file()] == []


def test_every_dataset_says_which_days_it_covers(site: Site, described: Graph) -> None:
    covered = {each.name: (each.first_day, each.last_day) for each in datasets(site)}
    assert {name for name, (first, _) in covered.items() if first is None} == {"marts.dim_economic_sectors"}
    assert {name for name, (_, last) in covered.items() if last is None} == {
        "marts.dim_economic_sectors",
        "marts.dim_municipalities",
    }
    assert len(set(described.objects(None, DCTERMS.temporal))) == len(site.marts) + 1


def test_the_data_package_and_its_rows_are_valid(portal: Path) -> None:
    from frictionless import validate

    report = validate(str(portal / "datapackage.json"), limit_rows=ROWS)
    assert report.errors == []
    assert {task.name: [error.message for error in task.errors] for task in report.tasks} == {
        task.name: [] for task in report.tasks
    }
    assert len(report.tasks) == 8


def test_a_data_package_with_a_row_that_breaks_its_contract_is_not_valid(portal: Path, tmp_path: Path) -> None:
    from frictionless import validate

    package = json.loads((portal / "datapackage.json").read_text(encoding="utf-8"))
    (resource,) = (each for each in package["resources"] if each["name"] == "marts.dim_economic_sectors")
    path = tmp_path / resource["path"]
    path.parent.mkdir(parents=True)
    shutil.copy(portal / resource["path"], path)
    with path.open("a", encoding="utf-8") as file:
        file.write("x,NACE,x,x,nobody,9,\r\n")
    about = {name: value for name, value in resource.items() if name not in {"bytes", "hash"}}
    (tmp_path / "datapackage.json").write_text(json.dumps({**package, "resources": [about]}), encoding="utf-8")
    (task,) = validate(str(tmp_path / "datapackage.json")).tasks
    assert {error.type for error in task.errors} == {"constraint-error", "foreign-key"}


def test_every_contract_is_valid_as_odcs(portal: Path, site: Site, tmp_path: Path) -> None:
    lock = Path(__file__).with_name("datacontract.lock")
    try:
        home = environment("datacontract", lock)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"datacontract-cli cannot be installed: {error}")
    paths = sorted(map(str, (portal / "contracts").glob("*.yaml")))
    assert [Path(path).stem for path in paths] == sorted(asset.key for asset in site.published)
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        Path(paths[0]).read_text(encoding="utf-8").replace("logicalType: string", "logicalType: word"), encoding="utf-8"
    )
    run = [str(home / "bin" / "python"), "-c", LINT, *paths, str(broken)]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    assert "'word' is not one of" in found.pop(str(broken))[0]
    assert found == {path: [] for path in paths}


@pytest.mark.parametrize("code", ["ca", "es", "en"])
def test_a_tables_page_describes_its_files_for_search_engines(code: str, portal: Path) -> None:
    page = (portal / code / "table/marts.fact_gdp_quarterly.html").read_text(encoding="utf-8")
    (text,) = EMBEDDED.findall(page)
    found: dict[str, Any] = json.loads(text)
    assert found["@type"] == "Dataset"
    assert (
        found["name"]
        == {"ca": "PIB per sector i trimestre", "es": "PIB por sector y trimestre", "en": "GDP by sector and quarter"}[
            code
        ]
    )
    assert 50 <= len(found["description"]) <= 5000  # what Google asks for
    files = [each["contentUrl"].removeprefix("http://localhost:8081/") for each in found["distribution"]]
    assert [file for file in files if not (portal / file).is_file()] == []
    assert "publisher" not in found


def test_a_page_of_a_table_without_files_describes_none(portal: Path) -> None:
    assert EMBEDDED.findall((portal / "en/table/staging.gdp.html").read_text(encoding="utf-8")) == []


def test_feeds_have_every_version_and_link_to_its_page(portal: Path, site: Site) -> None:
    feeds = {code: ET.parse(portal / f"feed.{code}.atom").getroot() for code in site.languages}
    ids = {
        code: [entry.findtext(f"{{{ATOM}}}id") for entry in feed.iter(f"{{{ATOM}}}entry")]
        for code, feed in feeds.items()
    }
    assert ids["ca"] == ids["es"] == ids["en"]
    assert len(set(ids["ca"])) == len(ids["ca"]) == len(site.marts)
    times = [str(each.findtext(f"{{{ATOM}}}updated")) for each in feeds["ca"].iter(f"{{{ATOM}}}entry")]
    assert times == sorted(times, reverse=True)
    assert feeds["ca"].findtext(f"{{{ATOM}}}updated") == times[0]
    links = [link.get("href", "") for feed in feeds.values() for link in feed.iter(f"{{{ATOM}}}link")]
    assert [each for each in links if not (portal / each.removeprefix("http://localhost:8081/")).is_file()] == []


def test_the_sitemap_has_every_page_of_the_site(portal: Path) -> None:
    listed = [
        str(loc.text).removeprefix("http://localhost:8081/")
        for loc in ET.parse(portal / "sitemap.xml").iter(f"{{{SCHEMA}}}loc")
    ]
    pages = {path.relative_to(portal).as_posix() for path in portal.rglob("*/*.html")}
    assert len(listed) == len(set(listed))
    assert set(listed) == pages
    assert len(pages) > 2970


def test_every_page_links_to_the_feed_of_its_language(portal: Path) -> None:
    for page in ("ca/index.html", "es/quality.html", "en/table/marts.dim_time.html"):
        code = page[:2]
        (link,) = re.findall(
            r'<link rel="alternate" type="application/atom\+xml"[^>]*href="([^"]*)"',
            (portal / page).read_text(encoding="utf-8"),
        )
        assert (portal / page).parent.joinpath(link).resolve() == portal.resolve() / f"feed.{code}.atom"


def test_json_ld_has_the_addresses_of_its_datasets(site: Site, described: Graph) -> None:
    ids = {each["@id"] for each in json.loads(json_ld(described))["@graph"]}
    assert {address_of(site, asset.key) for asset in site.marts} <= ids
