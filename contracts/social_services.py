"""Contracts of the register of social services (RESES): `ivft-vegh`."""

from __future__ import annotations

from datetime import date

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw

SERVICE_GROUPS = [
    "elderly_day_centre",
    "elderly_residence",
    "elderly_other",
    "disability",
    "mental_health",
    "addictions",
    "children_and_families",
    "basic_services",
    "other",
]


class RawSocialServices(LandingContract):
    """Registre d'entitats, serveis i establiments socials, as the portal publishes it."""

    registre: str = raw("Number in the register", required=True)
    nom: str = raw("Name of the service", required=True)
    tipologia: str = raw("Type of service, as free text", required=True)
    inscripcio: str = raw("Date of registration, with or without a time")
    capacitat: str = raw("Places")
    adreca: str = raw("Street and number")
    municipi: str = raw("Name of the municipality, with the article at the end", required=True)
    districte: str = raw("District number, only in Barcelona, not zero-padded")
    cp: str = raw("Postal code")
    comarca: str = raw("Name of the comarca")
    telefon: str = raw("Telephone", personal=True)
    entitat_titular: str = raw("Name of the owner")
    qualificacio: str = raw("Legal form of the owner; may be the word null")
    nif: str = raw("Tax number of the owner", personal=True)


class SocialServices(Contract, tolerate=0.02, max_shrink=0.2):
    """The social services registered in Catalonia: one row per service, with its municipality."""

    service_id: str = column("Number in the register", source=RawSocialServices.registre, key=True)
    service_name: str = column("Name of the service", source=RawSocialServices.nom)
    service_type: str = column("Type of service as the register names it", source=RawSocialServices.tipologia)
    service_group: str = column(
        "Group of service types, derived from the type's text; other also for types that no rule knows",
        isin=SERVICE_GROUPS,
        classifies="service_type",
        otherwise="other",
        max_change=0.05,
    )
    registered_date: date = column("Date of registration", source=RawSocialServices.inscripcio, nullable=True)
    capacity_places: int = column("Places", source=RawSocialServices.capacitat, nullable=True, unit="places", ge=0)
    street_address: str = column("Street and number", source=RawSocialServices.adreca, nullable=True)
    postal_code: str = column("Postal code", source=RawSocialServices.cp, nullable=True)
    municipality_id: str = column(
        "Idescat code of the municipality",
        str_matches=r"^\d{6}$",
        references="municipalities.municipality_id",
    )
    municipality_name: str = column(
        "Name of the municipality, as the register spells it", source=RawSocialServices.municipi
    )
    comarca_id: str = column("Code of the comarca the municipality is in now", str_matches=r"^\d{2}$")
    owner_name: str = column("Name of the owner", source=RawSocialServices.entitat_titular, nullable=True)
    owner_kind: str = column("Legal form of the owner", source=RawSocialServices.qualificacio, nullable=True)
    district_id: str = column("District of Barcelona, 01 to 10; 00 elsewhere", str_matches=r"^(0\d|10)$")
