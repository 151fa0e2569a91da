"""Answers of CKAN and Opendatasoft that a person saved one by one (with curl), put together to datasets.

Here: which answer a file holds, and which of them belong together. Not here: finding the files (`real.py`), what a dataset answers
(`ckan.py`, `opendatasoft.py`, which read saved answers as they read a recorded sample).

Of CKAN: `datastore_search` with rows, beside it `resource_show` and `package_show` if there are any. Of Opendatasoft: `/records`
(2.1, and 2.0 with `record.fields` in each), an export, and the dataset's metadata. Rows without metadata get types from their values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalunya.ops.mock import ckan, opendatasoft
from catalunya.ops.mock.exchange import JSON
from catalunya.ops.mock.samples import Described, RecordedAnswer, Sample

Document = dict[str, Any]

_UUID = re.compile(r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")


class SkippedError(ValueError):
    """Why a file is not served."""


@dataclass
class Saved:
    """What the files hold so far, each with its path."""

    shows: list[tuple[Path, Document]] = field(default_factory=list)
    tables: dict[str, list[tuple[Path, Document]]] = field(default_factory=dict)
    datasets: dict[str, tuple[Path, Document]] = field(default_factory=dict)
    records: list[tuple[Path, list[Document]]] = field(default_factory=list)

    def add(self, path: Path, content: Document) -> bool:
        """Take an answer; False if it is of neither protocol. Raises SkippedError if it is one that holds no dataset."""
        inner: Any = content.get("result") if content.get("success") is True else content
        if not isinstance(inner, dict):
            return False
        within = inner.get("dataset")  # of Explore 2.0
        described: Document = within if isinstance(within, dict) else inner
        found, rows = described.get("metas"), inner.get("results") if "total_count" in inner else inner.get("records")
        if isinstance(inner.get("fields"), list) and isinstance(rows, list):
            self._add_table(path, content, inner, rows)
        elif isinstance(inner.get("id"), str) and ("package_id" in inner or isinstance(inner.get("resources"), list)):
            self.shows.append((path, inner))
        elif isinstance(described.get("dataset_id"), str) and isinstance(found, dict) and "fields" in described:
            self.datasets.setdefault(described["dataset_id"], (path, described))
        elif isinstance(rows, list) and ("total_count" in inner or "links" in inner):
            self._add_records(path, rows)
        else:
            return False
        return True

    def published(
        self, exports: Mapping[str, tuple[Path, list[Document]]]
    ) -> Iterator[ckan.Resource | opendatasoft.Records]:
        """The datasets that the answers make. `exports`: rows in files of their own, by what their names begin with."""
        for name, pages in self.tables.items():
            yield ckan.served(self._resource(name, pages))
        for name, (path, rows) in self._rows(exports).items():
            yield opendatasoft.served(_dataset(name, path, rows, self.datasets.get(name, (path, None))[1]))

    def without_rows(self, exports: Mapping[str, tuple[Path, list[Document]]]) -> Iterator[Path]:
        """The metadata of datasets whose rows are in no file."""
        yield from (path for name, (path, _) in self.datasets.items() if name not in self._rows(exports))
        listed = (
            (path, {show["id"], *(each.get("id") for each in show.get("resources") or [])}) for path, show in self.shows
        )
        packages = {shown.get("package_id") for _, shown in self.shows if shown["id"] in self.tables}
        yield from (path for path, names in listed if not names & (self.tables.keys() | packages))

    def _rows(self, exports: Mapping[str, tuple[Path, list[Document]]]) -> dict[str, tuple[Path, list[Document]]]:
        """The records of each dataset of Opendatasoft, and the file they are from."""
        exported = {name: exports[name] for name in self.datasets if name in exports}
        return exported | {self._dataset_of(path): (path, rows) for path, rows in self.records}

    def _add_table(self, path: Path, content: Document, table: Document, rows: list[Any]) -> None:
        asked = content.get("request_body") or {}
        named = table.get("resource_id") or asked.get("resource_id") or next(iter(_UUID.findall(path.name)), None)
        if not named:
            raise SkippedError("rows of CKAN without the id of their resource: put it into the file's name")
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise SkippedError("expected records as objects (records_format=objects), with at least one")
        self.tables.setdefault(str(named), []).append((path, table))

    def _add_records(self, path: Path, rows: list[Any]) -> None:
        inner = [row.get("record", {}).get("fields", row) for row in rows if isinstance(row, dict)]
        if (
            not inner
            or len(inner) < len(rows)
            or any("metas" in row or ("name" in row and "resources" in row) for row in inner)
        ):
            raise SkippedError("a list of datasets, or no records: save the records of one")
        self.records.append((path, inner))

    def _dataset_of(self, path: Path) -> str:
        """The dataset whose id is in the file's name, else the name's first word."""
        known = [name for name in self.datasets if name in path.name]
        return max(known, key=len) if known else re.sub(r"[^\w-]+", "_", path.name.partition(".")[0])

    def _resource(self, name: str, pages: Sequence[tuple[Path, Document]]) -> Sample:
        shows = [show for _, show in self.shows]
        listed = [each | {"package_id": show["id"]} for show in shows for each in show.get("resources") or []]
        shown = next((each for each in [*shows, *listed] if each.get("id") == name and "package_id" in each), None)
        packages = [show for show in shows if shown and show["id"] == shown["package_id"]]
        return _sample(
            "ckan",
            name,
            pages[0][0],
            [_answer({"result": each}) for each in ([shown] if shown else []) + packages],
            [_answer({"result": table}) for _, table in pages],
        )


def _dataset(name: str, path: Path, rows: Sequence[Document], known: Document | None) -> Sample:
    names = dict.fromkeys(each for row in rows for each in row)
    document = known or {
        "dataset_id": name,
        "fields": [{"name": each, "type": _type(row.get(each) for row in rows)} for each in names],
        "metas": {"default": {"title": name, "modified": _modified(path).isoformat()}},
    }
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    return _sample("opendatasoft", name, path, [_answer(document)], [RecordedAnswer("", JSON, lines.encode())])


def _type(values: Iterator[Any]) -> str:
    """The type of a field of Opendatasoft, by its values."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, dict) and value.keys() == {"lon", "lat"} for value in known):
        return "geo_point_2d"
    for kind, types in (("boolean", bool), ("int", int), ("double", (int, float))):
        if known and all(
            isinstance(value, types) and (kind == "boolean" or not isinstance(value, bool)) for value in known
        ):
            return kind
    if any(isinstance(value, (dict, list)) for value in known):
        return "json_blob"
    return "datetime" if known and all(_TIME.match(str(value)) for value in known) else "text"


def _sample(kind: str, name: str, path: Path, metadata: list[RecordedAnswer], pages: list[RecordedAnswer]) -> Sample:
    return Sample(name, Described(kind=kind, arguments=[name], recorded_at=_modified(path)), metadata, pages)


def _answer(document: Document) -> RecordedAnswer:
    return RecordedAnswer("", JSON, json.dumps(document, ensure_ascii=False).encode())


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
