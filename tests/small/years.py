"""A small source with periods and its table: births by half-year, read from a folder that the test writes.

Like the source of `shops.py`, but it can extract single periods, and it notes the windows of its extractions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import polars as pl

from catalunya.assets.graph.spec import Declaration, Landing, staging
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.periods import Window, period
from catalunya.io.sources.base import Extraction, HttpSettings, Landed, Page, PageSink, SourceState
from small.shops import InFolder

Births = dict[str, int]


class RawBirths(LandingContract):
    """Births as the source publishes them."""

    quan: str = raw("Half-year", required=True)
    nascuts: str = raw("Births")


class BirthsByHalfYear(Contract, max_shrink=0.4, max_change=1.0):
    """Births by half-year."""

    half_year_id: str = column("The half-year", source=RawBirths.quan, key=True, period=True)
    births: int = column("Births", source=RawBirths.nascuts, ge=0)
    year_id: str = column("The year")


@dataclass(frozen=True)
class YearsSource(InFolder):
    """A source that reads `births.json` in a folder, one page per half-year; its version is the hash of the content."""

    has_periods: ClassVar[bool] = True
    when: str = "quan"
    count: str = "nascuts"

    def write(self, births: Births) -> None:
        """Set what the source publishes from now on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "births.json").write_text(json.dumps(births))

    def asked(self) -> list[str]:
        """The windows extracted so far; `whole` for an extraction of everything."""
        log = self.folder / "asked.txt"
        return log.read_text().splitlines() if log.exists() else []

    def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        version = hashlib.sha256((self.folder / "births.json").read_bytes()).hexdigest()[:8]
        if version == known:
            return None
        return SourceState(version, datetime(2026, 8, 1, tzinfo=UTC), {self.when: "text", self.count: "number"})

    def extract(
        self,
        http: HttpSettings,
        state: SourceState,
        sink: PageSink,
        *,
        window: Window | None = None,
        progress: Callable[[int, int], None] | None = None,
        landed: Landed | None = None,
    ) -> Extraction:
        with (self.folder / "asked.txt").open("a") as log:
            log.write(f"{window or 'whole'}\n")
        started, pages = datetime.now(UTC), []
        births: Births = json.loads((self.folder / "births.json").read_text())
        for number, (when, count) in enumerate(births.items()):
            if window and not window.covers(period(when)):
                continue
            body = json.dumps([{self.when: when, self.count: str(count)}]).encode()
            name = f"page-{number:05}.json"
            sink(name, body)
            pages.append(Page(name, f"folder:{when}", 1, len(body), hashlib.sha256(body).hexdigest()))
        return Extraction(state, tuple(pages), len(pages), started, datetime.now(UTC))


def declare(folder: Path) -> tuple[YearsSource, list[Declaration]]:
    """The source, and a graph of two assets: landing.births -> staging.births, partitioned by year."""
    source = YearsSource(folder)
    landing = Landing("births", source=source, contract=RawBirths, schedule="0 5 * * *")

    @staging(landing, contract=BirthsByHalfYear, partition_by=["year_id"])
    def births(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw.with_columns(year_id=pl.col("half_year_id").str.slice(0, 4))

    return source, [landing, births]
