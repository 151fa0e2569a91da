"""Where the places are: a TopoJSON file of a project, as SVG paths and as GeoJSON.

Here: reading the file, drawing a part of it at a width, neighbors, features. Not here: which file (`assets/portal.toml`), how it is made
(`ops/geometry.py`), what a map is colored by. The file's objects are the levels, such as `municipality` and `comarca`; each place in them
has a code as `id` and, in its properties, the codes of its `neighbors`. Boundaries are simplified: never compute areas from them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from catalunya.io.errors import ConfigurationError

DECIMALS = 5
"""Of the degrees in GeoJSON: about a meter."""

Position = tuple[float, float]
"""Longitude and latitude in degrees; on the plane of a drawing x to the east and y to the south."""
Ring = list[Position]
"""The last position is the first."""


@dataclass(frozen=True)
class Frame:
    """A rectangle on the plane that drawings are made on, where a unit is a degree of latitude and y grows to the south."""

    west: float
    north: float
    east: float
    south: float

    def meets(self, other: Frame) -> bool:
        """Whether the two have a position in common."""
        across = self.west <= other.east and other.west <= self.east
        return across and self.north <= other.south and other.north <= self.south


@dataclass(frozen=True)
class Drawing:
    """Places in whole units of an SVG of `width` x `height`.

    - `paths`: code -> `d` of a path, for places that have an area at this width. Holes need no fill rule.
    - `middles`: code -> x, y, for every place: the middle of its largest part, where a mark can stand.
    """

    width: int
    height: int
    paths: Mapping[str, str]
    middles: Mapping[str, tuple[int, int]]

    @property
    def view_box(self) -> str:
        """The SVG's `viewBox`."""
        return f"0 0 {self.width} {self.height}"

    @cached_property
    def points(self) -> dict[str, tuple[int, int]]:
        """Code -> x, y of the places that have no path: to be drawn as points."""
        return {code: middle for code, middle in self.middles.items() if code not in self.paths}


@dataclass(frozen=True)
class _Place:
    polygons: list[list[Ring]]  # none if the place is a point; the outer ring first
    middle: Position  # of the largest part; the point
    frame: Frame
    neighbors: tuple[str, ...]


class Geometry:
    """The places of a TopoJSON file by level and code. Raises ConfigurationError if the file is missing or is none."""

    def __init__(self, path: Path) -> None:
        content = read_shapes(path)
        try:
            topology = json.loads(content)
            (scale_x, scale_y), (x, y) = topology["transform"]["scale"], topology["transform"]["translate"]
            self.attribution: str = topology["attribution"]
            self.license: str = topology["license"]

            def degrees(steps: Iterable[Iterable[int]]) -> Ring:
                across, up = (accumulate(axis) for axis in zip(*steps, strict=True))
                return [(a * scale_x + x, b * scale_y + y) for a, b in zip(across, up, strict=True)]

            arcs = [degrees(arc) for arc in topology["arcs"]]
            latitudes = [latitude for arc in arcs for _, latitude in arc]
            # A degree of longitude is as long as so many of latitude, in the middle of the map.
            self._narrow = math.cos(math.radians((min(latitudes) + max(latitudes)) / 2))
            self._levels = {
                level: {found["id"]: self._place(found, arcs, degrees) for found in collection["geometries"]}
                for level, collection in topology["objects"].items()
            }
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ConfigurationError(
                f"{path}: expected TopoJSON with transform, attribution, license, and an id and neighbors for each place; found "
                f"{type(error).__name__}: {error}; make it again, or correct the path in assets/portal.toml"
            ) from None

    def _place(
        self, found: Mapping[str, Any], arcs: list[Ring], degrees: Callable[[Iterable[Iterable[int]]], Ring]
    ) -> _Place:
        neighbors = tuple(found["properties"]["neighbors"])
        if found["type"] == "Point":
            point = degrees([found["coordinates"]])[0]
            return _Place([], point, _box([self._on_plane(point)]), neighbors)
        parts = found["arcs"] if found["type"] == "MultiPolygon" else [found["arcs"]]
        polygons = [[_ring(numbers, arcs) for numbers in part] for part in parts]
        largest = _box(max((part[0] for part in polygons), key=lambda ring: abs(_signed(ring))))
        middle = ((largest.west + largest.east) / 2, (largest.north + largest.south) / 2)
        frame = _box(self._on_plane(position) for part in polygons for position in part[0])
        return _Place(polygons, middle, frame, neighbors)

    def _on_plane(self, position: Position) -> Position:
        return position[0] * self._narrow, -position[1]

    def _level(self, level: str) -> dict[str, _Place]:
        if level not in self._levels:
            raise ConfigurationError(f"geometry: expected one of the levels {', '.join(self._levels)}; found {level}")
        return self._levels[level]

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the levels, in the order of the file."""
        return tuple(self._levels)

    def codes(self, level: str) -> tuple[str, ...]:
        """The codes of a level's places, in the order of the file."""
        return tuple(self._level(level))

    def neighbors(self, level: str, code: str) -> tuple[str, ...]:
        """The codes of the places of the level that share a part of its boundary; none for a code that the file does not have."""
        place = self._level(level).get(code)
        return place.neighbors if place else ()

    def frame(self, level: str, codes: Collection[str] | None = None, *, margin: float = 0.0) -> Frame:
        """The rectangle around these places (all of the level), and a margin on each side as a share of its longer side.

        Around one that is a point, its neighbors are in it too. Codes that the file does not have are left out; if none is left, it is the
        frame of the level.
        """
        places = self._level(level)
        chosen = [places[code] for code in codes or () if code in places]
        near = [places[code] for place in chosen for code in place.neighbors]
        for around in (chosen, [*chosen, *near], places.values()):
            corners = [(place.frame.west, place.frame.north) for place in around]
            corners += [(place.frame.east, place.frame.south) for place in around]
            box = _box(corners or [(0, 0)])
            if box.west < box.east and box.north < box.south:
                break
        more = margin * max(box.east - box.west, box.south - box.north)
        return Frame(box.west - more, box.north - more, box.east + more, box.south + more)

    def box(self, level: str) -> tuple[float, float, float, float]:
        """The rectangle around all places of a level in degrees: west, south, east, north."""
        frame = self.frame(level)
        return frame.west / self._narrow, -frame.south, frame.east / self._narrow, -frame.north

    def shapes(self, level: str, width: int, frame: Frame | None = None) -> Drawing:
        """The places of a level that meet the frame (that of the whole level), drawn so that the frame is `width` units wide.

        All drawings of one frame and width fit on each other, whatever their level. A place may reach out of the frame.
        """
        frame = frame or self.frame(level)
        scale = width / (frame.east - frame.west)

        def place_at(position: Position) -> tuple[int, int]:
            x, y = self._on_plane(position)
            return round((x - frame.west) * scale), round((y - frame.north) * scale)

        seen = {code: place for code, place in self._level(level).items() if place.frame.meets(frame)}
        paths = {
            code: "".join(_path([place_at(position) for position in ring]) for part in place.polygons for ring in part)
            for code, place in seen.items()
        }
        return Drawing(
            width=width,
            height=round((frame.south - frame.north) * scale),
            paths={code: path for code, path in paths.items() if path},
            middles={code: place_at(place.middle) for code, place in seen.items()},
        )

    def features(self, level: str, properties: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
        """The places of a level as a FeatureCollection of RFC 7946, in degrees; `properties` by code, empty where it has none."""
        return {
            "type": "FeatureCollection",
            "attribution": self.attribution,
            "license": self.license,
            "features": [
                {
                    "type": "Feature",
                    "id": code,
                    "geometry": _geojson(place),
                    "properties": dict(properties.get(code, {})),
                }
                for code, place in self._level(level).items()
            ],
        }


def read_shapes(path: Path) -> bytes:
    """The bytes of a file of shapes. Raises ConfigurationError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: expected a TopoJSON file, found none that can be read: {error.strerror}; put it there, or correct "
            "`geometry` in assets/portal.toml"
        ) from None


def _ring(numbers: Iterable[int], arcs: list[Ring]) -> Ring:
    """The arcs of a ring joined. Each begins where the one before ends; a negative number is the complement of a reversed one's."""
    joined = [position for number in numbers for position in (arcs[number] if number >= 0 else arcs[~number][::-1])]
    return _distinct(joined)


def _distinct(ring: list[Any]) -> list[Any]:
    """Without positions that are the same as the one before."""
    return ring[:1] + [after for before, after in pairwise(ring) if after != before]


def _signed(ring: Iterable[Position]) -> float:
    """Twice the area, positive if the ring is counter-clockwise where y grows upwards."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))


def _box(positions: Iterable[Position]) -> Frame:
    xs, ys = zip(*positions, strict=True)
    return Frame(min(xs), min(ys), max(xs), max(ys))


def _path(ring: list[tuple[int, int]]) -> str:
    """A ring as a part of an SVG path, in relative whole units; empty if it has no area."""
    ring = _distinct(ring)
    if not _signed(ring):
        return ""
    # The last step is left to `z`.
    steps = [f"{b[0] - a[0]} {b[1] - a[1]}" for a, b in pairwise(ring[:-1])]
    return f"M{ring[0][0]} {ring[0][1]}l{' '.join(steps)}z".replace(" -", "-")


def _geojson(place: _Place) -> dict[str, Any]:
    """RFC 7946, 3.1.6: an outer ring is counter-clockwise, a hole clockwise."""
    if not place.polygons:
        return {"type": "Point", "coordinates": _rounded(place.middle)}
    polygons = [
        [
            [_rounded(position) for position in (ring if (_signed(ring) > 0) is (hole == 0) else ring[::-1])]
            for hole, ring in enumerate(part)
        ]
        for part in place.polygons
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _rounded(position: Position) -> list[float]:
    return [round(degrees, DECIMALS) for degrees in position]
