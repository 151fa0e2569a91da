"""One environment: its settings, lake, ledger, catalog and graph, each imported and opened once, when first needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from catalunya.assets.graph.discovery import declarations, load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Declaration
from catalunya.io.environment import Settings, load_settings
from catalunya.io.lake import Lake

if TYPE_CHECKING:
    from catalunya.assets.record.ledger import Ledger, Listing
    from catalunya.assets.record.state import State
    from catalunya.io.warehouse.glue import Catalog


class Project:
    """The settings of an environment and everything that follows from them."""

    def __init__(self, settings: Settings | None = None, declared: Sequence[Declaration] | None = None) -> None:
        """`declared` replaces the declarations of the asset files."""
        self.declared = declared
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
        from catalunya.assets.record.ledger import Ledger

        return Ledger(self.lake)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog in which readers find the tables (Glue in dev and prod)."""
        from catalunya.io.warehouse.glue import catalog

        return catalog(self.settings)

    @cached_property
    def graph(self) -> AssetGraph:
        """The asset graph, compiled if it is not up to date."""
        return load_graph(self.settings)

    @cached_property
    def declarations(self) -> dict[str, Declaration]:
        """The landing and staging declarations by key: their code. Imports all asset files."""
        return dict(declarations())

    def state(self, now: datetime | None = None, listed: Listing | None = None) -> State:
        """What the ledger says about the graph now; `listed`: where its entries are, if that is known already."""
        from catalunya.assets.record.state import State

        return State(self.graph, self.ledger, now or datetime.now(UTC), self.settings.lease_s, listed)

    def overview(self, now: datetime | None = None) -> State:
        """The same for a look at many tables, in a few requests: the last entries that the watch has read have no `objects`."""
        from catalunya.assets.record.ledger import Ledger
        from catalunya.assets.record.newest import read_newest
        from catalunya.assets.record.state import State

        ledger = Ledger(self.lake)
        read_newest(ledger)
        return State(self.graph, ledger, now or datetime.now(UTC), self.settings.lease_s, ledger.listed())
