"""The register of social services (RESES), each placed in its municipality. Daily, some 20,000 rows."""

from __future__ import annotations

import polars as pl

from catalunya.assets.municipalities import municipalities
from catalunya.assets.spec import Freshness, Landing, months, staging
from catalunya.contracts.check import REASON
from catalunya.contracts.social_services import RawSocialServices, SocialServices
from catalunya.io.sources.socrata import Socrata

BARCELONA = "080193"

# The first group whose words a type has. By words, because the register adds types without notice.
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
    """Find the municipality's code, by comarca and name, or by name alone where it is the only one of that name."""
    known = municipalities.select(
        "municipality_id", "comarca_id", place=_folded("municipality_name"), area=_folded("comarca_name")
    )
    only = known.filter(pl.col("place").is_unique()).select(
        "place", only_id="municipality_id", only_comarca="comarca_id"
    )
    district = pl.col("districte").str.strip_chars().str.zfill(2)
    return (
        raw.with_columns(
            place=_folded("municipality_name"),
            # The register writes the Aran valley's full name; the municipalities have the comarca's short one.
            area=_folded("comarca").str.strip_prefix("val d'"),
            service_type=_one_spelling("service_type"),
        )
        .join(known, on=["area", "place"], how="left", maintain_order="left")
        .join(only, on="place", how="left", maintain_order="left")
        .with_columns(
            municipality_id=pl.coalesce("municipality_id", "only_id"),
            comarca_id=pl.coalesce("comarca_id", "only_comarca"),
            service_group=_group(),
        )
        .with_columns(
            district_id=pl.when(pl.col("municipality_id") == BARCELONA).then(district).otherwise(pl.lit("00")),
        )
        .with_columns(
            pl.when(pl.col("municipality_id").is_null())
            .then(
                pl.format(
                    "municipality_id: no municipality '{}' in comarca '{}'",
                    pl.col("municipi").fill_null("?"),
                    pl.col("comarca").fill_null("?"),
                )
            )
            .otherwise(pl.col(REASON))
            .alias(REASON)
        )
    )


def _folded(name: str) -> pl.Expr:
    """A name without case, accents, and the ways to write l·l and the apostrophe: only for comparing."""
    plain = (
        pl.col(name)
        .str.strip_chars()
        .str.to_lowercase()
        .str.replace_all(r"l[.·•‧]l", "ll")
        .str.replace_all("[’´`]", "'")
    )
    return plain.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.replace_all(r"\s+", " ")


def _one_spelling(name: str) -> pl.Expr:
    """`intel.lectual` and `intel·lectual` are one word."""
    return pl.col(name).str.replace_all(r"(\pL)l[.•‧]l(\pL)", "${1}l·l${2}").str.replace_all(r"\s+", " ")


def _group() -> pl.Expr:
    words = pl.col("service_type").str.to_lowercase()
    matches = [pl.when(words.str.contains(pattern)).then(pl.lit(group)) for group, pattern in _GROUPS.items()]
    return pl.coalesce(*matches, pl.lit("other"))
