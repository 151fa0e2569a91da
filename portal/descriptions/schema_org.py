"""A table as a schema.org `Dataset`, for search engines that find data sets. The page of the table embeds it (JSON-LD).

Here: that object. Not here: embedding it safely (`rendering.embedded_json`), the catalogue (`dcat.py`).
"""

from __future__ import annotations

from typing import Any

from catalunya.assets.graph.spec import Asset
from catalunya.assets.graph.titles import PROJECT, title_of
from catalunya.portal.declaration import WHOLE
from catalunya.portal.descriptions.datasets import address_of, dataset_of, public_columns
from catalunya.portal.publisher import publisher_of
from catalunya.portal.site import Site
from catalunya.portal.translations import translated


def dataset_json(site: Site, asset: Asset, language: str) -> dict[str, Any] | None:
    """The object for the page of a table in a language; None for a table without files: no one could download what it describes."""
    of, publisher = dataset_of(site, asset), publisher_of(site.project.settings)
    if of is None:
        return None
    page, licence = site.absolute(site.page(language, of.page)), site.declared.licence
    found: dict[str, Any] = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "@id": address_of(site, of.name),
        "name": title_of(asset.key, language),
        "description": of.descriptions.get(language) or next(iter(of.descriptions.values())),
        "url": page,
        "identifier": of.name,
        "keywords": list(of.keywords[language]),
        "license": licence.url,
        "isAccessibleForFree": True,
        "datePublished": f"{of.issued:%Y-%m-%dT%H:%M:%SZ}",
        "dateModified": f"{of.modified:%Y-%m-%dT%H:%M:%SZ}",
        "version": of.version,
        "includedInDataCatalog": {
            "@type": "DataCatalog",
            "name": title_of(PROJECT, language),
            "url": f"{site.base}/",
        },
        "distribution": [
            {
                "@type": "DataDownload",
                "name": file.path.rpartition("/")[2],
                "encodingFormat": file.media_type,
                "contentUrl": site.absolute(file.path),
                **({"contentSize": f"{file.bytes} B"} if file.bytes is not None else {}),
            }
            for file in of.files
        ],
        "variableMeasured": [
            {
                "@type": "PropertyValue",
                "name": column.name,
                "description": translated(column.description, language)[0],
                **({"unitText": column.unit} if column.unit else {}),
            }
            for column in public_columns(asset)
        ],
    }
    if of.rights:
        found["creditText"] = " ".join(each.text(language) for each in of.rights)
    if of.first_day:
        found["temporalCoverage"] = f"{of.first_day}/{of.last_day or '..'}"
    if site.declared.spatial:
        place = {"@type": "Place", "name": title_of(f"level.{WHOLE}", language)}
        found["spatialCoverage"] = place | {"sameAs": list(site.declared.spatial)}
    if publisher.name:
        about = {"@type": "Organization", "name": publisher.name, "url": publisher.url, "email": publisher.email}
        found["creator"] = found["publisher"] = {name: value for name, value in about.items() if value}
    return found
