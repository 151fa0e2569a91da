"""The app: its routes, who may call them, and what happens when something is wrong. The API server imports it at its first request.

Every route has a dependency that asks Airflow's auth manager, static files and unknown paths included: without one, a plugin's routes are open
to everyone. Pages are read-only: there is no route that changes anything. Not here: what the pages show (`*_page.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, Response

from catalunya.dags.plugin.asset_page import asset_page
from catalunya.dags.plugin.ops_page import ops_page
from catalunya.dags.plugin.overview_page import Filter, overview_page
from catalunya.dags.plugin.places import PREFIX
from catalunya.dags.plugin.quarantine_page import quarantine_page
from catalunya.dags.plugin.rendering import STATIC, render, render_page
from catalunya.dags.plugin.run_page import run_page
from catalunya.dags.plugin.snapshot import Snapshot, take_snapshot
from catalunya.dags.plugin.words import Links
from catalunya.io.errors import CatalunyaError, UsageError
from catalunya.io.log import get_logger
from catalunya.io.safe_text import safe_text

log = get_logger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
READING = ["GET", "HEAD"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
UNKNOWN = "There is no page at this address."
MAY_READ_DAG = Depends(requires_access_dag("GET"))
MAY_READ_RUNS = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
MAY_READ_ROWS = Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS))
"""Quarantined rows are as confidential as the task's log, which quotes the first of them."""


def _snapshot(request: Request, user: GetUserDep) -> Snapshot:
    """What this user may see of the pipeline now."""

    def readable() -> Iterable[str]:
        return get_auth_manager().get_authorized_dag_ids(user=user, method="GET")

    return take_snapshot(readable, about=request.path_params.get("dag_id"))


SnapshotDep = Annotated[Snapshot, Depends(_snapshot)]


def create_app() -> FastAPI:
    """The app, to be mounted below `PREFIX`."""
    app = FastAPI(
        title="Asset health", openapi_url=None, docs_url=None, redoc_url=None, dependencies=[Depends(get_user)]
    )
    app.add_api_route("/assets", _overview, methods=READING, response_class=HTMLResponse)
    app.add_api_route(
        "/asset/{dag_id}", _asset, methods=READING, response_class=HTMLResponse, dependencies=[MAY_READ_DAG]
    )
    app.add_api_route(
        "/asset/{dag_id}/quarantine",
        _quarantine,
        methods=READING,
        response_class=HTMLResponse,
        dependencies=[MAY_READ_ROWS],
    )
    app.add_api_route("/run/{dag_id}", _run, methods=READING, response_class=HTMLResponse, dependencies=[MAY_READ_RUNS])
    app.add_api_route("/static/{name}", _static, methods=READING)
    # Last: whatever is left, with any method, asks who is there before it says that there is nothing.
    app.add_api_route("/{path:path}", _unknown, methods=METHODS)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(CatalunyaError, _failed)
    app.add_exception_handler(Exception, _crashed)
    return app


def _overview(
    request: Request,
    snapshot: SnapshotDep,
    state: Annotated[str, Query(max_length=20)] = "",
    layer: Annotated[str, Query(max_length=20)] = "",
    q: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    return _shown(request, "overview.html", snapshot, overview_page(snapshot, Filter(state, layer, q)))


def _asset(request: Request, dag_id: str, snapshot: SnapshotDep) -> Response:
    if dag_id not in snapshot.graph:
        return _shown(request, "ops.html", snapshot, ops_page(snapshot, dag_id))
    return _shown(request, "asset.html", snapshot, asset_page(snapshot, dag_id))


def _quarantine(
    request: Request, dag_id: str, snapshot: SnapshotDep, page: Annotated[int, Query(ge=1, le=100_000)] = 1
) -> Response:
    return _shown(request, "quarantine.html", snapshot, quarantine_page(snapshot, dag_id, page))


def _run(
    request: Request, dag_id: str, snapshot: SnapshotDep, run_id: Annotated[str, Query(min_length=1, max_length=500)]
) -> Response:
    if dag_id not in snapshot.graph:
        return _shown(request, "ops.html", snapshot, ops_page(snapshot, dag_id))
    return _shown(request, "run.html", snapshot, run_page(snapshot, dag_id, run_id))


def _static(name: str) -> Response:
    # Of the files that are there, not of the name that was given.
    found = {file.name: file for file in STATIC.iterdir() if file.is_file()}.get(name)
    if found is None:
        raise HTTPException(404, UNKNOWN)
    caching = {"Cache-Control": "private, max-age=300"}
    return FileResponse(found, media_type=TYPES[found.suffix[1:]], headers={**HEADERS, **caching})


def _unknown() -> Response:
    raise HTTPException(404, UNKNOWN)


def _refused(request: Request, error: Any) -> Response:
    known = {
        401: ("Not logged in", "Log in to Airflow, then open this page again."),
        403: ("No access", "Your Airflow user may not see this. Ask an administrator for the right to read this DAG."),
    }
    title, text = known.get(error.status_code, ("Not found", str(error.detail)))
    return _error(request, error.status_code, title, text)


def _invalid(request: Request, error: Any) -> Response:
    wrong = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
    return _error(request, 422, "This address is not right", wrong)


def _failed(request: Request, error: Any) -> Response:
    if isinstance(error, UsageError):
        return _error(request, 404, "Not found", str(error))
    log.warning("page_failed", path=request.url.path, error=str(error))
    return _error(request, 503, "The lake cannot be read", str(error))


def _crashed(request: Request, error: Any) -> Response:
    log.error("page_failed", path=request.url.path, error=f"{type(error).__name__}: {error}", exc_info=error)
    return _error(request, 500, "This page failed", "The error is in the log of the API server (page_failed).")


def _shown(request: Request, template: str, snapshot: Snapshot, page: object) -> Response:
    return HTMLResponse(render_page(template, _links(request), snapshot, page), 200, HEADERS)


def _error(request: Request, status: int, title: str, text: str) -> Response:
    # The style sheet is not for anonymous either.
    template = "bare.html" if status == 401 else "error.html"
    return HTMLResponse(render(template, _links(request), title=title, text=safe_text(text)), status, HEADERS)


def _links(request: Request) -> Links:
    """Addresses below the prefix under which Airflow is served: `root_path` is it and ours."""
    return Links(str(request.scope.get("root_path", "")).removesuffix(PREFIX))
