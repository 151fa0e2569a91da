"""Contracts of the area source: EMEX indicator `f271`, Superfície."""

from __future__ import annotations

from datetime import date

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw


class RawMunicipalityAreas(LandingContract):
    """Superfície: the area of each municipality, from "El municipi en xifres" (EMEX)."""

    geo: str = raw("Idescat code of the municipality", required=True)
    name: str = raw("Name of the municipality")
    indicator: str = raw("Number of the indicator", required=True)
    label: str = raw("Name of the indicator", required=True)
    unit: str = raw("Unit of the values", required=True)
    reference: str = raw("Year that the values are of", required=True)
    updated: str = raw("Date the indicator was last updated", required=True)
    value: str = raw("The value; null if it is not published")


class MunicipalityAreas(Contract, tolerate=0.01, max_shrink=0.02, max_growth=0.05):
    """Area of each municipality, as last published. Boundaries change rarely, and areas are measured again."""

    municipality_id: str = column(
        "Idescat code of the municipality",
        source=RawMunicipalityAreas.geo,
        key=True,
        str_matches=r"^\d{6}$",
        references="municipalities.municipality_id",
    )
    area_km2: float = column(
        "Area of the municipality; null if the source does not publish it",
        source=RawMunicipalityAreas.value,
        nullable=True,
        unit="km2",
        gt=0.0,
        lt=1000.0,
    )
    reference_year: int = column("Year of the measurement", max_change=1.0, ge=2000, le=2100)
    updated_date: date = column(
        "Date the source last updated the areas", source=RawMunicipalityAreas.updated, max_change=1.0
    )
