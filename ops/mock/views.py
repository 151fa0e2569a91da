"""The portal's metadata of a dataset (`/api/views/{id}`): made up, or recorded and brought up to date.

Columns and counts come from the Shape that the rows come from, so that faults show in both.
"""

from __future__ import annotations

import json
from typing import Any

from catalunya.ops.mock.noise import number
from catalunya.ops.mock.shape import Shape, Shown
from catalunya.ops.mock.tables import Dataset

View = dict[str, Any]

# Every view lists these before its own columns, all with position 0.
HIDDEN_COLUMNS = ("sid", "id", "position", "created_at", "created_meta", "updated_at", "updated_meta", "meta")
OWNER = {"id": "a4b5-gx6v", "displayName": "Dades Obertes Catalunya", "screenName": "Dades Obertes Catalunya"}


def pretty(value: object) -> bytes:
    """JSON as the portal's core writes it: two spaces, and a space before each colon."""
    return json.dumps(value, indent=2, separators=(",", " : "), ensure_ascii=False).encode() + b"\n"


def made_up(dataset: Dataset) -> View:
    """The metadata of a dataset of which none are recorded; columns follow in `view`."""
    return {
        "id": dataset.id,
        "name": dataset.name,
        "assetType": "dataset",
        "attribution": dataset.attribution,
        "attributionLink": "https://administraciodigital.gencat.cat/ca/dades/dades-obertes/informacio-practica/llicencies/",
        "averageRating": 0,
        "category": dataset.category,
        "createdAt": dataset.created_at,
        "description": dataset.description,
        "displayType": "table",
        "downloadCount": number(91, dataset.created_at) % 10_000,
        "hideFromCatalog": False,
        "licenseId": "SEE_TERMS_OF_USE",
        "newBackend": True,
        "oid": number(92, dataset.created_at) % 10**7,
        "provenance": "official",
        "publicationAppendEnabled": False,
        "publicationDate": dataset.created_at,
        "publicationStage": "published",
        "rowsUpdatedAt": dataset.updated_at,
        "rowsUpdatedBy": "irau-g6kt",
        "tableId": number(93, dataset.created_at) % 10**7,
        "viewCount": number(94, dataset.created_at) % 100_000,
        "viewLastModified": dataset.updated_at,
        "viewType": "tabular",
        "columns": [],
        "grants": [{"inherited": False, "type": "viewer", "flags": ["public"]}],
        "license": {"name": "See Terms of Use"},
        "metadata": {"custom_fields": {"Idioma": {"Idioma": "Català"}}},
        "owner": OWNER,
        "query": {},
        "rights": ["read"],
        "tableAuthor": OWNER,
        "tags": [],
        "flags": ["default", "ownerMayBeContacted", "restorable", "restorePossibleForType"],
    }


def view(base: View, dataset: Dataset, shape: Shape, moved_s: int) -> View:
    """`base` with the columns of `shape`, and its dates `moved_s` seconds after those of version 0.

    A column that `base` tells of keeps what it tells, but for what a fault has changed.
    """
    told = {column["fieldName"]: column for column in base["columns"]}
    hidden = [column for column in base["columns"] if column["id"] == -1] or [_hidden(name) for name in HIDDEN_COLUMNS]
    original = {column.field: column for column in dataset.columns}
    columns = []
    for position, shown in enumerate(shape.columns, start=1):
        entry = dict(told.get(shown.source) or _entry(dataset, shown))
        entry["position"] = position
        if shown.source is None or shown.column != original[shown.source]:
            entry |= {"name": shown.column.name, "fieldName": shown.column.field}
            entry |= {"dataTypeName": shown.column.type, "renderTypeName": shown.column.type}
        columns.append(_counted(entry, shape.total))
    dates = {name: base[name] + moved_s for name in ("rowsUpdatedAt", "viewLastModified")}
    return base | dates | {"columns": hidden + columns}


def _hidden(name: str) -> View:
    kind = "meta_data"
    return {
        "id": -1,
        "name": name,
        "dataTypeName": kind,
        "fieldName": f":{name}",
        "position": 0,
        "renderTypeName": kind,
        "format": {},
        "flags": ["hidden"],
    }


def _entry(dataset: Dataset, shown: Shown) -> View:
    column = shown.column
    identity = number(95, dataset.created_at, *map(ord, shown.source or column.field)) % 10**7 + 10**7
    entry = {
        "id": identity,
        "name": column.name,
        "dataTypeName": column.type,
        "description": column.description,
        "fieldName": column.field,
        "renderTypeName": column.type,
        "tableColumnId": identity // 2,
        "cachedContents": {"count": "0"} | ({"null": "0"} if column.required else {}),
        "format": {},
    }
    if not column.description:
        del entry["description"]
    return entry


def _counted(entry: View, total: int) -> View:
    """The entry with its cached number of rows; what is cached of a column without nulls follows from it."""
    cached = entry.get("cachedContents")
    if cached is None or cached.get("count") == str(total):
        return entry
    cached = cached | {"count": str(total)}
    if cached.get("null") == "0":
        cached["non_null"] = str(total)
    return entry | {"cachedContents": cached}
