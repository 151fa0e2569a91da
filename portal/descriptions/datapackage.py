"""The marts as a Frictionless data package: `datapackage.json`, with the CSV files as resources and their contracts as Table Schemas.

An empty field is an unknown value. A foreign key is there where the table that it points to is in the package too. Here: the descriptor. Not here: the
files (`downloads.py`), data contracts (`odcs.py`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from catalunya.assets.graph.spec import Asset
from catalunya.assets.graph.titles import PROJECT, title_of
from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.contract import Contract
from catalunya.contracts.model.rules import Limits, limits
from catalunya.io.project_folder import active
from catalunya.portal.descriptions.datasets import Dataset, contract_of, public_columns
from catalunya.portal.language import Language
from catalunya.portal.publisher import publisher_of
from catalunya.portal.rights import sources_of
from catalunya.portal.site import Site

DATA_PACKAGE = "datapackage.json"
CSV = "csv"
PROFILES = "https://datapackage.org/profiles/2.0/"
_TYPES = {
    "string": "string", "integer": "integer", "bigint": "integer", "double": "number", "boolean": "boolean", "date": "date",
    "timestamp": "datetime",
}  # fmt: skip
"""The type of a Table Schema for each type of a contract."""


def data_package(site: Site, datasets: Sequence[Dataset]) -> bytes:
    """The descriptor of these datasets, in English."""
    licence, publisher = site.declared.licence, publisher_of(site.project.settings)
    english = Language("en")
    about = english.t("description.catalog", title=title_of(PROJECT, "en"))
    names = {each.name for each in datasets}
    found: dict[str, Any] = {
        "$schema": f"{PROFILES}datapackage.json",
        "name": active().name,
        "id": site.absolute(DATA_PACKAGE),
        "title": title_of(PROJECT, "en"),
        "description": f"{english.t('common.sample')} {about}" if site.is_sample else about,
        "homepage": f"{site.base}/",
        "licenses": [
            {
                name: text
                for name, text in (("name", licence.spdx), ("path", licence.url), ("title", licence.name))
                if text
            }
        ],
        "resources": [resource for each in datasets for resource in _resources(site, each, names)],
    }
    if datasets:
        found["created"] = f"{max(each.modified for each in datasets):%Y-%m-%dT%H:%M:%SZ}"
    if publisher.name:
        person = {"title": publisher.name, "path": publisher.url, "email": publisher.email, "role": "publisher"}
        found["contributors"] = [{name: text for name, text in person.items() if text}]
    return json.dumps(found, ensure_ascii=False, indent=1).encode()


def table_schema(
    contract: type[Contract], columns: Sequence[Column], layer: str, tables: Collection[str]
) -> dict[str, Any]:
    """A contract as a Table Schema. `tables`: the keys of those that a foreign key may point to."""
    of = limits(contract)
    found: dict[str, Any] = {
        "$schema": f"{PROFILES}tableschema.json",
        "fields": [_field(column, of[column.name]) for column in columns],
        "missingValues": [""],
    }
    if keys := [column.name for column in columns if column.key]:
        found["primaryKey"] = keys
    pairs = [(column.name, *(column.references or "").partition(".")[::2]) for column in columns if column.references]
    foreign = [
        {"fields": [name], "reference": {"resource": f"{layer}.{table}", "fields": [field]}}
        for name, table, field in pairs
        if f"{layer}.{table}" in tables
    ]
    if foreign:
        found["foreignKeys"] = foreign
    return found


def _resources(site: Site, of: Dataset, tables: Collection[str]) -> Iterator[dict[str, Any]]:
    """The CSV file of a dataset."""
    for file in (file for file in of.files if file.format == CSV):
        asset = site.graph[of.name]
        resource: dict[str, Any] = {
            "name": of.name,
            "type": "table",
            "path": file.path,
            "title": title_of(of.name, "en"),
            "description": of.descriptions.get("en", ""),
            "format": "csv",
            "mediatype": file.media_type,
            "encoding": "utf-8",
            "dialect": {"delimiter": ",", "doubleQuote": True, "header": True, "lineTerminator": "\r\n"},
            "schema": table_schema(contract_of(site, asset), public_columns(asset), str(asset.layer), tables),
            "sources": [_source(each) for each in sources_of(site, asset)],
            "version": of.version,
        }
        if file.bytes is not None:
            resource |= {"bytes": file.bytes, "hash": f"sha256:{file.sha256}"}
        yield resource


def _field(column: Column, limits: Limits) -> dict[str, Any]:
    constraints = {
        "required": True if not column.nullable else None,
        "unique": True if column.unique else None,
        "enum": list(column.accepted) if column.type == "string" and column.accepted else None,
        "pattern": limits.pattern,
        "minimum": limits.at_least,
        "maximum": limits.at_most,
        "exclusiveMinimum": limits.more_than,
        "exclusiveMaximum": limits.less_than,
    }
    found: dict[str, Any] = {"name": column.name, "type": _TYPES[column.type], "description": column.description}
    if column.unit:
        found["unit"] = column.unit
    if known := {name: value for name, value in constraints.items() if value is not None}:
        found["constraints"] = known
    return found


def _source(landing: Asset) -> dict[str, str]:
    found = {"title": landing.source or landing.key, "path": landing.portal or ""}
    return {name: text for name, text in found.items() if text}
