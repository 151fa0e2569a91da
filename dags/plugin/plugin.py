"""What Airflow loads through the entry point `airflow.plugins`: where the pages appear, and the app that serves them.

Every process of Airflow imports this module, so it imports nothing: the app itself is imported at its first request, which only the API
server gets. Not here: the routes (`app.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from catalunya.dags.plugin.places import DAG, NAV, PREFIX, RUN

Scope = MutableMapping[str, Any]
Asgi = Callable[[Scope, Callable[[], Awaitable[Scope]], Callable[[Scope], Awaitable[None]]], Awaitable[None]]


class LazyApp:
    """The ASGI app, imported and created when the first request arrives."""

    def __init__(self) -> None:
        self._app: list[Asgi] = []  # one, once it is created
        self._creating = asyncio.Lock()

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Scope]],
        send: Callable[[Scope], Awaitable[None]],
    ) -> None:
        """Serve one request."""
        if not self._app:
            async with self._creating:
                if not self._app:
                    self._app.append(await asyncio.to_thread(_create))
        await self._app[0](scope, receive, send)


def _create() -> Asgi:
    from catalunya.dags.plugin.app import create_app

    app: Asgi = create_app()
    return app


def _icon(scheme: str) -> str:
    return f"{PREFIX[1:]}/static/icon-{scheme}.svg"


def _view(name: str, destination: str, url_route: str, path: str, **more: object) -> dict[str, object]:
    # Without a leading slash: Airflow's page has a <base>, which knows the prefix that it is served under.
    return {
        "name": name,
        "href": f"{PREFIX[1:]}/{path}",
        "destination": destination,
        "url_route": url_route,
        "icon": _icon("light"),
        "icon_dark_mode": _icon("dark"),
        **more,
    }


class CatalunyaPlugin(AirflowPlugin):
    """A tab on each DAG, one on each run, and a page about all assets."""

    name = "catalunya"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": PREFIX, "name": "Asset health"}]  # noqa: RUF012  as Airflow's class has it
    external_views = [  # noqa: RUF012
        _view("Asset health", "nav", NAV, "assets", category="browse"),
        _view("Asset", "dag", DAG, "asset/{DAG_ID}"),
        _view("Made from", "dag_run", RUN, "run/{DAG_ID}?run_id={RUN_ID}"),
    ]
