"""A small source with periods and its table: births by year and half-year, read from a folder that a test writes.

As in `shops.py`, only its wire is a folder. It can be asked for some periods, and notes which windows it was asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import polars as pl

from catalunya.assets.graph.spec import Declaration, Landing, staging
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.periods import Window, period
from catalunya.io.sources.base import Extraction, HttpSettings, Landed, Page, PageFormat, PageSink, SourceState

Births = dict[str, int]


class RawBirths(LandingContract):
    """Births as their source has them."""

    quan: str = raw("Half-year", required=True)
    nascuts: str = raw("Births")


class BirthsByHalfYear(Contract, max_shrink=0.4):
    """Births by half-year."""

    half_year_id: str = column("The half-year", source=RawBirths.quan, key=True, period=True)
    births: int = column("Births", source=RawBirths.nascuts, ge=0)
    year_id: str = column("The year")


@dataclass(frozen=True)
class YearsSource:
    """A source whose table is `births.json` of a folder, its version the content's hash; a page a half-year."""

    folder: Path
    kind: ClassVar[str] = "socrata"
    pages_are: ClassVar[PageFormat] = "rows"
    has_periods: ClassVar[bool] = True

    def write(self, births: Births) -> None:
        """What the source publishes from now on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "births.json").write_text(json.dumps(births))

    def asked(self) -> list[str]:
        """The windows it was asked for so far, `whole` among them."""
        log = self.folder / "asked.txt"
        return log.read_text().splitlines() if log.exists() else []

    def describe(self) -> str:
        return "folder births"

    def url(self, base_url: str) -> str:
        return self.folder.as_uri()

    async def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        version = hashlib.sha256((self.folder / "births.json").read_bytes()).hexdigest()[:8]
        if version == known:
            return None
        return SourceState(version, datetime(2026, 8, 1, tzinfo=UTC), {"quan": "text", "nascuts": "number"})

    async def extract(
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
            body = json.dumps([{"quan": when, "nascuts": str(count)}]).encode()
            name = f"page-{number:05}.json"
            await sink(name, _chunks(body))
            pages.append(Page(name, f"folder:{when}", 1, len(body), hashlib.sha256(body).hexdigest()))
        return Extraction(state, tuple(pages), len(pages), started, datetime.now(UTC))


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


def declare(folder: Path) -> tuple[YearsSource, list[Declaration]]:
    """The source, and a graph of two assets: landing.births -> staging.births, partitioned by year."""
    source = YearsSource(folder)
    landing = Landing("births", source=source, contract=RawBirths, schedule="0 5 * * *")

    @staging(landing, contract=BirthsByHalfYear, partition_by=["year_id"])
    def births(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw.with_columns(year_id=pl.col("half_year_id").str.slice(0, 4))

    return source, [landing, births]
