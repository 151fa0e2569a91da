"""Where a place is: small maps as SVG, drawn from the project's geometry.

A page of a place has two: the whole territory, whose outlines are one file for all pages, with a mark where the place is; and the places next to
it. Here: the drawings. Not here: reading shapes (`geometry.py`), the map that shows figures (`map_page.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from catalunya.io.project_folder import active
from catalunya.portal.build import File
from catalunya.portal.geometry import Drawing, Frame, Geometry, read_shapes
from catalunya.portal.place_facts import Place
from catalunya.portal.site import Site

OUTLINES = "static/outlines.svg"
"""The outlines of the largest places, behind every small map."""
SMALL, LARGE = 200, 320
POINT = 5
"""The radius of a place that has no area in the drawing."""


def geometry_of(site: Site) -> Geometry | None:
    """The shapes of the project's places; None if it has none. Raises ConfigurationError."""
    return _read(active().folder / site.declared.geometry) if site.declared.geometry else None


@cache
def _read(path: Path) -> Geometry:
    return Geometry(path)


def version(site: Site) -> str:
    """What the shapes are: changes with the file. Raises ConfigurationError."""
    file = site.declared.geometry
    return hashlib.sha256(read_shapes(active().folder / file)).hexdigest() if file else ""


def outlines(site: Site, geometry: Geometry) -> Iterable[File]:
    """The territory as a picture, in a gray that can be seen on light and dark pages."""
    drawing = geometry.shapes(_largest(site, geometry), SMALL)
    shapes = "".join(f'<path d="{path}"/>' for path in drawing.paths.values())
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{drawing.view_box}" fill="#888" fill-opacity=".25" stroke="#888" '
        f'stroke-width=".6" stroke-linejoin="round">{shapes}</svg>'
    )
    return [File(OUTLINES, picture.encode())]


def _largest(site: Site, geometry: Geometry) -> str:
    return [level for level in site.declared.levels if level in geometry.levels][-1]


def in_territory(
    site: Site, geometry: Geometry, place: Place, above: Iterable[Place], picture: str, title: str
) -> Markup:
    """The place in the whole territory; empty if the geometry does not have it. `picture`: the address of the outlines."""
    if place.code not in _codes(geometry, place.level):
        return Markup()
    base = _largest(site, geometry)
    frame = geometry.frame(base)
    found = [
        f'<image href="{escape(picture)}" width="{SMALL}" height="{_drawing(geometry, base, SMALL, frame).height}"/>'
    ]
    for each in (*above, place):
        if each.code in _codes(geometry, each.level):
            drawing = _drawing(geometry, each.level, SMALL, frame)
            kind = "here" if each is place else "around"
            if each.code in drawing.paths:
                found.append(f'<path class="{kind}" d="{drawing.paths[each.code]}"/>')
            if each is place and place.level != base:
                x, y = drawing.middles[place.code]
                found.append(f'<circle class="ring" cx="{x}" cy="{y}" r="7"/>')
    return _svg(_drawing(geometry, base, SMALL, frame), title, "".join(found))


def among(geometry: Geometry, level: str, codes: Iterable[str], here: str, title: str) -> Markup:
    """The places of these codes, and one of them marked; empty if the geometry has none of them."""
    drawing, shown = _around(geometry, level, tuple(codes))
    shapes = "".join(_shape(drawing, code, "here" if code == here else "land") for code in shown if code != here)
    return (
        _svg(drawing, title, shapes + (_shape(drawing, here, "here") if here in shown else "")) if shown else Markup()
    )


def linked(geometry: Geometry, level: str, names: Mapping[str, str], address: Callable[[str], str]) -> Markup:
    """The places of these codes as links. For a mouse only: the page has a list with the same links."""
    drawing, shown = _around(geometry, level, tuple(names))
    links = "".join(
        f'<a href="{escape(address(code))}" tabindex="-1"><title>{escape(names[code])}</title>{_shape(drawing, code, "land")}</a>'
        for code in shown
    )
    if not shown:
        return Markup()
    return Markup(  # noqa: S704  every text in it is escaped
        f'<svg class="places-map" viewBox="{drawing.view_box}" aria-hidden="true">{links}</svg>'
    )


@cache
def _around(geometry: Geometry, level: str, codes: tuple[str, ...]) -> tuple[Drawing, list[str]]:
    shown = [code for code in codes if code in _codes(geometry, level)]
    return _drawing(geometry, level, LARGE, geometry.frame(level, shown, margin=0.02)), shown


def _shape(drawing: Drawing, code: str, kind: str) -> str:
    if code in drawing.paths:
        return f'<path class="{kind}" d="{drawing.paths[code]}"/>'
    x, y = drawing.middles[code]
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{POINT}"/>'


def _svg(drawing: Drawing, title: str, content: str) -> Markup:
    return Markup(  # noqa: S704  every text in it is escaped
        f'<svg class="locator" viewBox="{drawing.view_box}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>{content}</svg>'
    )


@cache
def _codes(geometry: Geometry, level: str) -> frozenset[str]:
    return frozenset(geometry.codes(level)) if level in geometry.levels else frozenset()


@cache
def _drawing(geometry: Geometry, level: str, width: int, frame: Frame) -> Drawing:
    return geometry.shapes(level, width, frame)
