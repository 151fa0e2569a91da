"""A source may send anything. It passes through every layer and command as data, or is refused in one line."""

from __future__ import annotations

import csv
import io
import json
import resource
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.contracts.model.check import check_fields
from catalunya.contracts.model.text import normalized
from catalunya.contracts.municipalities import RawMunicipalities
from catalunya.io.environment import load_settings
from catalunya.io.errors import CatalunyaError, ContractError, SourceError, SourceUnavailable
from catalunya.io.sources.idescat import Idescat
from catalunya.io.warehouse.glue_table import Field, table_input
from catalunya.io.warehouse.glue_table import Table as GlueTable
from catalunya.ops import console
from catalunya.ops.mock.data import MUNICIPALITIES, REGISTER, known_view, read_seed
from small.apis import Answer, Asked, Portal, Table, tables_with
from small.commands import Ran

HOSTILE = [
    "../../etc/passwd", "'quoted' \"twice\" `thrice`", "'; drop table x; --", "line\nend\r\nand\ttab", "nul\x00and\x01", "${jndi:ldap://x/a}",
    "{{ 1 + 1 }} {% raw %}", "$(touch x) `touch x` ; touch x", "\x1b[2J\x1b]0;title\x07\x1b[31mred", "\x9b31mred", "\u202etxt.exe\u2066", "[red]mark[/red]",
    "=cmd|' /C calc'!A0", "zero\u200bwidth\ufeff", "\U000e0041tag", "%s %d {0} %(x)s", "null\\u0000", "é" * 300,
]  # fmt: skip
LONG = "x" * 10_000_000
SAFE_CONTROLS = {"\n"}


def unsafe(text: str) -> set[str]:
    """The characters of a text that control a terminal or are invisible."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {char for char in set(text) - SAFE_CONTROLS if unicodedata.category(char) in kinds}


@contextmanager
def limited(megabytes: int) -> Iterator[None]:
    """The block must not raise the peak memory by this much."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < megabytes


@pytest.fixture
def command(
    compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Runs a command in this process, against the given portal, in an empty working folder."""
    from catalunya.ops.cli import main

    (tmp_path / "cache").mkdir()
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cache" / "graph.json").write_bytes((compiled / "graph.json").read_bytes())
    values = {"LAKE": tmp_path / "lake", "CACHE": tmp_path / "cache", "HTTP_BACKOFF_S": "0", "HTTP_ATTEMPTS": "1"}
    for name, value in values.items():
        monkeypatch.setenv(f"CATALUNYA_{name}", str(value))
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path / "cwd")

    def run(*arguments: str, portal: Portal | None = None) -> Ran:
        if portal:
            monkeypatch.setenv("CATALUNYA_MOCK_URL", portal.server.url)
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@contextmanager
def portal_of(dataset: str, rows: list[dict[str, Any]], **columns: str) -> Iterator[Portal]:
    view = known_view(dataset)
    assert view
    portal = Portal(0, dataset)
    portal.rows = rows
    portal.columns = {entry["fieldName"]: entry["dataTypeName"] for entry in view["columns"]} | columns
    with portal.running():
        yield portal


def municipalities() -> list[dict[str, Any]]:
    """The municipalities, each of the first with a hostile name, and one whose name is ten megabytes."""
    rows = read_seed("municipalities.csv").select(pl.exclude("^:.*$")).rows(named=True)
    for row, name in zip(rows, [*HOSTILE, LONG], strict=False):
        row["nom"] = name
    return rows


def services(towns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Services in a town with a normal name, and as many completely hostile ones as the contract tolerates."""
    town = towns[100]
    good = [
        {"registre": f"S{n:05}", "nom": HOSTILE[n % len(HOSTILE)], "tipologia": "altres", "municipi": town["nom"], "comarca": town["nom_comarca"]}
        for n in range(51 * (len(HOSTILE) + 1))
    ]  # fmt: skip
    named = ("registre", "nom", "tipologia", "municipi", "comarca", "capacitat", "districte")
    long = {"registre": "S-long", "nom": LONG, "municipi": f"y{LONG}", "tipologia": "altres"}
    return [*good, *(dict.fromkeys(named, text) for text in HOSTILE), long]


def test_hostile_values_go_through_landing_staging_and_every_command(
    command: Callable[..., Ran], tmp_path: Path
) -> None:
    towns = municipalities()
    drift = {"\x1b[2J'; drop table x; --": "text", "../" * 1000: "text", LONG: LONG}
    with limited(1500):
        with portal_of(MUNICIPALITIES, towns, **drift) as portal:
            made = [command("materialize", "landing.municipalities", "staging.municipalities", portal=portal)]
        with portal_of(REGISTER, services(towns)) as portal:
            made.append(command("materialize", "landing.social_services", "--json", portal=portal))
        made.append(command("materialize", "staging.social_services"))
        shown = [
            command("status"),
            command("status", "--json"),
            command("history", "landing.municipalities"),
            command("history", "landing.municipalities", "--json"),
            command("show", "staging.municipalities", "--rows", "30"),
            command("quarantine", "staging.social_services", "--limit", "50"),
            command("query", "select municipality_name as \"\x1b[31m\" from staging.municipalities limit 40"),
            command("query", "select * from staging.municipalities limit 15", "--json"),
            command("verify", "--quick"),
        ]  # fmt: skip
        quarantined = command("quarantine", "staging.social_services", "--json")
    assert [ran.code for ran in (*made, *shown, quarantined)] == [0] * 13, [ran.err[-500:] for ran in (*made, *shown)]
    for ran in (*made, *shown, quarantined):
        assert unsafe(ran.out) == set(), ran.out[:200]
        assert unsafe(ran.err) == set(), ran.err[:200]
    for ran in (*made, *shown):
        assert len(ran.out) + len(ran.err) < 200_000
    assert "source_drift" in made[0].err
    assert "10,000,000 characters" in made[0].err
    # As data, everything is as the source sent it, but for the characters that normalizing removes.
    lake = Project(load_settings(lake=str(tmp_path / "lake"))).lake
    names = pl.read_parquet(tmp_path / "lake" / "staging" / "municipalities" / "file.parquet")["municipality_name"]
    assert set(normalized(pl.Series(HOSTILE))) <= set(names)
    assert unsafe("".join(names)) == set()
    assert LONG in names
    rows = json.loads(quarantined.out)["rows"]
    assert {row["registre"] for row in rows} == {*HOSTILE, "S-long"}
    assert f"y{LONG}" in {row["municipi"] for row in rows}
    assert max(len(row["_reason"]) for row in rows) < 1000
    assert [found.path for found in lake.objects("quarantine")] == [json.loads(quarantined.out)["object"]]
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "cwd", "lake"}
    assert list((tmp_path / "cwd").iterdir()) == []
    assert {path.name for path in (tmp_path / "lake" / "staging" / "social_services").iterdir()} == {"district_id=00"}
    assert max(found.size for found in lake.objects("_ledger")) < 20_000, "ledger entries stay small"


def test_a_hostile_key_that_is_not_tolerated_is_one_short_line(command: Callable[..., Ran]) -> None:
    towns = municipalities()
    towns[0]["codi"], towns[1]["codi"] = f"\x1b[2J\n{LONG}", "'; drop table x; --"
    with portal_of(MUNICIPALITIES, towns) as portal:
        ran = command("materialize", "landing.municipalities", "staging.municipalities", portal=portal)
    assert ran.code == 1
    assert "rows break Municipalities" in ran.out
    assert unsafe(ran.out + ran.err) == set()
    assert len(ran.out + ran.err) < 20_000
    history = command("history", "staging.municipalities")
    assert unsafe(history.out) == set()
    assert len(history.out) < 10_000


def test_csv_is_unchanged_in_a_pipe_and_safe_on_a_terminal(
    command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    with portal_of(MUNICIPALITIES, municipalities()) as portal:
        command("materialize", "landing.municipalities", "staging.municipalities", portal=portal)
    asked = ("query", "select chr(27) || '[2J' || chr(155) as name from staging.municipalities limit 1", "--csv")
    assert [row["name"] for row in csv.DictReader(io.StringIO(command(*asked).out))] == ["\x1b[2J\x9b"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert unsafe(command(*asked).out) == set()


# Metadata


def test_a_drift_report_lists_a_few_names_shortened_and_escaped() -> None:
    fields = dict.fromkeys(RawMunicipalities.to_schema().columns, "text")
    retyped = check_fields("landing.x", RawMunicipalities, fields | {"georefer_ncia": f"\x1b{LONG}"})
    drift = check_fields("landing.x", RawMunicipalities, fields | {f"\x1b[2J{n}{LONG}": LONG for n in range(2)})
    many = check_fields("landing.x", RawMunicipalities, fields | {f"field_{n}": "text" for n in range(10_000)})
    for report in (retyped, drift, many):
        assert unsafe(str(report)) == set()
        assert len(str(report)) < 1000
    assert "and 9,980 more" in str(many)
    with pytest.raises(ContractError, match="is codi now called") as raised:
        check_fields("landing.x", RawMunicipalities, {f"\x1b[2J{LONG}": "text"})
    assert unsafe(str(raised.value)) == set()
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rowsUpdatedAt": 10**17}, "no date"),
        ({"rowsUpdatedAt": -(10**15)}, "no date"),
        ({"counted": 10**18}, "expected one count"),
        ({"counted": "9" * 5000}, "expected one count"),
        ({"counted": "٣"}, "expected one count"),
        ({"counted": "../x"}, "expected one count"),
    ],
)
def test_invalid_numbers_are_refused_in_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with portal_of(MUNICIPALITIES, municipalities()[-3:]) as portal:
        portal.counted = change.get("counted")
        portal.on_view = lambda _, answer: Answer(json.dumps(json.loads(answer.body) | change).encode())
        settings = load_settings(lake=str(tmp_path), mock_url=portal.server.url, http_attempts=1, http_backoff_s=0)
        with pytest.raises((SourceError, SourceUnavailable), match=message) as raised:
            materialize(Project(settings), "landing.municipalities")
    assert unsafe(str(raised.value)) == set()
    assert len(str(raised.value)) < 1000


def test_a_refusal_of_megabytes_is_one_short_line(tmp_path: Path) -> None:
    with Portal(0, "none-such").running() as portal:
        settings = load_settings(lake=str(tmp_path), mock_url=portal.server.url, http_attempts=1)
        with pytest.raises(CatalunyaError) as raised:
            materialize(Project(settings), "landing.municipalities")
    assert len(str(raised.value)) < 1000


def cells(table: Table, lake: Path, change: Callable[[dict[str, Any]], Any]) -> pl.DataFrame:
    """The cells of a table, extracted and read after a change to its document."""
    from catalunya.io.sources.base import HttpSettings
    from catalunya.io.sources.jsonstat import read_cells

    def changed(_: Asked, answer: Answer) -> Answer:
        document: dict[str, Any] = json.loads(answer.body)
        change(document)
        return Answer(json.dumps(document).encode())

    bodies: dict[str, bytes] = {}

    def sink(name: str, body: bytes) -> None:
        bodies[name] = bytes(body)

    with tables_with(table) as api:
        api.on_metadata = api.on_data = changed
        http = HttpSettings(api.server.url, attempts=1, requests_per_second=1000.0)
        source = Idescat(table.name)
        state = source.probe(http)
        assert state
        source.extract(http, state, sink)
    return pl.concat([read_cells(bodies[name]) for name in sorted(bodies)])


def test_hostile_codes_and_labels_of_json_stat_are_read_as_cells(tmp_path: Path) -> None:
    codes = [text for text in HOSTILE if "," not in text]
    table = Table(
        codes={"SEMESTER": ["2014S1"], "MUN": codes, "../SEX\x1b[2J": ["'; drop table x; --"], "CONCEPT": ["POP"]}
    )

    def relabel(document: dict[str, Any]) -> None:
        for dimension in document["dimension"].values():
            dimension["category"]["label"] = {code: f"{code}\x00\u202e" for code in dimension["category"]["index"]}

    frame = cells(table, tmp_path, relabel)
    assert frame["geo"].to_list() == codes
    assert frame["../SEX\x1b[2J"].unique().to_list() == ["'; drop table x; --"]
    assert frame["../SEX\x1b[2J_label"].unique().to_list() == ["'; drop table x; --\x00\u202e"]


def label_of(document: dict[str, Any]) -> None:
    document["dimension"]["SEX"]["category"]["label"]["F"] = LONG


def code_of(document: dict[str, Any]) -> None:
    document["dimension"]["SEX"]["category"]["index"][1] = LONG


def id_of(document: dict[str, Any]) -> None:
    document["dimension"][LONG] = document["dimension"].pop("SEX")
    document["id"] = [LONG if name == "SEX" else name for name in document["id"]]


def sizes_of(document: dict[str, Any]) -> None:
    many = [str(number) for number in range(10_000)]
    for name in ("A", "B", "C"):
        document["dimension"][name] = {"category": {"index": many}}
        document["id"].append(name)
        document["size"].append(len(many))


@pytest.mark.parametrize("change", [label_of, code_of, id_of, sizes_of])
def test_json_stat_that_would_fill_the_memory_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    with limited(400), pytest.raises((SourceError, SourceUnavailable), match=r"expected .*at most") as raised:
        cells(Table(), tmp_path, change)
    assert unsafe(str(raised.value)) == set()
    assert len(str(raised.value)) < 2000


# Catalog and terminal


def test_hostile_partitions_go_to_glue_as_values_and_never_as_a_projection() -> None:
    values = {(text,): f"s3://lake/staging/x/city=p{n}" for n, text in enumerate(HOSTILE)}
    table = GlueTable(
        schema="staging",
        name="x",
        description=f"\x1b{LONG}",
        columns=(Field("city", "string", LONG),),
        location="s3://lake/staging/x",
        code_version="c",
        data_version="d",
        partition_by=("city",),
        partitions=values,
        may_project=True,
    )
    request = table_input(table)
    assert not [name for name in request["Parameters"] if name.startswith(("projection", "storage"))]
    assert table.registered == values
    assert len(json.dumps(request)) < 10_000


def test_a_terminal_shows_hostile_text_and_interprets_none_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = [*HOSTILE, "\ud800half", LONG]
    console.table(["asset", "why"], [(text, text) for text in hostile])
    console.grid(hostile, [hostile])
    for text in hostile:
        console.say(text)
        console.warn(text)
    document = {text: [text] for text in hostile}
    shown = capsys.readouterr()
    assert unsafe(shown.out + shown.err) == set()
    assert r"\x1b[2J" in shown.out
    assert "[red]mark[/red]" in shown.out
    console.emit_json(document)
    written = capsys.readouterr().out
    assert unsafe(written) == set()
    assert json.loads(written) == document, "parsed JSON is unchanged"
