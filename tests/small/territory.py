"""A small territory for the public pages: four towns in two districts, how many people live there, and their schools.

Its tables are recorded as if a run had made them. One town moved from one district to the other; one is a point in the geometry, and unknown to
all tables but the list of towns.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from catalunya.assets.graph.spec import MartDeclaration
from catalunya.assets.record.ledger import Entry, Stored, content_version
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import Contract, column
from catalunya.io.environment import Settings
from catalunya.ops.watching.findings import read_board
from catalunya.portal.declaration import Declaration, Figure, Level, Series, Subject
from catalunya.portal.site import Site

NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)
TOWNS, PEOPLE, SCHOOLS = "marts.dim_towns", "marts.fact_people_yearly", "marts.fact_schools_daily"


class DimTowns(Contract):
    """Towns with their history."""

    town_id: str = column("Code", key=True)
    town_name: str = column("Name")
    district_id: str = column("Code of the district")
    district_name: str = column("Name of the district")
    longitude_deg: float = column("Longitude", unit="deg", nullable=True)
    latitude_deg: float = column("Latitude", unit="deg", nullable=True)
    valid_from: date = column("First day", key=True)
    valid_to: date = column("First day on which it is not valid any more", nullable=True)
    is_current: bool = column("Whether it is valid")


class FactPeopleYearly(Contract):
    """People by town and year."""

    town_id: str = column("Code of the town", key=True)
    year: int = column("Year", key=True)
    district_id: str = column("Code of the district")
    people: int = column("People", unit="people", nullable=True)
    district_people: int = column("People of the district", unit="people", nullable=True)
    land_people: int = column("People of all districts", unit="people", nullable=True)
    status: str = column("How final", nullable=True)
    is_interpolated: bool = column("Whether it is interpolated")


class FactSchoolsDaily(Contract):
    """Schools by district, kind and day."""

    day: date = column("The day", key=True)
    district_id: str = column("Code of the district", key=True)
    kind: str = column("Kind of school", key=True)
    schools: int = column("Schools", nullable=True)


CONTRACTS = {TOWNS: DimTowns, PEOPLE: FactPeopleYearly, SCHOOLS: FactSchoolsDaily}
_EACH = {"table": PEOPLE, "period": "year"}
DECLARED = Declaration(
    languages=("en", "ca"),
    articles=("la", "l'"),
    subjects={"people": Subject(tables="fact_people_yearly"), "rest": Subject(tables="fact_schools_daily dim_towns")},
    levels={
        "town": Level(
            table=TOWNS,
            code="town_id",
            name="town_name",
            current="is_current",
            parent="district",
            parent_code="district_id",
            longitude="longitude_deg",
            latitude="latitude_deg",
            valid_from="valid_from",
            valid_to="valid_to",
            schema_type="City",
        ),
        "district": Level(table=TOWNS, code="district_id", name="district_name", current="is_current"),
    },
    figures={
        "people": Figure(
            levels={
                "town": Series(
                    **_EACH, place="town_id", value="people", status="status", interpolated="is_interpolated"
                ),
                "district": Series(**_EACH, place="district_id", value="district_people"),
                "whole": Series(**_EACH, value="land_people"),
            }
        ),
        "schools": Figure(
            levels={
                "district": Series(
                    table=SCHOOLS, place="district_id", period="day", value="schools", sum=True, rows=2, by="kind"
                )
            }
        ),
    },
)


_TYPES = {"string": pl.String, "bigint": pl.Int64, "double": pl.Float64, "boolean": pl.Boolean, "date": pl.Date}


def frame(key: str, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows of a table, in the order of its columns."""
    schema = {each.name: _TYPES[each.type] for each in CONTRACTS[key].columns()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def towns(**names: str) -> pl.DataFrame:
    """The list of towns; `A="…"` gives town A another name."""
    began, moved = date(1990, 1, 1), date(2023, 5, 12)
    rows = [
        ("A", "Bisbal, la", "1", "North", 1.5, 41.5, began, None),
        ("B", "Òdena", "1", "North", 1.6, 41.6, began, None),
        ("C", "Albi, l'", "1", "North", 1.7, 41.7, began, moved),
        ("C", "Albi, l'", "2", "South", 1.7, 41.7, moved, None),
        ("D", "Nowhere", "2", "South", None, None, began, None),
    ]
    return frame(TOWNS, [(row[0], names.get(row[0], row[1]), *row[2:], row[-1] is None) for row in rows])


def people() -> pl.DataFrame:
    """Three years of three towns: of A, 2023 is interpolated and 2025 provisional; of B, 2025 is not known; none of D."""
    known = {"A": [1000, 1100, 1210], "B": [500, 490, None], "C": [50, 60, 70]}
    statuses = (("final", True), ("final", False), ("provisional", False))
    rows = [
        (code, 2023 + n, "2" if code == "C" else "1", value, 2 * value if value else None, 9000 + 90 * n, *statuses[n])
        for code, values in known.items()
        for n, value in enumerate(values)
    ]
    return frame(PEOPLE, rows)


def schools(*, north: int | None = 3) -> pl.DataFrame:
    """Two days of two kinds of schools: in the south one kind is missing."""
    days = (date(2026, 8, 2), date(2026, 8, 3))
    rows = [(day, "1", kind, count) for day in days for kind, count in (("primary", north), ("secondary", 1))]
    return frame(SCHOOLS, [*rows, (days[1], "2", "primary", 5)])


def write_geometry(path: Path) -> None:
    """Two districts of two towns each, side by side; town D is a point in C."""

    def square(code: str, x: int, y: int, side: int, *neighbors: str) -> tuple[dict[str, Any], list[list[int]]]:
        arc = [[x, y], [side, 0], [0, side], [-side, 0], [0, -side]]
        return {"type": "Polygon", "id": code, "properties": {"neighbors": neighbors}}, arc

    squares = {
        "town": [square("A", 0, 0, 5, "B"), square("B", 5, 0, 5, "A", "C"), square("C", 10, 0, 5, "B", "D")],
        "district": [square("1", 0, 0, 10, "2"), square("2", 10, 0, 5, "1")],
    }
    arcs: list[list[list[int]]] = []
    objects: dict[str, Any] = {}
    for level, found in squares.items():
        objects[level] = {"type": "GeometryCollection", "geometries": []}
        for place, arc in found:
            objects[level]["geometries"].append({**place, "arcs": [[len(arcs)]]})
            arcs.append(arc)
    point = {"type": "Point", "id": "D", "coordinates": [12, 2], "properties": {"neighbors": ["C"]}}
    objects["town"]["geometries"].append(point)
    transform = {"scale": [0.1, 0.1], "translate": [1, 41]}
    topology = {"type": "Topology", "transform": transform, "attribution": "us", "license": "CC0-1.0"}
    path.write_text(json.dumps({**topology, "objects": objects, "arcs": arcs}), encoding="utf-8")


class Territory:
    """A lake with these tables, and its site."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.geometry = folder / "shapes.json"
        write_geometry(self.geometry)
        self.declared = msgspec.structs.replace(DECLARED, geometry=str(self.geometry))

    @property
    def project(self) -> Project:
        """The project as a new process reads it."""
        return Project(
            self.settings,
            [
                MartDeclaration(
                    name=key.partition(".")[2],
                    contract=contract,
                    module=__name__,
                    upstream=(),
                    sql_version="1",
                    keep=timedelta(days=30),
                )
                for key, contract in CONTRACTS.items()
            ],
        )

    def publish(self, tables: Mapping[str, pl.DataFrame], at: datetime = NOON) -> None:
        """Record a version of each of these tables."""
        for key, table in tables.items():
            project = self.project
            asset, last = project.graph[key], project.ledger.last_attempt(key)
            buffer = io.BytesIO()
            table.write_parquet(buffer)
            body, path = buffer.getvalue(), f"{asset.prefix}/file{last.sequence + 1 if last else 1}.parquet"
            stored = (Stored(path=path, bytes=len(body), rows=len(table), sha256=hashlib.sha256(body).hexdigest()),)
            project.lake.put(path, body)
            project.ledger.append(
                Entry(
                    asset=key,
                    sequence=0,
                    status="materialized",
                    run_id="run",
                    correlation_id="run",
                    reason="DATA",
                    started_at=at,
                    seconds=10,
                    code_version=asset.code_version,
                    versions={},
                    data_version=content_version(stored),
                    rows=len(table),
                    objects=stored,
                    columns={each.name: each.type for each in asset.columns},
                ),
                after=last.sequence if last else 0,
            )

    def publish_all(self) -> None:
        """Record all tables."""
        self.publish({TOWNS: towns(), PEOPLE: people(), SCHOOLS: schools()})

    def site(self, now: datetime = NOON) -> Site:
        """The site at a time."""
        project = self.project
        return Site(project, self.declared, project.state(now), read_board(project.lake), "https://data.example")
