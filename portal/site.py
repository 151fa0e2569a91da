"""The site: what its pages are made from, read once, and where everything is on it.

Addresses never change: `{language}/{level}/{code}.html`, `{language}/table/{key}.html`, `data/{layer}/{table}/…`. A page is the same file in each
language, below another folder. Here: reading, addresses. Not here: pages (`*_page.py`), writing them (`build.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from ipaddress import ip_address
from itertools import chain
from typing import TYPE_CHECKING

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer, digest
from catalunya.assets.graph.titles import title_of
from catalunya.assets.record.ledger import Entry, Ledger
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.errors import LedgerError
from catalunya.io.project_folder import active
from catalunya.ops.watching.findings import Board, read_board
from catalunya.portal.declaration import Declaration, declaration
from catalunya.portal.publisher import publisher_of

if TYPE_CHECKING:
    import polars as pl

    from catalunya.assets.record.index import Index


class Files(MutableMapping[str, tuple[str, int]]):
    """The files of the site: path -> (SHA-256, bytes). Those of one folder are found without a look at the others."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, tuple[str, int]]] = {}

    def __getitem__(self, path: str) -> tuple[str, int]:
        return self.below(path.rpartition("/")[0])[path]

    def __setitem__(self, path: str, about: tuple[str, int]) -> None:
        self._folders.setdefault(path.rpartition("/")[0], {})[path] = about

    def __delitem__(self, path: str) -> None:
        del self._folders[path.rpartition("/")[0]][path]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._folders.values())

    def __len__(self) -> int:
        return sum(map(len, self._folders.values()))

    def clear(self) -> None:
        self._folders.clear()

    def below(self, folder: str) -> Mapping[str, tuple[str, int]]:
        """The files directly below a folder."""
        return self._folders.get(folder, {})


@dataclass(frozen=True, eq=False)
class Site:
    """The pipeline at one moment, and what the project declares for its pages. `base`: the address of the site, without a final slash.

    While the site is built, `files` are its files so far, path -> (SHA-256, bytes): those of the last build, and of the parts made since.
    A part may read the sizes of files of parts before it. `names`: the published versions of each table, name -> data version.
    """

    project: Project
    declared: Declaration
    state: State
    board: Board
    base: str
    files: Files = field(default_factory=Files)
    names: dict[str, dict[str, str]] = field(default_factory=dict)
    _tables: dict[str, pl.LazyFrame | None] = field(default_factory=dict)

    @property
    def graph(self) -> AssetGraph:
        return self.project.graph

    @property
    def now(self) -> datetime:
        return self.state.now

    @property
    def languages(self) -> tuple[str, ...]:
        return self.declared.languages

    @cached_property
    def is_sample(self) -> bool:
        """Whether any data are a mock's, so that no one may take them for facts: by the settings now, or by what the tables were read from."""
        landed = (self.entry(asset.key) for asset in self.graph if asset.layer is Layer.LANDING)
        hosts = {each.host for entry in landed if entry for each in entry.traffic}
        return self.project.settings.mock is not None or any(map(_is_of_a_mock, hosts))

    @cached_property
    def sections(self) -> tuple[str, ...]:
        """The pages that every page links to, by path."""
        has_map = self.declared.geometry and any(figure.map for figure in self.declared.figures.values())
        places, on_map = ("places",) if self.declared.levels else (), ("map",) if has_map else ()
        return (*places, "tables", *on_map, "quality", "lineage", "about")

    @cached_property
    def setting(self) -> str:
        """The version of what every page shows beside its own: the names and texts that the project declares, the address, the publisher, the
        sample's mark."""
        folder = active().folder / "assets"
        files = sorted([folder / "portal.toml", folder / "titles.toml", *(folder / "translations").glob("*.toml")])
        texts = (f"{path.name}\0{path.read_text(encoding='utf-8')}" for path in files if path.exists())
        publisher = repr(publisher_of(self.project.settings))
        return digest(self.base, publisher, str(self.is_sample), active().title, *texts)

    @cached_property
    def title_of(self) -> Callable[[str, str], str]:
        """What something is called in a language, as `titles.title_of`; looked up once for all pages."""
        return cache(title_of)

    @cached_property
    def index(self) -> Index:
        """The newest entries of every table, a row each, read at once. Raises LakeError."""
        from catalunya.assets.record.index import read_index

        # A ledger of its own: entries of the index have no objects, and those that tables are read by must have them.
        return read_index(Ledger(self.project.lake), [asset.key for asset in self.graph], self.state.listing)

    @cached_property
    def published(self) -> tuple[Asset, ...]:
        """The tables that have a page: staging and marts, in dependency order."""
        return tuple(asset for asset in self.graph if asset.layer is not Layer.LANDING)

    @cached_property
    def marts(self) -> tuple[Asset, ...]:
        """The tables that are published as files too."""
        return tuple(asset for asset in self.graph if asset.layer is Layer.MARTS)

    def entry(self, key: str) -> Entry | None:
        """The entry that says what a table is now; None if it was never made or its ledger cannot be read."""
        return self.state.known(key)

    def in_full(self, key: str) -> Entry | None:
        """The same with its objects, which an overview lacks."""
        entry = self.entry(key)
        with suppress(LedgerError):
            return self.project.ledger.read(key, entry.sequence) if entry else None
        return None

    def version(self, key: str) -> str:
        """The data version of a table; "" if it was never made."""
        entry = self.entry(key)
        return entry.data_version if entry else ""

    @cached_property
    def histories(self) -> Mapping[str, Sequence[Entry]]:
        """All ledger entries of each mart, oldest first; none if one of them cannot be read."""

        def read(asset: Asset) -> Sequence[Entry]:
            try:
                return self.state.ledger.history(asset.key)
            except LedgerError:
                return ()

        with ThreadPoolExecutor(8) as pool:
            return {asset.key: history for asset, history in zip(self.marts, pool.map(read, self.marts), strict=True)}

    def table(self, key: str) -> pl.LazyFrame | None:
        """A published table, without its personal columns; None if it was never made."""
        if key not in self._tables:
            asset, entry = self.graph[key], self.in_full(key)
            public = [column.name for column in asset.columns if not column.personal]
            self._tables[key] = scan_table(self.project.lake, asset, entry).select(public) if entry else None
        return self._tables[key]

    def page(self, language: str, path: str) -> str:
        """Where a page is in a language: ("ca", "table/marts.dim_time") -> ca/table/marts.dim_time.html."""
        return f"{language}/{path}.html"

    def absolute(self, file: str) -> str:
        """The whole address of a file of the site. The home page of a language is its folder."""
        return f"{self.base}/{file}"


HOME = "index"


def table_path(key: str) -> str:
    """The page of a table."""
    return f"table/{key}"


def data_folder(key: str) -> str:
    """The folder with the files of a table."""
    return f"data/{key.replace('.', '/')}"


VERSION = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{4}Z(?:-[0-9]+)?"
DATED = re.compile(
    rf"data/(?P<layer>[a-z]+)/(?P<table>[a-z0-9_]+)/(?P<version>{VERSION})(?P<ending>(?:-[a-z]+)?\.[a-z]+)"
)
"""The path of a file of one version of a table, which never changes: data/marts/dim_time/2026-11-29T1405Z.parquet."""


def feed_path(language: str) -> str:
    """The Atom feed of a language."""
    return f"feed.{language}.atom"


def place_path(level: str, code: str) -> str:
    """The page of a place. The whole territory has no code."""
    return f"{level}/{code or HOME}"


def read_site(
    project: Project | None = None,
    now: datetime | None = None,
    *,
    state: State | None = None,
    board: Board | None = None,
    declared: Declaration | None = None,
) -> Site:
    """Read the pipeline now, unless it was read already (`state`, `board`, `declared`). Raises LakeError, ConfigurationError."""
    project = project or Project()
    state = state or project.overview(now)
    base = project.settings.portal_url.rstrip("/")
    return Site(project, declared or declaration(project.graph), state, board or read_board(project.lake), base)


def _is_of_a_mock(host: str) -> bool:
    """Whether requests that were counted for this host were answered by a mock: it stands for a host (`mock:8765/data.example.org`), has a
    name without a dot, as in a container, or is an address of a private network."""
    name, _, stands_for = host.partition("/")
    name = name.rpartition(":")[0] or name
    try:
        return bool(stands_for) or not ip_address(name.strip("[]")).is_global
    except ValueError:
        return bool(stands_for) or "." not in name
