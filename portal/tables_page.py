"""The list of all tables: by subject, marts first, and the intermediate tables apart.

Here: the list. Not here: the page of one table (`table_page.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.ledger import Entry
from catalunya.portal.build import File, Part
from catalunya.portal.downloads import distributions
from catalunya.portal.language import Language
from catalunya.portal.rendering import render_page
from catalunya.portal.site import Site
from catalunya.portal.translations import translated

PATH = "tables"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One table in the list. `formats`: the words for the formats of its files."""

    asset: Asset
    entry: Entry | None
    formats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The tables of one subject, "" for those of none; or the intermediate tables."""

    subject: str
    tables: tuple[TableRow, ...]
    is_intermediate: bool = False


def parts(site: Site) -> Iterator[Part]:
    """One part."""

    def files() -> Iterable[File]:
        groups = table_groups(site)
        for code in site.languages:
            language = Language(code)
            body = render_page(
                site,
                language,
                PATH,
                "tables.html",
                title=language.t("table.all"),
                description=language.t("table.all_what"),
                groups=groups,
                translated=partial(translated, language=code),
            )
            yield File(site.page(code, PATH), body)

    made_from = {row.asset.key: _version(row) for group in table_groups(site) for row in group.tables}
    yield Part("tables", made_from, files)


def table_groups(site: Site) -> list[Group]:
    """All tables in the order of the list."""
    rows = [TableRow(asset, site.entry(asset.key), _formats(site, asset)) for asset in site.published]
    of_subject = {row.asset.key: site.declared.subject_of(row.asset.key, site.graph) for row in rows}
    marts = [row for row in rows if row.asset.layer is Layer.MARTS]
    named = [
        Group(subject, tuple(row for row in marts if of_subject[row.asset.key] == subject))
        for subject in [*site.declared.subjects, ""]
    ]
    staging = tuple(row for row in rows if row.asset.layer is Layer.STAGING)
    return [group for group in [*named, Group("", staging, is_intermediate=True)] if group.tables]


def _version(row: TableRow) -> str:
    return f"{row.asset.code_version} {row.entry.sequence if row.entry else ''} {' '.join(row.formats)}"


def _formats(site: Site, asset: Asset) -> tuple[str, ...]:
    return tuple(each.title for each in distributions(site, asset) if each.is_latest)
