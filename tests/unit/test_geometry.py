"""The places of the portal's maps: all of the register, closed and turned as GeoJSON wants, small, and made again to the same bytes."""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from catalunya.cdk import node
from catalunya.io.errors import ConfigurationError
from catalunya.ops import geometry as maker
from catalunya.portal.geometry import Drawing, Geometry

ROOT = Path(__file__).parents[2]
PLACES = Geometry(maker.FILE)
LEVELS = ("municipality", "comarca", "region")
COLLAPSED = {"081748": "Puigdàlber", "082153": "Sant Hipòlit de Voltregà", "170464": "Castellfollit de la Roca"}
LLIVIA = "170947"


@pytest.fixture(scope="module")
def register() -> list[dict[str, str]]:
    """The municipalities that the local mock serves, as the portal publishes them, without the two rows that are no municipality."""
    lines = (ROOT / "ops/mock/seeds/municipalities.csv").read_text(encoding="utf-8").splitlines()
    return [row for row in csv.DictReader(line for line in lines if not line.startswith("#")) if row["codi"] < "99"]


def rings(geometry: dict[str, Any]) -> list[tuple[bool, list[list[float]]]]:
    """Each ring of a GeoJSON geometry, and whether it is an outer one."""
    parts = {"Point": [], "Polygon": [geometry["coordinates"]], "MultiPolygon": geometry["coordinates"]}
    return [(index == 0, ring) for part in parts[geometry["type"]] for index, ring in enumerate(part)]


def area(ring: list[list[float]]) -> float:
    """In square degrees, positive if the ring is counter-clockwise."""
    x, y = ring[0]
    return sum((a[0] - x) * (b[1] - y) - (b[0] - x) * (a[1] - y) for a, b in pairwise(ring)) / 2


def test_every_place_of_the_register_is_there_and_no_other(register: list[dict[str, str]]) -> None:
    assert PLACES.levels == LEVELS
    assert PLACES.codes("municipality") == tuple(sorted(row["codi"] for row in register))
    assert PLACES.codes("comarca") == tuple(sorted({row["codi_comarca"] for row in register}))
    assert [len(PLACES.codes(level)) for level in LEVELS] == [947, 43, 1]


@pytest.mark.parametrize("level", LEVELS)
def test_rings_are_closed_have_an_area_and_turn_as_geojson_wants(level: str) -> None:
    for feature in PLACES.features(level, {})["features"]:
        for is_outer, ring in rings(feature["geometry"]):
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
            assert all(before != after for before, after in pairwise(ring))
            assert all(position == [round(degrees, 5) for degrees in position] for position in ring)
            assert (area(ring) > 1e-6) if is_outer else (area(ring) < -1e-6)


def test_the_municipalities_of_a_comarca_and_the_comarques_of_the_whole_cover_it_exactly(
    register: list[dict[str, str]],
) -> None:
    def areas(level: str) -> dict[str, float]:
        found = PLACES.features(level, {})["features"]
        return {one["id"]: sum(area(ring) for _, ring in rings(one["geometry"])) for one in found}

    municipalities, comarques, (whole,) = areas("municipality"), areas("comarca"), areas("region").values()
    for code, covered in comarques.items():
        members = sum(municipalities[row["codi"]] for row in register if row["codi_comarca"] == code)
        assert members == pytest.approx(covered, abs=1e-5)
    assert sum(comarques.values()) == pytest.approx(whole, abs=1e-5)


def test_a_hole_is_where_a_part_of_another_place_is() -> None:
    """No false holes: where two boundaries were simplified apart, no gap is left that nothing fills."""
    for level in LEVELS:
        found = [ring for one in PLACES.features(level, {})["features"] for ring in rings(one["geometry"])]
        outer = [{tuple(position) for position in ring} for is_outer, ring in found if is_outer]
        holes = [{tuple(position) for position in ring} for is_outer, ring in found if not is_outer]
        assert all(hole in outer for hole in holes)
    assert [
        is_outer for one in PLACES.features("region", {})["features"] for is_outer, _ in rings(one["geometry"])
    ] == [
        True,
        True,  # Llívia
    ]


def test_three_municipalities_are_points_near_their_seat(register: list[dict[str, str]]) -> None:
    found = {one["id"]: one["geometry"] for one in PLACES.features("municipality", {})["features"]}
    seats = {row["codi"]: (float(row["longitud"]), float(row["latitud"])) for row in register}
    points = {code: geometry["coordinates"] for code, geometry in found.items() if geometry["type"] == "Point"}

    assert points.keys() == COLLAPSED.keys()
    assert all(points[code] == pytest.approx(seats[code], abs=0.0012) for code in points)  # half of the file's grid
    assert PLACES.shapes("municipality", 600).points.keys() == COLLAPSED.keys()


@pytest.mark.parametrize("level", LEVELS)
def test_who_is_a_neighbor_has_that_neighbor(level: str) -> None:
    codes = set(PLACES.codes(level))
    near = {code: PLACES.neighbors(level, code) for code in codes}
    assert all(code in near[other] for code, others in near.items() for other in others)
    assert all(code not in others and len(set(others)) == len(others) for code, others in near.items())


def test_llivia_has_no_neighbor_and_is_the_only_one_without() -> None:
    alone = [code for code in PLACES.codes("municipality") if not PLACES.neighbors("municipality", code)]
    assert alone == [LLIVIA]
    assert all(PLACES.neighbors("comarca", code) for code in PLACES.codes("comarca"))
    assert PLACES.neighbors("municipality", "082153") == ("081173",)  # Sant Hipòlit lies within les Masies de Voltregà
    assert PLACES.neighbors("comarca", "39") == ("05", "26")  # Val d'Aran: Alta Ribagorça, Pallars Sobirà
    assert PLACES.neighbors("municipality", "unknown") == ()


@pytest.mark.parametrize(("level", "plain", "zipped"), [("municipality", 78e3, 23e3), ("comarca", 15e3, 5e3)])
def test_paths_of_600_units_are_small(level: str, plain: float, zipped: float) -> None:
    text = "".join(PLACES.shapes(level, 600).paths.values()).encode()
    assert len(text) < plain
    assert len(gzip.compress(text)) < zipped


def test_the_municipalities_of_one_comarca_are_a_few_kilobytes(register: list[dict[str, str]]) -> None:
    for comarca in PLACES.codes("comarca"):
        drawn = PLACES.shapes("municipality", 300, PLACES.frame("comarca", [comarca]))
        members = [row["codi"] for row in register if row["codi_comarca"] == comarca]
        assert set(members) <= drawn.middles.keys()
        assert sum(len(drawn.paths.get(code, "")) for code in members) < 3.3e3


def positions(path: str) -> list[tuple[int, int]]:
    """The positions of a drawn path, walked as a browser does."""
    found = []
    for ring in re.findall(r"M(.+?)l(.+?)z", path):
        (x, y), steps = ([int(number) for number in re.findall(r"-?\d+", part)] for part in ring)
        found.append((x, y))
        for across, down in zip(steps[::2], steps[1::2], strict=True):
            x, y = x + across, y + down
            found.append((x, y))
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_paths_fill_the_view_box_and_do_not_leave_it(level: str) -> None:
    drawn = PLACES.shapes(level, 600)
    xs, ys = zip(*(position for path in drawn.paths.values() for position in positions(path)), strict=True)
    assert drawn.view_box == f"0 0 {drawn.width} {drawn.height}"
    assert (min(xs), min(ys), max(xs), max(ys)) == (0, 0, drawn.width, drawn.height)
    assert all(re.fullmatch(r"(M\d+ \d+l[\d -]+z)+", path) for path in drawn.paths.values())


def test_distances_are_the_same_in_every_direction(register: list[dict[str, str]]) -> None:
    """The three points of the drawing, compared with the register's UTM coordinates in meters."""
    drawn = PLACES.shapes("municipality", 20_000).points
    meters = {row["codi"]: (float(row["utm_x"]), float(row["utm_y"])) for row in register}
    units = [math.dist(drawn[a], drawn[b]) / math.dist(meters[a], meters[b]) for a, b in combinations(COLLAPSED, 2)]
    assert max(units) / min(units) < 1.01


def test_levels_drawn_in_one_frame_fit_on_each_other() -> None:
    frame = PLACES.frame("comarca", ["31"], margin=0.1)
    ripolles = PLACES.shapes("comarca", 300, frame)
    ripoll = PLACES.shapes("municipality", 300, frame)
    edge = set(positions(ripolles.paths["31"]))
    assert edge <= {position for path in ripoll.paths.values() for position in positions(path)}
    assert (ripolles.width, ripolles.height) == (ripoll.width, ripoll.height)
    assert "171479" in ripoll.paths  # Ripoll
    assert "431482" not in ripoll.middles  # Tarragona


def test_around_a_place_that_is_a_point_its_neighbors_are_drawn() -> None:
    drawn: Drawing = PLACES.shapes("municipality", 300, PLACES.frame("municipality", ["081748"]))
    assert {"081748", *PLACES.neighbors("municipality", "081748")} <= drawn.middles.keys()
    assert "081748" in drawn.points
    assert len(drawn.middles) < 50


def test_features_carry_what_the_caller_knows_and_the_attribution() -> None:
    collection = PLACES.features("comarca", {"31": {"name": "Ripollès"}})
    found = {one["id"]: one["properties"] for one in collection["features"]}
    assert found["31"] == {"name": "Ripollès"}
    assert found["01"] == {}
    assert "Instituto Geográfico Nacional" in collection["attribution"]
    assert collection["license"] == "https://creativecommons.org/licenses/by/4.0/"
    json.dumps(collection, allow_nan=False)


def test_an_unknown_level_and_a_file_that_is_no_topojson_are_explained(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="expected one of the levels municipality, comarca, region; found parish"
    ):
        PLACES.codes("parish")
    with pytest.raises(ConfigurationError, match=r"nowhere\.json: expected a TopoJSON file, found none"):
        Geometry(tmp_path / "nowhere.json")
    other = tmp_path / "other.json"
    other.write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"correct the path in assets/portal\.toml"):
        Geometry(other)


@pytest.mark.skipif(
    not (node.MODULES / "es-atlas").is_dir(), reason="es-atlas is not in node_modules: run `make geometry` once"
)
def test_making_the_file_again_gives_the_same_bytes() -> None:
    assert maker.made().encode() == maker.FILE.read_bytes()
