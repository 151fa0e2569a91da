"""The register of social services (RESES), each placed in its municipality. Daily, some 20,000 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Freshness, Landing, months, staging
from catalunya.assets.making.expressions import classify, look_up
from catalunya.assets.municipalities import municipalities
from catalunya.contracts.model.check import REASON
from catalunya.contracts.model.text import folded
from catalunya.contracts.social_services import RawSocialServices, SocialServices
from catalunya.io.sources.socrata import Socrata

BARCELONA = "080193"

# The first group of which the type has a phrase. By words, because the register adds types without notice; a type that no phrase
# knows is `other` too, and is reported.
_GROUPS = {
    "elderly_day_centre": ("centre de dia … gent gran",),
    "elderly_residence": ("residència … gent gran",),
    "elderly_other": ("gent gran",),
    "disability": ("discapacitat",),
    "mental_health": ("malaltia mental", "salut mental"),
    "addictions": ("addiccions", "drogodependències"),
    "children_and_families": (
        "infant",
        "infància",
        "infantil",
        "maternoinfantil",
        "adolescent",
        "adolescència",
        "jove",
        "jovent",
        "famílies",
    ),
    "basic_services": ("bàsic", "ajuda a domicili", "atenció domiciliària"),
    "other": (
        "acolliment residencial d'urgència",
        "adopció internacional",
        "assessorament tècnic",
        "atenció diürna",
        "atenció precoç",
        "autonomia personal",
        "casal",
        "club social",
        "exclusió social",
        "familiars cuidadors",
        "intèrpret",
        "menjador social",
        "orientació",
        "persones grans en l'àmbit rural",
        "prelaboral",
        "serveis socials especialitzats",
        "situacions de dependència",
        "tecnologies de suport",
        "transport adaptat",
        "valoració",
        "VIH",
        "^servei experimental",
    ),
}

landing = Landing(
    "social_services",
    source=Socrata("ivft-vegh", key=("registre",)),
    contract=RawSocialServices,
    schedule="0 5 * * *",
    freshness=Freshness(hours=36),
)


@staging(landing, contract=SocialServices, reads=[municipalities], partition_by=["district_id"], keep=months(3))
def social_services(raw: pl.LazyFrame, municipalities: pl.LazyFrame) -> pl.LazyFrame:
    """Add each service's municipality and group. Text is matched once per distinct value, not once per row."""
    in_barcelona = pl.col("municipality_id") == BARCELONA
    no_municipality = pl.format(
        "municipality_id: no municipality '{}' in comarca '{}'",
        pl.col("municipi").fill_null("?"),
        pl.col("comarca").fill_null("?"),
    )
    placed = look_up(raw, _places(raw, municipalities), on=["municipi", "comarca"])
    return classify(placed, "service_type", _GROUPS, into="service_group").with_columns(
        district_id=pl.when(in_barcelona).then(pl.col("districte").str.zfill(2)).otherwise(pl.lit("00")),
        **{REASON: pl.when(pl.col("municipality_id").is_null()).then(no_municipality).otherwise(REASON)},
    )


def _places(raw: pl.LazyFrame, municipalities: pl.LazyFrame) -> pl.LazyFrame:
    """From (municipi, comarca) as the register writes them to the municipality: by both names, or by its own name if that is unique
    (the register keeps comarques as they were when a service was registered)."""
    known = municipalities.select(
        "municipality_id",
        "comarca_id",
        place=folded(pl.col("municipality_name")),
        area=folded(pl.col("comarca_name")),
    )
    only = known.filter(pl.col("place").is_unique()).select(
        "place", only_id="municipality_id", only_comarca="comarca_id"
    )
    return (
        raw.select("municipi", "comarca")
        .unique()
        # The register writes the Aran valley's full name; the municipalities have the comarca's short one.
        .with_columns(place=folded(pl.col("municipi")), area=folded(pl.col("comarca")).str.strip_prefix("val d "))
        .join(known, on=["area", "place"], how="left")
        .join(only, on="place", how="left")
        .select(
            "municipi",
            "comarca",
            municipality_id=pl.coalesce("municipality_id", "only_id"),
            comarca_id=pl.coalesce("comarca_id", "only_comarca"),
        )
    )
