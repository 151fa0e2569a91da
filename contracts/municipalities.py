"""Contracts of the municipalities source: `9aju-tpwc`, Municipis Catalunya Geo."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw

# Control digit of Idescat's six-digit municipality code, computed from the INE's five digits: weights by position. Holds for all 947.
_A = [0, 3, 8, 2, 7, 4, 1, 5, 9, 6]
_B = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


class RawMunicipalities(LandingContract):
    """Municipis Catalunya Geo as the portal publishes it."""

    codi: str = raw("Idescat code, six digits", kind="text", required=True)
    nom: str = raw("Name, with the article at the end", kind="text", required=True)
    codi_comarca: str = raw("Code of the comarca, two digits", kind="text", required=True)
    nom_comarca: str = raw("Name of the comarca", kind="text", required=True)
    utm_x: str = raw("UTM x of the municipality's seat", kind="number")
    utm_y: str = raw("UTM y of the municipality's seat", kind="number")
    longitud: str = raw("Longitude of the seat", kind="number")
    latitud: str = raw("Latitude of the seat", kind="number")
    georefer_ncia: str = raw("The seat as a GeoJSON point", kind="point")


class Municipalities(Contract, max_shrink=0.02, max_growth=0.05, max_change=0.02, max_loss=0.02):
    """The municipalities of Catalonia with their comarca, province and the position of their seat."""

    municipality_id: str = column(
        "Idescat code: the INE's five digits and a control digit",
        source=RawMunicipalities.codi,
        key=True,
        str_matches=r"^\d{6}$",
    )
    municipality_name: str = column(
        "Official name, with the article at the end: `Bisbal d'Empordà, la`", source=RawMunicipalities.nom
    )
    comarca_id: str = column(
        "Code of the comarca, two digits",
        source=RawMunicipalities.codi_comarca,
        str_matches=r"^(0[1-9]|[1-3]\d|4[0-3])$",
    )
    comarca_name: str = column("Name of the comarca", source=RawMunicipalities.nom_comarca)
    province_id: str = column("INE code of the province", isin=["08", "17", "25", "43"])
    longitude_deg: float = column(
        "Longitude of the seat, WGS 84", source=RawMunicipalities.longitud, unit="deg", ge=0.0, le=3.5
    )
    latitude_deg: float = column(
        "Latitude of the seat, WGS 84", source=RawMunicipalities.latitud, unit="deg", ge=40.4, le=43.0
    )
    utm_x_m: float = column("UTM 31N x of the seat, ETRS89", source=RawMunicipalities.utm_x, unit="m", nullable=True)
    utm_y_m: float = column("UTM 31N y of the seat, ETRS89", source=RawMunicipalities.utm_y, unit="m", nullable=True)

    @pa.check("municipality_id")
    @classmethod
    def control_digit(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """The sixth digit is the control digit of the first five (INE's rule)."""
        digit = [pl.col(data.key).str.slice(i, 1).cast(pl.Int64, strict=False) for i in range(6)]
        total = (
            digit[0].replace_strict(range(10), _B, default=None)
            + digit[1].replace_strict(range(10), _A, default=None)
            + digit[2]
            + digit[3].replace_strict(range(10), _B, default=None)
            + digit[4].replace_strict(range(10), _A, default=None)
        )
        return data.lazyframe.select(((10 - total % 10) % 10 == digit[5]).fill_null(value=False))
