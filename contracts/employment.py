"""Contracts of the employment source: IDESCAT `afic`, Social Security affiliations by section and comarca, four times a year."""

from __future__ import annotations

from datetime import date

import pandera.polars as pa
import polars as pl

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.contracts.population import OBSERVATION_STATUS

CLASSIFICATIONS = ["CCAE-2009", "CCAE-2025"]
REGIMES = ["general", "self_employed"]


class RawEmployment(LandingContract):
    """Afiliacions a la Seguretat Social: affiliations on a quarter's last day by CCAE section and comarca, as JSON-stat cells."""

    time: str = raw("The month or the quarter at the end of which was counted", kind="time", required=True)
    geo: str = raw("Code of the comarca, two digits; TOTAL for Catalonia", kind="geo", required=True)
    metric: str = raw("What was counted", kind="metric", required=True)
    SECTION: str = raw("CCAE section, a letter; TOTAL for all sections", kind="dimension", required=True)
    SECTION_label: str = raw("Name of the section in Catalan", required=True)
    value: str = raw("The count, a multiple of 5")
    status: str = raw("p provisional, .. not available")
    table: str = raw("Table the cell belongs to; there is one per regime and classification", required=True)
    updated: str = raw("Date the table was last updated", required=True)


class Employment(Contract, tolerate=0.01, max_shrink=0.05, version=2):
    """Jobs (affiliations on the last day of a quarter) by quarter, comarca, regime of the Social Security and CCAE section.

    The source publishes no total of the two regimes: add them. It rounds figures to multiples of 5, so that sections add up to
    their total only roughly. CCAE-2009 until the end of 2025, CCAE-2025 from March 2026: the same letter may mean a different
    section in each, so always read a section together with its classification. A figure the source does not publish (`..`) is
    null, never zero.
    """

    quarter_id: str = column(
        "The quarter at the end of which was counted: `2024-Q1`",
        key=True,
        period=True,
        str_matches=r"^(19|20)\d{2}-Q[1-4]$",
    )
    comarca_id: str = column(
        "Code of the comarca, two digits",
        source=RawEmployment.geo,
        key=True,
        str_matches=r"^(0[1-9]|[1-3]\d|4[0-3])$",
    )
    regime: str = column(
        "Regime of the Social Security: general (with coal mining), or self_employed", key=True, isin=REGIMES
    )
    classification: str = column("Classification the section belongs to", key=True, isin=CLASSIFICATIONS)
    section_id: str = column("Section, a letter", source=RawEmployment.SECTION, key=True, str_matches=r"^[A-V]$")
    section_name: str = column("Name of the section in Catalan", source=RawEmployment.SECTION_label)
    observed_date: date = column("Reference date: the last day of the quarter")
    jobs: int = column("Affiliations", source=RawEmployment.value, nullable=True, unit="jobs", ge=0)
    observation_status: str = column(
        "Whether the figure is final, provisional, an advance or missing", isin=OBSERVATION_STATUS
    )
    comarca_jobs: int = column(
        "The source's own total for the comarca, regime and quarter, to check sums against",
        nullable=True,
        unit="jobs",
        ge=0,
    )
    updated_date: date = column("Date the source last updated the table", source=RawEmployment.updated, max_change=1.0)
    year_id: str = column("Year of the quarter", str_matches=r"^(19|20)\d{2}$")

    @pa.dataframe_check
    @classmethod
    def missing_is_empty(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A figure is null exactly where its status is `missing`."""
        return data.lazyframe.select(pl.col("jobs").is_null() == (pl.col("observation_status") == "missing"))

    @pa.dataframe_check
    @classmethod
    def observed_on_the_last_day_of_the_quarter(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """The source counts on the last day of a quarter: a figure of another day is not of this series."""
        day_after = pl.col("observed_date").dt.offset_by("1d")
        return data.lazyframe.select(day_after.dt.truncate("1q") == day_after)
