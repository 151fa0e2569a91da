"""What a project declares for its public pages: `assets/portal.toml`. A project without that file has pages of its tables, and none of places.

- `languages`: the first is the default. `subjects`: groups of tables by selection (`source:gdp+`).
- `levels`: kinds of places, the smallest first; each is read from a table that has one row for each place, or one for each version of it.
- `figures`: what is shown of places over time: for each level, the table and the columns.
- `geometry`: the file with the shapes of places (`geometry.py`).
- `licence`: that of everything on the site. `rights`: what those ask for whose data the tables are made from (`rights.py`).

Here: the declaration, and checking it against the graph. Not here: titles (`assets/graph/titles.py`), reading tables (`figures.py`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from catalunya.assets.graph.graph import AssetGraph
from catalunya.io.base_url import is_web_address
from catalunya.io.errors import CatalunyaError, ConfigurationError, one_line
from catalunya.io.project_folder import active

FILE = "assets/portal.toml"
WHOLE = "whole"
"""The level of the whole territory: one place, without a table."""
_LEVEL = re.compile(r"[a-z0-9][a-z0-9_-]*")
_RESERVED = ("table",)
"""Folders of other pages."""
Style = Literal["count", "decimal", "percent", "ratio", "change"]


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of places. `parent` is the level above, `parent_code` the column with the place of it.

    `current` (SQL) chooses the rows that hold now; `valid_from` and `valid_to` are the columns of a table with the history of its places.
    """

    table: str
    code: str
    name: str
    current: str = ""
    parent: str = ""
    parent_code: str = ""
    longitude: str = ""
    latitude: str = ""
    valid_from: str = ""
    valid_to: str = ""
    schema_type: str = "Place"


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure at one level: which column of which table, by place and period.

    `where` (SQL) chooses rows. `sum`: rows of one place and period are added up, to null unless all are known. `by`: the column that
    breaks the latest figure down. `rows`: how many rows a sum needs to be known. `status`: the column that says how final a figure is,
    `interpolated` the one that says whether it was not counted but computed.
    """

    table: str
    value: str
    period: str
    place: str = ""
    where: str = ""
    sum: bool = False
    rows: int = 0
    by: str = ""
    status: str = ""
    interpolated: str = ""


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is shown of places: its series by level. `style` is how values are written, `digits` their decimals; `map`: also on the map.

    `key`: among the key figures of a place. `subject`: the group of tables that it belongs to. `dated`: false for what has no date of its
    own, such as an area; `over_time`: false if only its parts are shown. `unit`: a name that fits better than the unit of the column.
    """

    levels: Mapping[str, Series]
    style: Style = "count"
    digits: int = 0
    key: bool = True
    map: bool = False
    dated: bool = True
    over_time: bool = True
    unit: str = ""
    subject: str = ""


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of tables: which (`catalunya ls SELECT`), and its theme in the vocabularies of open-data catalogues."""

    tables: str
    eu_theme: str = ""
    es_sector: str = ""


class Licence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The licence of the tables. `eu`: its code in the EU's list of licences, `spdx`: in SPDX's, `kind`: in ADMS's list of licence types; "" if
    that has none."""

    name: str = "CC BY 4.0"
    url: str = "https://creativecommons.org/licenses/by/4.0/"
    eu: str = "CC_BY_4_0"
    spdx: str = "CC-BY-4.0"
    kind: str = "Attribution"


class Rights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a publisher asks of those who reuse its data: `hosts` are those of the APIs that its data is read from, `url` has its terms of use."""

    hosts: tuple[str, ...]
    url: str


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of `assets/portal.toml`."""

    languages: tuple[str, ...] = ("en",)
    geometry: str = ""
    articles: tuple[str, ...] = ()
    spatial: tuple[str, ...] = ()
    legislation: tuple[str, ...] = ()
    licence: Licence = Licence()
    rights: Mapping[str, Rights] = {}
    subjects: Mapping[str, Subject] = {}
    levels: Mapping[str, Level] = {}
    figures: Mapping[str, Figure] = {}

    @property
    def is_in_spain(self) -> bool:
        """Whether its tables have themes in Spain's vocabulary, so that Spain's catalogues may want them."""
        return any(each.es_sector for each in self.subjects.values())

    def subject_of(self, key: str, graph: AssetGraph) -> str:
        """The first subject that a table belongs to; "" if it belongs to none."""
        return next(iter(self.subjects_of(key, graph)), "")

    def subjects_of(self, key: str, graph: AssetGraph) -> tuple[str, ...]:
        """All subjects that a table belongs to, in the order of the declaration."""
        return tuple(name for name, each in self.subjects.items() if key in _selected(graph, each.tables))


@cache
def _selected(graph: AssetGraph, selection: str) -> frozenset[str]:
    return frozenset(asset.key for asset in graph.select(selection))


def declaration(graph: AssetGraph) -> Declaration:
    """The project's declaration. Raises ConfigurationError, one line, if it is wrong or names what is not in the graph."""
    path = active().folder / FILE
    found = _read(path) if path.exists() else Declaration()
    if flaw := next(_flaws(found, graph), ""):
        raise ConfigurationError(f"{path}: {flaw}; correct the file")
    return found


def _read(path: Path) -> Declaration:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=Declaration)
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{path}: {error}; correct the file, docs/portal.md explains each line") from None


def _flaws(found: Declaration, graph: AssetGraph) -> Iterator[str]:
    known = sorted(path.stem for path in (Path(__file__).parent / "words").glob("*.toml"))
    for language in found.languages or ("",):
        if language not in known:
            yield f"languages: expected some of {', '.join(known)}, found {language!r}"
    yield from _flaws_of_addresses(found)
    for name, level in found.levels.items():
        columns = [level.code, level.name, level.parent_code, level.longitude, level.latitude, level.valid_from]
        yield from _missing(f"levels.{name}", level.table, [*columns, level.valid_to], graph)
        yield from _flaws_of_sql(f"levels.{name}.current", level.current, level.table, graph)
        if not _LEVEL.fullmatch(name) or name in _RESERVED:
            yield f"levels.{name}: expected a name of lowercase letters, digits, - and _, other than {', '.join(_RESERVED)}"
        if name in _above(found, name):
            yield f"levels.{name}: parent = {level.parent!r}: expected a level that is not below this one"
        if level.parent and level.parent not in {*found.levels, WHOLE}:
            yield f"levels.{name}: parent = {level.parent!r}: expected a level, found none of that name"
    for name, figure in found.figures.items():
        if figure.subject and figure.subject not in found.subjects:
            yield f"figures.{name}: subject = {figure.subject!r}: expected one of {', '.join(found.subjects)}"
        for at, series in figure.levels.items():
            if at not in {*found.levels, WHOLE}:
                yield f"figures.{name}.levels.{at}: expected a level ({', '.join([*found.levels, WHOLE])})"
            columns = [series.value, series.period, series.place, series.by, series.status, series.interpolated]
            yield from _missing(f"figures.{name}.levels.{at}", series.table, columns, graph)
            yield from _flaws_of_sql(f"figures.{name}.levels.{at}.where", series.where, series.table, graph)
    for name, subject in found.subjects.items():
        try:
            graph.select(subject.tables)
        except CatalunyaError as error:
            yield f"subjects.{name}: {error}"


def _flaws_of_addresses(found: Declaration) -> Iterator[str]:
    addresses = {"licence": found.licence.url, **{f"rights.{name}": each.url for name, each in found.rights.items()}}
    for field, listed in (("spatial", found.spatial), ("legislation", found.legislation)):
        addresses |= {f"{field}[{number}]": address for number, address in enumerate(listed)}
    for where, address in addresses.items():
        if not is_web_address(address):
            yield f"{where}: expected an http(s) address, found {address!r}"


def _above(found: Declaration, name: str) -> list[str]:
    """The levels above one, as they are declared: one that was there before ends the list."""
    above: list[str] = []
    while (level := found.levels.get(name)) and level.parent and level.parent not in above:
        above.append(name := level.parent)
    return above


def _flaws_of_sql(where: str, sql: str, table: str, graph: AssetGraph) -> Iterator[str]:
    """What is wrong with a condition, tried on a table without rows."""
    if not sql or table not in graph:
        return
    import polars as pl

    from catalunya.contracts.model.contract import LOGICAL_TYPES

    kinds = {name: kind for kind, name in LOGICAL_TYPES.items()}
    empty = pl.DataFrame(schema={column.name: kinds[column.type] for column in graph[table].columns})
    try:
        empty.filter(pl.sql_expr(sql))
    except pl.exceptions.PolarsError as error:
        yield f"{where} = {sql!r}: expected a condition in SQL on the columns of {table}: {one_line(error)[0]}"


def _missing(where: str, table: str, columns: list[str], graph: AssetGraph) -> Iterator[str]:
    if table not in graph:
        yield f"{where}: table = {table!r}: expected the key of a table, such as marts.dim_time"
        return
    has = {column.name for column in graph[table].columns}
    for column in columns:
        if column and column not in has:
            yield f"{where}: expected columns of {table}, found {column!r}"
