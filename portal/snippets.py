"""How to read a published table from a program, and how to cite it: texts to copy.

Here: the snippets, which work as they are against the address of the site (tests run them), and citations. Not here: the words around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.portal.language import Language
from catalunya.portal.site import Site, data_folder

_SPECIAL = re.compile(r"[&%$#_{}]")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A text to copy: `name` is that of its words in `[table]`, `title` what it is for."""

    name: str
    title: str
    code: str


def snippets(site: Site, asset: Asset, language: Language) -> Iterator[Snippet]:
    """How to read a table: its files on the site if it is a mart, and Athena in an environment that has it."""
    if asset.layer is Layer.MARTS:
        folder = site.absolute(data_folder(asset.key))
        url = f"{folder}/latest.parquet"
        yield Snippet("duckdb", "DuckDB", f"SELECT * FROM '{url}';")  # noqa: S608  a text to copy
        yield Snippet(
            "polars",
            "Python, polars",
            f'import polars as pl\n\ntable = pl.scan_parquet(\n    "{url}"\n).collect()\nprint(table)',
        )
        yield Snippet(
            "pandas",
            "Python, pandas",
            f'import pandas as pd\n\ntable = pd.read_parquet(\n    "{url}"\n)\nprint(table)',
        )
        yield Snippet(
            "r",
            "R",
            f'file <- tempfile(fileext = ".parquet")\ndownload.file(\n  "{url}",\n  file, mode = "wb"\n)\n'
            "table <- arrow::read_parquet(file)\nprint(table)",
        )
        # Excel reads numbers as its own language writes them.
        yield Snippet("excel", "Excel", f"{folder}/latest{'-excel' if language.has_decimal_comma else ''}.csv")
    settings = site.project.settings
    if settings.engine == "athena":
        database = settings.glue_database(asset.layer)
        yield Snippet("athena", "Amazon Athena", f'SELECT * FROM "{database}"."{asset.name}" LIMIT 100;')  # noqa: S608  a text to copy


@dataclass(frozen=True, slots=True)
class Citation:
    """What to cite of a table: `identifier` names one version of it, `url` is where it is."""

    author: str
    title: str
    issued: datetime
    version: str
    identifier: str
    url: str

    def text(self, dataset: str, version: str) -> str:
        """As in a list of references; `dataset` and `version` are the words for them."""
        return (
            f"{self.author} ({self.issued.year}). {self.title} [{dataset}]. {version} {self.version} ({self.identifier}). "
            f"{self.url}"
        )

    @property
    def bibtex(self) -> str:
        """An entry for BibTeX."""
        return (
            f"@misc{{{re.sub(r'[^A-Za-z0-9.:-]', '-', self.identifier)},\n"
            f"  author = {{{{{_tex(self.author)}}}}},\n"
            f"  title = {{{{{_tex(self.title)}}}}},\n"
            f"  year = {{{self.issued.year}}},\n"
            f"  version = {{{self.version}}},\n"
            f"  howpublished = {{\\url{{{self.url}}}}},\n"
            f"  note = {{{_tex(self.identifier)}}}\n}}"
        )


def _tex(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text)
