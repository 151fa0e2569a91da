"""How pages say things: states as words and colors, names of versions, links. Plain functions, also used as filters of the templates.

Not here: numbers, sizes and times, which are written as on a terminal (`ops/console.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from catalunya.dags.plugin.places import DAG, NAV, PREFIX, RUN
from catalunya.ops.status import AssetStatus

TONES = {
    "fresh": "good",
    "materialized": "good",
    "passed": "good",
    "unchanged": "quiet",
    "skipped": "quiet",
    "running": "busy",
    "stale": "warn",
    "missing": "warn",
    "overdue": "warn",
    "failed": "bad",
    "unreadable": "bad",
    "error": "bad",
    "warning": "warn",
}
STATES = ("unreadable", "failed", "overdue", "missing", "stale", "running", "fresh")
"""What an asset can be, the most urgent first."""


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses: of these pages, and of Airflow's own around them. `base` is the path that Airflow is served under ("" or "/af")."""

    base: str

    def page(self, path: str) -> str:
        """One of these pages, inside the frame."""
        return f"{self.base}{PREFIX}/{path}"

    def static(self, name: str) -> str:
        return self.page(f"static/{name}")

    def asset(self, key: str) -> str:
        """The tab of an asset, in Airflow's UI."""
        return f"{self.base}/dags/{quote(key, safe='')}/plugin/{DAG}"

    def overview(self) -> str:
        return f"{self.base}/plugin/{NAV}"

    def run(self, key: str, run_id: str) -> str:
        """The tab of a run, in Airflow's UI."""
        return f"{self.base}/dags/{quote(key, safe='')}/runs/{quote(run_id, safe='')}/plugin/{RUN}"

    def dag(self, key: str) -> str:
        return f"{self.base}/dags/{quote(key, safe='')}"

    def home(self) -> str:
        return f"{self.base}/"


def tone(word: str) -> str:
    """The color of a state, as a class of the style sheet."""
    return TONES.get(word, "quiet")


def shown_state(status: AssetStatus) -> str:
    """The state in one word; `overdue` is fresh, from a source that has not been updated for too long."""
    return "overdue" if status.state == "fresh" and status.overdue_hours is not None else status.state


def is_of_airflow(run_id: str) -> bool:
    """Whether a run id is one of Airflow's (`scheduled__…`), and not of the command line or of a Lambda function's own invocation."""
    return "__" in run_id


def moment(at: datetime | None) -> str:
    """2026-08-03 14:05 UTC; empty for None."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else ""


def short(version: str) -> str:
    """The beginning of a hash."""
    return version[:12]


def duration(seconds: float) -> str:
    """3.2 s; 4 min 10 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
