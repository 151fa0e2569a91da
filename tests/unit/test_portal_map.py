"""The map and the places as GeoJSON, of five municipalities of which one has no shape at this size: what is known, what is not, hostile names."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.portal import geojson, map_page
from catalunya.portal.site import Site, read_site

PLACES = {
    "170433": "Camprodon",
    "171479": "Ripoll",
    "080193": "Barcelona",
    "081748": "Puigdàlber",
    "081691": "Bisbal, la",
}
COMARCA = {"170433": "31", "171479": "31", "080193": "13", "081748": "03", "081691": "11"}
HOSTILE = ['<script>alert("a")</script>', '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "\u202egnp.exe\x1b[2J"]


@pytest.fixture
def project(settings: Settings, compiled: Path) -> Project:
    return Project(settings.model_copy(update={"cache": compiled}))


def site_of(project: Project, population: dict[str, float | None], names: dict[str, str] = PLACES) -> Site:
    """A site of these places in one year; what its other tables have was never made."""
    codes = list(names)
    rows = {
        "municipality_id": codes,
        "municipality_name": list(names.values()),
        "comarca_id": [COMARCA[code] for code in codes],
        "comarca_name": [f"Comarca {COMARCA[code]}" for code in codes],
    }
    of_place = pl.LazyFrame(rows | {"is_current": [True] * len(codes)}).with_columns(
        longitude_deg=2.0, latitude_deg=41.5
    )
    yearly = pl.LazyFrame(
        {"municipality_id": list(population), "population": list(population.values())},
        schema={"municipality_id": pl.String, "population": pl.Float64},
    ).with_columns(
        pl.lit(2025).alias("year_number"),
        pl.lit("final").alias("observation_status"),
        is_interpolated=pl.lit(value=False),
        growth_pct=pl.col("population") / 100 - 5,
        density_per_km2=pl.lit(None, pl.Float64),
        area_km2=pl.lit(2.5),
        comarca_id=pl.col("municipality_id").replace_strict(COMARCA),
        comarca_population=pl.lit(700),
    )
    tables: dict[str, pl.LazyFrame | None] = {asset.key: None for asset in project.graph}
    tables |= {"marts.dim_municipalities": of_place, "marts.agg_population_trends_yearly": yearly}
    read = read_site(project)
    return Site(project, read.declared, read.state, read.board, "http://localhost:8081", _tables=tables)


def files_of(site: Site) -> dict[str, str]:
    parts = [*geojson.parts(site), *map_page.parts(site)]
    return {file.path: bytes(file.body).decode() for part in parts for file in part.files()}  # type: ignore[arg-type]


@pytest.fixture
def files(project: Project) -> dict[str, str]:
    known = {"170433": 2200.0, "171479": 10641.0, "080193": 1671802.0, "081748": 523.0}
    return files_of(site_of(project, known))


def links(page: str, level: str = "municipality") -> dict[str, tuple[str, str, str]]:
    """The places on the map: code -> class, what is said of it, the element that is drawn."""
    group = page.partition(f'<g class="level" data-level="{level}"')[2].partition("</g>")[0]
    found = re.findall(r'<a href="\w+/(\w+)\.html" tabindex="-1" class="(\w+)"><title>(.*?)</title><(\w+)', group)
    return {code: (number, said, element) for code, number, said, element in found}


def test_each_place_is_a_link_with_its_name_its_value_and_the_color_of_its_class(files: dict[str, str]) -> None:
    assert links(files["ca/map.html"]) == {
        "170433": ("c1", "Camprodon: 2.200", "path"),
        "171479": ("c2", "Ripoll: 10.641", "path"),
        "080193": ("c3", "Barcelona: 1.671.802", "path"),
        "081748": ("c0", "Puigdàlber: 523", "circle"),
        "081691": ("cx", "la Bisbal: sense dades", "path"),
    }
    assert links(files["en/map.html"])["080193"][1] == "Barcelona: 1,671,802"


def test_the_table_has_the_same_values_and_what_is_not_known_has_none(files: dict[str, str]) -> None:
    rows = re.findall(
        r'<tr><th scope="row"><a href="municipality/(\w+)\.html">.*?data-value="([^"]*)">(.*?)</td>',
        files["es/map.html"],
    )
    assert {code: (value, shown) for code, value, shown in rows} == {
        "170433": ("2200.0", "2.200"),
        "171479": ("10641.0", "10.641"),
        "080193": ("1671802.0", "1.671.802"),
        "081748": ("523.0", "523"),
        "081691": ("", "–"),
    }
    assert [code for code, _, _ in rows] == ["080193", "081691", "170433", "081748", "171479"], (
        "by name, without the article"
    )


def test_shapes_of_a_level_that_is_not_shown_are_hidden_as_svg_hides_them(files: dict[str, str]) -> None:
    """`hidden` is an attribute of HTML: validators refuse it in SVG, and without our styles browsers ignore it there."""
    for language in ("ca", "es", "en"):
        drawn = files[f"{language}/map.html"].partition('<svg id="map"')[2]
        groups = re.findall(r'<g class="level" data-level="(\w+)"([^>]*)>', files[f"{language}/map.html"])
        assert groups == [("municipality", ""), ("comarca", ' display="none"')]
        assert " hidden" not in drawn.partition("</svg>")[0]


def test_the_legend_has_the_limits_of_the_classes_and_what_is_not_known(files: dict[str, str]) -> None:
    legend = files["ca/map.html"].partition('id="map-legend">')[2].partition("</ul>")[0]
    shown = re.findall(r'<li data-class="(\w)"( hidden)?>.*?<span>(.*?)</span>', legend)
    assert shown == [
        ("0", "", "523"),
        ("1", "", "2.200"),
        ("2", "", "10.641"),
        ("3", "", "1.671.802"),
        ("4", " hidden", ""),
        ("x", "", "sense dades"),
    ]


def test_the_script_gets_values_and_limits_and_what_can_be_chosen(files: dict[str, str]) -> None:
    assert json.loads(files["data/map/growth.municipality.json"]) == {
        "places": ["080193", "081748", "170433", "171479"],
        "values": {"2025": [16713.0, 0.2, 17.0, 101.4]},
        "limits": {"2025": [None, None, None, [0.2, 17.0], [101.4, 16713.0]]},
    }
    embedded = files["en/map.html"].partition('id="map-choices">')[2].partition("</script>")[0]
    choices = json.loads(embedded)
    assert [figure["name"] for figure in choices["figures"]] == ["population", "growth"], "none that is known nowhere"
    levels = [level for figure in choices["figures"] for level in figure["levels"]]
    assert [level["name"] for level in levels] == ["municipality", "comarca", "municipality"]
    assert levels[0]["periods"] == [{"name": "2025", "title": "2025"}]
    assert all(level["file"] in files for level in levels)


def test_hostile_names_are_text(project: Project) -> None:
    names = dict(zip(PLACES, [*HOSTILE, "Plain"], strict=True))
    files = files_of(site_of(project, dict.fromkeys(PLACES, 5.0), names))
    for path in ("ca/map.html", "es/map.html", "en/map.html"):
        page = files[path]
        assert "<img" not in page
        assert "<script>" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
        assert "{{ 7 * 7 }}: 5" in page
    assert json.loads(files["data/places/municipality.geojson"])["features"]


def test_without_tables_the_page_says_so(project: Project) -> None:
    site = site_of(project, {})
    empty = replace(site, _tables=dict.fromkeys(site._tables))
    files = files_of(empty)
    assert set(files) == {"ca/map.html", "es/map.html", "en/map.html"}
    assert "There are no data for the map yet." in files["en/map.html"]
    assert "No places yet" in files["en/map.html"].partition('id="take-away"')[2], (
        "the page about the portal links to it"
    )


def test_places_whose_figures_were_never_made_can_be_taken_away(project: Project) -> None:
    site = site_of(project, {"171479": 10641.0})
    files = files_of(replace(site, _tables=site._tables | {"marts.agg_population_trends_yearly": None}))
    assert "There are no data for the map yet." in files["en/map.html"]
    for path in (path for path in files if path.endswith(".geojson")):
        assert f'href="../{path}"' in files["en/map.html"].partition('id="take-away"')[2]


def test_geojson_has_the_places_as_they_are_now_with_the_latest_values(files: dict[str, str]) -> None:
    found: dict[str, Any] = json.loads(files["data/places/municipality.geojson"])
    by_code = {feature["id"]: feature for feature in found["features"]}
    assert found["type"] == "FeatureCollection"
    assert "Instituto Geográfico Nacional" in found["attribution"]
    assert any("Idescat" in each for each in found["rights"])
    assert set(by_code) == set(PLACES)
    assert by_code["171479"]["properties"] == {
        "code": "171479",
        "name": "Ripoll",
        "parent": "31",
        "population": 10641,
        "population_period": "2025",
        "growth": pytest.approx(101.41),
        "growth_period": "2025",
        "density": None,
        "density_period": None,
        "area": 2.5,
        "area_period": "2025",
    }
    assert by_code["081691"]["properties"]["name"] == "la Bisbal"
    assert by_code["081748"]["geometry"]["type"] == "Point"


def test_the_box_of_the_geojson_is_around_all_its_positions(files: dict[str, str]) -> None:
    found = json.loads(files["data/places/comarca.geojson"])
    text = json.dumps([feature["geometry"]["coordinates"] for feature in found["features"]])
    positions = [(float(x), float(y)) for x, y in re.findall(r"\[([-\d.]+), ([-\d.]+)\]", text)]
    west, south, east, north = found["bbox"]
    assert (west, east) == (min(x for x, _ in positions), max(x for x, _ in positions))
    assert (south, north) == (min(y for _, y in positions), max(y for _, y in positions))


def test_a_place_without_a_shape_is_at_its_point(project: Project) -> None:
    with_new = {**PLACES, "999999": "New"}
    COMARCA["999999"] = "31"
    found = geojson.collection(site_of(project, {}, with_new), "municipality")
    assert found["features"][-1]["geometry"] == {"type": "Point", "coordinates": [2.0, 41.5]}


def test_the_map_moves_with_its_tables_and_its_shapes(project: Project, tmp_path: Path) -> None:
    site = site_of(project, {"171479": 5.0})
    before = map_page.made_from(site)
    copied = tmp_path / "places.json"
    copied.write_bytes((Path("assets/geometry/places.json")).read_bytes() + b"\n")
    elsewhere = replace(site, declared=msgspec.structs.replace(site.declared, geometry=str(copied)))
    assert map_page.made_from(elsewhere) != before
    assert {"marts.dim_municipalities", "marts.agg_population_trends_yearly", "staging.employment"} <= set(before)


def test_the_same_tables_give_the_same_files(project: Project) -> None:
    assert files_of(site_of(project, {"171479": 5.0})) == files_of(site_of(project, {"171479": 5.0}))
