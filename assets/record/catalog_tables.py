"""The catalog's entry for an asset: the table that its latest ledger entry describes.

Here: from asset and ledger entry to a table of the catalog, and publishing it. Not here: the catalog itself (`io/warehouse/glue.py`).
"""

from __future__ import annotations

from urllib.parse import unquote

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.lake import Lake
from catalunya.io.warehouse.glue_table import Field, Table


def publish(project: Project, asset: Asset, state: State) -> None:
    """Make the catalog show what was recorded last. Raises CatalogError; the record stands regardless."""
    entry = state.latest(asset.key)
    if entry and asset.layer is not Layer.LANDING:
        project.catalog.publish(table(project.lake, asset, entry))


def table(lake: Lake, asset: Asset, entry: Entry) -> Table:
    """The table that an entry describes: recorded columns and partitions, with descriptions from the contract.

    The contract may have changed since; the published table has not, until the asset is made again.
    """
    declared = {column.name: column for column in asset.columns}
    recorded = entry.columns or {column.name: column.type for column in asset.columns}
    columns = tuple(
        Field(name, kind, known.description, known.unit) if (known := declared.get(name)) else Field(name, kind)
        for name, kind in recorded.items()
    )
    folders = [stored.path.removeprefix(f"{asset.prefix}/").split("/")[:-1] for stored in entry.objects]
    parts = [[folder.partition("=") for folder in each] for each in folders]
    return Table(
        schema=str(asset.layer),
        name=asset.name,
        description=asset.description,
        columns=columns,
        location=lake.url(asset.prefix),
        partition_by=tuple(name for name, _, _ in parts[0]) if parts else asset.partition_by,
        partitions={
            tuple(unquote(value) for _, _, value in each): lake.url("/".join([asset.prefix, *folder]))
            for each, folder in zip(parts, folders, strict=True)
            if each
        },
        # For a mart, dbt-athena looks up in Glue which partitions it replaces, so they must be listed.
        may_project=asset.layer is Layer.STAGING,
        code_version=entry.code_version,
        data_version=entry.data_version,
    )


def unmade(root: str, asset: Asset) -> Table:
    """The table of an asset that was never made, below a lake's root: as declared, and empty."""
    return Table(
        schema=str(asset.layer),
        name=asset.name,
        description=asset.description,
        columns=tuple(Field(column.name, column.type, column.description, column.unit) for column in asset.columns),
        location=f"{root.rstrip('/')}/{asset.prefix}",
        partition_by=asset.partition_by,
        partitions={},
        may_project=asset.layer is Layer.STAGING,
        code_version="",
        data_version="",
    )


def tables(project: Project) -> list[Table]:
    """Every table that was made, in dependency order, without those whose ledger cannot be read."""
    state = project.state()
    made = ((asset, state.known(asset.key)) for asset in project.graph if asset.layer is not Layer.LANDING)
    return [table(project.lake, asset, entry) for asset, entry in made if entry]
