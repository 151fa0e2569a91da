"""The places with their boundaries and latest figures as a dataset: one GeoJSON file for each level.

Here: what is known of it. Not here: the files (`geojson.py`), the forms in which it is described.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

from catalunya.assets.graph.titles import title_of
from catalunya.portal import map_page
from catalunya.portal.descriptions.datasets import Dataset, content_changes
from catalunya.portal.downloads import Distribution
from catalunya.portal.geojson import geojson_levels, geojson_path, geojson_tables
from catalunya.portal.language import Language
from catalunya.portal.place_map import geometry_of
from catalunya.portal.publish import CONTENT_TYPES
from catalunya.portal.rights import rights_of
from catalunya.portal.site import Site

NAME = "places"


def places_dataset(site: Site) -> Iterator[Dataset]:
    """The places; nothing while they have no files."""
    levels, geometry = geojson_levels(site), geometry_of(site)
    tables = list(dict.fromkeys(table for level in levels for table in geojson_tables(site, level)))
    changes = [entry for table in tables for entry in content_changes(site, table)]
    if not changes or geometry is None:
        return
    subjects = site.declared.subjects_of(site.declared.levels[levels[0]].table, site.graph)
    issued, modified = (pick(entry.recorded_at for entry in changes).astimezone(UTC) for pick in (min, max))
    version = f"{modified:%Y-%m-%dT%H%MZ}"
    words = {code: Language(code) for code in site.languages}
    sample = {code: f"{each.t('common.sample')} " if site.is_sample else "" for code, each in words.items()}
    rights = {each.name: each for table in tables for each in rights_of(site, site.graph[table])}
    yield Dataset(
        name=NAME,
        titles={code: each.t("description.places") for code, each in words.items()},
        descriptions={code: sample[code] + each.t("description.places_about") for code, each in words.items()},
        keywords={code: tuple(title_of(f"level.{level}", code) for level in levels) for code in site.languages},
        page=map_page.PATH,
        subjects=tuple(site.declared.subjects[name] for name in subjects),
        rights=tuple(each for name, each in sorted(rights.items())),
        first_day=None,
        last_day=None,
        issued=issued,
        modified=modified,
        version=version,
        contract="",
        files=tuple(
            Distribution(
                path=geojson_path(level),
                format="geojson",
                media_type=CONTENT_TYPES[".geojson"],
                title="description.geojson",
                issued=modified,
                is_latest=True,
                version=version,
                bytes=site.files.get(geojson_path(level), (None, None))[1],
                sha256=site.files.get(geojson_path(level), (None, None))[0],
            )
            for level in levels
        ),
        credit=geometry.attribution,
    )


def made_from(site: Site) -> dict[str, str]:
    """What the description of the places depends on."""
    return map_page.made_from(site) if geojson_levels(site) else {}
