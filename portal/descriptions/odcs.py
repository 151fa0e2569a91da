"""The contract of each staging table and mart in the form of the Open Data Contract Standard (Bitol) 3.1: `contracts/{key}.yaml`.

Here: what our contracts say, in its words. Rules over whole rows have no form there, and are texts. Not here: our contracts (`contracts/`), their
changes (`catalunya contracts diff`).
"""

from __future__ import annotations

from typing import Any

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.graph.titles import title_of
from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.rules import Limits, limits, table_rules
from catalunya.io.project_folder import active
from catalunya.io.warehouse.relation import SQL_TYPES
from catalunya.portal.descriptions.datasets import contract_of, public_columns
from catalunya.portal.language import Language
from catalunya.portal.publisher import publisher_of
from catalunya.portal.rights import rights_of
from catalunya.portal.site import Site, data_folder, table_path

_TYPES = {
    "string": "string", "integer": "integer", "bigint": "integer", "double": "number", "boolean": "boolean", "date": "date",
    "timestamp": "timestamp",
}  # fmt: skip
"""The logical type of ODCS for each type of a contract."""


def odcs(site: Site, asset: Asset) -> bytes:
    """The contract of a table, in English, as YAML."""
    import yaml

    contract, publisher = contract_of(site, asset), publisher_of(site.project.settings)
    page = site.absolute(site.page(site.languages[0], table_path(asset.key)))
    rights = " ".join(each.text("en") for each in rights_of(site, asset))
    description = {"purpose": asset.description, "usage": f"{site.declared.licence.name}. {rights}".strip()}
    if site.is_sample:
        description["limitations"] = Language("en").t("common.sample")
    found: dict[str, Any] = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": asset.uri,
        "name": title_of(asset.key, "en"),
        "version": f"{contract.terms().version}.0.0",
        "status": "active",
        "domain": site.declared.subject_of(asset.key, site.graph) or active().name,
        "description": description,
        "authoritativeDefinitions": [{"url": page, "type": "businessDefinition"}],
        "servers": _servers(site, asset),
        "schema": [_table(site, asset)],
        "support": [{"channel": "email", "tool": "email", "url": f"mailto:{publisher.email}"}]
        if publisher.email
        else None,
        "slaProperties": _service_levels(asset),
    }
    kept = {name: value for name, value in found.items() if value}
    return str(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=110)).encode()


def _servers(site: Site, asset: Asset) -> list[dict[str, Any]]:
    """Where a mart's files are. Staging tables have none."""
    if asset.layer is not Layer.MARTS:
        return []
    latest = site.absolute(f"{data_folder(asset.key)}/latest.parquet")
    return [{"server": "portal", "type": "custom", "location": latest, "format": "parquet"}]


def _table(site: Site, asset: Asset) -> dict[str, Any]:
    contract = contract_of(site, asset)
    of, columns = limits(contract), public_columns(asset)
    keys = [column.name for column in columns if column.key]
    found: dict[str, Any] = {
        "id": asset.name,
        "name": asset.name,
        "physicalName": asset.key,
        "logicalType": "object",
        "physicalType": "table",
        "businessName": title_of(asset.key, "en"),
        "description": asset.description,
        "properties": [_property(asset, column, of[column.name], keys) for column in columns],
        "quality": [
            {"type": "text", "name": name, "description": text} for name, text in table_rules(contract).items()
        ],
    }
    return {name: value for name, value in found.items() if value}


def _property(asset: Asset, column: Column, of: Limits, keys: list[str]) -> dict[str, Any]:
    options = {
        "pattern": of.pattern,
        "minimum": of.at_least,
        "exclusiveMinimum": of.more_than,
        "maximum": of.at_most,
        "exclusiveMaximum": of.less_than,
    }
    found: dict[str, Any] = {
        "id": column.name,
        "name": column.name,
        "logicalType": _TYPES[column.type],
        "physicalType": SQL_TYPES[column.type],
        "description": column.description,
        "required": not column.nullable,
        "unique": column.unique or None,
        "primaryKey": column.key or None,
        "primaryKeyPosition": keys.index(column.name) + 1 if column.key else None,
        "logicalTypeOptions": {name: value for name, value in options.items() if value is not None} or None,
        "relationships": [{"type": "foreignKey", "to": _target(asset, column.references)}]
        if column.references
        else None,
        "quality": [_one_of(column.accepted)] if column.accepted else None,
        "customProperties": [{"property": "unit", "value": column.unit}] if column.unit else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _target(asset: Asset, references: str) -> str:
    """The column that another points to: in the same contract, or in the file beside it."""
    table, _, field = references.partition(".")
    return references if table == asset.name else f"{asset.layer}.{table}.yaml#schema/{table}/properties/{field}"


def _one_of(values: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "library", "metric": "invalidValues", "arguments": {"validValues": list(values)}, "mustBe": 0}


def _service_levels(asset: Asset) -> list[dict[str, Any]]:
    """How long superseded versions are kept, and how old the source may be before its table counts as overdue."""
    found: list[dict[str, Any]] = [{"property": "retention", "value": asset.keep_days, "unit": "d"}]
    if asset.freshness:
        found.append({"property": "freshness", "value": asset.freshness.hours, "unit": "h"})
    return found
