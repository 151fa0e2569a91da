"""A project of a thousand assets that has run daily for a hundred days, written in seconds, and what it costs to look at it.

`python bench/thousand.py write FOLDER [ASSETS]` writes a project with asset files, contracts and SQL: a fifth of the assets are sources, a fifth
their staging tables, the others marts on two levels. The other steps need `CATALUNYA_PROJECT=FOLDER`, each in a process of its own, and print one
JSON line: `compile` the graph, `record LAKE [ENTRIES]` a ledger that is up to date, then `parse`, `plan`, `status`, `reconcile`, `look`, `portal` and `floor`
(listing the entries, and reading the newest of each asset as JSON).

`python bench/thousand.py figures ASSETS…` runs them all on a folder; `requests ASSETS ENTRIES` counts what each asks of S3 (moto's).
`bench/run.py` takes its figures from `figures`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from figures import Figure, Used, peak, used

if TYPE_CHECKING:
    from catalunya.assets.record.project import Project

NAME = "generated"
SIZES = (100, 300, 1000)
ENTRIES = 100
ROWS, TABLE = 200, "data.parquet"
LOOKS = ("parse", "plan", "status", "reconcile", "look")
MOST = {"parse": 1.5, "plan": 1.0, "status": 1.0, "reconcile": 3.0, "look": 2.0}
"""Seconds at a thousand assets."""
COUNTED = ((100, ENTRIES), (1000, 10))
"""Assets, and entries of each, of which S3 requests are counted: a thousand of a hundred would take ten minutes to put into moto."""

_PROJECT = f"""\
name = "{NAME}"
title = "A project of many assets"
qualifier = "gen"

[portals]
socrata = "https://data.example.org"
"""
_DBT = f"""\
name: {NAME}
config-version: 2
macro-paths: ["macros", "{{{{ var('engine_macros') }}}}"]

models:
  {NAME}:
    +contract: {{enforced: true}}
    +on_schema_change: fail
    +materialized: table
"""
_ASSET = f'''\
"""Source {{n}}. Daily."""

from __future__ import annotations

import polars as pl

from catalunya.assets.graph.spec import Landing, staging
from catalunya.io.sources.socrata import Socrata
from {NAME}.contracts.source_{{n}} import RawSource{{n}}, Source{{n}}

landing = Landing("source_{{n}}", source=Socrata("aaaa-{{n}}", key=("code", "year")), contract=RawSource{{n}}, schedule="0 5 * * *")


@staging(landing, contract=Source{{n}})
def source_{{n}}(raw: pl.LazyFrame) -> pl.LazyFrame:
    """Nothing to add: the contract declares names and types."""
    return raw
'''
_CONTRACT = '''\
"""Contracts of source {n}."""

from __future__ import annotations

from catalunya.contracts.model.contract import Contract, LandingContract, column, raw


class RawSource{n}(LandingContract):
    """Source {n} as its portal publishes it."""

    code: str = raw("Code of the place", required=True)
    year: str = raw("Year", required=True)
    persons: str = raw("Persons", kind="number")


class Source{n}(Contract):
    """Persons of source {n} by place and year."""

    place_id: str = column("Code of the place", source=RawSource{n}.code, key=True)
    year: int = column("Year", source=RawSource{n}.year, key=True)
    persons: int = column("Persons", source=RawSource{n}.persons, nullable=True, ge=0)
'''
_MARTS = f'''\
"""The marts: each is one dbt model and one contract of the same name."""

from __future__ import annotations

from catalunya.assets.graph.spec import Marts
from {NAME}.contracts import marts as contracts

marts = Marts(contracts)
'''
_MART = '''

class FactPersons{n}(Contract):
    """Persons by place and year, number {n}."""

    place_id: str = column("Code of the place", key=True)
    year: int = column("Year", key=True)
    persons: int = column("Persons", nullable=True, ge=0)
'''
_OF_STAGING = """\
select
    one.place_id,
    one.year,
    one.persons + other.persons as persons
from {{{{ source('staging', 'source_{one}') }}}} as one
inner join {{{{ source('staging', 'source_{other}') }}}} as other
    on one.place_id = other.place_id and one.year = other.year
"""
_OF_MART = "select place_id, year, persons from {{{{ ref('fact_persons{one}') }}}} where persons is not null\n"


def write(folder: Path, assets: int = 1000) -> dict[str, float]:
    """The files of the project, without those that `compile` derives from them."""
    sources = assets // 5
    marts = assets - 2 * sources
    numbers = [f"{n:04}" for n in range(max(sources, marts))]
    files = {"assets/project.toml": _PROJECT, "assets/marts.py": _MARTS, "dbt/dbt_project.yml": _DBT}
    for n in numbers[:sources]:
        files |= {f"assets/source_{n}.py": _ASSET.format(n=n), f"contracts/source_{n}.py": _CONTRACT.format(n=n)}
    contracts = ['"""Contracts of the marts."""\n\nfrom __future__ import annotations\n', _IMPORT]
    for number, n in enumerate(numbers[:marts]):
        one, other = (numbers[(number + step) % sources] for step in (0, 7))
        below = numbers[number - marts // 2]
        sql = _OF_STAGING.format(one=one, other=other) if number < marts // 2 else _OF_MART.format(one=below)
        files[f"dbt/models/marts/fact_persons{n}.sql"] = sql
        contracts.append(_MART.format(n=n))
    files["contracts/marts.py"] = "\n".join(contracts)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {"assets": assets, "files": len(files)}


_IMPORT = "from catalunya.contracts.model.contract import Contract, column"


def compile_() -> dict[str, float]:
    """Derive dbt's YAML from the contracts, and compile the graph as the first command after an edit does."""
    from catalunya.io.project_folder import active
    from catalunya.ops.generate import rendered

    folder = active().folder
    for name, text in rendered().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    began = time.perf_counter()
    count = len(_project().graph)
    return {"seconds": time.perf_counter() - began, "assets": count}


def entries_of(project: Project, entries: int = ENTRIES) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of each entry of a pipeline that has run daily for that many days and is up to date."""
    from catalunya.assets.graph.spec import Layer
    from catalunya.assets.record.ledger import Entry, Ledger, Stored, encode

    chance, now = random.Random(1), datetime.now(UTC)
    content = table()
    sha256 = hashlib.sha256(content).hexdigest()
    for asset in project.graph:
        for number in range(1, entries + 1):
            at = now - timedelta(days=entries - number, hours=1)
            is_landing = asset.layer is Layer.LANDING
            entry = Entry(
                asset=asset.key,
                sequence=number,
                status="materialized",
                run_id=f"run-{number}",
                correlation_id=f"run-{number}",
                reason="DATA",
                started_at=at,
                seconds=1.5,
                code_version=asset.code_version,
                versions=dict.fromkeys(asset.upstream, f"version-{number}"),
                data_version=f"version-{number}",
                rows=10_000 + chance.randrange(50),
                bytes=1_000_000,
                objects=(Stored(path=f"{asset.prefix}/{TABLE}", bytes=len(content), rows=ROWS, sha256=sha256),),
                columns={column.name: column.type for column in asset.columns},
                source_updated_at=at if is_landing else None,
                batch=f"{asset.prefix}/ingested_process_at={at:%Y%m%dT%H%M%S}000Z" if is_landing else None,
            )
            yield Ledger.path(asset.key, number), encode(entry)


def table() -> bytes:
    """The file of each table: a few rows."""
    import polars as pl

    number = pl.int_range(ROWS, eager=True)
    rows = pl.DataFrame({"place_id": number.cast(pl.String), "year": 2000 + number % 25, "persons": number * 7})
    file = BytesIO()
    rows.write_parquet(file)
    return file.getvalue()


def record(lake: Path, entries: int = ENTRIES) -> dict[str, float]:
    """The ledger in a folder, and the tables."""
    project, content = _project(), table()
    count, tables = 0, ((f"{asset.prefix}/{TABLE}", content) for asset in project.graph)
    for name, body in chain(tables, entries_of(project, entries)):
        path = lake / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        count += 1
    return {"files": count}


def parse() -> dict[str, float]:
    """The DAG file, as Airflow's DAG processor parses it, Airflow's own import not included."""
    os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
    import airflow.sdk  # noqa: F401

    began = time.perf_counter()
    from catalunya.dags import asset_dags

    seconds = time.perf_counter() - began
    return {"seconds": seconds, "dags": sum(type(each).__name__ == "DAG" for each in vars(asset_dags).values())}


def plan() -> dict[str, float]:
    """What `catalunya plan` works out, imports of the command included."""
    began = time.perf_counter()
    from catalunya.assets.making.plan import plan as planned

    project = _project()
    steps = planned(project.overview(), project.graph)
    return {"seconds": time.perf_counter() - began, "steps": len(steps)}


def status() -> dict[str, float]:
    """What `catalunya status` shows."""
    began = time.perf_counter()
    from catalunya.ops.status import statuses
    from catalunya.ops.watching.findings import read_board

    project = _project()
    found = statuses(project.overview(), project.graph, read_board(project.lake))
    return {"seconds": time.perf_counter() - began, "fresh": sum(each.state == "fresh" for each in found)}


def reconcile() -> dict[str, float]:
    """What the task of `ops.reconcile` finds, Airflow's own import not included."""
    os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
    from airflow.sdk.exceptions import AirflowSkipException

    began = time.perf_counter()
    from catalunya.dags.tasks import FindStale

    class Instance:
        def get_dr_count(self, *_: object, **__: object) -> int:
            return 0

    task = FindStale(task_id="find_stale")
    found: list[dict[str, str]] = []
    with suppress(AirflowSkipException):
        found = task.execute({"ti": Instance(), "params": {"select": "*"}})  # type: ignore[arg-type, typeddict-item]
    return {"seconds": time.perf_counter() - began, "triggered": sum(each["key"] != "ops.portal" for each in found)}


def look() -> dict[str, float]:
    """A whole look that is kept, imports not included."""
    from catalunya.ops.watching.look import watch

    project = _project()
    _ = project.graph
    began = time.perf_counter()
    found = watch(project, datetime.now(UTC))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "new": found.index.new, "open": len(found.board.open), "peak": peak()}


def portal() -> dict[str, float]:
    """The public pages of everything, imports included."""
    began, cpu = time.perf_counter(), time.process_time()
    from catalunya.portal.making import build_site

    built = build_site(_project(), "bench")
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "files": built.files,
        "peak": peak(),
    }


def floor() -> dict[str, float]:
    """What plan and look would cost at least without an index: listing the entries, and reading the newest of each asset."""
    from catalunya.assets.record.ledger import FOLDER

    began = time.perf_counter()
    newest: dict[str, str] = {}
    for folder, _, files in os.walk(Path(_project().settings.lake) / FOLDER):
        if files:
            newest[folder] = max(files)
    for folder, name in newest.items():
        json.loads(Path(folder, name).read_bytes())
    return {"seconds": time.perf_counter() - began}


def _project() -> Project:
    from catalunya.assets.record.project import Project

    return Project()


STEPS: dict[str, Callable[..., dict[str, float]]] = {
    "compile": compile_, "parse": parse, "plan": plan, "status": status, "reconcile": reconcile, "look": look, "portal": portal, "floor": floor,
}  # fmt: skip


# What runs them


def run(folder: Path, step: str, *arguments: object, **environment: str) -> Used:
    """A step in a process of its own."""
    environment = {"CATALUNYA_LAKE": str(folder / "lake"), "CATALUNYA_CACHE": str(folder / "cache")} | environment
    environment |= {"CATALUNYA_PROJECT": str(folder / NAME)}
    return used([sys.executable, __file__, step, *arguments], env=environment)


def prepared(folder: Path, assets: int, entries: int = ENTRIES) -> float:
    """Write, compile and record a project below the folder. Returns the seconds of the compilation."""
    write(folder / NAME, assets)
    seconds: float = run(folder, "compile").answer["seconds"]
    run(folder, "record", folder / "lake", entries)
    return seconds


def measured(work: Path, assets: int, repeat: int) -> Iterator[tuple[str, Used]]:
    """The step, and the turn of it that took the fewest seconds."""
    folder = work / f"thousand-{assets}"
    prepared(folder, assets)
    run(folder, "look")  # the first look reads the entries, the others what it kept
    for step in (*LOOKS, "floor"):
        yield step, min((run(folder, step) for _ in range(repeat)), key=lambda turn: turn.answer["seconds"])


def figures(work: Path, repeat: int) -> Iterator[Figure]:
    """Each step at each size, and what a quiet tick asks of S3."""
    for assets in SIZES:
        found = dict(measured(work, assets, repeat))
        least = found["floor"].answer["seconds"]
        for step in LOOKS:
            limit = {"most": MOST[step]} if assets == SIZES[-1] else {}
            yield Figure(f"{step} of {assets:,} assets", found[step].answer["seconds"], "s", least, {}, limit)
        yield Figure(f"peak memory of a look at {assets:,} assets", found["look"].answer["peak"], "MB")
    few, many = (run(work / f"thousand-{assets}", "portal").answer for assets in (SIZES[0], SIZES[-1]))
    tenfold = {f"ten times {SIZES[0]} assets": 10 * few["cpu"]}
    limit = dict.fromkeys(tenfold, 1.2)
    yield Figure(f"public pages of {SIZES[-1]:,} assets in CPU", many["cpu"], "s", None, tenfold, limit)
    yield Figure(f"peak memory of the public pages of {SIZES[-1]:,} assets", many["peak"], "MB")
    for assets, entries in COUNTED:
        asked = requests(work, assets, entries)
        quiet = sum(sum(asked[step].values()) for step in ("reconcile", "look"))
        name = f"requests to S3 of a quiet tick, {assets:,} assets with {entries} entries each"
        yield Figure(name, quiet, "requests", limit={"most": 2 * (assets // 5) + 20})


def requests(work: Path, assets: int, entries: int = ENTRIES) -> dict[str, dict[str, int]]:
    """The requests to S3 of each step of a quiet tick, after a first look."""
    folder = work / f"{assets}-{entries}"
    prepared(folder, assets, 1)
    with bucket() as (counted, environment):
        run(folder, "fill", entries, **environment)
        found = {}
        for step in ("look", "look", *LOOKS[1:4]):
            counted.clear()
            run(folder, step, **environment)
            found["first look" if not found else step] = dict(
                Counter(operation for (_, service, operation), n in counted.requests.items() for _ in range(n))
            )
    return found


@contextmanager
def bucket() -> Iterator[tuple[Any, dict[str, str]]]:
    """A bucket of moto's in threads of this process: what counts its requests, and the variables of a process that uses it."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    from small.aws import Aws, look_up_once
    from small.counting import Counting

    look_up_once()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    counting = Counting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, counting, True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    aws = Aws(f"http://127.0.0.1:{server.server_address[1]}")
    try:
        # moto keeps the buckets of this process, also of a server before.
        yield counting, aws.environment | {"CATALUNYA_LAKE": aws.make_bucket(f"thousand-{uuid4().hex}")}
    finally:
        server.shutdown()


def fill(entries: int) -> dict[str, float]:
    """The ledger in a bucket."""
    from concurrent.futures import ThreadPoolExecutor

    project = _project()
    with ThreadPoolExecutor(4) as pool:
        return {"entries": len(list(pool.map(lambda each: project.lake.put(*each), entries_of(project, entries))))}


def main() -> None:
    name, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as work:
        match name:
            case "figures":
                for assets in map(int, arguments):
                    for step, turn in measured(Path(work), assets, 2):
                        print(assets, step, turn.answer, f"{turn.cpu:.2f} CPU s, {turn.peak:.0f} MB", flush=True)
            case "requests":
                print(json.dumps(requests(Path(work), *map(int, arguments)), indent=1))
            case "write":
                print(json.dumps(write(Path(arguments[0]), *map(int, arguments[1:]))))
            case "record":
                print(json.dumps(record(Path(arguments[0]), *map(int, arguments[1:]))))
            case "fill":
                print(json.dumps(fill(int(arguments[0]))))
            case _:
                import structlog

                structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
                print(json.dumps(STEPS[name]()))


if __name__ == "__main__":
    main()
