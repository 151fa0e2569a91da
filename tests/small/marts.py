"""A project with one mart, whose versions a test records without making them, and the site of it."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from catalunya.assets.graph.spec import MartDeclaration
from catalunya.assets.record.ledger import Entry, Stored, content_version
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import keep_superseded
from catalunya.contracts.model.contract import Contract, column
from catalunya.io.environment import Settings
from catalunya.io.lake import Lake
from catalunya.portal.build import Built, build, moved, read_state
from catalunya.portal.downloads import versions
from catalunya.portal.site import Site, read_site
from small.lakes import contents

KEY, FOLDER = "marts.dim_shops", "data/marts/dim_shops"
NOON = datetime(2026, 8, 3, 12, 0, 20, tzinfo=UTC)
DAY = timedelta(days=1)
ENDINGS = ("-excel.csv", ".csv", ".json", ".parquet", ".xlsx")


class DimShops(Contract):
    """Shops by `shop_id`."""

    shop_id: str = column("Code of the shop", key=True)
    telephone: str = column("Telephone of the owner", personal=True, nullable=True)
    places: int = column("Places", unit="places", nullable=True)


class MartShop:
    """A project with one mart, whose versions a test records, and its site."""

    def __init__(self, settings: Settings, to: str | Path, keep: timedelta = 30 * DAY) -> None:
        self.settings, self.keep = settings, keep
        self.to = Lake(str(to))

    @property
    def project(self) -> Project:
        mart = MartDeclaration(
            name="dim_shops", contract=DimShops, module=__name__, upstream=(), sql_version="1", keep=self.keep
        )
        return Project(self.settings, [mart])

    def publish(self, at: datetime, *places: int) -> Entry:
        """Record a version of the table: a shop for each number."""
        project, asset = self.project, self.project.graph[KEY]
        table = pl.DataFrame(
            {"shop_id": [f"S{n:02}" for n in range(len(places))], "telephone": "600-555", "places": places},
            schema={"shop_id": pl.String, "telephone": pl.String, "places": pl.Int64},
        )
        buffer = io.BytesIO()
        table.write_parquet(buffer)
        body, path = buffer.getvalue(), f"{asset.prefix}/file.parquet"
        stored = (Stored(path=path, bytes=len(body), rows=len(table), sha256=hashlib.sha256(body).hexdigest()),)
        latest = project.ledger.last_attempt(KEY)
        keep_superseded(project.lake, asset, project.ledger.latest(KEY), stored)
        project.lake.put(path, body)
        return project.ledger.append(
            Entry(
                asset=KEY,
                sequence=0,
                status="materialized",
                run_id="run",
                correlation_id="run",
                reason="DATA",
                started_at=at - timedelta(seconds=10),
                seconds=10,
                code_version=asset.code_version,
                versions={},
                data_version=content_version(stored),
                rows=len(table),
                objects=stored,
                columns={each.name: each.type for each in asset.columns},
            ),
            after=latest.sequence if latest else 0,
        )

    def site(self, now: datetime) -> Site:
        return read_site(self.project, now)

    def build(self, now: datetime, to: Lake | None = None, *, everything: bool = False) -> Built:
        return build(self.site(now), to or self.to, everything=everything)

    def names(self, now: datetime, to: Lake | None = None) -> list[str]:
        """The versions that a page lists, newest first."""
        site = self.site(now)
        moved(site, read_state(to or self.to), to or self.to)
        return [each.name for each in versions(site, site.graph[KEY])]

    def files(self, to: Lake | None = None) -> dict[str, bytes]:
        return {
            path.removeprefix(f"{FOLDER}/"): body
            for path, body in contents((to or self.to).root).items()
            if path.startswith(f"{FOLDER}/")
        }

    def dated(self) -> list[str]:
        """The names of the versions that have files."""
        return sorted({name.partition("Z")[0] for name in self.files() if name[0] == "2"})

    def places(self, name: str) -> list[int]:
        """What a Parquet file holds."""
        return pl.read_parquet(self.files()[f"{name}.parquet"])["places"].to_list()


def project_folder(folder: Path) -> Path:
    """A folder that declares a project called `shops`, and nothing of its portal."""
    (folder / "assets").mkdir(parents=True)
    declared = 'name = "shops"\ntitle = "Shops"\nqualifier = "s"\n[portals]\n'
    (folder / "assets/project.toml").write_text(declared, encoding="utf-8")
    return folder
