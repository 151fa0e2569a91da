"""The page of a table: what it holds, how to take it away, where it comes from and how it has been made.

A table that was never made, or whose ledger cannot be read, has a page too, which says so. Here: what a page shows, as data. Not here: the list of
tables (`tables_page.py`), its files (`downloads.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from catalunya.assets.graph.column_lineage import ColumnLineage, ColumnSource, Origin, load_lineage
from catalunya.assets.graph.spec import Asset, LandingDeclaration, Layer
from catalunya.assets.graph.titles import title_of
from catalunya.contracts.model.columns import Column
from catalunya.portal.build import File, Part
from catalunya.portal.language import Language
from catalunya.portal.previews import first_rows, is_number, preview
from catalunya.portal.rendering import render_page
from catalunya.portal.site import Site, table_path


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """One column of the table: what it is, and what it is made from. `references`: the key of the table that it points to."""

    column: Column
    references: str
    sources: tuple[ColumnSource, ...]
    origins: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source that the table is made from: its landing table, its page, and when it was last updated there, and read."""

    asset: Asset
    url: str
    updated_at: datetime | None
    read_at: datetime | None


def parts(site: Site) -> Iterator[Part]:
    """One part for each table."""
    lineage = load_lineage(site.graph)
    for asset in site.published:
        yield Part(f"table:{asset.key}", _made_from(site, asset), partial(_files, site, asset, lineage))


def table_sources(site: Site, asset: Asset) -> list[SourceRow]:
    """The sources that a table is made from, in dependency order."""
    above = site.graph.ancestors(asset.key)
    return [_source(site, each) for each in site.graph if each.layer is Layer.LANDING and each.key in above]


def columns_of(asset: Asset, lineage: ColumnLineage) -> list[ColumnRow]:
    """The columns that readers see."""
    return [_column(asset, column, lineage) for column in asset.columns if not column.personal]


def _files(site: Site, asset: Asset, lineage: ColumnLineage) -> Iterable[File]:
    entry, table = site.entry(asset.key), site.table(asset.key)
    rows = first_rows(table) if table is not None else None
    path = table_path(asset.key)
    for code in site.languages:
        language = Language(code)
        body = render_page(
            site,
            language,
            path,
            "table.html",
            title=title_of(asset.key, code),
            description=language.t("table.about", table=title_of(asset.key, code)),
            asset=asset,
            entry=entry,
            columns=columns_of(asset, lineage),
            preview=preview(rows, asset.columns, language) if rows is not None else None,
            sources=table_sources(site, asset),
            upstream=_with_pages(site.graph.upstream(asset.key)),
            downstream=site.graph.downstream(asset.key),
            is_number=is_number,
            is_unreadable=bool(site.state.unreadable(asset.key)),
        )
        yield File(site.page(code, path), body)


def _made_from(site: Site, asset: Asset) -> dict[str, str]:
    entry = site.entry(asset.key)
    found = {"code": asset.code_version, "entry": str(entry.sequence) if entry else "", "base": site.base}
    for each in table_sources(site, asset):
        found[each.asset.key] = f"{each.url} {each.updated_at} {each.read_at}"
    return found


def _with_pages(assets: Sequence[Asset]) -> list[Asset]:
    return [asset for asset in assets if asset.layer is not Layer.LANDING]


def _column(asset: Asset, column: Column, lineage: ColumnLineage) -> ColumnRow:
    table = (column.references or "").partition(".")[0]
    made = lineage.made(asset.key, column.name)
    return ColumnRow(column, f"{asset.layer}.{table}" if table else "", made.sources, made.origins)


def _source(site: Site, landing: Asset) -> SourceRow:
    entry, declared = site.entry(landing.key), site.project.declarations[landing.key]
    assert isinstance(declared, LandingDeclaration)
    url = declared.source.url(landing.portal) if landing.portal else ""
    return SourceRow(landing, url, entry.source_updated_at if entry else None, entry.recorded_at if entry else None)
