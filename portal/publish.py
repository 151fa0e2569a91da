"""Where a site is published: a folder, or a bucket of S3 behind CloudFront.

Here: opening it, and the headers of its objects. Not here: what is on it (`build.py`).
"""

from __future__ import annotations

from catalunya.io.environment import Settings
from catalunya.io.lake import Lake

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".jsonld": "application/ld+json",
    ".ttl": "text/turtle; charset=utf-8",
    ".svg": "image/svg+xml",
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".atom": "application/atom+xml",
    ".xml": "application/xml",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "application/yaml",
}
"""The media type of each kind of file, by its ending."""


def open_site(settings: Settings, to: str | None = None) -> Lake:
    """The store that the site is in: `to`, else the setting. Raises LakeError."""
    return Lake(
        to or settings.portal_folder,
        encryption=settings.lake_encryption,
        kms_key_id=settings.lake_kms_key_id,
        attempts=settings.lake_attempts,
        setting="CATALUNYA_PORTAL_FOLDER",
    )
