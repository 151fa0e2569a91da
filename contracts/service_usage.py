"""Contracts of the service usage source: `yavr-pn8q`, users of day centers and residences."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw


class RawServiceUsage(LandingContract):
    """Serveis per a persones amb dependència: centre de dia i residència, as the portal publishes it."""

    any: str = raw("Year", required=True)
    codi: str = raw("Code of the comarca, two digits", required=True)
    comarca: str = raw("Name of the comarca", required=True)
    dones_centre_de_dia_gent: str = raw("Women in day centers for the elderly")
    homes_centre_de_dia_gent: str = raw("Men in day centers for the elderly")
    total_centre_de_dia_gent: str = raw("People in day centers for the elderly", required=True)
    dones_resid_ncia_gent_gran: str = raw("Women in residences for the elderly")
    homes_resid_ncia_gent_gran: str = raw("Men in residences for the elderly")
    total_resid_ncia_gent_gran: str = raw("People in residences for the elderly", required=True)
    dones_total: str = raw("Women in both")
    homes_total: str = raw("Men in both")
    total: str = raw("People in both", required=True)


class ServiceUsage(Contract, max_shrink=0.05):
    """Users of day centers and residences for the elderly by comarca and year. A number the source omits is unknown, not zero."""

    year: int = column("Year of the count", source=RawServiceUsage.any, key=True, period=True, ge=2000, le=2100)
    comarca_id: str = column(
        "Code of the comarca, two digits", source=RawServiceUsage.codi, key=True, str_matches=r"^\d{2}$"
    )
    comarca_name: str = column("Name of the comarca", source=RawServiceUsage.comarca)
    day_centre_women: int = column(
        "Women in day centers", source=RawServiceUsage.dones_centre_de_dia_gent, nullable=True, ge=0
    )
    day_centre_men: int = column(
        "Men in day centers", source=RawServiceUsage.homes_centre_de_dia_gent, nullable=True, ge=0
    )
    day_centre_users: int = column(
        "People in day centers", source=RawServiceUsage.total_centre_de_dia_gent, nullable=True, ge=0
    )
    residence_women: int = column(
        "Women in residences", source=RawServiceUsage.dones_resid_ncia_gent_gran, nullable=True, ge=0
    )
    residence_men: int = column(
        "Men in residences", source=RawServiceUsage.homes_resid_ncia_gent_gran, nullable=True, ge=0
    )
    residence_users: int = column(
        "People in residences", source=RawServiceUsage.total_resid_ncia_gent_gran, nullable=True, ge=0
    )
    total_women: int = column("Women in both", source=RawServiceUsage.dones_total, nullable=True, ge=0)
    total_men: int = column("Men in both", source=RawServiceUsage.homes_total, nullable=True, ge=0)
    total_users: int = column("People in both", source=RawServiceUsage.total, ge=0)

    @pa.dataframe_check
    @classmethod
    def totals_are_women_and_men(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Where both are known, each total is the sum of women and men."""
        agree = [
            (pl.col(f"{kind}_women") + pl.col(f"{kind}_men") == pl.col(f"{kind}_users")).fill_null(value=True)
            for kind in ("day_centre", "residence", "total")
        ]
        return data.lazyframe.select(pl.all_horizontal(agree))
