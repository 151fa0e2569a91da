"""Whether the sources answer, asked without landing anything.

Here: one request to each source, and a log line with the answer. Not here: what a landing table does with the answer (`landing.py`), when
this happens (`dags/watch.py`).
"""

from __future__ import annotations

import asyncio

import structlog

from catalunya.assets.graph.spec import LandingDeclaration
from catalunya.assets.record.project import Project
from catalunya.io.errors import CatalunyaError

log = structlog.get_logger(__name__)


def unavailable(project: Project) -> list[str]:
    """Ask every source for its state; returns the landing tables whose source did not answer, or with something else."""
    found = []
    for key, declaration in project.declarations.items():
        if not isinstance(declaration, LandingDeclaration):
            continue
        try:
            state = asyncio.run(declaration.source.probe(project.settings.http(declaration.source)))
        except CatalunyaError as error:
            log.error("source_unavailable", asset=key, error=str(error))  # noqa: TRY400  no traceback needed
            found.append(key)
        else:
            log.info("source_available", asset=key, updated_at=state.updated_at if state else None)
    return found
