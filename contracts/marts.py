"""The promises of the marts, one class a dbt model, called as the model is: `dim_time` and `DimTime`.

Here: what each mart's rows and columns mean. Not here: how they are computed (`dbt/models/marts`), what dbt is told of them
(`derive.py`). The columns a mart is partitioned by on Athena (`replacing` in its model) are all the same to DuckDB.
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
TOLD = [status for status in OBSERVATION_STATUS if status != "missing"]


class DimTime(Contract, max_shrink=0.0):
    """The calendar: one row per day, from 1990-01-01 to the end of the year after the run's.

    Public holidays are those that all of Catalonia has each year. The two local days of each municipality are not among them,
    and neither are the moves that a year's decree makes (a holiday on a Sunday that is kept on another day, say).
    """

    date_id: date = column("The day", key=True)
    month_id: str = column("Its month: `2026-08`", str_matches=MONTH)
    quarter_id: str = column("Its quarter: `2026-Q3`", str_matches=QUARTER)
    half_year_id: str = column("Its half-year: `2026-H2`", str_matches=r"^\d{4}-H[12]$")
    year_number: int = column("Its year", ge=1990)
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
        """A day has a holiday's name exactly where it is one."""
        return data.lazyframe.select(pl.col("is_public_holiday") == pl.col("public_holiday_name_ca").is_not_null())


class DimMunicipalities(Contract, max_shrink=0.02):
    """The municipalities with their history: one row per municipality and span of time in which its name and its comarca held.

    A change is dated by the run that saw it; what held at the first run counts from 1990-01-01.
    """

    municipality_id: str = column(
        "Idescat code: the INE's five digits and a control digit", key=True, str_matches=MUNICIPALITY
    )
    municipality_name: str = column("Official name, with the article behind: `Bisbal d'Empordà, la`")
    comarca_id: str = column("Code of the comarca it was in, two digits", str_matches=COMARCA)
    comarca_name: str = column("Name of that comarca")
    province_id: str = column("INE code of the province", isin=PROVINCES)
    province_name: str = column("Name of the province", isin=["Barcelona", "Girona", "Lleida", "Tarragona"])
    functional_area_id: str = column(
        "Idescat code of the territorial functional area (àmbit funcional) that the comarca is in. It goes by comarca: "
        "the municipalities of Anoia that opted for Comarques Centrals count as Penedès",
        isin=FUNCTIONAL_AREAS,
    )
    functional_area_name: str = column("Name of that area")
    longitude_deg: float = column("Longitude of the seat as last known, WGS 84", unit="deg", ge=0.0, le=3.5)
    latitude_deg: float = column("Latitude of the seat as last known, WGS 84", unit="deg", ge=40.4, le=43.0)
    valid_from: date = column("First day on which the row held", key=True)
    valid_to: date = column("Day from which it held no more; empty while it holds", nullable=True)
    is_current: bool = column("Whether it holds now")

    @pa.dataframe_check
    @classmethod
    def spans_are_spans(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A version begins before it ends, and is the current one exactly while it has no end."""
        begins = (pl.col("valid_from") < pl.col("valid_to")).fill_null(value=True)
        return data.lazyframe.select(begins & (pl.col("is_current") == pl.col("valid_to").is_null()))


class DimEconomicSectors(Contract, max_shrink=0.0):
    """The sectors of the economy: one row per sector of the quarterly accounts and per section of each CCAE, in one hierarchy.

    GDP is at its top, a section below the sector it belongs to. The same letter is another section in each classification.
    """

    sector_id: str = column(
        "The sector, as in the accounts (`services`), or a section of a classification (`CCAE-2009:A`)", key=True
    )
    classification: str = column("What it is a sector of", isin=["GDP", *CLASSIFICATIONS])
    sector_code: str = column(
        "Its code there: a letter; for the accounts, the sections of NACE 2 it is made of or the aggregate's ESA 2010 code"
    )
    sector_name_ca: str = column("The newest name that the source gives it, in Catalan")
    parent_sector_id: str = column(
        "The sector it is part of; empty for GDP", nullable=True, references="dim_economic_sectors.sector_id"
    )
    level_number: int = column("Its depth in the hierarchy: 1 is GDP", ge=1, le=5)
    main_sector_id: str = column(
        "The main sector it is or belongs to; empty above these", nullable=True, isin=MAIN_SECTORS
    )

    @pa.dataframe_check
    @classmethod
    def all_but_gdp_are_part_of_something(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Only GDP has no parent: a section that nobody placed would be missing in all sums."""
        return data.lazyframe.select(pl.col("parent_sector_id").is_null() == (pl.col("sector_id") == "gdp"))


class FactPopulationMonthly(Contract, max_shrink=0.05):
    """Inhabitants by month: one row per municipality and month, as of the month's first day.

    The source counts twice a year, on 1 January and 1 July. The months between two counts lie on the straight line from one to
    the other, rounded, and say so; a count that is missing is bridged the same way. Nothing is said of months after the last
    count.
    """

    month_id: str = column("The month: `2026-08`", key=True, str_matches=MONTH)
    municipality_id: str = column(
        "Idescat code of the municipality",
        key=True,
        str_matches=MUNICIPALITY,
        references="dim_municipalities.municipality_id",
    )
    date_id: date = column("First day of the month, which the figures are of", references="dim_time.date_id")
    comarca_id: str = column("Code of the comarca it was in on that day, two digits", str_matches=COMARCA)
    comarca_name: str = column("Name of that comarca on that day")
    province_id: str = column("INE code of the province", isin=PROVINCES)
    population: int = column("Inhabitants", unit="people", ge=0)
    women: int = column("Women among them, where the source tells", nullable=True, unit="people", ge=0)
    men: int = column("Men among them, where the source tells", nullable=True, unit="people", ge=0)
    is_interpolated: bool = column("Whether the figures are estimated from the counts before and after")
    observation_status: str = column(
        "How firm the count is; of an estimate, how firm the less firm of its two counts is", isin=TOLD
    )
    catalonia_population: int = column(
        "The source's own total for Catalonia, interpolated likewise; empty where it tells none: to hold sums against",
        nullable=True,
        unit="people",
        ge=0,
    )
    year_id: str = column("Year of the month", str_matches=YEAR)

    @pa.dataframe_check
    @classmethod
    def estimates_add_up(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """The women and men of an estimate are its population."""
        adds_up = (pl.col("women") + pl.col("men") == pl.col("population")).fill_null(value=True)
        return data.lazyframe.select(adds_up | ~pl.col("is_interpolated"))


class FactGdpQuarterly(Contract, max_shrink=0.05):
    """GDP and its sectors, with their revisions: one row per quarter, sector and revision. Seasonally adjusted.

    A revision is dated by the source's update; the same figures under a newer date only move the date. What was revised stays,
    with its own date, from the first run on: the source itself keeps no former figures.
    """

    quarter_id: str = column("The quarter: `2026-Q3`", key=True, str_matches=QUARTER)
    sector_id: str = column(
        "The sector, or an aggregate of sectors", key=True, references="dim_economic_sectors.sector_id"
    )
    revision_date: date = column("Day of the source's update that brought these figures", key=True)
    is_latest: bool = column("Whether they are what the source says now")
    date_id: date = column("First day of the quarter", references="dim_time.date_id")
    gdp_eur_millions: float = column("Value at current prices, of the quarter", nullable=True, unit="EUR millions")
    volume_index: float = column("Index of its chained volume", nullable=True, unit="index")
    observation_status: str = column("How firm the less firm of the two is", isin=OBSERVATION_STATUS)
    year_id: str = column("Year of the quarter", str_matches=YEAR)

    @pa.dataframe_check
    @classmethod
    def missing_is_empty(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Both figures are empty exactly where the status says that they are missing."""
        is_empty = pl.col("gdp_eur_millions").is_null() & pl.col("volume_index").is_null()
        return data.lazyframe.select(is_empty == (pl.col("observation_status") == "missing"))


class FactServiceUsageDaily(Contract, max_shrink=0.05):
    """Services, places and users: one row per day, comarca and service group. Each run adds its day; earlier days stay as they were.

    Users are counted once a year, and only in day centres and residences for the elderly: a row has those of the latest
    known year. A group in which people were counted is here even where no service of it is registered.
    """

    date_id: date = column("The day", key=True, references="dim_time.date_id")
    comarca_id: str = column(
        "Code of the comarca, two digits", key=True, str_matches=COMARCA, references="dim_municipalities.comarca_id"
    )
    comarca_name: str = column("Name of the comarca on that day")
    service_group: str = column("Group of service types", key=True, isin=SERVICE_GROUPS)
    registered_services: int = column("Services in the register on that day", ge=0)
    places: int = column("Places of those services, as far as they are known", nullable=True, unit="places", ge=0)
    users: int = column("People who used them in the latest known year", nullable=True, unit="people", ge=0)
    users_year: int = column("The year those people were counted in", nullable=True, ge=2000, le=2100)
    occupancy_ratio: float = column(
        "Users per place; above 1 where there are more users than places", nullable=True, unit="ratio", ge=0.0
    )


class AggPopulationTrendsYearly(Contract, max_shrink=0.05):
    """How the municipalities grow: one row per municipality and year, as of 1 January."""

    year_number: int = column("The year", key=True, ge=1990)
    municipality_id: str = column(
        "Idescat code of the municipality",
        key=True,
        str_matches=MUNICIPALITY,
        references="dim_municipalities.municipality_id",
    )
    date_id: date = column("1 January of the year", references="dim_time.date_id")
    municipality_name: str = column("Its official name on that day")
    comarca_id: str = column("Code of the comarca it was in on that day, two digits", str_matches=COMARCA)
    comarca_name: str = column("Name of that comarca on that day")
    province_id: str = column("INE code of the province", isin=PROVINCES)
    population: int = column("Inhabitants on 1 January", unit="people", ge=0)
    previous_population: int = column(
        "Inhabitants on 1 January of the year before; empty in the first year known", nullable=True, unit="people", ge=0
    )
    population_change: int = column(
        "Inhabitants more than on 1 January of the year before", nullable=True, unit="people"
    )
    growth_pct: float = column("That change, of the population of the year before", nullable=True, unit="%", ge=-100.0)
    comarca_population: int = column("Inhabitants of the comarca, as it was on 1 January", unit="people", ge=0)
    comarca_share_pct: float = column(
        "Share of the comarca's inhabitants; empty where nobody lives in it", nullable=True, unit="%", ge=0.0, le=100.0
    )
    area_km2: float = column(
        "Area of the municipality (Idescat), where it is known here: no source of the pipeline gives areas",
        nullable=True,
        unit="km2",
        gt=0.0,
    )
    density_per_km2: float = column("Inhabitants per km²", nullable=True, unit="people/km2", ge=0.0)
    is_interpolated: bool = column("Whether the population is estimated, as no count of 1 January is known")
    observation_status: str = column("How firm the population is", isin=TOLD)


class AggEconomicIndicatorsQuarterly(Contract, max_shrink=0.05):
    """GDP beside people and jobs: one row per quarter and sector of the accounts, by the latest revision."""

    quarter_id: str = column("The quarter: `2026-Q3`", key=True, str_matches=QUARTER)
    sector_id: str = column(
        "The sector, or an aggregate of sectors", key=True, references="dim_economic_sectors.sector_id"
    )
    date_id: date = column("First day of the quarter", references="dim_time.date_id")
    gdp_eur_millions: float = column("Value at current prices, of the quarter", nullable=True, unit="EUR millions")
    gdp_share_pct: float = column("Share of GDP at current prices", nullable=True, unit="%")
    quarterly_growth_pct: float = column(
        "Growth of the volume index on the quarter before; unrounded, unlike the source's", nullable=True, unit="%"
    )
    yearly_growth_pct: float = column(
        "Growth of the volume index on the same quarter of the year before; unrounded", nullable=True, unit="%"
    )
    observation_status: str = column("How firm the figures of the accounts are", isin=OBSERVATION_STATUS)
    population: float = column(
        "Inhabitants of Catalonia, the mean of the quarter's months; empty unless all three are known",
        nullable=True,
        unit="people",
        ge=0.0,
    )
    gdp_per_head_eur: float = column("Value of the quarter per inhabitant; not annualised", nullable=True, unit="EUR")
    jobs: float = column(
        "Jobs in the sector's sections, the mean of the quarter's months that are known. What the source does not tell of a "
        "comarca's section is not in it",
        nullable=True,
        unit="jobs",
        ge=0.0,
    )
    jobs_months: int = column("How many months that is the mean of", nullable=True, ge=1, le=3)
    jobs_per_thousand_people: float = column("Jobs per thousand inhabitants", nullable=True, unit="jobs", ge=0.0)
    employment_classification: str = column(
        "Classification that the jobs were sorted by", nullable=True, isin=CLASSIFICATIONS
    )
    is_classification_break: bool = column(
        "Whether it is the first quarter in a new classification: its jobs do not compare with those before"
    )
