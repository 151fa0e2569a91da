"""A person's folder as the mock serves it (`--real DIR`): every file in it that a protocol can read, so that a source can be
tried that no one has mocked.

Here: which file is what, and under which name it is served. Nothing is written to the folder. Files are recognized by what
they hold: rows are a JSON array of objects (what `/resource/{id}.json` answers), metadata an object with `id` and `columns`
(`/api/views/{id}.json`), a table a JSON-stat 2.0 dataset with values; answers of CKAN and Opendatasoft are in `saved.py`.
A dataset's id comes from the file's name (`anything.uczf-rk3c.rows.json`), or is the name's first word; a table's address from its
`href`, or from the file's name (`pmh_446_477_mun.json`). JSON-stat, CSV, JSON lines and Parquet are served as they are, too, at their
path below the folder. A first folder with a point in its name is a host: `icane.es/data/gdp.json` is https://icane.es/data/gdp.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from functools import cache
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from catalunya.io.errors import ConfigurationError
from catalunya.io.log import get_logger
from catalunya.io.sources.files import ENDINGS
from catalunya.io.sources.recording import ENDING
from catalunya.ops.mock.data import known_view, later, portal_dataset, portal_rows
from catalunya.ops.mock.exchange import Published
from catalunya.ops.mock.file import PublishedFile
from catalunya.ops.mock.idescat import Cube, Document, StatTable
from catalunya.ops.mock.jsonstat import PublishedDataset
from catalunya.ops.mock.rows import SmallRows
from catalunya.ops.mock.saved import Saved, SkippedError
from catalunya.ops.mock.soql import SYSTEM_FIELDS
from catalunya.ops.mock.tables import Dataset, column

log = get_logger(__name__)

_ID = re.compile(r"(?=(?<![a-z0-9])([a-z0-9]{4}-[a-z0-9]{4})(?![a-z0-9]))")
_HREF = re.compile(r"/taules/v2/((?:[^/?#]+/){3}[^/?#]+?)(?:/data)?/?(?:[?#]|$)")
_FILE = re.compile(rf"(?i)\.({'|'.join(each for each in ENDINGS if each != 'txt')})(?:\.(?:gz|zip))?$")
_STEM = re.compile(r"([a-z0-9]+)_(\d+)_(\d+)_([a-z]+)")
_TYPES = {
    "number": r"^-?(0|[1-9]\d*)(\.\d+)?$",
    "calendar_date": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$",
}

Rows = list[dict[str, Any]]


def read_folder(folder: Path) -> list[Published]:
    """What the files below a folder hold, or one file. A file that cannot be served is named in the log with the reason.

    Raises ConfigurationError if there is nothing to serve.
    """
    views: dict[str, Document] = {}
    rows: dict[str, tuple[Path, Rows]] = {}
    tables: dict[str, StatTable] = {}
    saved, as_they_are, skipped = Saved(), list[PublishedDataset](), 0
    if not folder.exists():
        raise ConfigurationError(
            f"Mock: {folder} does not exist. Give a folder with saved answers or files with --real."
        )
    paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    folder = folder if folder.is_dir() else folder.parent
    others = [_file(folder, path) for path in paths if _FILE.search(path.name) and path.is_file()]
    for path in (path for path in paths if path.suffix == ".json"):
        try:
            content = _read(path)
            if isinstance(content, list):
                _add_rows(rows, path, content)
            elif isinstance(content.get("columns"), list) and isinstance(content.get("id"), str):
                _add_view(views, content)
            elif not saved.add(path, content):
                _add_table(tables, path, content)
                as_they_are += _at_its_address(folder, path, content)
        except SkippedError as reason:
            skipped += 1
            log.warning("file_skipped", file=str(path.relative_to(folder)), reason=str(reason))
    exports = {path.name.partition(".")[0]: (path, found) for path, found in rows.values()}
    portals = [*saved.published(exports)]
    for path in saved.without_rows(exports):
        skipped += 1
        log.warning("file_skipped", file=str(path.relative_to(folder)), reason="metadata without rows: save these, too")
    if not rows and not tables and not others and not portals and not any(folder.rglob(f"*{ENDING}")):
        raise ConfigurationError(
            f"Mock: nothing to serve in {folder}: expected .json files with rows (an array of objects, or as CKAN or Opendatasoft answer) or "
            f"JSON-stat 2.0 datasets, or CSV, JSON lines or Parquet; found {skipped} other .json files. Give another folder with --real."
        )
    datasets = [dataset(name, found, views.get(name), _modified(path)) for name, (path, found) in rows.items()]
    return [*datasets, *tables.values(), *portals, *as_they_are, *others]


def _file(folder: Path, path: Path) -> PublishedFile:
    """A file that is served as it is."""
    return PublishedFile(address=_place(folder, path), content=path.read_bytes(), modified=_modified(path))


def _at_its_address(folder: Path, path: Path, content: Document) -> Iterator[PublishedDataset]:
    """A JSON-stat dataset at its path below the folder, and where it says that it is; with whatever parameters."""
    body, href = path.read_bytes(), str(content.get("href", ""))
    for address in [_place(folder, path), *([href] if href.startswith("http") and not _HREF.search(href) else [])]:
        yield PublishedDataset(address=address.partition("?")[0], answers={}, whole=body)


def _place(folder: Path, path: Path) -> str:
    """The address of a file: its path below the folder, of any host unless the first folder is named as one."""
    place = path.relative_to(folder)
    address = quote(place.as_posix())
    return f"//{address}" if "." in place.parts[0] and len(place.parts) > 1 else f"/{address}"


def _read(path: Path) -> list[Any] | Document:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SkippedError(f"not readable as JSON: {error}") from error
    if not isinstance(content, (list, dict)):
        raise SkippedError(f"expected an array or an object, found {type(content).__name__}")
    return content


# Socrata


def _add_view(views: dict[str, Document], content: Document) -> None:
    columns = content["columns"]
    if not all(isinstance(entry, dict) and {"fieldName", "dataTypeName"} <= entry.keys() for entry in columns):
        raise SkippedError("metadata with a column that has no fieldName or no dataTypeName")
    views.setdefault(content["id"], content)


def _add_rows(rows: dict[str, tuple[Path, Rows]], path: Path, content: list[Any]) -> None:
    """Files of one folder with the same id are one dataset; the same id in another folder is the same data once more."""
    if not content or not all(isinstance(row, dict) for row in content):
        raise SkippedError("expected an array of objects, with at least one")
    ids = _ID.findall(path.name)
    ids = [each for each in ids if re.search(r"\d", each)] or ids  # words of the name can look like an id
    name = ids[-1] if ids else re.sub(r"[^\w-]+", "_", path.name.partition(".")[0])
    known = rows.setdefault(name, (path, []))
    if known[0].parent != path.parent:
        raise SkippedError(f"{name} is already served from {known[0]}")
    known[1].extend(content)


def dataset(name: str, rows: Rows, view: Document | None, modified: int) -> Dataset:
    """Rows as the portal answers them, and their metadata if there are any; `modified`: seconds since 1970, if these do not say."""
    known = known_view(name)
    described = view or known
    fields = dict.fromkeys(field for row in rows for field in row)
    if described:
        fields = (
            dict.fromkeys(entry["fieldName"] for entry in described["columns"] if entry.get("position") != 0) | fields
        )
    frame = pl.DataFrame(
        {field: [_text(row.get(field)) for row in rows] for field in fields}, schema=dict.fromkeys(fields, pl.String)
    )
    if view:
        view = Document(rowsUpdatedAt=modified) | view
    if known:
        return portal_dataset(name, portal_rows(name, frame), view)
    own = [field for field in fields if field not in SYSTEM_FIELDS]
    if not view:
        columns = [column(field, field, _type(row.get(field) for row in rows)) for field in own]
        view = Document(id=name, name=name, rowsUpdatedAt=modified, columns=columns)
    entries: list[Document] = view["columns"]
    types = {entry["fieldName"]: entry["dataTypeName"] for entry in entries}
    key = _key(view, frame, own)
    others = [field for field in own if field not in key]
    revised = [field for field in others if types.get(field) == "number"] or others
    return Dataset(
        view=view, rows=SmallRows(frame, key, revised[-1:]), key=tuple(key), target=revised[-1] if revised else ""
    )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _type(values: Iterable[Any]) -> str:
    """The portal's type of a column by its values; numbers with a leading zero are codes, and so text."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return "checkbox"
    if any(isinstance(value, (dict, list)) for value in known):
        return (
            "point" if all(isinstance(value, dict) and value.get("type") == "Point" for value in known) else "location"
        )
    texts = [str(value) for value in known]
    fitting = (kind for kind, pattern in _TYPES.items() if texts and all(re.match(pattern, text) for text in texts))
    return next(fitting, "text")


def _key(view: Document, frame: pl.DataFrame, fields: list[str]) -> list[str]:
    """The column that the portal names as the rows' identifier, or the first whose values are all there and all different."""
    identifier = view.get("rowIdentifierColumnId")
    named = [entry["fieldName"] for entry in view["columns"] if identifier and entry.get("id") == identifier]
    unique = (field for field in fields if not frame[field].null_count() and frame[field].is_unique().all())
    return named or [*unique][:1]


def _modified(path: Path) -> int:
    return int(path.stat().st_mtime)


# JSON-stat


def _add_table(tables: dict[str, StatTable], path: Path, content: Document) -> None:
    if content.keys() >= {"meta", "data"}:
        raise SkippedError("rows as arrays (/api/views/ID/rows.json): save those of /resource/ID.json instead")
    if any(isinstance(each, dict) and "dimension" in each for each in content.values()):
        raise SkippedError("JSON-stat 1.x, which no source reads: ask the server for version 2 (often json-stat2)")
    if content.get("class") != "dataset" or not isinstance(content.get("dimension"), dict):
        raise SkippedError("neither rows, nor metadata with id and columns, nor a JSON-stat 2.0 dataset")
    try:
        table = stat_table(content, _address(path, str(content.get("href", ""))), _modified(path))
    except SkippedError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SkippedError(f"a JSON-stat dataset that cannot be read: {error!r}") from error
    if tables.setdefault(table.path, table) is not table:
        raise SkippedError(f"{table.path} is already served from another file")


def stat_table(content: Document, address: str, modified: int) -> StatTable:
    """A JSON-stat dataset with values as a table; `modified`: seconds since 1970, if it does not say.

    Raises KeyError, TypeError, ValueError or AttributeError if it is none.
    """
    cube = _cube(content, address, modified)

    @cache
    def at(version: int) -> Cube:
        return later(cube, version)

    return StatTable(path=address, cube=at)


def _cube(content: Document, address: str, modified: int) -> Cube:
    dimensions = {code: _dimension(content["dimension"][code]) for code in content["id"]}
    size = prod(len(dimension["category"]["index"]) for dimension in dimensions.values())
    values = content.get("value")
    if values is None:
        raise SkippedError("JSON-stat metadata without values")
    if isinstance(values, dict):
        values = [values.get(str(at)) for at in range(size)]
    if len(values) != size:
        raise SkippedError(f"expected {size} values, as its dimensions have, found {len(values)}")
    statuses = content.get("status") or {}
    if isinstance(statuses, str):
        statuses = [statuses] * size
    pairs = statuses.items() if isinstance(statuses, dict) else enumerate(statuses)
    updated = str(content.get("updated") or datetime.fromtimestamp(modified, UTC).date())
    date.fromisoformat(updated[:10])
    document = {name: value for name, value in content.items() if name not in ("value", "status", "size", "link")}
    document |= {"updated": updated, "dimension": dimensions, "label": content.get("label", address)}
    return Cube(document, values, {int(at): status for at, status in pairs if status})


def _dimension(dimension: Document) -> Document:
    """The dimension with its categories as a list and a label for each."""
    category = dimension["category"]
    index, labels = category.get("index"), category.get("label") or {}
    if isinstance(index, dict):
        index = sorted(index, key=index.__getitem__)
    index = list(labels) if index is None else index
    return dimension | {
        "category": category | {"index": index, "label": {code: labels.get(code, code) for code in index}}
    }


def _address(path: Path, href: str) -> str:
    if match := _HREF.search(href):
        return match[1]
    if match := _STEM.match(path.name):
        return "/".join(match.groups())
    statistic = re.sub(r"[^a-z0-9]+", "", path.name.partition(".")[0].lower()) or "file"
    return f"{statistic}/1/1/cat"
