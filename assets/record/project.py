"""One environment's worth of everything: settings, lake, ledger and graph, opened once and handed around.

Here: putting the parts together. No work is done here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property

from catalunya.assets.graph.discovery import declarations, load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Declaration
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.state import State
from catalunya.io.environment import Settings, load_settings
from catalunya.io.lake import Lake
from catalunya.io.warehouse.glue import Catalog, catalog


class Project:
    """The settings of an environment, and what follows from them, each opened when first needed."""

    def __init__(self, settings: Settings | None = None, declared: Sequence[Declaration] | None = None) -> None:
        """`declared` stands for a graph of one's own instead of the asset files'."""
        self.settings = settings or load_settings()
        if declared is not None:
            self.graph = AssetGraph(declaration.asset for declaration in declared)
            self.declarations = {declaration.asset.key: declaration for declaration in declared}

    @cached_property
    def lake(self) -> Lake:
        """The lake. Raises LakeError, one line, when it cannot be opened."""
        settings = self.settings
        return Lake(
            settings.lake,
            encryption=settings.lake_encryption,
            kms_key_id=settings.lake_kms_key_id,
            attempts=settings.lake_attempts,
        )

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of the lake."""
        return Ledger(self.lake)

    @cached_property
    def catalog(self) -> Catalog:
        """Where readers find the tables."""
        return catalog(self.settings)

    @cached_property
    def graph(self) -> AssetGraph:
        """The asset graph, compiled if need be."""
        return load_graph(self.settings)

    @cached_property
    def declarations(self) -> dict[str, Declaration]:
        """The landing and staging declarations by key: their code. Imports all asset files."""
        return dict(declarations())

    def state(self, now: datetime | None = None) -> State:
        """What the ledger says of the graph now."""
        return State(self.graph, self.ledger, now or datetime.now(UTC))
