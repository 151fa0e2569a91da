"""docs/settings.md: every setting, its environment variable and its default in each environment.

Here: the page, generated from the Settings class. Not here: writing the file (`generate.py`), the settings (`io/environment.py`).
"""

from __future__ import annotations

from typing import Any, get_args

from pydantic import SecretStr

from catalunya.io.environment import Settings

PAGE = "docs/settings.md"


def settings_page() -> str:
    """The page, in Markdown."""
    local, dev, prod = (_defaults(env) for env in ("local", "dev", "prod"))
    lines = [
        "<!-- Generated from io/environment.py by `make generate`. Do not edit: change the setting. -->",
        "# Settings",
        "",
        "Every setting is an environment variable with a default that depends on `CATALUNYA_ENV`. `{env}` stands for the environment's",
        "name where dev and prod differ in nothing else. AWS is configured by its usual variables (`AWS_REGION`, credentials,",
        "`AWS_ENDPOINT_URL` for an emulator). Secrets are set in the environment only, and never shown.",
        "",
        "| variable | meaning | local | dev | prod |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        values = [_shown(name, local), _shown(name, dev), _shown(name, prod)]
        if name != "env" and values[1].replace("dev", "{env}") == values[2].replace("prod", "{env}"):
            values[1:] = [values[1].replace("dev", "{env}")] * 2
        about = str(field.description).replace("|", r"\|")
        lines.append(f"| `CATALUNYA_{name.upper()}` | {about} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _defaults(env: str) -> Settings:
    return Settings.model_validate({"env": env})


def _shown(name: str, settings: Settings) -> str:
    annotation: Any = Settings.model_fields[name].annotation
    value = getattr(settings, name)
    if SecretStr in (annotation, *get_args(annotation)):
        return "(secret)"
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "`on`" if value else "`off`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
