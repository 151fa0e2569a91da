"""The commands that look: ls, lineage, show, plan, status, history, query, quarantine; for people and as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.mock.server import MockServer
from small.commands import Ran, Run

pytestmark = pytest.mark.usefixtures("filled")


def document(ran: Ran) -> object:
    assert ran.code == 0, ran.err
    assert not ran.err
    return json.loads(ran.out)


def test_ls_lists_the_selected_assets(run: Run) -> None:
    assert "marts.dim_time" in run("ls").out
    ran = run("ls", "layer:staging")
    assert "staging.municipalities" in ran.out
    assert "landing.municipalities" not in ran.out


def test_lineage_draws_what_is_upstream_and_downstream_of_an_asset(run: Run) -> None:
    out = run("lineage", "staging.municipalities").out
    assert "staging.municipalities is made from\n└── landing.municipalities" in out
    assert "staging.municipalities is read by" in out
    assert "staging.social_services" in out
    assert "service_usage\n" not in out.split("staging.municipalities is read by")[0]


def test_lineage_as_mermaid_has_one_box_per_layer(run: Run) -> None:
    lines = run("lineage", "--format", "mermaid").out.splitlines()
    assert lines[:2] == ["flowchart LR", "  subgraph landing"]
    assert '    staging_municipalities["municipalities"]' in lines
    assert "  landing_municipalities --> staging_municipalities" in lines


def test_lineage_as_json_has_every_edge_between_its_nodes(run: Run, project: Project) -> None:
    found = document(run("lineage", "--json"))
    assert isinstance(found, dict)
    assert {node["key"] for node in found["nodes"]} == {asset.key for asset in project.graph}
    assert len(found["edges"]) == sum(len(asset.upstream) for asset in project.graph)


def test_lineage_of_a_column_goes_down_to_the_fields_of_the_source_and_up_to_the_marts(run: Run) -> None:
    up = run("lineage", "marts.agg_economic_indicators_quarterly.yearly_growth_pct").out.splitlines()
    assert up[:4] == [
        "marts.agg_economic_indicators_quarterly.yearly_growth_pct is made from",
        "└── marts.fact_gdp_quarterly.volume_index, computed",
        "    ├── staging.gdp.figure, aggregated",
        "    │   └── landing.gdp.value (field of IDESCAT pibt/21129/24938/cat, pibt/21130/24940/cat)",
    ]
    down = run("lineage", "landing.municipality_areas.value").out
    assert "landing.municipality_areas.value (field of EMEX f271 (Superfície)) is read into\n└── staging" in down
    assert "marts.agg_population_trends_yearly.density_per_km2, computed" in down
    assert run("lineage", "marts.dim_time.date_id").out.splitlines()[1] == "└── a generated series"
    assert "has: staging.gdp.figure" in run("lineage", "marts.fact_gdp_quarterly.is_latest").out
    assert run("lineage", "landing.social_services.nif").out.strip().endswith("is read into no column")


def test_lineage_of_a_column_as_json_and_as_mermaid(run: Run) -> None:
    found = document(run("lineage", "staging.gdp.figure", "--json"))
    assert isinstance(found, dict)
    assert found["sources"] == found["fields"] == [{"asset": "landing.gdp", "column": "value", "how": "identity"}]
    assert {"asset": "marts.fact_gdp_quarterly", "column": "volume_index", "how": "aggregated"} in found["consumers"]
    assert {one["asset"] for one in found["downstream"]} >= {"marts.agg_economic_indicators_quarterly"}
    assert found["is_known"] is True
    lines = run("lineage", "marts.fact_gdp_quarterly.volume_index", "--format", "mermaid").out.splitlines()
    assert lines[0] == "flowchart LR"
    assert next(line.strip() for line in lines if "subgraph" in line).endswith('["landing.gdp"]')
    assert sum("-->" in line for line in lines) == 5
    assert sum("-.->" in line for line in lines) == 1


def test_lineage_of_a_column_that_does_not_exist_names_the_nearest(run: Run) -> None:
    ran = run("lineage", "marts.dim_time.datid")
    assert (ran.code, ran.err) == (
        2,
        "error: marts.dim_time has no column 'datid'; did you mean date_id or quarter_id?\n",
    )
    assert "there is no asset marts.dim_tim; did you mean marts.dim_time" in run("lineage", "marts.dim_tim.date_id").err


def test_lineage_of_a_table_whose_code_changed_says_how_to_read_it_again(run: Run, place: Path) -> None:
    graph = place / "cache" / "graph.json"
    version = re.search(
        r'"code_version":"(\w+)"[^{}]*"module":"dbt/models/marts/dimensions/dim_time.sql"', graph.read_text()
    )
    assert version
    graph.write_text(graph.read_text().replace(version[1], "0" * 16))
    out = run("lineage", "marts.dim_time.date_id").out
    assert "the code of marts.dim_time has changed since its columns were read; `make generate` reads them again" in out
    assert "└── not known" in out


def test_show_has_declaration_contract_last_materialization_and_first_rows(run: Run) -> None:
    out = run("show", "staging.social_services").out
    for part in (
        "catalunya://staging/social_services",
        "partition by   district_id",
        "downstream     marts.fact_service_usage_daily",
        "Places",
        "last made",
        "in quarantine (see `catalunya quarantine staging.social_services`)",
        "made from",
        "social_services.capacitat",
        "S00002",
    ):
        assert part in out


def test_show_as_json_has_the_requested_number_of_rows(run: Run) -> None:
    found = document(run("show", "staging.municipalities", "--rows", "2", "--json"))
    assert isinstance(found, dict)
    assert [row["municipality_id"] for row in found["preview"]] == ["080018", "080023"]
    assert found["columns"][0]["key"] is True
    assert found["columns"][0]["made_from"]["sources"][0]["column"] == "codi"
    assert found["last"]["asset"] == "staging.municipalities"


def test_show_of_a_landing_asset_masks_personal_fields(run: Run, place: Path) -> None:
    assert "no preview" in run("show", "landing.social_services").out, "its batch was used and deleted"
    assert run("materialize", "landing.social_services", "--force").code == 0
    found = document(run("show", "landing.social_services", "--json"))
    assert isinstance(found, dict)
    first = found["preview"][0]
    assert first["nif"] == "•••"
    assert first["registre"].startswith("S")


def test_show_of_a_damaged_landing_page_is_one_line(run: Run, place: Path) -> None:
    assert run("materialize", "landing.social_services", "--force").code == 0
    for page in (place / "lake" / "landing" / "social_services").rglob("page-*.json"):
        page.write_bytes(b'[{"registre": ')
    ran = run("show", "landing.social_services")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "`catalunya materialize landing.social_services+`" in ran.err


def test_show_of_an_asset_that_was_never_made_says_how_to_make_it(run: Run) -> None:
    assert "`catalunya materialize +marts.dim_time`" in run("show", "marts.dim_time").out


def test_plan_shows_what_would_be_made_and_changes_nothing(run: Run, place: Path) -> None:
    before = sorted(place.rglob("*"))
    found = document(run("plan", "--json"))
    assert isinstance(found, list)
    reasons = {step["asset"]: step["reason"] for step in found}
    assert reasons["landing.municipalities"] == "SOURCE"
    assert reasons["staging.municipalities"] == "UPSTREAM"
    assert reasons["marts.dim_time"] == "MISSING"
    assert sorted(place.rglob("*")) == before
    assert run("plan", "staging.municipalities").out == "everything is up to date\n"


def test_the_plan_of_a_forced_staging_table_includes_its_deleted_batch(run: Run) -> None:
    lines = run("plan", "staging.municipalities", "--force").out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["landing.municipalities", "FORCED"],
        ["staging.municipalities", "FORCED"],
    ]


def make_the_register_overdue() -> None:
    """Record the register as last updated by its source ten days ago."""
    ledger = Project(load_settings()).ledger
    entry = ledger.latest("landing.social_services")
    assert entry
    old = replace(entry, source_updated_at=datetime.now(UTC) - timedelta(days=10))
    ledger.append(old, after=entry.sequence)


def test_status_shows_rows_staleness_and_overdue_sources(run: Run) -> None:
    make_the_register_overdue()
    found = document(run("status", "--json"))
    assert isinstance(found, list)
    states = {one["asset"]: one for one in found}
    assert states["staging.municipalities"]["state"] == "fresh"
    assert states["staging.municipalities"]["rows"] == 947
    assert states["marts.dim_time"]["state"] == "missing"
    assert states["landing.social_services"]["overdue_hours"] > 0
    out = run("status").out
    assert "is" in out
    assert "overdue (expected every 36 h)" in out


def test_show_and_status_have_the_warnings_of_the_last_materialization(run: Run) -> None:
    ledger, key = Project(load_settings()).ledger, "staging.municipalities"
    entry = ledger.latest(key)
    assert entry
    ledger.append(replace(entry, warnings=("no rule of kind knows Circ",)), after=entry.sequence)
    assert "warning: no rule of kind knows Circ" in run("show", key).out
    assert "warning: no rule of kind knows Circ" in " ".join(run("status", key).out.split())
    found = document(run("status", key, "--json"))
    assert isinstance(found, list)
    assert found[0]["warnings"] == ["no rule of kind knows Circ"]


def test_status_check_exits_1_unless_all_is_well(run: Run) -> None:
    assert run("status", "staging.municipalities", "--check").code == 0
    assert run("status", "marts.dim_time", "--check").code == 1, "never made"
    assert run("status", "landing.social_services", "--check").code == 0
    make_the_register_overdue()
    assert run("status", "landing.social_services", "--check").code == 1, "overdue"


def test_history_has_the_newest_first(run: Run) -> None:
    assert run("materialize", "landing.municipalities", "--force").code == 0
    found = document(run("history", "landing.municipalities", "--json"))
    assert isinstance(found, list)
    assert [entry["sequence"] for entry in found] == [2, 1]
    assert found[1]["run_id"] == "first"
    assert len(run("history", "landing.municipalities", "--limit", "1").out.splitlines()) == 2, (
        "a heading and one entry"
    )


def test_query_reads_the_tables_by_layer_and_name(run: Run) -> None:
    sql = "select province_id, count(*) as municipalities from staging.municipalities group by 1 order by 1"
    assert document(run("query", sql, "--json")) == [
        {"province_id": "08", "municipalities": 311},
        {"province_id": "17", "municipalities": 221},
        {"province_id": "25", "municipalities": 231},
        {"province_id": "43", "municipalities": 184},
    ]
    assert run("query", sql, "--csv").out.splitlines()[:2] == ["province_id,municipalities", "08,311"]


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", None])
def test_a_table_whose_file_is_damaged_stops_only_the_queries_that_read_it(
    run: Run, place: Path, content: bytes | None
) -> None:
    file = place / "lake" / "staging" / "municipalities" / "file.parquet"
    file.unlink() if content is None else file.write_bytes(content)
    assert run("query", "select count(*) from staging.service_usage").code == 0
    ran = run("query", "select count(*) from staging.municipalities")
    assert ran.code == 1
    assert ran.err.startswith("error: staging.municipalities: cannot read its files")
    assert ran.err.endswith("run `catalunya verify` to see what is wrong\n")
    assert ran.err.count("\n") == 1


def test_query_says_when_it_shows_only_the_first_rows(run: Run) -> None:
    out = run("query", "from staging.municipalities", "--limit", "3").out
    assert len(out.splitlines()) == 5
    assert "the first 3 rows; --limit, --csv, --json or --output FILE give more" in out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("timestamp '2024-03-01' - timestamp '2024-02-28'", "2 days"),
        ("[interval 1 day]", "[1 day]"),
        ("union_value(a := 1)", "1"),
        ("'101'::bit", "101"),
        ("timetz '10:00:00+02'", "10:00:00+02"),
        ("340282366920938463463374607431768211455::uhugeint", "340282366920938463463374607431768211455"),
        ("'\\xAA'::blob", "\\xAA"),
    ],
)
def test_a_value_of_a_type_that_only_duckdb_has_is_shown_as_duckdb_writes_it(run: Run, value: str, text: str) -> None:
    sql = f"select {value} as found, 2 as two"
    assert document(run("query", sql, "--json")) == [{"found": text, "two": 2}]
    assert run("query", sql, "--csv").out.splitlines() == ["found,two", f"{text},2"]
    assert text in run("query", sql).out


@pytest.mark.parametrize(
    ("value", "found", "cell"),
    [
        ("[1, 2]", [1, 2], "[1, 2]"),
        ("{'a': 1}", {"a": 1}, "{'a': 1}"),
        ("map {'a': 1}", {"a": 1}, "{a=1}"),
        ("row(1, 2)", {"element1": 1, "element2": 2}, "(1, 2)"),
    ],
)
def test_a_value_with_others_within_is_json_in_json_and_text_in_csv(
    run: Run, place: Path, value: str, found: object, cell: str
) -> None:
    assert document(run("query", f"select {value} as found", "--json")) == [{"found": found}]
    run("query", f"select {value} as found", "--output", str(place / "found.csv"))
    assert pl.read_csv(place / "found.csv")["found"].to_list() == [cell]


def test_what_is_no_number_is_null_in_json_which_has_no_other_word_for_it(run: Run) -> None:
    sql = "select 'NaN'::double as a, ['inf'::double, 1.5] as b"
    assert document(run("query", sql, "--json")) == [{"a": None, "b": [None, 1.5]}]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json"])
def test_query_writes_all_rows_to_a_file(run: Run, place: Path, suffix: str) -> None:
    target = place / f"towns.{suffix}"
    assert "947 rows written" in run("query", "from staging.municipalities", "--output", str(target)).out
    readers = {"parquet": pl.read_parquet, "csv": pl.read_csv, "json": pl.read_json}
    assert readers[suffix](target).height == 947


@pytest.mark.parametrize(
    ("sql", "advice"),
    [
        ("from staging.municipality", "did you mean staging.municipalities"),
        ("from municipalities", "did you mean staging.municipalities?"),
        ("from marts.dim_time", "marts.dim_time has never been made: `catalunya materialize +marts.dim_time`"),
        ("selec 1", "syntax error"),
        ("select name from staging.municipalities", 'Candidate bindings: "'),
        ("copy (select 1) to 'out.csv'", "found COPY"),
        ("select * from '/etc/passwd'", "does not exist"),
        (
            "create view x as select 1",
            "expected one query that returns rows (select, from, describe, summarize), found CREATE",
        ),
        ("select 1; select 2", "found SELECT and SELECT"),
        ("", "found nothing"),
        ("select coalesce(null, 'infinity'::date) as valid_to", "select cast(valid_to as varchar)"),
        ("select '-infinity'::timestamptz as since", "select cast(since as varchar)"),
    ],
)
def test_a_query_that_cannot_be_is_told_so_in_one_line(run: Run, sql: str, advice: str) -> None:
    ran = run("query", sql)
    assert ran.code == 2
    assert not ran.out
    assert ran.err.count("\n") == 1
    assert advice in ran.err


def test_quarantine_counts_the_reasons_and_shows_the_rows(run: Run) -> None:
    out = run("quarantine", "staging.social_services").out
    assert "municipality_id: no municipality '…' in comarca '…'" in out
    assert "--replay" in out
    found = document(run("quarantine", "staging.social_services", "--json"))
    assert isinstance(found, dict)
    assert len(found["rows"]) == found["quarantined"] > 0
    assert "no municipality" in found["rows"][0]["_reason"]
    assert "nif" not in found["rows"][0]
    assert run("quarantine", "staging.municipalities").out == "no rows of staging.municipalities are in quarantine\n"


def test_quarantine_replay_checks_the_rows_again(run: Run) -> None:
    before = json.loads(run("quarantine", "staging.social_services", "--json").out)["quarantined"]
    out = run("quarantine", "staging.social_services", "--replay").out
    assert out == f"staging.social_services: 0 rows moved into the table, {before} remain in quarantine\n"
    assert run("quarantine", "staging.municipalities", "--replay").out.endswith("no rows are in quarantine\n")


def test_tables_fit_the_terminal_and_name_the_columns_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = run("query", "from staging.municipalities", "--limit", "2").out
    assert max(map(len, out.splitlines()[:3])) <= 60
    assert "more columns: " in out
    assert "utm_y_m" in out


@pytest.mark.parametrize("columns", ["abc", "", "0", "-5", "1e3", "99999999999999999999", "٣"])
def test_a_width_that_is_none_is_not_used(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    ran = run("status")
    assert (ran.code, ran.err) == (0, "")
    assert "staging.municipalities" in ran.out


def test_a_failure_is_acknowledged_shown_by_status_and_history_and_withdrawn(run: Run, apis: MockServer) -> None:
    key = "landing.social_services"
    apis.faults("missing-column:ivft-vegh:column=registre")
    apis.advance("ivft-vegh")
    assert run("materialize", key).code == 1
    assert run("status", key, "--check").code == 1

    assert f"acknowledged: {key}: ContractError" in run("acknowledge", key, "--reason", "known until Monday").out
    assert run("status", key, "--check").code == 0
    for command in ("status", "history"):
        assert re.search(r"acknowledged\s+by\s+\S+\s+on\s+\S+\s+known\s+until\s+Monday", run(command, key).out), command
    status, history = (document(run(command, key, "--json")) for command in ("status", "history"))
    assert isinstance(status, list)
    assert isinstance(history, list)
    assert status[0]["acknowledged"] == history[0]["acknowledged"]
    assert status[0]["acknowledged"]["reason"] == "known until Monday"
    assert {entry["acknowledged"] for entry in history[1:]} == {None}

    assert run("acknowledge", key, "--undo").out == f"{key} is no longer acknowledged\n"
    assert run("status", key, "--check").code == 1
    unknown = run("acknowledge", "staging.gpd")
    assert (unknown.code, unknown.out, unknown.err.count("\n")) == (2, "", 1)
    assert "staging.gdp" in unknown.err
    assert run("acknowledge", "staging.gdp").code == 2


def test_show_lists_the_checks_of_the_last_materialization(run: Run) -> None:
    out = run("show", "staging.population").out
    assert re.search(r"\d+ checks passed, \d+ failed", out)
    assert re.search(r"population >= 0 +contract +error +passed", out)
    assert re.search(r"municipality_id is in staging.municipalities +reference +error +", out)
    assert re.search(r"guard: rows lost at most 5 % +guard +error +passed", out)
    for found in (
        document(run("show", "staging.population", "--json")),
        document(run("history", "staging.population", "--json")),
    ):
        last = found["last"] if isinstance(found, dict) else found[0]  # type: ignore[index]
        assert {
            "name": "key is unique",
            "kind": "contract",
            "severity": "error",
            "failed": 0,
            "column": "",
            "sample": "",
        } in last["checks"]
