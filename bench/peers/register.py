"""What the peers share: the pages of the register, and a page's frame made clean with polars, as an engineer would write it in an afternoon.

Less than ours does: no contract with reasons, no quarantine, no ledger, no source check; the values are trusted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import polars as pl
from groups import GROUPS, PAGE

URL, ROWS, OUT = os.environ["BENCH_URL"], int(os.environ["BENCH_ROWS"]), Path(os.environ["BENCH_OUT"])


def bodies() -> Iterator[bytes]:
    """The pages in order, four at a time."""
    with httpx.Client(base_url=URL, timeout=60) as client, ThreadPoolExecutor(4) as pool:

        def page(number: int) -> bytes:
            query = {"$limit": PAGE, "$offset": number * PAGE, "$order": "registre,:id"}
            return client.get("/resource/ivft-vegh.json", params=query).raise_for_status().content

        yield from pool.map(page, range(-(-ROWS // PAGE)))


def places() -> pl.DataFrame:
    """Municipality and comarca by folded name."""
    body = httpx.get(f"{URL}/resource/9aju-tpwc.json", params={"$limit": PAGE}, timeout=60).raise_for_status().content
    return pl.read_json(BytesIO(body)).select(
        place=_folded("nom"), area=_folded("nom_comarca"), municipality_id="codi", comarca_id="codi_comarca"
    )


def clean(raw: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Types, trimmed text, group, municipality (looked up once for each distinct value); one row per key within the frame."""
    text = [name for name, kind in raw.schema.items() if kind == pl.String]
    rows = raw.with_columns(pl.col(text).str.strip_chars()).with_columns(
        pl.when(pl.col(text).is_in(["", "null", "NULL", "N/A"]).not_()).then(pl.col(text)).name.keep()
    )
    group = pl.lit("other")
    for name, words in reversed(GROUPS.items()):
        group = pl.when(pl.col("tipologia").str.to_lowercase().str.contains(words)).then(pl.lit(name)).otherwise(group)
    types = rows.select(pl.col("tipologia").unique()).with_columns(
        service_type=pl.col("tipologia").str.replace_all("l[.•‧]l", "l·l"), service_group=group
    )
    area = _folded("comarca").str.replace("val d'", "", literal=True)
    where = rows.select("municipi", "comarca").unique().with_columns(place=_folded("municipi"), area=area)
    where = where.join(known, on=["place", "area"]).drop("place", "area")
    district = pl.when(municipality_id="080193").then(pl.col("districte").str.zfill(2)).otherwise(pl.lit("00"))
    return (
        rows.join(where, on=["municipi", "comarca"])
        .join(types, on="tipologia")
        .with_columns(
            pl.col("capacitat").cast(pl.Int64),
            registered_date=pl.col("inscripcio").str.slice(0, 10).str.to_date(),
            district_id=district,
        )
        .filter(pl.col("registre").is_not_null())
        .unique("registre", keep="first", maintain_order=True)
        .drop("districte", "inscripcio", "tipologia")
    )


def _folded(name: str) -> pl.Expr:
    plain = pl.col(name).str.normalize("NFKD").str.replace_all(r"\p{M}", "")
    return plain.str.to_lowercase().str.replace_all("l[.·•‧]l", "ll")
