"""What a person waits for: the commands that look, and `materialize` of everything, cold and fresh, each in a process of its own.

`python bench/commands.py download URL` is the floor of what is landed: the requests that the mock was sent, again, by httpx, four at once.
`python bench/commands.py marts FOLDER` is that of the marts: their compiled SQL, in order, in one DuckDB. Both print one JSON line.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from figures import Figure, mock, used

LOOKS = {"--help": 0.15, "ls": 0.3, "plan": 0.3, "status": 0.3}
"""Commands, and the seconds that each may take."""
LOOK_TURNS = 5  # a quarter of a second each
CATALUNYA = (sys.executable, "-c", "from catalunya.ops.cli import main; raise SystemExit(main())")
ROWS = 2000


def figures(work: Path, repeat: int) -> Iterator[Figure]:
    """Everything from nothing, with what the last run compiled and parsed, and again; then a look at it."""
    folder = work / "commands"
    with mock(ROWS) as url:
        settings = {
            "CATALUNYA_LAKE": str(folder / "lake"),
            "CATALUNYA_CACHE": str(folder / "cache"),
            "CATALUNYA_MOCK_URL": url,
            "CATALUNYA_LOG_LEVEL": "WARNING",
        }
        command = partial(used, env=settings)
        command([*CATALUNYA, "materialize"])  # compiles the graph, parses dbt's project
        cold = []
        for _ in range(repeat):
            shutil.rmtree(folder / "lake")
            used([sys.executable, "-c", f"import httpx; httpx.delete('{url}/_mock/requests')"])
            cold.append(command([*CATALUNYA, "materialize"]))
        download = command([sys.executable, __file__, "download", url]).answer["seconds"]
        fresh = [command([*CATALUNYA, "materialize"]).seconds for _ in range(repeat)]
    marts = command([sys.executable, __file__, "marts", folder]).answer["seconds"]
    bare = min(used([sys.executable, "-c", "pass"]).seconds for _ in range(repeat))
    floor = bare + download + marts
    yield Figure("everything, cold", min(one.seconds for one in cold), "s", floor, {}, {"most": 7})
    yield Figure("everything, cold, CPU", min(one.cpu for one in cold), "s")
    yield Figure("everything, fresh", min(fresh), "s", bare, {}, {"most": 0.6})
    for name, most in LOOKS.items():
        seconds = min(command([*CATALUNYA, name]).seconds for _ in range(LOOK_TURNS))
        yield Figure(f"catalunya {name}", seconds, "s", bare, {}, {"most": most})


def download(url: str) -> dict[str, float]:
    """Send the GET requests that the mock was sent before."""
    import httpx

    with httpx.Client(base_url=url) as client, ThreadPoolExecutor(4) as pool:
        asked = client.get("/_mock/requests").json()["requests"]
        targets = [f"{one['path']}?{one['query']}" for one in asked if one["method"] == "GET"]
        began = time.perf_counter()
        bodies = list(pool.map(lambda target: client.get(target).content, targets))
    return {"seconds": time.perf_counter() - began, "requests": len(bodies)}


def marts(folder: Path) -> dict[str, float]:
    """Run the SQL of every model, as dbt compiled it for a first run, over the staging tables in the lake of this environment."""
    import duckdb
    import yaml

    from catalunya.assets.graph.spec import Layer
    from catalunya.assets.record.paths import relation
    from catalunya.assets.record.project import Project
    from catalunya.io.project_folder import active
    from catalunya.io.warehouse.build import compiled_models
    from catalunya.io.warehouse.dbt import DATABASE
    from catalunya.io.warehouse.duckdb import create_database

    project = Project()
    variables = {"as_of": f"{project.state().now:%Y-%m-%d}"}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        compiled, _ = compiled_models([], variables=variables, settings=project.settings, scratch=Path(scratch))
    seeds = yaml.safe_load((active().dbt / "seeds" / "_seeds.yml").read_text(encoding="utf-8"))["seeds"]
    tables = [
        relation(project.lake, each, project.ledger.latest(each.key)) for each in project.graph.select("layer:staging")
    ]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        began = time.perf_counter()
        create_database(Path(scratch, DATABASE), tables)
        with duckdb.connect(str(Path(scratch, DATABASE))) as connection:
            for seed in seeds:
                types = seed["config"]["column_types"]
                columns = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in types.items())
                file = active().dbt / "seeds" / f"{seed['name']}.csv"
                rows = f"select {columns} from read_csv('{file}', all_varchar = true)"
                connection.execute(f"create table marts.{seed['name']} as {rows}")
            for mart in (asset for asset in project.graph if asset.layer is Layer.MARTS):
                connection.execute(f"create table marts.{mart.name} as {compiled[mart.name][0]}")
        return {"seconds": time.perf_counter() - began, "marts": len(compiled)}


def main() -> None:
    name, place = sys.argv[1:]
    print(json.dumps(download(place) if name == "download" else marts(Path(place))))


if __name__ == "__main__":
    main()
