"""Contracts of the marts: one class per dbt model, named like the model: `dim_time` and `DimTime`.

Here: what each mart's rows and columns mean. Not here: how they are computed (`dbt/models/marts`), the YAML generated for dbt
(`model/derive.py`). A mart's partition columns (`replacing` in its model) matter on Athena only; DuckDB ignores them.
"""

from __future__ import annotations

from datetime import date

import pandera.polars as pa
import polars as pl

from catalunya.contracts.employment import CLASSIFICATIONS
from catalunya.contracts.model.contract import Contract, column
from catalunya.contracts.population import OBSERVATION_STATUS
from catalunya.contracts.social_services import SERVICE_GROUPS

COMARCA = r"^(0[1-9]|[1-3]\d|4[0-3])$"
MONTH = r"^\d{4}-(0[1-9]|1[0-2])$"
QUARTER = r"^\d{4}-Q[1-4]$"
YEAR = r"^\d{4}$"
MUNICIPALITY = r"^\d{6}$"
PROVINCES = ["08", "17", "25", "43"]
FUNCTIONAL_AREAS = [f"AT0{number}" for number in range(1, 9)]
MAIN_SECTORS = ["agriculture", "industry", "construction", "services"]
KNOWN_STATUS = [status for status in OBSERVATION_STATUS if status != "missing"]


class DimTime(Contract, max_shrink=0.0):
    """The calendar: one row per day, from 1990-01-01 to the end of the year after the run's.

    Public holidays are those observed in all of Catalonia every year. The two local holidays of each municipality are not
    included, nor are changes made by the yearly decree (such as a holiday moved from a Sunday to another day).
    """

    date_id: date = column("The day", key=True)
    month_id: str = column("Month of the day: `2026-08`", str_matches=MONTH)
    quarter_id: str = column("Quarter of the day: `2026-Q3`", str_matches=QUARTER)
    half_year_id: str = column("Half-year of the day: `2026-H2`", str_matches=r"^\d{4}-H[12]$")
    year_number: int = column("Year of the day", ge=1990)
    quarter_number: int = column("Quarter of the year, 1 to 4", ge=1, le=4)
    month_number: int = column("Month of the year, 1 to 12", ge=1, le=12)
    day_of_month: int = column("Day of the month, 1 to 31", ge=1, le=31)
    day_of_week: int = column("Day of the week (ISO 8601): 1 is Monday, 7 is Sunday", ge=1, le=7)
    is_weekend: bool = column("Whether it is a Saturday or a Sunday")
    month_name_ca: str = column("Name of the month in Catalan")
    month_name_es: str = column("Name of the month in Spanish")
    month_name_en: str = column("Name of the month in English")
    is_public_holiday: bool = column("Whether it is a public holiday in Catalonia")
    public_holiday_name_ca: str = column("Name of the holiday in Catalan", nullable=True)

    @pa.dataframe_check
    @classmethod
    def a_holiday_has_a_name(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A day has a holiday name exactly when it is a public holiday."""
        return data.lazyframe.select(pl.col("is_public_holiday") == pl.col("public_holiday_name_ca").is_not_null())


# valid_to and missing_since_date are its only nullable columns; they become null again when a municipality comes back.
class DimMunicipalities(Contract, max_shrink=0.02, max_growth=0.05, max_change=0.05, max_loss=1.0):
    """The municipalities with their history: one row per municipality and period with the same name and comarca.

    A change is dated by the run that found it; the state at the first run is valid from 1990-01-01, except that documented changes
    of comarca (the seed comarca_changes) have their own date. Another spelling (case, white space, apostrophe, l·l) is not a change.
    A municipality that the source lacks stays current for 14 days; after that, its row ends on the first day it was missing.
    """

    municipality_id: str = column(
        "Idescat code: the INE's five digits and a control digit", key=True, str_matches=MUNICIPALITY
    )
    municipality_name: str = column("Official name, with the article at the end: `Bisbal d'Empordà, la`")
    comarca_id: str = column("Code of the comarca in that period, two digits", str_matches=COMARCA)
    comarca_name: str = column("Name of that comarca")
    province_id: str = column("INE code of the province", isin=PROVINCES)
    province_name: str = column("Name of the province", isin=["Barcelona", "Girona", "Lleida", "Tarragona"])
    functional_area_id: str = column(
        "Idescat code of the comarca's territorial functional area (àmbit funcional). Assigned by comarca: "
        "the municipalities of Anoia that opted for Comarques Centrals count as Penedès",
        isin=FUNCTIONAL_AREAS,
    )
    functional_area_name: str = column("Name of that area")
    longitude_deg: float = column("Longitude of the seat, latest known, WGS 84", unit="deg", ge=0.0, le=3.5)
    latitude_deg: float = column("Latitude of the seat, latest known, WGS 84", unit="deg", ge=40.4, le=43.0)
    valid_from: date = column("First day the row is valid", key=True)
    valid_to: date = column("First day the row is no longer valid; null while it is", nullable=True)
    is_current: bool = column("Whether the row is valid now")
    missing_since_date: date = column(
        "First day the source lacked the municipality; null if it had it to the end of the row's validity, or has it now",
        nullable=True,
    )

    @pa.dataframe_check
    @classmethod
    def missing_while_valid(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A municipality goes missing while its row is valid, or on the day the row ends."""
        starts = pl.col("valid_from") < pl.col("missing_since_date")
        ends = (pl.col("missing_since_date") <= pl.col("valid_to")).fill_null(value=True)
        return data.lazyframe.select((starts & ends).fill_null(value=True))

    @pa.dataframe_check
    @classmethod
    def spans_are_spans(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A version begins before it ends, and is current exactly when it has no end."""
        begins = (pl.col("valid_from") < pl.col("valid_to")).fill_null(value=True)
        return data.lazyframe.select(begins & (pl.col("is_current") == pl.col("valid_to").is_null()))


class DimEconomicSectors(Contract, max_shrink=0.0):
    """The sectors of the economy: one row per sector of the quarterly accounts and per section of each CCAE, in one hierarchy.

    GDP is at the top, and each section is below its sector. The same letter is a different section in each classification.
    """

    sector_id: str = column(
        "The sector, as in the accounts (`services`), or a section of a classification (`CCAE-2009:A`)", key=True
    )
    classification: str = column(
        "The classification it belongs to; GDP for a sector of the accounts", isin=["GDP", *CLASSIFICATIONS]
    )
    sector_code: str = column(
        "Code in that classification: a letter; for the accounts, its NACE 2 sections or the aggregate's ESA 2010 code"
    )
    sector_name_ca: str = column("Latest name in the source, in Catalan")
    parent_sector_id: str = column(
        "Parent sector; null for GDP", nullable=True, references="dim_economic_sectors.sector_id"
    )
    level_number: int = column("Depth in the hierarchy; GDP is 1", ge=1, le=5)
    main_sector_id: str = column(
        "Main sector that it is or belongs to; null above the main sectors", nullable=True, isin=MAIN_SECTORS
    )

    @pa.dataframe_check
    @classmethod
    def all_but_gdp_are_part_of_something(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Only GDP has no parent: a section without one would be missing from every sum."""
        return data.lazyframe.select(pl.col("parent_sector_id").is_null() == (pl.col("sector_id") == "gdp"))


class FactPopulationMonthly(Contract, max_shrink=0.05):
    """Inhabitants by month: one row per municipality and month, as of the month's first day.

    The source has two counts a year, on 1 January and 1 July; its alternative, the municipal register, one on 1 January. The months
    between two counts, and a missing count, are interpolated linearly, rounded, and marked as interpolated. There are no rows after the
    last count, and none of periods and municipalities for which the source has no counts any more.
    """

    month_id: str = column("The month: `2026-08`", key=True, str_matches=MONTH)
    municipality_id: str = column(
        "Idescat code of the municipality",
        key=True,
        str_matches=MUNICIPALITY,
        references="dim_municipalities.municipality_id",
    )
    date_id: date = column("Reference date: the first day of the month", references="dim_time.date_id")
    comarca_id: str = column("Code of its comarca on that day, two digits", str_matches=COMARCA)
    comarca_name: str = column("Name of that comarca on that day")
    province_id: str = column("INE code of the province", isin=PROVINCES)
    population: int = column("Inhabitants", unit="people", ge=0)
    women: int = column("Women, if the source has them", nullable=True, unit="people", ge=0)
    men: int = column("Men, if the source has them", nullable=True, unit="people", ge=0)
    is_interpolated: bool = column("Whether the figures are interpolated from the counts before and after")
    observation_status: str = column(
        "Status of the count; for an interpolated row, that of the less final of its two counts", isin=KNOWN_STATUS
    )
    catalonia_population: int = column(
        "The source's own total for Catalonia, interpolated the same way, to check sums against; null if it has none",
        nullable=True,
        unit="people",
        ge=0,
    )
    population_source: str = column(
        "Dataset that the count is from; of an interpolated row both, joined by `and`, if its two counts differ in it"
    )
    year_id: str = column("Year of the month", str_matches=YEAR)

    @pa.dataframe_check
    @classmethod
    def estimates_add_up(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """In an interpolated row, women and men add up to the population."""
        adds_up = (pl.col("women") + pl.col("men") == pl.col("population")).fill_null(value=True)
        return data.lazyframe.select(adds_up | ~pl.col("is_interpolated"))


class FactGdpQuarterly(Contract, max_shrink=0.05, max_growth=2.0, version=2):
    """GDP and its sectors, with their revisions: one row per quarter, sector and revision. Seasonally adjusted.

    A revision is dated by the source's update; unchanged figures with a newer date only move the date. Revised figures are kept
    with their own date, starting with the first run: the source itself keeps no earlier figures. So are those of a quarter that
    the source no longer publishes: they are marked as withdrawn, and none of them is the latest.
    """

    quarter_id: str = column("The quarter: `2026-Q3`", key=True, str_matches=QUARTER)
    sector_id: str = column(
        "The sector, or an aggregate of sectors", key=True, references="dim_economic_sectors.sector_id"
    )
    # Moves with every update of the source, also of unchanged figures: rows are not recognized by it.
    revision_date: date = column("Date of the source's update that published these figures", key=True, max_change=1.0)
    is_latest: bool = column("Whether it is the latest revision, and the source still publishes the quarter and sector")
    is_withdrawn: bool = column("Whether the source no longer publishes the quarter and sector")
    date_id: date = column("First day of the quarter", references="dim_time.date_id")
    gdp_eur_millions: float = column("Value in the quarter, at current prices", nullable=True, unit="EUR millions")
    volume_index: float = column("Chain-linked volume index", nullable=True, unit="index")
    observation_status: str = column("Status of the less final of the two figures", isin=OBSERVATION_STATUS)
    year_id: str = column("Year of the quarter", str_matches=YEAR)

    @pa.dataframe_check
    @classmethod
    def missing_is_empty(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Both figures are null exactly where the status is `missing`."""
        is_empty = pl.col("gdp_eur_millions").is_null() & pl.col("volume_index").is_null()
        return data.lazyframe.select(is_empty == (pl.col("observation_status") == "missing"))

    @pa.dataframe_check
    @classmethod
    def withdrawn_is_not_the_latest(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """What the source has withdrawn is not its latest figure."""
        return data.lazyframe.select(~(pl.col("is_latest") & pl.col("is_withdrawn")))


class FactServiceUsageDaily(Contract, max_shrink=0.05, max_growth=2.0, version=2):
    """Services, places and users: one row per day, comarca and service group.

    Each run adds its day; earlier days stay as they are, because the register cannot give them again: it has no history.

    Users are counted once a year, and only in day centers and residences for the elderly: a row has those of the latest
    known year. A group with users has a row even if the comarca has no registered service of that group.
    """

    date_id: date = column("The day", key=True, references="dim_time.date_id")
    comarca_id: str = column(
        "Code of the comarca, two digits", key=True, str_matches=COMARCA, references="dim_municipalities.comarca_id"
    )
    comarca_name: str = column("Name of the comarca on that day")
    service_group: str = column("Group of service types", key=True, isin=SERVICE_GROUPS)
    registered_services: int = column("Services in the register on that day", ge=0)
    places: int = column(
        "Places in those services; null unless all of them are known", nullable=True, unit="places", ge=0
    )
    known_places: int = column("Places in the services whose places are known", nullable=True, unit="places", ge=0)
    places_known_ratio: float = column(
        "Share of those services whose places are known; null if there are no services, and on days recorded before this column "
        "was, whose places are those that were known",
        nullable=True,
        unit="ratio",
        ge=0.0,
        le=1.0,
    )
    users: int = column("People who used them in the latest known year", nullable=True, unit="people", ge=0)
    users_year: int = column("Year the users were counted", nullable=True, ge=2000, le=2100)
    occupancy_ratio: float = column(
        "Users per place; above 1 if there are more users than places, null unless all places are known",
        nullable=True,
        unit="ratio",
        ge=0.0,
    )


class AggPopulationTrendsYearly(Contract, max_shrink=0.05, version=2):
    """Population growth: one row per municipality and year, as of 1 January.

    A comarca's sum is null unless the figures of all its municipalities are known.
    """

    year_number: int = column("The year", key=True, ge=1990)
    municipality_id: str = column(
        "Idescat code of the municipality",
        key=True,
        str_matches=MUNICIPALITY,
        references="dim_municipalities.municipality_id",
    )
    date_id: date = column("1 January of the year", references="dim_time.date_id")
    municipality_name: str = column("Official name on that day")
    comarca_id: str = column("Code of its comarca on that day, two digits", str_matches=COMARCA)
    comarca_name: str = column("Name of that comarca on that day")
    province_id: str = column("INE code of the province", isin=PROVINCES)
    population: int = column("Inhabitants on 1 January", unit="people", ge=0)
    previous_population: int = column(
        "Inhabitants on 1 January of the previous year; null in the first known year",
        nullable=True,
        unit="people",
        ge=0,
    )
    population_change: int = column(
        "Change in inhabitants since 1 January of the previous year", nullable=True, unit="people"
    )
    growth_pct: float = column(
        "That change as a percentage of the previous population", nullable=True, unit="%", ge=-100.0
    )
    comarca_population: int = column(
        "Inhabitants of the comarca, with its boundaries on 1 January; null unless those of all its municipalities are known",
        nullable=True,
        unit="people",
        ge=0,
    )
    comarca_population_known_ratio: float = column(
        "Share of the comarca's municipalities whose inhabitants are known", unit="ratio", gt=0.0, le=1.0
    )
    comarca_share_pct: float = column(
        "Share of the comarca's inhabitants; null if these are unknown or zero",
        nullable=True,
        unit="%",
        ge=0.0,
        le=100.0,
    )
    area_km2: float = column(
        "Area of the municipality (Idescat), the latest published, in every year; null if not published, or while the areas have never been made",
        nullable=True,
        unit="km2",
        gt=0.0,
    )
    density_per_km2: float = column("Inhabitants per km²", nullable=True, unit="people/km2", ge=0.0)
    is_interpolated: bool = column("Whether the population is interpolated because there is no count for 1 January")
    observation_status: str = column("Status of the population figure", isin=KNOWN_STATUS)


class AggEconomicIndicatorsQuarterly(Contract, max_shrink=0.05, version=3):
    """GDP, population and jobs: one row per quarter and sector of the accounts, from the latest revision.

    A sum is null unless all figures in it are known. The columns of jobs are null in all rows while employment has never been made.
    """

    quarter_id: str = column("The quarter: `2026-Q3`", key=True, str_matches=QUARTER)
    sector_id: str = column(
        "The sector, or an aggregate of sectors", key=True, references="dim_economic_sectors.sector_id"
    )
    date_id: date = column("First day of the quarter", references="dim_time.date_id")
    # Figures of the accounts: every quarter is estimated again with each new one.
    gdp_eur_millions: float = column(
        "Value in the quarter, at current prices", nullable=True, unit="EUR millions", max_change=1.0
    )
    gdp_share_pct: float = column("Share of GDP at current prices", nullable=True, unit="%", max_change=1.0)
    quarterly_growth_pct: float = column(
        "Growth of the volume index on the previous quarter; not rounded, unlike the source's",
        nullable=True,
        unit="%",
        max_change=1.0,
    )
    yearly_growth_pct: float = column(
        "Growth of the volume index on the same quarter a year earlier; not rounded",
        nullable=True,
        unit="%",
        max_change=1.0,
    )
    observation_status: str = column("Status of the GDP figures", isin=OBSERVATION_STATUS)
    population: float = column(
        "Inhabitants of Catalonia, mean of the quarter's months; null unless all three are known. A month is known from the "
        "source's total, or else from the figures of all municipalities",
        nullable=True,
        unit="people",
        ge=0.0,
    )
    population_known_ratio: float = column(
        "Share of the quarter's population figures that are known; 1 for a month with the source's total",
        unit="ratio",
        ge=0.0,
        le=1.0,
    )
    gdp_per_head_eur: float = column(
        "Value in the quarter per inhabitant; not annualized", nullable=True, unit="EUR", max_change=1.0
    )
    jobs: int = column(
        "Jobs in the sector's sections on the last day of the quarter, employees and self-employed; null unless the source has a figure "
        "for every regime, section and comarca",
        nullable=True,
        unit="jobs",
        ge=0,
    )
    known_jobs: int = column(
        "Sum of the jobs that the source publishes by regime, section and comarca: at most the jobs there were",
        nullable=True,
        unit="jobs",
        ge=0,
    )
    jobs_known_ratio: float = column(
        "Share of those figures that the source publishes",
        nullable=True,
        unit="ratio",
        ge=0.0,
        le=1.0,
    )
    jobs_per_thousand_people: float = column("Jobs per thousand inhabitants", nullable=True, unit="jobs", ge=0.0)
    employment_classification: str = column("Classification of the jobs", nullable=True, isin=CLASSIFICATIONS)
    is_classification_break: bool = column(
        "Whether it is the first quarter of a new classification: its jobs are not comparable with earlier ones"
    )
