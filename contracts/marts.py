"""The promises of the marts, one class a dbt model, called as the model is: `dim_time` and `DimTime`.

Here: what each mart's rows and columns mean. Not here: how they are computed (`dbt/models/marts`), what dbt is told of them
(`derive.py`). The columns a mart is partitioned by on Athena (`replacing` in its model) are all the same to DuckDB.
"""

from __future__ import annotations

from datetime import date

import pandera.polars as pa
import polars as pl

from catalunya.contracts.base import Contract, column
from catalunya.contracts.social_services import SERVICE_GROUPS

COMARCA = r"^(0[1-9]|[1-3]\d|4[0-3])$"


class DimTime(Contract, max_shrink=0.0):
    """The calendar: one row per day, from 1990-01-01 to the end of the year after the run's."""

    date_id: date = column("The day", key=True)
    month_id: str = column("Its month: `2026-08`", str_matches=r"^\d{4}-(0[1-9]|1[0-2])$")
    quarter_id: str = column("Its quarter: `2026-Q3`", str_matches=r"^\d{4}-Q[1-4]$")
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


class DimMunicipalities(Contract, max_shrink=0.02):
    """The municipalities with their history: one row per municipality and span of time in which its name and its comarca held.

    A change is dated by the run that saw it; what held at the first run counts from 1990-01-01.
    """

    municipality_id: str = column(
        "Idescat code: the INE's five digits and a control digit", key=True, str_matches=r"^\d{6}$"
    )
    municipality_name: str = column("Official name, with the article behind: `Bisbal d'Empordà, la`")
    comarca_id: str = column("Code of the comarca it was in, two digits", str_matches=COMARCA)
    comarca_name: str = column("Name of that comarca")
    province_id: str = column("INE code of the province", isin=["08", "17", "25", "43"])
    province_name: str = column("Name of the province", isin=["Barcelona", "Girona", "Lleida", "Tarragona"])
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
