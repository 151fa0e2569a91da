"""Who may see the pages in Airflow's UI: every route, in Airflow's own API server below a prefix, with an auth manager that knows rights by DAG.

The simple auth manager knows none, so one is made from it. A subprocess asks, because importing Airflow changes the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from small.entry_point import python_path
from small.once import once

MANAGER = """
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

RIGHTS = {
    "reader": {"*": {None, DagAccessEntity.RUN, DagAccessEntity.TASK_LOGS}},
    "half": {"staging.gdp": {None}, "marts.dim_time": {None, DagAccessEntity.RUN}},
    "nobody": {},
}

class ByDag(SimpleAuthManager):
    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        rights = RIGHTS[user.username]
        return method == "GET" and access_entity in rights.get(details.id if details else None, rights.get("*", set()))

    def filter_authorized_dag_ids(self, *, dag_ids, user, method="GET", team_name=None):
        rights = RIGHTS[user.username]
        return dag_ids if "*" in rights else dag_ids & rights.keys()
"""

SCRIPT = """
import gc
gc.disable()  # a fifth of the time, most of which Airflow's routes take; a freeze at the end, a sixth
import json, shutil, sys
from pathlib import Path

from airflow import settings
settings.initialize()
import time
from airflow import plugins_manager
known, at = set(sys.modules), time.process_time()
import catalunya.dags.plugin.plugin
seconds, new = time.process_time() - at, sorted(set(sys.modules) - known)
import airflow.models
airflow.models.import_all_models()
from airflow.models.base import Base
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from catalunya.assets.graph.discovery import compiled_graph
from catalunya.io.environment import load_settings

Base.metadata.create_all(settings.engine)
keys = [asset.key for asset in compiled_graph(load_settings())]
with create_session() as session:
    session.add(DagBundleModel(name="dags-folder"))
    session.flush()
    session.add_all(DagModel(dag_id=key, bundle_name="dags-folder", fileloc="/f") for key in [*keys, "ops.watch"])

from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi.testclient import TestClient

app = create_app(apps="core")
lazy = next(route.app for route in app.routes if getattr(route, "path", "") == "/pipeline")
before = "catalunya.dags.plugin.app" in sys.modules
client = TestClient(app, raise_server_exceptions=False)
tokens = {
    name: get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role="viewer"))
    for name in ("reader", "half", "nobody")
}
tokens |= {"forged": "not.a.token", "anonymous": None}

def ask(user, method, path, **more):
    client.cookies.clear()
    if tokens[user]:
        client.cookies.set("_token", tokens[user])
    answer = client.request(method, f"/af/pipeline/{path}", follow_redirects=False, **more)
    return {"user": user, "method": method, "path": path, "status": answer.status_code, "headers": dict(answer.headers),
            "text": answer.text}

ask("reader", "GET", "assets")
from catalunya.dags.plugin.rendering import STATIC
values = {"dag_id": ["staging.gdp", "~", "ops.watch", "no.such"], "name": [file.name for file in STATIC.iterdir()],
          "path:path": ["", "nothing", "static/../app.py", "static/%2e%2e/app.py", "docs", "openapi.json", "asset", "assets/"]}
paths = []
for route in lazy._app[0].routes:
    found = [route.path[1:]]
    for name, each in values.items():
        found = [path.replace("{%s}" % name, value) for path in found for value in (each if "{%s}" % name in path else [""])]
    paths += dict.fromkeys(found)
queries = {"run": "?run_id=manual__x"}
methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
asked = [ask(user, method, path + queries.get(path.split("/")[0], "")) for user in tokens for path in paths
         for method in {"anonymous": methods, "forged": ["GET", "POST", "OPTIONS"]}.get(user, ["GET"])]
asked += [ask("reader", method, path) for method in methods[2:] for path in ("assets", "asset/staging.gdp")]
single = {
    "half": [ask("half", "GET", path) for path in
             ("assets", "asset/staging.gdp", "asset/landing.gdp", "asset/staging.gdp/quarantine", "run/staging.gdp?run_id=x",
              "run/marts.dim_time?run_id=x", "asset/marts.dim_time", "asset/landing.gdp?dag_id=staging.gdp",
              "run/landing.gdp?run_id=x&dag_id=marts.dim_time")],
    "head": [ask("reader", "HEAD", path) for path in
             ("assets", "asset/staging.gdp", "asset/staging.gdp/quarantine", "run/staging.gdp?run_id=x", "static/plugin.css", "nothing")],
    "odd": [ask("reader", "GET", path) for path in
            ("asset/%00", "asset/staging.gdp%00", "asset/staging%2Egdp", "asset/..%2f..%2fassets", "asset/" + "x" * 5000,
             "asset/%F0%9F%90%99", "run/staging.gdp?run_id=%00", "run/staging.gdp?run_id=a&run_id=b", "assets?state=none&layer=no&q=%00",
             "asset/staging.gdp/quarantine?page=99999")],
    "wrong": [ask("reader", "GET", path) for path in
              ("asset/staging.gdp/quarantine?page=x", "run/staging.gdp", "assets?q=" + "x" * 300)],
    "bearer": [ask("anonymous", "GET", "assets", headers={"Authorization": f"Bearer {tokens['reader']}"})],
}
lake = Path(load_settings().lake)
shutil.rmtree(lake, ignore_errors=True)
lake.write_text("a file, not a folder")
single["broken"] = [ask("reader", "GET", "assets"), ask("anonymous", "GET", "assets")]
print(json.dumps({"asked": asked, "single": single, "imported before": before, "modules": new, "seconds": seconds, "paths": paths, "keys": keys}))
gc.freeze()
"""


@dataclass
class Asked:
    """What the API server answered."""

    found: dict[str, Any]

    def of(self, user: str, method: str = "GET") -> dict[str, int]:
        """Path -> status."""
        asked = self.found["asked"]
        return {each["path"]: each["status"] for each in asked if (each["user"], each["method"]) == (user, method)}

    def single(self, name: str) -> dict[str, dict[str, Any]]:
        return {each["path"]: each for each in self.found["single"][name]}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Asked:
    def ask(folder: Path) -> None:
        (folder / "by_dag.py").write_text(MANAGER)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CATALUNYA"))} | {
            "PYTHONPATH": f"{python_path(folder / 'metadata')}{os.pathsep}{folder}",
            "CATALUNYA_LAKE": str(folder / "lake"),
            "CATALUNYA_CACHE": str(compiled),
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__CORE__AUTH_MANAGER": "by_dag.ByDag",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
            "AIRFLOW__API__BASE_URL": "http://localhost:8080/af/",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this test only, long enough to sign with",
        }
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        (folder / "asked.json").write_text(done.stdout.strip().splitlines()[-1])

    return Asked(json.loads((once(tmp_path_factory, "asked", ask) / "asked.json").read_text()))


def test_anonymous_gets_401_from_every_route_with_every_method(asked: Asked) -> None:
    assert len(asked.found["paths"]) > 15
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answers = asked.of("anonymous", method)
        assert set(answers) >= {"assets", "asset/staging.gdp", "static/plugin.css", "static/plugin.js", "nothing"}
        assert set(answers.values()) == {401}, answers


def test_anonymous_reads_a_page_and_nothing_of_what_is_behind_it(asked: Asked) -> None:
    for each in asked.found["asked"]:
        if (each["user"], each["method"]) == ("anonymous", "GET"):
            assert each["headers"]["content-type"] == "text/html; charset=utf-8"
            assert "<h1>Not logged in</h1>" in each["text"]
            assert "stylesheet" not in each["text"]  # it would be refused, too
            assert "gdp" not in each["text"]


def test_a_forged_token_is_refused_everywhere(asked: Asked) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert set(asked.of("forged", method).values()) == {403}


def test_a_user_without_the_right_to_a_dag_gets_403_as_a_page(asked: Asked) -> None:
    answers = asked.of("nobody")

    refused = [path for path in answers if path.split("/")[0] in ("asset", "run") and "/" in path]
    assert {answers[path] for path in refused} == {403}
    assert answers["assets"] == 200
    assert answers["static/plugin.css"] == 200
    (page,) = [each for each in asked.found["asked"] if (each["user"], each["path"]) == ("nobody", "asset/staging.gdp")]
    assert "<h1>No access</h1>" in page["text"]


def test_a_page_about_many_dags_shows_only_those_that_the_user_may_read(asked: Asked) -> None:
    def shown(text: str) -> set[str]:
        return {key for key in asked.found["keys"] if f"/dags/{key}/plugin/asset" in text}

    everything = {
        each["user"]: each for each in asked.found["asked"] if (each["path"], each["method"]) == ("assets", "GET")
    }
    assert shown(everything["reader"]["text"]) == set(asked.found["keys"])
    assert shown(everything["nobody"]["text"]) == set()
    assert shown(asked.single("half")["assets"]["text"]) == {"staging.gdp", "marts.dim_time"}
    assert shown(asked.single("half")["asset/staging.gdp"]["text"]) <= {"staging.gdp", "marts.dim_time"}


def test_runs_and_rows_need_rights_of_their_own_and_the_dag_of_the_path_counts(asked: Asked) -> None:
    assert {path: each["status"] for path, each in asked.single("half").items()} == {
        "assets": 200,
        "asset/staging.gdp": 200,
        "asset/landing.gdp": 403,
        "asset/staging.gdp/quarantine": 403,
        "run/staging.gdp?run_id=x": 403,
        "run/marts.dim_time?run_id=x": 200,
        "asset/marts.dim_time": 200,
        "asset/landing.gdp?dag_id=staging.gdp": 403,
        "run/landing.gdp?run_id=x&dag_id=marts.dim_time": 403,
    }


def test_whoever_may_read_sees_the_pages_and_404_where_there_is_none(asked: Asked) -> None:
    answers = asked.of("reader")

    for path in ("assets", "asset/staging.gdp", "asset/ops.watch", "asset/staging.gdp/quarantine", "static/plugin.css"):
        assert answers[path] == 200, path
    for path in ("nothing", "docs", "openapi.json", "asset", "static/../app.py", "static/%2e%2e/app.py", ""):
        assert answers[path] == 404, path


def test_a_head_request_is_answered_like_a_get(asked: Asked) -> None:
    assert [each["status"] for each in asked.single("head").values()] == [200] * 5 + [404]
    assert not any(each["text"] for each in asked.single("head").values())


def test_an_odd_address_is_a_page_in_plain_words(asked: Asked) -> None:
    for path, each in asked.single("odd").items():
        assert each["status"] in (200, 404), path
        assert each["headers"]["content-type"] == "text/html; charset=utf-8"
        assert "Traceback" not in each["text"]


def test_nothing_can_be_changed(asked: Asked) -> None:
    writes = [each for each in asked.found["asked"] if each["user"] == "reader" and each["method"] != "GET"]

    assert len(writes) == 10
    assert {each["status"] for each in writes} == {404}


def test_a_wrong_address_is_a_page_that_says_what_is_wrong(asked: Asked) -> None:
    wrong = asked.single("wrong")

    assert [each["status"] for each in wrong.values()] == [422, 422, 422]
    assert {each["headers"]["content-type"] for each in wrong.values()} == {"text/html; charset=utf-8"}
    assert "page: " in wrong["asset/staging.gdp/quarantine?page=x"]["text"]


def test_a_lake_that_cannot_be_read_is_said_to_those_who_may_log_in(asked: Asked) -> None:
    reader, anonymous = asked.found["single"]["broken"]

    assert (reader["status"], anonymous["status"]) == (503, 401)
    assert "The lake cannot be read" in reader["text"]


def test_a_token_in_the_header_is_as_good_as_the_cookie(asked: Asked) -> None:
    assert asked.single("bearer")["assets"]["status"] == 200


def test_links_have_the_prefix_that_airflow_is_served_under(asked: Asked) -> None:
    page = asked.single("half")["asset/staging.gdp"]["text"]

    assert 'href="/af/pipeline/static/plugin.css"' in page
    assert 'href="/af/plugin/asset-health"' in page
    assert 'href="/pipeline' not in page


def test_pages_run_no_script_but_their_own(asked: Asked) -> None:
    for each in asked.found["asked"]:
        policy = each["headers"].get("content-security-policy", "")
        assert "default-src 'none'" in policy, each["path"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert each["headers"]["x-content-type-options"] == "nosniff"


def test_the_app_is_imported_at_its_first_request_only(asked: Asked) -> None:
    assert asked.found["imported before"] is False


def test_every_other_process_of_airflow_imports_next_to_nothing(asked: Asked) -> None:
    ours = {
        "catalunya",
        "catalunya.dags",
        "catalunya.dags.plugin",
        "catalunya.dags.plugin.places",
        "catalunya.dags.plugin.plugin",
    }

    assert set(asked.found["modules"]) <= ours
    assert asked.found["seconds"] < 0.1
