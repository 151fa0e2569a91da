"""The register of social services (RESES), each placed in its municipality. Daily, some 20,000 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Freshness, Landing, months, staging
from catalunya.assets.making.expressions import look_up
from catalunya.assets.municipalities import municipalities
from catalunya.contracts.model.check import REASON
from catalunya.contracts.social_services import RawSocialServices, SocialServices
from catalunya.io.sources.socrata import Socrata

BARCELONA = "080193"

# The first group whose words are in the type. By words, because the register adds types without notice.
_GROUPS = {
    "elderly_day_centre": r"centre de dia per a gent gran",
    "elderly_residence": r"(residència|llar residència).* per a gent gran",
    "elderly_other": r"gent gran",
    "disability": r"discapacitat",
    "mental_health": r"malaltia mental|salut mental",
    "addictions": r"addiccions|drogodependències",
    "children_and_families": r"inf[aà]n|adolescent|jove|famíli",
    "basic_services": r"bàsic|ajuda a domicili|domiciliària",
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
    return look_up(placed, _types(raw), on=["tipologia"]).with_columns(
        district_id=pl.when(in_barcelona)
        .then(pl.col("districte").str.strip_chars().str.zfill(2))
        .otherwise(pl.lit("00")),
        **{REASON: pl.when(pl.col("municipality_id").is_null()).then(no_municipality).otherwise(REASON)},
    )


def _places(raw: pl.LazyFrame, municipalities: pl.LazyFrame) -> pl.LazyFrame:
    """From (municipi, comarca) as the register writes them to the municipality: by both names, or by its own name if that is unique
    (the register keeps comarques as they were when a service was registered)."""
    known = municipalities.select(
        "municipality_id", "comarca_id", place=_folded("municipality_name"), area=_folded("comarca_name")
    )
    only = known.filter(pl.col("place").is_unique()).select(
        "place", only_id="municipality_id", only_comarca="comarca_id"
    )
    return (
        raw.select("municipi", "comarca")
        .unique()
        # The register writes the Aran valley's full name; the municipalities have the comarca's short one.
        .with_columns(place=_folded("municipi"), area=_folded("comarca").str.strip_prefix("val d'"))
        .join(known, on=["area", "place"], how="left")
        .join(only, on="place", how="left")
        .select(
            "municipi",
            "comarca",
            municipality_id=pl.coalesce("municipality_id", "only_id"),
            comarca_id=pl.coalesce("comarca_id", "only_comarca"),
        )
    )


def _types(raw: pl.LazyFrame) -> pl.LazyFrame:
    """From the register's type of service to its one spelling (`intel.lectual` becomes `intel·lectual`) and its group."""
    words = pl.col("service_type").str.to_lowercase()
    groups = [pl.when(words.str.contains(pattern)).then(pl.lit(group)) for group, pattern in _GROUPS.items()]
    return (
        raw.select("tipologia")
        .unique()
        .with_columns(
            service_type=pl.col("tipologia")
            .str.strip_chars()
            .str.replace_all(r"(\pL)l[.•‧]l(\pL)", "${1}l·l${2}")
            .str.replace_all(r"\s+", " ")
        )
        .with_columns(service_group=pl.coalesce(*groups, pl.lit("other")))
    )


def _folded(name: str) -> pl.Expr:
    """A name for comparison only: without case and accents, with one spelling of l·l and the apostrophe."""
    plain = (
        pl.col(name)
        .str.strip_chars()
        .str.to_lowercase()
        .str.replace_all(r"l[.·•‧]l", "ll")
        .str.replace_all("[’´`]", "'")
    )
    return plain.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.replace_all(r"\s+", " ")
