"""JSON-stat 2.0 as the API writes it: collections, metadata, data, errors.

Addresses in them are the real API's, so that an answer is the same wherever the mock runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any

from catalunya.ops.mock.idescat.cube import ADVANCE, MISSING, PROVISIONAL, Cells, Head
from catalunya.ops.mock.idescat.query import ERRORS
from catalunya.ops.mock.idescat.view import Axis, View
from catalunya.ops.mock.idescat.words import say

HOST = "https://api.idescat.cat/taules/v2"
STATUSES = {
    PROVISIONAL: "Dada provisional",
    ADVANCE: "Dada avançada",
    MISSING: "dada confidencial, de baixa fiabilitat o no disponible",
}
# Of each geographic division: how it is called in a title, and in the list of a table's divisions.
GEOGRAPHIES = {
    "cat": ("Catalunya", "Catalunya"),
    "com": ("Comarques i Aran", "Per comarques i Aran"),
    "mun": ("Municipis", "Per municipis"),
}

Document = dict[str, Any]


def error(number: str, lang: str) -> Document:
    """An error's body."""
    status, label = ERRORS[number]
    return {"version": "2.0", "class": "error", "status": str(status), "id": number, "label": say(label, lang)}


def collection(path: str, label: str, items: Iterable[tuple[str, str]], lang: str) -> Document:
    """A list of addresses and labels; the last level lists datasets, the others lists."""
    kind = "dataset" if path.count("/") == 2 else "collection"
    item = [{"class": kind, "href": _address(each, lang), "label": say(name, lang)} for each, name in items]
    return {
        "version": "2.0",
        "class": "collection",
        "href": _address(path, lang),
        "label": say(label, lang),
        "link": {"item": item},
    }


def metadata(head: Head, view: View, updated: date, related: Sequence[Head], lang: str) -> Document:
    """A dataset without values."""
    document = _dataset(head, head.path, view, updated, lang)
    describes = [{"href": _address(f"{head.path}/data", lang), "label": title(head, lang), "class": "dataset"}]
    document["link"] = {"describes": describes} | _related(related, lang)
    return document


def data(
    head: Head, view: View, cells: Cells, updated: date, related: Sequence[Head], lang: str, *, sparse: bool
) -> Iterator[bytes]:
    """A dataset with the cells of `view`, in pieces; `sparse`: values as an object, those that are missing left out."""
    document = _dataset(head, f"{head.path}/data", view, updated, lang)
    if related:
        document["link"] = _related(related, lang)
    yield encoded(document)[:-1]
    if sparse:
        told = ",".join(f'"{at}":{value}' for at, value in enumerate(cells.values) if value != "null")
        yield f',"value":{{{told}}}'.encode()
    else:
        yield f',"value":[{",".join(cells.values)}]'.encode()
    statuses = ",".join(f'"{at}":"{status}"' for at, status in cells.statuses.items())
    yield f',"status":{{{statuses}}}'.encode()
    labels = {code: say(label, lang) for code, label in STATUSES.items() if code in head.statuses}
    yield b',"extension":' + encoded({"status": {"label": labels}}) + b"}"


def title(head: Head, lang: str) -> str:
    """A dataset's label."""
    return f"{head.label}. {say(GEOGRAPHIES[head.path.rpartition('/')[2]][0], lang)}"


def _dataset(head: Head, path: str, view: View, updated: date, lang: str) -> Document:
    axes = view.shown()
    document = {
        "version": "2.0",
        "class": "dataset",
        "href": _address(path, lang),
        "label": title(head, lang),
        "source": head.source,
        "updated": updated.isoformat(),
        "id": [axis.dimension.code for axis in axes],
        "size": [len(axis.picked) for axis in axes],
        "role": {
            role: codes
            for role in ("time", "geo", "metric")
            if (codes := [axis.dimension.code for axis in axes if axis.dimension.role == role])
        },
        "dimension": {axis.dimension.code: _dimension(axis, lang) for axis in axes},
    }
    if head.notes:
        document["note"] = list(head.notes)
    return document


def _dimension(axis: Axis, lang: str) -> Document:
    codes, dimension = axis.codes(), axis.dimension
    category: Document = {"index": codes, "label": {code: say(dimension.categories[code], lang) for code in codes}}
    if dimension.decimals:
        category["unit"] = {code: {"decimals": dimension.decimals[code]} for code in codes}
    document: Document = {"label": say(dimension.label, lang), "category": category}
    extension = dict(dimension.extension)
    if "status" in extension:
        extension["status"] = {code: status for code, status in extension["status"].items() if code in codes}
    if extension := {name: told for name, told in extension.items() if told}:
        document["extension"] = extension
    return document


def _related(heads: Sequence[Head], lang: str) -> Document:
    if not heads:
        return {}
    return {
        "related": [
            {"href": _address(head.path, lang), "label": title(head, lang), "class": "dataset"} for head in heads
        ]
    }


def _address(path: str, lang: str) -> str:
    return f"{HOST}/{path}?lang={lang}" if path else f"{HOST}?lang={lang}"


def encoded(document: Document) -> bytes:
    """A document as it is sent: on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
