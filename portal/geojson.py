"""Places as GeoJSON (RFC 7946), for those who draw their own maps: `data/places/{level}.geojson`.

Here: the files. Not here: shapes (`geometry.py`), how catalogues describe the files (`catalog.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from catalunya.portal.build import File, Part
from catalunya.portal.declaration import Figure
from catalunya.portal.figures import FigureSeries, figure_series, places
from catalunya.portal.map_page import made_from
from catalunya.portal.place_map import geometry_of
from catalunya.portal.rights import rights_of
from catalunya.portal.site import Site


def geojson_path(level: str) -> str:
    """Where the places of a level are on the site."""
    return f"data/places/{level}.geojson"


def geojson_levels(site: Site) -> tuple[str, ...]:
    """The levels that have a file: those with shapes whose table was made."""
    geometry = geometry_of(site)
    declared, shaped = site.declared.levels, geometry.levels if geometry else ()
    return tuple(name for name, level in declared.items() if name in shaped and site.table(level.table) is not None)


def geojson_tables(site: Site, level: str) -> list[str]:
    """The tables that a level's file has values of, that with the places first."""
    figures = [figure for figure in site.declared.figures.values() if _is_shown(figure) and level in figure.levels]
    of_figures = [figure.levels[level].table for figure in figures]
    return list(dict.fromkeys([site.declared.levels[level].table, *of_figures]))


def parts(site: Site) -> Iterator[Part]:
    """One part with a file for each level."""
    if geojson_levels(site):
        yield Part("places as GeoJSON", made_from(site), lambda: _files(site))


def _files(site: Site) -> Iterable[File]:
    for level in geojson_levels(site):
        text = json.dumps(collection(site, level), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        yield File(geojson_path(level), text.encode())


def collection(site: Site, level: str) -> dict[str, Any]:
    """The places of a level as they are now, with the latest values of the figures that are key or on the map.

    Each is in the properties `{figure}` and `{figure}_period`.

    A place without a shape is at the point that the table has, or has no geometry. `attribution` and `license` are those of the shapes.
    """
    geometry, known = geometry_of(site), places(site, level)
    assert geometry, "a level that has a file has shapes"
    properties = {each["code"]: each for each in _properties(site, level, known).to_dicts()}
    found = geometry.features(level, properties)
    features = [feature for feature in found["features"] if feature["id"] in properties]
    shaped = {feature["id"] for feature in features}
    features += [
        {"type": "Feature", "id": code, "geometry": _point(longitude, latitude), "properties": properties[code]}
        for code, longitude, latitude in known.select("code", "longitude", "latitude").iter_rows()
        if code not in shaped
    ]
    box = _bbox(feature["geometry"] for feature in features)
    return {**found, "rights": _rights(site, level), **box, "features": features}


def _rights(site: Site, level: str) -> list[str]:
    """What those ask for whose data the values are made from, in the first language."""
    found = [each for key in geojson_tables(site, level) for each in rights_of(site, site.graph[key])]
    return list(dict.fromkeys(each.text(site.languages[0]) for each in found))


def _properties(site: Site, level: str, known: pl.DataFrame) -> pl.DataFrame:
    rows = known.select("code", "parent", name="said")
    for series in figure_series(site):
        if series.level == level and _is_shown(series.figure):
            finite = pl.col("value").is_finite()
            latest = series.latest.filter(finite).select(
                code="place", **{series.name: _number(series), f"{series.name}_period": pl.col("period")}
            )
            rows = rows.join(latest, on="code", how="left", maintain_order="left")
    return rows


def _is_shown(figure: Figure) -> bool:
    """Whether the total of a figure says something: there are figures that are shown for their parts."""
    return figure.key or figure.map


def _number(series: FigureSeries) -> pl.Expr:
    return (
        pl.col("value").cast(pl.Int64, strict=False) if series.column.type in {"integer", "bigint"} else pl.col("value")
    )


def _point(longitude: float | None, latitude: float | None) -> dict[str, Any] | None:
    if longitude is None or latitude is None:
        return None
    return {"type": "Point", "coordinates": [longitude, latitude]}


def _bbox(geometries: Iterable[dict[str, Any] | None]) -> dict[str, list[float]]:
    """`bbox`: west, south, east, north of all positions (RFC 7946, 5); nothing if there is none."""
    positions = [position for each in geometries if each for position in _positions(each["coordinates"])]
    if not positions:
        return {}
    longitudes, latitudes = zip(*positions, strict=True)
    return {"bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)]}


def _positions(coordinates: list[Any]) -> Iterator[tuple[float, float]]:
    if isinstance(coordinates[0], list):
        for each in coordinates:
            yield from _positions(each)
    else:
        yield coordinates[0], coordinates[1]
