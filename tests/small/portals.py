"""A project over a small portal that is read in pages of ten rows, and the offsets of the pages that it requests."""

from __future__ import annotations

from collections.abc import Sequence

from catalunya.assets.graph.spec import Declaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Outcome, Request
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from small.apis import Asked, Portal, soda

KEY = "landing.services"


class PortalProject:
    """The assets `declared` over the portal; `landing.services` is one of them."""

    def __init__(self, portal: Portal, settings: Settings, declared: Sequence[Declaration]) -> None:
        self.portal, self.settings, self.declared = portal, settings, declared
        self.project = self.opened()

    def opened(self, **changed: object) -> Project:
        """The project with other settings."""
        served = {"mock_url": self.portal.server.url, "page_rows": 10, "http_concurrency": 1, "http_attempts": 1}
        return Project(self.settings.model_copy(update={**served, **changed}), self.declared)

    def make(self, key: str = KEY, **request: object) -> Outcome:
        """Materialize an asset; `asked` then has only its requests."""
        self.portal.server.clear_requests()
        return materialize(self.project, key, Request(**request))  # type: ignore[arg-type]

    def asked(self) -> list[int]:
        """The offsets of the pages that the last attempt requested."""
        return [at(asked) for asked in self.portal.asked("rows")]

    def expected(self) -> list[bytes]:
        """The pages that a complete extraction lands."""
        return [soda(self.portal.rows[start : start + 10]) for start in range(0, len(self.portal.rows), 10)]

    def change_rows(self) -> None:
        """The source publishes other rows, with a newer stamp on its pages, and does not say so in its metadata."""
        self.portal.rows = [{**row, "nom": "changed"} for row in self.portal.rows]
        self.portal.last_modified = "Thu, 19 Dec 2024 10:58:26 GMT"

    def move(self) -> None:
        """The source publishes other rows, and its metadata say so."""
        self.change_rows()
        self.portal.rows_updated_at += 60


def at(asked: Asked) -> int:
    """The offset of a request for a page."""
    return int(asked.params["$offset"])
