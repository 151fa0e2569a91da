"""Who publishes the site, and whom to ask: what only the operator can know, from the settings. Nothing is invented for one that is not set.

Here: reading them, and what is lost without each. Not here: the settings (`io/environment.py`), how catalogues and pages show them.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalunya.io.environment import Settings

DIR3 = "http://datos.gob.es/recurso/sector-publico/org/Organismo/"
"""How the address of a public body of Spain begins in the vocabulary of datos.gob.es; its DIR3 code follows."""
_COSTS = {
    "portal_url": "catalogues, feeds, the sitemap and citations name this machine: no one else can follow their links",
    "publisher": "the catalogue has no publisher: it is not valid as DCAT-AP",
    "publisher_dir3": "the catalogue is not valid as DCAT-AP-ES, and datos.gob.es cannot harvest it",
    "publisher_email": "catalogues and pages name no one to ask (unless CATALUNYA_PUBLISHER_URL is set)",
    "publisher_phone": "DCAT-AP-ES recommends a telephone number",
    "publisher_url": "the catalogue has no link to its publisher's home page",
}
"""The settings that only the operator can know, and what it costs not to set them."""
_IN_SPAIN = {"publisher_dir3", "publisher_phone"}
"""Those that only DCAT-AP-ES asks for."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes the site; "" for what is not set. `address` is the publisher's in the vocabulary of datos.gob.es."""

    name: str
    dir3: str = ""
    email: str = ""
    phone: str = ""
    url: str = ""

    @property
    def address(self) -> str:
        return f"{DIR3}{self.dir3}" if self.dir3 else ""


def publisher_of(settings: Settings) -> Publisher:
    """The publisher, as far as it is set."""
    return Publisher(
        settings.publisher,
        settings.publisher_dir3,
        settings.publisher_email,
        settings.publisher_phone,
        settings.publisher_url,
    )


def not_set(settings: Settings, *, in_spain: bool = True) -> dict[str, str]:
    """The variables that are not set, and what each costs. `in_spain`: whether its tables have themes in Spain's vocabulary."""
    fields = Settings.model_fields
    missing = [name for name in _COSTS if getattr(settings, name) == fields[name].default]
    missing = [name for name in missing if in_spain or name not in _IN_SPAIN]
    return {f"CATALUNYA_{name.upper()}": _COSTS[name] for name in missing}
