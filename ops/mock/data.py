"""What the mock serves: the seeds in `seeds/`, the tables derived from them, and how a table changes from version to version.

Here: rows and cells at any version, always the same ones. Not here: rows that change (`rows.py`), how they are served (`socrata.py`, `idescat.py`). Which
figures were recorded and which are synthetic stands at the top of each seed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from catalunya.ops.mock.emex import Sheet
from catalunya.ops.mock.idescat import GEOGRAPHIES, MISSING, STATUSES, TOTAL, Cube, Document, StatTable
from catalunya.ops.mock.rows import RepeatedRows, Row, SmallRows, new_service
from catalunya.ops.mock.tables import Dataset, Rows

SEEDS = Path(__file__).parent / "seeds"
MUNICIPALITIES, REGISTER, USAGE = "9aju-tpwc", "ivft-vegh", "yavr-pn8q"


def read_seed(name: str) -> pl.DataFrame:
    """A CSV of `seeds/` as text; an empty field is null."""
    return pl.read_csv(SEEDS / name, comment_prefix="#", infer_schema=False, glob=False)


@cache
def _json_seed(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SEEDS / name).read_text(encoding="utf-8"))
    return document


def datasets(rows: int) -> list[Dataset]:
    """The portal's datasets; `rows`: of the register of social services."""
    services = RepeatedRows(read_seed("social_services.csv"), rows)
    return [
        portal_dataset(MUNICIPALITIES, portal_rows(MUNICIPALITIES, _municipalities())),
        portal_dataset(REGISTER, services),
        portal_dataset(USAGE, portal_rows(USAGE, read_seed("service_usage.csv"))),
    ]


def known_view(name: str) -> dict[str, Any] | None:
    """The seeds' metadata of a dataset, and its key, if it is one of the portal's."""
    view: dict[str, Any]
    for view in _json_seed("datasets.json")["datasets"]:
        if view["id"] == name:
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            is_nightly = view["rowsUpdatedAt"] == "today"  # with a fixed day, local tables would be overdue
            dates = {"rowsUpdatedAt": int(midnight.timestamp())} if is_nightly else {}
            return dict(_json_seed("datasets.json")["all"] | view | dates)
    return None


def portal_dataset(name: str, rows: Rows, view: dict[str, Any] | None = None) -> Dataset:
    """One of the portal's datasets with these rows; `view`: its recorded metadata, in place of the seeds'."""
    known = known_view(name) or {}
    key = tuple(known.pop("key"))
    # The column that a fault changes if it names none: one that the pipeline needs, but not the key.
    target = {MUNICIPALITIES: "nom_comarca", REGISTER: "capacitat", USAGE: "total"}[name]
    return Dataset(view=view or known, rows=rows, key=key, target=target)


def portal_rows(name: str, frame: pl.DataFrame) -> SmallRows:
    """Rows of one of the portal's datasets, which go on as that dataset does."""
    match name:
        case "9aju-tpwc":
            return SmallRows(frame, ["codi"], ["nom"], _new_municipality, _municipality_that_goes)
        case "ivft-vegh":
            return SmallRows(frame, ["registre"], ["capacitat"], new_service)
    women = ["dones_resid_ncia_gent_gran", "total_resid_ncia_gent_gran", "dones_total", "total"]
    return SmallRows(frame, ["any", "codi"], women, _new_year)


@cache
def _municipalities() -> pl.DataFrame:
    longitude, latitude = _plain("longitud"), _plain("latitud")
    point = pl.concat_str(pl.lit('{"type":"Point","coordinates":['), longitude, pl.lit(","), latitude, pl.lit("]}"))
    return read_seed("municipalities.csv").with_columns(georefer_ncia=point)


def _plain(name: str) -> pl.Expr:
    """A number as JSON writes it: without zeros at its end."""
    return pl.col(name).str.strip_chars_end("0").str.replace(r"\.$", ".0")


def control_digit(ine: str) -> str:
    """The sixth digit of a municipality's code, by its five INE digits (Idescat; INE codes)."""
    a, b = (0, 3, 8, 2, 7, 4, 1, 5, 9, 6), (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    d = [int(digit) for digit in ine]
    return str(-(b[d[0]] + a[d[1]] + d[2] + b[d[3]] + a[d[4]]) % 10)


def _new_municipality(row: Row, version: int) -> Row:
    return row | {"codi": _new_code(version), "nom": f"Vilanova del Pas {version}"}


def _new_code(version: int) -> str:
    ine = f"08{800 + version % 100}"  # a number that no real municipality has
    return ine + control_digit(ine)


@cache
def _smallest() -> str:
    frame = read_seed("population.csv").filter(pl.col("code").ne("TOTAL"), pl.col("2023").is_not_null())
    return str(frame.sort(pl.col("2023").cast(pl.Int64), "code")["code"][1])


def _municipality_that_goes(version: int) -> str:
    """First a small real one, to which few services and figures refer, then the one that was new before: in real life hardly any goes,
    and other tables keep what they have of it."""
    return _smallest() if version == 1 else _new_code(version - 1)


def _new_year(row: Row, version: int) -> Row:
    """The coming year's figures of one comarca after the other."""
    return row | {"any": str(2025 + (version - 1) // 43), "codi": f"{(version - 1) % 43 + 1:02}"}


# IDESCAT's tables


def tables() -> list[StatTable]:
    """IDESCAT's tables: population by estimates and by register, quarterly accounts, affiliations to the Social Security by regime and classification."""
    return [
        StatTable(path=head["path"], statistic=head["statistic"], cube=_of(head["path"]))
        for head in _json_seed("tables.json")["tables"]
    ]


def indicators() -> list[Sheet]:
    """EMEX's indicators: the area of all municipalities."""
    areas = read_seed("municipality_areas.csv")
    names = dict(_municipalities().select("codi", "nom").iter_rows())
    described = {
        "id": "f271",
        "c": "Superfície",
        "r": "2023",
        "u": "km²",
        "updated": "2024-05-07",
    }
    codes = areas["codi"].to_list()
    return [
        Sheet(
            described=described, places={code: names[code] for code in codes}, values=areas["superficie_km2"].to_list()
        )
    ]


def _of(path: str) -> Callable[[int], Cube]:
    return lambda version: _cube(path, version)


@cache
def _cube(path: str, version: int) -> Cube:
    head = next(head for head in _json_seed("tables.json")["tables"] if head["path"] == path)
    if version:
        first = _cube(path, 0)
        return first if head.get("closed") else later(first, version, head.get("every", 1))
    periods = [head["first"]]
    while len(periods) < head["periods"]:
        periods.append(next_period(periods[-1], head.get("every", 1)))
    figures = {"ep": _population, "pmh": _register, "pibt": _accounts, "afic": _jobs}[path.partition("/")[0]]
    categories, values = figures(head, periods)
    return _assembled(head, {_role(head, "time"): {code: _label(code) for code in periods}} | categories, values)


def _assembled(
    head: dict[str, Any], categories: Mapping[str, Mapping[str, str]], values: Sequence[float | None]
) -> Cube:
    """A table out of its head, the categories that the head leaves out, and its values."""
    time = _role(head, "time")
    dimensions: dict[str, Document] = {}
    for code, described in head["dimensions"].items():
        labels = described.get("categories") or categories[code]
        category: Document = {"index": list(labels), "label": dict(labels)}
        dimensions[code] = {"label": described["label"], "category": category}
        if "decimals" in described:
            category["unit"] = {each: {"decimals": decimals} for each, decimals in described["decimals"].items()}
            if described["decimals"] == {"POP": 0}:
                dimensions[code]["extension"] = {"%": ["POP"]}
    index = dimensions[time]["category"]["index"]
    status = head.get("newest") or head.get("all")
    of = index if "all" in head else index[-1:]
    dimensions[time]["extension"] = {"status": dict.fromkeys(of, status)} if status else {}
    a_period = len(values) // len(index)
    first = len(values) - a_period * len(of)
    statuses = dict.fromkeys(range(first, len(values)), status) if status else {}
    statuses |= {at: MISSING for at, value in enumerate(values) if value is None}
    document: Document = {
        "version": "2.0",
        "class": "dataset",
        "href": "",
        "label": f"{head['label']}. {GEOGRAPHIES[head['path'].rpartition('/')[2]][0]}",
        "source": head["source"],
        "updated": head["updated"],
        "id": list(dimensions),
        "role": {role: [_role(head, role)] for role in ("time", "geo", "metric")},
        "dimension": dimensions,
        "extension": {"status": {"label": {code: STATUSES[code] for code in (status or "p", MISSING)}}},
    }
    return Cube(document | ({"note": head["note"]} if "note" in head else {}), values, statuses)


def _role(head: dict[str, Any], role: str) -> str:
    return str(next(code for code, dimension in head["dimensions"].items() if dimension["role"] == role))


def _population(_head: dict[str, Any], periods: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[float | None]]:
    """Half-years by municipality and sex out of the recorded years: 1 July lies between two years, and years that are not
    recorded lie on the line of those that are. Catalonia is the sum; it lacks its figure in one half-year, and tiny
    municipalities lack theirs by sex now and then, as in the recorded table."""
    seed = read_seed("population.csv").filter(pl.col("code") != TOTAL)
    towns = [(code, [int(year) if year else None for year in years]) for code, _, *years in seed.iter_rows()]
    values: list[float | None] = []
    for at, period in enumerate(periods):
        year, half = int(period[:4]), period[-1]
        men_of_all = women_of_all = 0
        for place, (code, counts) in enumerate(towns):
            if counts[0] is None or counts[-1] is None:
                values += [None, None, None]
                continue
            people = _in_year(counts, year)
            if half == "2":
                people = (people + _in_year(counts, year + 1)) // 2
            men = people * (480 + int(code) % 40) // 1000
            men_of_all, women_of_all = men_of_all + men, women_of_all + people - men
            is_held_back = people < 100 and (at + place) % 60 == 0
            values += [None, None, people] if is_held_back else [men, people - men, people]
        catalonia = [men_of_all, women_of_all, men_of_all + women_of_all]
        values += [None, None, None] if period == "2016S1" else catalonia
    names = dict(seed.select("code", "name").iter_rows())
    return {"MUN": names | {TOTAL: "Catalunya"}}, values


def _register(_head: dict[str, Any], periods: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[float | None]]:
    """The municipal register as it was recorded, by year and municipality; its men and women are a synthetic share of that."""
    seed = read_seed("population.csv")
    values: list[float | None] = []
    for year in periods:
        for code, figure in seed.select("code", year).iter_rows():
            people = int(figure) if figure else None
            men = people * (480 + int(code.replace(TOTAL, "0")) % 40) // 1000 if people is not None else None
            values += [None, None, None] if people is None or men is None else [men, people - men, people]
    return {"MUN": dict(seed.select("code", "name").iter_rows())}, values


def _in_year(counts: Sequence[int | None], year: int) -> int:
    """The count of 1 January of a year; `counts` are those of 2019 to 2023."""
    first, last = counts[0] or 0, counts[-1] or 0
    if 2019 <= year <= 2023 and (count := counts[year - 2019]) is not None:
        return count
    return max(5, first + (year - 2019) * (last - first) // 4)


def _accounts(head: dict[str, Any], periods: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[float | None]]:
    metrics = list(head["dimensions"]["CONCEPT"]["categories"])
    rows = read_seed("gdp.csv").filter(pl.col("QUARTER").is_in(periods)).select(pl.col(metrics).cast(pl.Float64))
    return {}, [value for row in rows.iter_rows() for value in row]


def _jobs(head: dict[str, Any], periods: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[float | None]]:
    """The last months of quarters by comarca and section out of the average month of 2020: growth, a summer for hotels, a little
    noise, the regime's share, all in multiples of 5. Lluçanès is a comarca since 2023: its jobs were Osona's."""
    names = dict(
        read_seed("municipalities.csv").select("codi_comarca", "nom_comarca").unique().sort("codi_comarca").iter_rows()
    )
    comarques = {code: name for code, name in names.items() if code < "98"} | {TOTAL: "Catalunya"}
    seed = {row["comarca"]: row for row in read_seed("employment.csv").rows(named=True)}
    sections = [letter for letter in head["dimensions"]["SECTION"]["categories"] if letter != TOTAL]
    values: list[float | None] = []
    for period in periods:
        month = 12 * (int(period[:4]) - 2020) + int(period[5:])
        figures = {
            comarca: [_jobs_in(row, letter, month, head["regime"], is_new="V" in sections) for letter in sections]
            for comarca, row in seed.items()
        }
        if is_before := period < "2023":
            figures["24"] = [sum(pair) for pair in zip(figures["24"], figures.pop("43"), strict=True)]
        for comarca in seed:
            if comarca == "43" and is_before:
                values += [None] * (len(sections) + 1)
            else:
                values += [*figures[comarca], sum(figures[comarca])]
        catalonia = [sum(jobs) for jobs in zip(*figures.values(), strict=True)]
        values += [*catalonia, sum(catalonia)]
    return {"COM": comarques}, values


_SELF_EMPLOYED_PCT = {"A": 60, "F": 35, "G": 25, "H": 25, "I": 22, "L": 40, "M": 25, "S": 45, "O": 0, "T": 0, "U": 0}


def _jobs_in(row: dict[str, str], letter: str, month: int, regime: str, *, is_new: bool) -> int:
    old, share = letter, 100
    if is_new and letter >= "J":  # the CCAE-2025 divides J, and each later letter means what the one before it meant
        old, share = ("J", 25) if letter == "J" else ("J", 75) if letter == "K" else (chr(ord(letter) - 1), 100)
    base = int(row[old]) * share // 100
    season = (-90, -80, -30, 10, 40, 90, 120, 130, 70, -10, -100, -80)[(month - 1) % 12] if old == "I" else 0
    noise = (month * 31 + int(row["comarca"]) * 7 + ord(old) * 13) % 17 - 8
    jobs = base * (1000 + season + noise) * (1000 + 2 * month) // 1_000_000
    self_employed = _SELF_EMPLOYED_PCT.get(old, 10)
    return 5 * round(jobs * (self_employed if regime == "self_employed" else 100 - self_employed) / 500)


# How a table goes on


def later(first: Cube, version: int, every: int = 1) -> Cube:
    """The cube `version` periods later: new periods repeat those of the year before, the newest is provisional. The period
    that was provisional before gets the figures of the one before it, so that totals still add up. A table of months may have only
    one in `every` so many. One whose first dimension is not time, or has codes of its own, stays as it is: only its date moves on.
    """
    document, time = first.document, first.document["id"][0]
    dimension = document["dimension"][time]
    index = list(dimension["category"]["index"])
    if not version or time not in document.get("role", {}).get("time", ()) or not all(map(_PERIOD.fullmatch, index)):
        return first
    labels, extension = dict(dimension["category"]["label"]), dimension.get("extension", {})
    provisional = extension.get("status", {}).get(index[-1])
    values, count = list(first.values), len(index)
    a_period, a_year = len(values) // count, {"S": 2, "T": 4, "M": 12}.get(index[-1][4:5], 1) // every
    settled = len(values) - a_period
    if provisional and count > 1:
        values[settled:] = values[settled - a_period : settled]
    for number in range(version):
        index.append(next_period(index[-1], every))
        labels[index[-1]] = _label(index[-1])
        start = max(0, count + number - a_year) * a_period
        values += values[start : start + a_period]
    newest = len(values) - a_period
    others = {code: status for code, status in extension.get("status", {}).items() if code in index[: count - 1]}
    statuses = {at: status for at, status in first.statuses.items() if at < settled}
    statuses |= {at: MISSING for at in range(settled, len(values)) if values[at] is None}
    statuses |= {at: provisional or "p" for at in range(newest, len(values)) if values[at] is not None}
    grown = dimension | {
        "category": dimension["category"] | {"index": index, "label": labels},
        "extension": extension | {"status": others | {index[-1]: provisional or "p"}},
    }
    return Cube(document | {"dimension": document["dimension"] | {time: grown}}, values, statuses)


_PERIOD = re.compile(r"\d{4}(S[12]|T[1-4]|M(0[1-9]|1[0-2]))?")


def next_period(code: str, every: int = 1) -> str:
    """The period after one: `2025S2` -> `2026S1`, `2026T2` -> `2026T3`, `2025M12` -> `2026M01`, `2023` -> `2024`; or `every` so
    many months."""
    year, letter, number = int(code[:4]), code[4:5], int(code[5:] or 0)
    if not letter:
        return str(year + 1)
    years, number = divmod(number - 1 + every, {"S": 2, "T": 4, "M": 12}[letter])
    return f"{year + years}{letter}{number + 1:0{2 if letter == 'M' else 1}}"


def _label(code: str) -> str:
    """`2012S1` -> `S1/2012`, `2020M12` -> `12/2020`, `2023` -> `2023`."""
    return code if len(code) == 4 else f"{code[4:].lstrip('M')}/{code[:4]}"
