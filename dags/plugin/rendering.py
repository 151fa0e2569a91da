"""HTML from templates. Text is escaped wherever it comes from: what a source sends is on these pages.

Here: the environment of the templates, and the documents. Not here: what they show (`*_page.py`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from catalunya.contracts.model.results import title
from catalunya.dags.plugin import words
from catalunya.dags.plugin.snapshot import Snapshot
from catalunya.dags.plugin.words import Links
from catalunya.io.project_folder import active
from catalunya.io.safe_text import safe_lines, safe_text
from catalunya.ops import console

HERE = Path(__file__).parent
STATIC = HERE / "static"


@cache
def environment() -> Environment:
    """The templates, with what they may call."""
    found = Environment(
        loader=FileSystemLoader(HERE / "templates", encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "ago": console.ago,
        "moment": words.moment,
        "number": console.number,
        "counted": console.counted,
        "size": console.size,
        "hours": console.hours,
        "duration": words.duration,
        "short": words.short,
        "tone": words.tone,
        "check_title": title,
        "clean": safe_text,
        "clean_lines": safe_lines,
    }
    del found.filters["safe"]  # it would switch escaping off
    found.tests["of_airflow"] = words.is_of_airflow
    return found


def render_page(template: str, links: Links, snapshot: Snapshot, page: object) -> str:
    """The document of one page."""
    return render(template, links, page=page, now=snapshot.now, graph=snapshot.graph, readable=snapshot.readable)


def render(template: str, links: Links, **values: object) -> str:
    """One document."""
    return environment().get_template(template).render(links=links, title_of_project=active().title, **values)
