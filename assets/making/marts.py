"""How a mart is made: dbt builds one model in a scratch database, and its table is checked like any other.

Here: which relations dbt is given, and the checked candidate. Not here: running dbt and reading its result (`io/warehouse`),
the SQL (`dbt/models`).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from catalunya.assets.graph.dbt_marts import contract_of
from catalunya.assets.graph.discovery import mart_contracts
from catalunya.assets.graph.spec import Layer
from catalunya.assets.making.candidate import ROWS_PER_GROUP, CandidateBuilder, check_partition_values
from catalunya.assets.making.guards import guarded
from catalunya.assets.making.maker import Candidate, Context, Maker
from catalunya.assets.making.references import check_own_references, known_values
from catalunya.assets.record.paths import relation, scan_table
from catalunya.contracts.model.check import REASON, ROW, conform, split_rows
from catalunya.contracts.model.results import Severity
from catalunya.io.warehouse.build import Tested, build_model


class MartMaker(Maker):
    """Makes a dimension, fact or aggregate by its dbt model."""

    def make(self, context: Context, scratch: Path) -> Candidate:
        """Build and check it. Raises WarehouseError when dbt or its tests fail, ContractError on a breach."""
        asset, lake, previous = context.asset, context.project.lake, context.previous
        contract = contract_of(mart_contracts(), asset.name)

        def tested(test: Tested) -> None:
            is_personal = any(column.personal for column in contract.columns())
            severity: Severity = "warning" if test.only_warns else "error"
            context.checks.put(test.name, "test", test.failed, test.sample, severity=severity, personal=is_personal)

        built = build_model(
            asset.name,
            inputs=[
                relation(lake, up, context.state.latest(up.key)) for up in context.project.graph.upstream(asset.key)
            ],
            previous=relation(lake, asset, previous) if previous and not context.request.full_refresh else None,
            variables={"as_of": f"{context.state.now:%Y-%m-%d}"},
            order_by=asset.key_columns,
            settings=context.project.settings,
            scratch=scratch,
            tested=tested,
        )
        builder = CandidateBuilder(asset, contract, scratch, strict=True, tally=context.checks)
        referable = [
            up
            for up in context.project.graph.upstream(asset.key)
            if up.layer is asset.layer and up.key not in asset.optional
        ]
        with lake.reading(Layer.MARTS):
            known = known_values(asset, {up.name: scan_table(lake, up, context.made(up.key)) for up in referable})
        pages = pl.scan_parquet(built, glob=False).collect_batches(chunk_size=ROWS_PER_GROUP, maintain_order=True)
        for number, page in enumerate(pages):
            numbered = page.with_columns(
                pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW), pl.lit(None, pl.String).alias(REASON)
            )
            frame = conform(asset.key, numbered.lazy(), contract).collect()
            frame = check_partition_values(frame, asset, context.checks)
            good, bad = split_rows(frame, contract, references=known, tally=context.checks)
            rejected = bad.join(numbered.drop(REASON), on=ROW, how="left").drop(ROW) if bad.height else bad
            builder.pages.append(builder.store(number, good, rejected))
        return guarded(context, check_own_references(asset, builder.build(), context.checks), contract)


MAKER = MartMaker()
