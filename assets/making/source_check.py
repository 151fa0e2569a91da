"""Checks that a source answers and is what its landing table declares, by its metadata only: nothing is landed.

Here: one or two requests for each dataset of a source, and the comparison with the landing contract. Not here: what a landing table does
with the answer (`landing.py`), the result as data (`assets/record/source_checks.py`), when this happens (`dags/watch.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from catalunya.assets.graph.alternatives import FIRST
from catalunya.assets.graph.spec import LandingDeclaration
from catalunya.assets.record.project import Project
from catalunya.assets.record.source_checks import FoundDataset, SourceCheck
from catalunya.contracts.model.check import check_fields
from catalunya.io.errors import (
    CatalunyaError,
    ContractError,
    DeclarationError,
    SourceUnavailable,
    in_passing,
    one_line,
)
from catalunya.io.log import get_logger
from catalunya.io.safe_text import NAME, legible
from catalunya.io.sources.recording import ENDING

log = get_logger(__name__)

AT_ONCE = 4
"""Sources asked at the same time; those of one host still keep its pace."""


def check_sources(project: Project, keys: Iterable[str], record: Path | None = None) -> Iterator[SourceCheck]:
    """Check the sources of the selected landing tables, in order, and log each result. With `record`, the answers are kept in that folder.

    Behind the source of a table come those that are not in use (`standby`): one that is needed some day must not be found dead then.
    """
    chosen = [
        (declaration.using("" if name == FIRST else name) if name else declaration, name)
        for key in keys
        if isinstance(declaration := project.declarations.get(key), LandingDeclaration)
        for name in ("", *declaration.asset.standbys)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for found in pool.map(lambda each: check_source(project, each[0], each[1], record), chosen):
            _report(found)
            yield found


def _report(found: SourceCheck) -> None:
    """Log a result. The alarm about sources counts the events of those in use only."""
    if found.matches:
        log.info("source_available", asset=found.asset, source=found.source)
        return
    problem, error = "mismatch" if found.answered else "unavailable", "; ".join(found.problems)
    if found.standby:
        log.warning(f"standby_{problem}", asset=found.asset, source=found.source, standby=found.standby, error=error)
    else:
        log.error(f"source_{problem}", asset=found.asset, source=found.source, error=error)


def check_source(
    project: Project, declaration: LandingDeclaration, standby: str = "", record: Path | None = None
) -> SourceCheck:
    """Check one source: that of a landing declaration. It is not logged."""
    key, source, at = declaration.asset.key, declaration.source, datetime.now(UTC)
    name = f"{declaration.name}{standby and f'.{standby}'}"
    kept = record / f"{name}{ENDING}" if record else None

    result = SourceCheck(asset=key, source=source.describe(), at=at, answered=True, standby=standby)
    try:
        with source.connect(replace(project.settings.http(source), record=kept)) as client:
            abouts, requests = source.about(client), client.requests
    except DeclarationError as error:
        return replace(result, problems=(f"{error} ({declaration.file})",))
    except CatalunyaError as error:
        return replace(result, answered=not isinstance(error, SourceUnavailable), problems=(str(error),))
    except Exception as error:  # metadata that its protocol did not expect keep no other source from being checked
        text, is_bug = one_line(error)
        log.warning("source_check_failed", asset=key, error=text, exc_info=is_bug)
        return replace(result, answered=in_passing(error) is None, problems=(text,))
    ours = {theirs: name for name, theirs in declaration.reading.fields.items()}
    fields = [replace(field, name=ours.get(field.name, field.name)) for about in abouts for field in about.fields]
    found = {field.name: field.kind for field in fields}
    each = {name: dict.fromkeys(field.shown for field in fields if field.name == name) for name in found}
    shown = {name: legible(" and ".join(texts), 5 * NAME) for name, texts in each.items()}
    datasets = tuple(
        FoundDataset(
            id=legible(about.id, NAME),
            title=legible(about.title, 4 * NAME),
            updated_at=about.updated_at,
            rows=about.rows,
            cells_at_most=about.cells_at_most,
            licence=legible(about.licence, NAME),
            page_url=about.page_url,
        )
        for about in abouts
    )
    declared = {field.name for field in declaration.contract.fields()}
    result = replace(
        result,
        datasets=datasets,
        requests=requests,
        bound={name: text for name, text in shown.items() if name in declared},
        missing=tuple(sorted(declared - found.keys())),
        new={legible(name, NAME): text for name, text in shown.items() if name not in declared},
    )
    try:
        drift = check_fields(key, declaration.contract, found)
    except ContractError as error:
        return replace(result, problems=(str(error),))
    retyped = [f"{name} was {was}, is {legible(now, NAME)}" for name, (was, now) in drift.retyped.items()]
    return replace(result, problems=tuple(retyped))
