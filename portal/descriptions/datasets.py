"""What is known of each dataset, in whatever form it is described: names, days, rights, files.

A dataset is a mart that has files, or the places with their boundaries. Here: gathering, from what is declared, recorded and published. Nothing is
guessed: what is not known is empty. Not here: the forms (the other modules of this folder).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise

import polars as pl

from catalunya.assets.graph.discovery import contracts
from catalunya.assets.graph.spec import Asset, digest
from catalunya.assets.graph.titles import title_of, titles
from catalunya.assets.record.ledger import Entry
from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.contract import Contract
from catalunya.io.errors import UsageError
from catalunya.io.periods import period
from catalunya.portal.declaration import Subject
from catalunya.portal.downloads import Distribution, distributions
from catalunya.portal.downloads import made_from as files_made_from
from catalunya.portal.language import Language
from catalunya.portal.rights import RightsStatement, rights_of
from catalunya.portal.site import Site, table_path
from catalunya.portal.translations import ORIGINAL, translated

CATALOG = "catalog.ttl"
"""The catalogue, in which every dataset has an address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One dataset. Texts are by language, and only in the languages in which they exist; the first one of the site is always among them.

    `page`: its page, without language and ending. `first_day`, `last_day`: the days that its rows are about, as far as that is known.
    `issued`: when it was first published, `modified`: when its content last changed. `version`: the name of its published version.
    `files`: those of the latest version. `contract`: the file with its contract; "" if it has none. `credit`: whom to name for what is not from a
    table.
    """

    name: str
    titles: Mapping[str, str]
    descriptions: Mapping[str, str]
    keywords: Mapping[str, tuple[str, ...]]
    page: str
    subjects: tuple[Subject, ...]
    rights: tuple[RightsStatement, ...]
    first_day: date | None
    last_day: date | None
    issued: datetime
    modified: datetime
    version: str
    contract: str
    files: tuple[Distribution, ...]
    credit: str = ""


def address_of(site: Site, name: str) -> str:
    """The address of a dataset, or of anything else that the catalogue describes."""
    return f"{site.base}/{CATALOG}#{name}"


def file_words(file: Distribution, language: Language) -> tuple[str, str]:
    """What a file is called, and what it is good for. A GeoJSON file has one level of places, and its name."""
    level = file.path.rpartition("/")[2].partition(".")[0]
    values = {"level": title_of(f"level.{level}", language.code)} if file.format == "geojson" else {}
    return language.t(file.title, **values), language.t(f"{file.title}_about")


def datasets(site: Site) -> Iterator[Dataset]:
    """The marts that have files, in dependency order."""
    for asset in site.marts:
        if found := dataset_of(site, asset):
            yield found


def dataset_of(site: Site, asset: Asset) -> Dataset | None:
    """What is known of a mart; None while it has no files."""
    files = tuple(each for each in distributions(site, asset) if each.is_latest)
    changes = content_changes(site, asset.key)
    if not files or not changes:
        return None
    first_day, last_day = days_covered(site, asset)
    subjects = site.declared.subjects_of(asset.key, site.graph)
    return Dataset(
        name=asset.key,
        titles=names_of(site, asset.key),
        descriptions=texts_of(site, asset),
        keywords={language: _keywords(site, asset, subjects, language) for language in site.languages},
        page=table_path(asset.key),
        subjects=tuple(site.declared.subjects[name] for name in subjects),
        rights=rights_of(site, asset),
        first_day=first_day,
        last_day=last_day,
        issued=changes[0].recorded_at.astimezone(UTC),
        modified=changes[-1].recorded_at.astimezone(UTC),
        version=files[0].version,
        contract=contract_path(asset.key),
        files=files,
    )


def contract_path(key: str) -> str:
    """The file with a table's contract in the form of ODCS."""
    return f"contracts/{key}.yaml"


def contract_of(site: Site, asset: Asset) -> type[Contract]:
    """The contract of a staging table or mart."""
    known = site.project.declared
    if known is not None:
        return {each.asset.key: each.contract for each in known}[asset.key]
    return contracts()[asset.key]


def public_columns(asset: Asset) -> tuple[Column, ...]:
    """The columns that are published."""
    return tuple(column for column in asset.columns if not column.personal)


def names_of(site: Site, name: str) -> dict[str, str]:
    """What something is called, in each language in which it has a name; if in none, as pages call it, in the first language of the site."""
    known = titles().get(name, {})
    found = {language: known[language] for language in site.languages if known.get(language, "").strip()}
    return found or {site.languages[0]: title_of(name, site.languages[0])}


def texts_of(site: Site, asset: Asset) -> dict[str, str]:
    """The description of a table in each language in which it has one; where it is not translated, its title. Sample data say so first."""
    known = names_of(site, asset.key)
    found = {language: known[language] for language in site.languages if language in known}
    for language in site.languages:
        text, of = translated(asset.description, language)
        if of == language and text.strip():
            found[language] = text
    if ORIGINAL not in found and asset.description.strip():
        found[ORIGINAL] = asset.description
    if site.is_sample:
        return {language: f"{Language(language).t('common.sample')} {text}" for language, text in found.items()}
    return found


def content_changes(site: Site, key: str) -> list[Entry]:
    """The ledger's entries with which the content of a mart changed, oldest first; none if the ledger cannot be read."""
    made = [entry for entry in site.histories.get(key, ()) if entry.status != "failed"]
    return made[:1] + [after for before, after in pairwise(made) if before.data_version != after.data_version]


def days_covered(site: Site, asset: Asset) -> tuple[date | None, date | None]:
    """The first and the last day that the rows of a table are about; the last is None for a table of what holds until it changes."""
    table = site.table(asset.key)
    if table is None:
        return None, None
    starts = {level.valid_from for level in site.declared.levels.values() if level.table == asset.key}
    for column in _period_columns(asset):
        ends = table.select(first=pl.col(column.name).min(), last=pl.col(column.name).max()).collect().row(0)
        if None in ends:
            continue
        first, last = (_days(value) for value in ends)
        if first and last:
            return first[0], None if column.name in starts else last[1]
    return None, None


def described(asset: Asset) -> str:
    """The version of what a contract says of a table."""
    return digest(asset.code_version, asset.description, repr(asset.columns))


def made_from(site: Site) -> dict[str, str]:
    """What the descriptions of all datasets depend on."""
    return {asset.key: digest(described(asset), files_made_from(site, asset)) for asset in site.marts}


def _period_columns(asset: Asset) -> list[Column]:
    """The columns that may have the period of a row, the best first: the declared period, texts and days of the key, the day of the calendar."""
    columns = public_columns(asset)
    declared = [column for column in columns if column.period]
    key = [column for column in columns if column.key]
    texts = [column for column in key if column.type == "string" and not column.references]
    calendar = [column for column in columns if column.type == "date" and column.references]
    return [*declared, *texts, *calendar, *(column for column in key if column.type == "date")]


def _days(value: object) -> tuple[date, date] | None:
    if isinstance(value, date):
        return value, value
    try:
        found = period(str(value)) if _looks_like_a_period(str(value)) else None
    except UsageError:
        return None
    return (found.first, found.last) if found else None


def _looks_like_a_period(text: str) -> bool:
    """`2025`, `2025-Q3`, `2025-07`: not the code of a place, which `period` may read as one."""
    year, dash, rest = text.partition("-")
    return len(year) == 4 and year.isdigit() and bool(rest) == bool(dash)


def _keywords(site: Site, asset: Asset, subjects: Sequence[str], language: str) -> tuple[str, ...]:
    """The subjects of a table and the figures that are read from it, by name; else the words of its own name."""
    figures = [
        f"figure.{name}"
        for name, figure in site.declared.figures.items()
        if any(series.table == asset.key for series in figure.levels.values())
    ]
    names = [*(f"subject.{name}" for name in subjects), *figures]
    found = [titles().get(name, {}).get(language, "") for name in names]
    return tuple(dict.fromkeys(filter(None, found))) or (asset.name.replace("_", " "),)
