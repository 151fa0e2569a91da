"""The page of a table: what it holds, how to take it away, where it comes from and how it has been made.

A table that was never made, or whose ledger cannot be read, has a page too, which says so. Here: what a page shows, as data. Not here: the list of
tables (`tables_page.py`), its files (`downloads.py`), the parts of the page that have modules of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from markupsafe import Markup

from catalunya.assets.graph.column_lineage import ColumnLineage, load_lineage
from catalunya.assets.graph.discovery import mart_contracts
from catalunya.assets.graph.spec import Asset, LandingDeclaration, Layer
from catalunya.assets.graph.titles import PROJECT, title_of, titles
from catalunya.contracts.model.columns import Column
from catalunya.ops.watching.consumers import Notice, texts
from catalunya.portal import downloads, quality
from catalunya.portal.build import File, Part
from catalunya.portal.charts import Line, line_chart
from catalunya.portal.descriptions.datasets import contract_path, described
from catalunya.portal.descriptions.schema_org import dataset_json
from catalunya.portal.downloads import Distribution, Version, distributions, versions
from catalunya.portal.language import Language
from catalunya.portal.lineage_picture import Kind, Node, Picture, lineage_picture
from catalunya.portal.previews import first_rows, kind_of, preview
from catalunya.portal.publisher import publisher_of
from catalunya.portal.rendering import render_page
from catalunya.portal.rights import rights_of, sources_of
from catalunya.portal.site import Site, data_folder, table_path
from catalunya.portal.snippets import Citation, snippets
from catalunya.portal.table_checks import CheckResult, check_results
from catalunya.portal.table_history import Materialization, materializations
from catalunya.portal.translations import translated

_FORMATS = ("xlsx", "excel_csv", "csv", "json", "parquet")
"""What most people open first."""
NEWEST = 20
"""How many versions a page lists; `versions.json` has all."""


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """One column of the table. `references`: the key of the table that it points to, or "". `sources`: by table, the columns it is made from, and
    `origins` the kinds of whatever else.
    """

    column: Column
    references: str
    sources: tuple[tuple[str, tuple[str, ...]], ...]
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source that the table is made from: its landing table, its page, and when it was last updated there."""

    asset: Asset
    url: str
    updated_at: datetime | None


def parts(site: Site) -> Iterator[Part]:
    """One part for each table."""
    lineage, situation = load_lineage(site.graph), quality.now(site)
    for asset in site.published:
        notices = [each for each in situation.notices if not each.tables or asset.key in each.tables]
        made_from = _made_from(site, asset) | {"notices": repr(notices)}
        yield Part(f"table:{asset.key}", made_from, partial(_files, site, asset, lineage, notices))


def table_sources(site: Site, asset: Asset) -> list[SourceRow]:
    """The sources that a table is made from, in dependency order."""
    return [_source(site, each) for each in sources_of(site, asset)]


def column_rows(asset: Asset, lineage: ColumnLineage) -> list[ColumnRow]:
    """The columns that readers see."""
    return [_column(asset, column, lineage) for column in asset.columns if not column.personal]


def _files(site: Site, asset: Asset, lineage: ColumnLineage, notices: Sequence[Notice]) -> Iterable[File]:
    table = site.table(asset.key)
    rows = first_rows(table) if table is not None else None
    shared = _shared(site, asset, lineage)
    for code in site.languages:
        language, title = Language(code), title_of(asset.key, code)
        shown = preview(rows, asset.columns, language) if rows is not None and rows.height else None
        checks = _checks(site, asset, language)
        queries = list(snippets(site, asset, language)) if shared["entry"] else []
        sections = {
            "download": shared["files"],
            "preview": shown,
            "columns": True,
            "query": queries,
            "lineage": True,
            "quality": checks or shared["history"],
            "versions": shared["versions"],
            "reuse": True,
        }
        body = render_page(
            site,
            language,
            table_path(asset.key),
            "table.html",
            title=title,
            description=language.t("table.about", table=title),
            sections=[name for name, is_there in sections.items() if is_there],
            notices=[(each.since, texts().texts[each.text][code]) for each in notices],
            preview=shown,
            checks=checks,
            snippets=queries,
            failing=[each for each in checks if each.failed],
            charts=list(_charts(shared["history"], language)),
            picture=_picture(site, asset, language),
            translated=partial(translated, language=code),
            unit_of=partial(unit_of, language=code),
            dataset=dataset_json(site, asset, code),
            citation=_citation(site, asset, shared["versions"], code),
            **shared,
        )
        yield File(site.page(code, table_path(asset.key)), body)


def _shared(site: Site, asset: Asset, lineage: ColumnLineage) -> dict[str, Any]:
    """What a page shows in all languages."""
    graph, columns = site.graph, column_rows(asset, lineage)
    sources, history = table_sources(site, asset), materializations(site, asset.key)
    upstream = [each for each in graph.upstream(asset.key) if each.layer is not Layer.LANDING]
    files = distributions(site, asset)
    return {
        "asset": asset,
        "entry": site.entry(asset.key),
        "is_unreadable": bool(site.state.unreadable(asset.key)),
        "is_intermediate": asset.layer is Layer.STAGING,
        "failed_at": failed_at(site, asset.key),
        "subject": site.declared.subject_of(asset.key, graph),
        "columns": columns,
        "contract": contract_path(asset.key),
        "has_units": any(row.column.unit for row in columns),
        "kind_of": kind_of,
        "pages": {each.key for each in site.published},
        "sources": sources,
        "source_updated_at": max((each.updated_at for each in sources if each.updated_at), default=None),
        "upstream": upstream,
        "upstream_count": len(graph.upstream(asset.key)),
        "downstream": graph.downstream(asset.key),
        "history": history,
        "has_drift": any(each.drift for each in history),
        "rights": rights_of(site, asset),
        "files": sorted((each for each in files if each.is_latest), key=lambda each: _FORMATS.index(each.format)),
        "versions": [
            (each, [one for one in files if one.version == each.name and not one.is_latest])
            for each in (versions(site, asset) if files else [])[:NEWEST]
        ],
        "versions_file": f"{data_folder(asset.key)}/versions.json",
    }


def _made_from(site: Site, asset: Asset) -> dict[str, str]:
    found = {
        "code": asset.code_version,
        "described": described(asset),
        "readable": str(not site.state.unreadable(asset.key)),
        "version": site.version(asset.key),
        "files": downloads.made_from(site, asset) if asset.layer is Layer.MARTS else "",
        "publisher": repr(publisher_of(site.project.settings)),
        "history": " ".join(str(each.sequence) for each in materializations(site, asset.key)),
        "failed": str(failed_at(site, asset.key)),
        "downstream": " ".join(each.key for each in site.graph.downstream(asset.key)),
        "engine": f"{site.project.settings.engine} {site.project.settings.env}",
    }
    return found | {
        each.asset.key: f"{each.url} {each.asset.source} {each.updated_at}" for each in table_sources(site, asset)
    }


def unit_of(unit: str, language: str) -> str:
    """What a unit is called; one that has no name in the language is as in the contract."""
    return titles().get(f"unit.{unit}", {}).get(language, unit)


def failed_at(site: Site, key: str) -> datetime | None:
    """When the last attempt to make a table failed; None if it did not."""
    attempt = None if site.state.unreadable(key) else site.state.last_attempt(key)
    return attempt.recorded_at if attempt and attempt.status == "failed" else None


def _column(asset: Asset, column: Column, lineage: ColumnLineage) -> ColumnRow:
    table = (column.references or "").partition(".")[0]
    made = lineage.made(asset.key, column.name)
    hidden = {(each.key, name.name) for each in lineage.graph for name in each.columns if name.personal}
    sources: dict[str, list[str]] = {}
    for source in made.sources:
        if (source.asset, source.column) not in hidden:
            sources.setdefault(source.asset, []).append(source.column)
    return ColumnRow(
        column,
        f"{asset.layer}.{table}" if table else "",
        tuple((key, tuple(names)) for key, names in sources.items()),
        tuple(dict.fromkeys(origin.kind for origin in made.origins)),
    )


def _source(site: Site, landing: Asset) -> SourceRow:
    entry, declared = site.entry(landing.key), site.project.declarations[landing.key]
    assert isinstance(declared, LandingDeclaration)
    url = declared.source.url(landing.portal) if landing.portal else ""
    return SourceRow(landing, url, entry.source_updated_at if entry else None)


def _checks(site: Site, asset: Asset, language: Language) -> list[CheckResult]:
    entry = site.entry(asset.key)
    personal = {column.name for column in asset.columns if column.personal}
    declared = site.project.declarations.get(asset.key)
    contract = declared.contract if declared else mart_contracts().get(asset.name)
    checks = tuple(check for check in entry.checks if check.column not in personal) if entry else ()
    return check_results(
        checks, asset, language, lambda name: getattr(getattr(contract, name, None), "__doc__", "") or ""
    )


def _citation(
    site: Site, asset: Asset, known: Sequence[tuple[Version, Sequence[Distribution]]], code: str
) -> Citation | None:
    """What to cite: the version that the table has now."""
    version = next((each for each, _ in known if each.is_latest), None)
    if version is None:
        return None
    return Citation(
        author=site.project.settings.publisher or title_of(PROJECT, code),
        title=title_of(asset.key, code),
        issued=version.issued,
        version=version.name,
        identifier=version.citation,
        url=site.absolute(site.page(code, table_path(asset.key))),
    )


def _picture(site: Site, asset: Asset, language: Language) -> Picture:
    def nodes(assets: Sequence[Asset]) -> list[Node]:
        kinds: dict[Layer, Kind] = {Layer.LANDING: "source", Layer.STAGING: "staging", Layer.MARTS: "marts"}
        return [Node(title_of(each.key, language.code), kinds[each.layer]) for each in assets]

    return lineage_picture(
        title_of(asset.key, language.code),
        nodes(site.graph.upstream(asset.key)),
        nodes(site.graph.downstream(asset.key)),
        language.t("table.more"),
    )


def _charts(history: Sequence[Materialization], language: Language) -> Iterator[tuple[str, Markup]]:
    # By time, as they are drawn: the clocks of two machines may differ.
    made = sorted((each for each in history if not each.has_failed), key=lambda each: each.recorded_at)
    if len(made) < 2:
        return
    periods = [f"{each.recorded_at:%Y-%m-%dT%H:%M:%S}" for each in made]
    for name, digits in (("rows", 0), ("quarantined", 0), ("seconds", 1)):
        title = language.t(f"table.{name}")
        line = Line(title, periods, [float(getattr(each, name)) for each in made])
        chart = line_chart(language, [line], name=f"chart-{name}", title=title, digits=digits, is_joined=True)
        yield title, chart
