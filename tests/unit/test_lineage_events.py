"""OpenLineage events: what is sent for every way a table is made, valid by the specification, and never at the expense of a run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.uuid import generate_static_uuid
from structlog.testing import capture_logs

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.making.restoring import restore_version
from catalunya.assets.record.announce import announce_run
from catalunya.assets.record.lineage_events import dataset_name, events, run_id
from catalunya.assets.record.project import Project
from catalunya.dags.lineage_parent import parent_of
from catalunya.io import openlineage
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError
from catalunya.io.periods import window
from catalunya.ops.mock.exchange import Answer
from small import years
from small.lineage import Event, Receiver, receiving, validate
from small.shops import FolderSource, declare, some


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENLINEAGE_URL", "OPENLINEAGE_DISABLED", "OPENLINEAGE_CONFIG", "OPENLINEAGE_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(openlineage, "_rests_until", 0.0)


@pytest.fixture
def log_lines() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as found:
        monkeypatch.setenv("OPENLINEAGE_URL", found.url)
        yield found


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    return declare(tmp_path / "source", page_rows=100)[0]


@pytest.fixture
def project(settings: Settings, tmp_path: Path) -> Project:
    return Project(settings, declare(tmp_path / "source", page_rows=100)[1])


def kinds(receiver: Receiver) -> list[tuple[str, str]]:
    return [(event["eventType"], event["job"]["name"]) for event in receiver.events]


def test_each_table_has_a_start_and_a_complete_event_and_its_checks(
    receiver: Receiver, source: FolderSource, project: Project
) -> None:
    source.write([*some(8), {"codi": "S9", "ciutat": "lower", "places": "1"}])
    for key in ("landing.shops", "staging.shops", "staging.cities"):
        materialize(project, key)
    for event in receiver.events:
        validate(event)
    assert kinds(receiver) == [
        (state, f"{key}{part}")
        for key in ("landing.shops", "staging.shops", "staging.cities")
        for part in ("", ".checks")
        for state in ("START", "COMPLETE")
    ]
    start, complete, _, checked = receiver.events[4:8]
    entry = project.ledger.latest("staging.shops")
    assert entry
    assert start["run"]["runId"] == complete["run"]["runId"] == run_id(project, entry)
    assert start["eventTime"] < complete["eventTime"]
    (made_from,), (made,) = complete["inputs"], complete["outputs"]
    assert (made["namespace"], made["name"]) == ("file", f"{project.lake.root}/staging/shops")
    assert made["facets"]["version"]["datasetVersion"] == entry.data_version
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == entry.rows == 8
    assert made["facets"]["lifecycleStateChange"]["lifecycleStateChange"] == "CREATE"
    assert [field["name"] for field in made["facets"]["schema"]["fields"]] == ["shop_id", "capacity_places", "city"]
    assert made["facets"]["columnLineage"]["fields"]["shop_id"]["inputFields"] == [
        {
            "namespace": made_from["namespace"],
            "name": made_from["name"],
            "field": "codi",
            "transformations": [{"type": "DIRECT", "subtype": "IDENTITY"}],
        }
    ]
    assert made_from["facets"]["version"]["datasetVersion"] == entry.versions["landing.shops"]
    assert checked["run"]["facets"]["parent"]["run"]["runId"] == complete["run"]["runId"]
    (assessed,) = checked["inputs"]
    assert (assessed["namespace"], assessed["name"]) == (made["namespace"], made["name"])
    assertions = assessed["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert len(assertions) == len(entry.checks) == len(complete["run"]["facets"]["test"]["tests"])
    assert [each for each in assertions if not each["success"]] == [
        {
            "assertion": "contract",
            "success": False,
            "column": "city",
            "severity": "error",
            "name": "city matches ^[A-Z][a-z]+$",
            "description": "1 failed, for example lower",
            "expected": "0",
            "actual": "1",
            "params": {},
        }
    ]


def test_a_failed_attempt_has_a_fail_event_with_its_error_and_nothing_is_said_of_the_published_table(
    receiver: Receiver, source: FolderSource, project: Project
) -> None:
    source.write([*some(2), *({"codi": f"T{n}", "ciutat": "lower", "places": "1"} for n in range(5))])
    materialize(project, "landing.shops")
    receiver.forget()
    with pytest.raises(ContractError):
        materialize(project, "staging.shops")
    assert kinds(receiver) == [("START", "staging.shops"), ("FAIL", "staging.shops")]
    for event in receiver.events:
        validate(event)
    failed = receiver.events[1]
    assert failed["outputs"] == []
    assert failed["run"]["facets"]["errorMessage"]["message"].startswith("ContractError: staging.shops: 5 of 7 rows")
    tests = failed["run"]["facets"]["test"]["tests"]
    assert {each["name"]: each["actual"] for each in tests if each["status"] == "fail"} == {
        "city matches ^[A-Z][a-z]+$": "5",
        "rows in quarantine at most 25 %": "5",
    }


def test_nothing_to_do_sends_nothing(receiver: Receiver, source: FolderSource, project: Project) -> None:
    source.write(some(4))
    for key in ("landing.shops", "staging.shops"):
        materialize(project, key)
    receiver.forget()
    assert materialize(project, "landing.shops").status == "skipped"
    assert materialize(project, "staging.shops").status == "skipped"
    assert receiver.asked == []


def test_a_restored_version_is_made_from_the_table_itself(
    receiver: Receiver, source: FolderSource, project: Project
) -> None:
    for count in (4, 5):
        source.write(some(count))
        for key in ("landing.shops", "staging.shops"):
            materialize(project, key)
    receiver.forget()
    restore_version(project, "staging.shops", "again")
    assert kinds(receiver) == [("START", "staging.shops.restore"), ("COMPLETE", "staging.shops.restore")]
    for event in receiver.events:
        validate(event)
        assert [each["name"] for each in event["inputs"]] == [each["name"] for each in event["outputs"]]


def test_a_replay_of_the_quarantine_is_a_run_of_the_table(
    receiver: Receiver, source: FolderSource, project: Project
) -> None:
    source.write([*some(8), {"codi": "S9", "ciutat": "lower", "places": "1"}])
    for key in ("landing.shops", "staging.shops"):
        materialize(project, key)
    receiver.forget()
    materialize(project, "staging.shops", Request(replay=True))
    assert kinds(receiver)[:2] == [("START", "staging.shops"), ("COMPLETE", "staging.shops")]
    for event in receiver.events:
        validate(event)


def test_a_backfill_has_its_periods_as_nominal_time(receiver: Receiver, settings: Settings, tmp_path: Path) -> None:
    source, declared = years.declare(tmp_path / "years")
    project = Project(settings, declared)
    source.write({"2023-H1": 1, "2023-H2": 2, "2024-H1": 3})
    for key in ("landing.births", "staging.births"):
        materialize(project, key)
    receiver.forget()
    materialize(project, "landing.births", Request(window=window("2023-H1", "2023-H2")))
    materialize(project, "staging.births")
    for event in receiver.events:
        validate(event)
    landed = receiver.events[0]["run"]["facets"]["nominalTime"]
    assert (landed["nominalStartTime"], landed["nominalEndTime"]) == (
        "2023-01-01T00:00:00.000Z",
        "2023-12-31T00:00:00.000Z",
    )


def test_what_a_function_made_is_reported_by_the_task_that_invoked_it_and_is_the_same(
    receiver: Receiver, source: FolderSource, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.write(some(4))
    with monkeypatch.context() as inside:
        inside.setenv("OPENLINEAGE_DISABLED", "true")  # a function has no client
        entry = materialize(project, "landing.shops", Request(run_id="manual__1")).entry
    assert entry
    assert receiver.asked == []
    announce_run(Project(project.settings, project.declared), "landing.shops", "manual__1")
    announce_run(project, "landing.shops", "another run")
    sent = receiver.events
    assert kinds(receiver)[:2] == [("START", "landing.shops"), ("COMPLETE", "landing.shops")]
    for event in sent:
        validate(event)
    receiver.forget()
    announce_run(project, "landing.shops", "manual__1")  # a repeat is the same run
    assert receiver.events == sent


def test_in_airflow_the_run_of_the_task_is_the_parent(
    receiver: Receiver, source: FolderSource, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.api.datamodels._generated import DagRun, TaskInstance

    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "open-data")
    at = datetime(2026, 8, 3, 5, tzinfo=UTC)

    run = DagRun.model_construct(logical_date=None, run_after=at, clear_number=2)
    task = TaskInstance.model_construct(dag_id="landing.shops", task_id="materialize", try_number=3, map_index=-1)
    source.write(some(4))
    with openlineage.part_of(parent_of({"dag_run": run, "ti": task})):
        materialize(project, "landing.shops")
    assert openlineage.parent() is None
    validate(receiver.events[0])
    parent = receiver.events[0]["run"]["facets"]["parent"]
    # As the provider makes them (adapter.py: build_task_instance_run_id, build_dag_run_id).
    assert parent["run"]["runId"] == str(generate_static_uuid(at, b"open-data.landing.shops.materialize.3.-1"))
    assert parent["root"]["run"]["runId"] == str(generate_static_uuid(at, b"open-data.landing.shops.2"))
    assert parent["job"] == {"namespace": "open-data", "name": "landing.shops.materialize", "facets": {}}
    assert parent["root"]["job"] == {"namespace": "open-data", "name": "landing.shops", "facets": {}}
    assert receiver.events[0]["job"]["namespace"] == "open-data"


def test_datasets_in_s3_are_a_bucket_and_a_key(project: Project, settings: Settings) -> None:
    def place(lake: str) -> tuple[str, str]:
        there = Project(settings.model_copy(update={"lake": lake}), project.declared)
        return dataset_name(there, there.graph["staging.shops"])

    assert place("s3://catalunya-data-dev") == ("s3://catalunya-data-dev", "staging/shops")
    assert place("s3://bucket/below") == ("s3://bucket", "below/staging/shops")


def test_hostile_text_is_escaped_and_short(source: FolderSource, project: Project) -> None:
    source.write(some(4))
    entry = materialize(project, "landing.shops").entry
    assert entry
    hostile = "\x1b[2J\u202e\ud800" + "x" * 100_000
    for event in events(
        project, replace(entry, status="failed", error=hostile, reason=hostile, correlation_id=hostile)
    ):
        from openlineage.client.serde import Serde

        text = Serde.to_json(event)
        assert len(text) < 20_000
        assert "u001b" not in text
        assert "\\x1b" in text.replace("\\\\", "\\")
        text.encode()


@pytest.mark.parametrize("answer", [Answer(b"no", status=500), Answer(b"", status=401), Answer(b"", delay=30)])
def test_a_receiver_that_refuses_or_hangs_costs_a_warning_and_a_few_seconds(
    receiver: Receiver, source: FolderSource, project: Project, answer: Answer, log_lines: list[Any]
) -> None:
    receiver.answer = answer
    source.write(some(4))
    began = time.monotonic()
    assert materialize(project, "landing.shops").status == "materialized"
    assert time.monotonic() - began < openlineage.LIMIT_S + 3
    assert [line["event"] for line in log_lines].count("lineage_not_sent") == 1
    asked = len(receiver.asked)
    began = time.monotonic()
    assert materialize(project, "staging.shops").status == "materialized"
    assert time.monotonic() - began < 3
    assert len(receiver.asked) == asked  # it is left alone for a while


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("variable", ["OPENLINEAGE_URL", "OPENLINEAGE__TRANSPORT__URL"])
def test_a_redirect_is_not_followed(
    source: FolderSource,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[Any],
    variable: str,
    status: int,
) -> None:
    with receiving() as other, receiving() as first:
        first.answer = Answer(b"", status, headers={"Location": other.url.replace("127.0.0.1", "localhost") + "/login"})
        monkeypatch.setenv(variable, first.url)
        monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE" if "TRANSPORT" in variable else "OPENLINEAGE_API_KEY", "http")
        source.write(some(4))
        assert materialize(project, "landing.shops").status == "materialized"
        assert first.asked
        assert not other.asked
    assert [line["event"] for line in log_lines].count("lineage_not_sent") == 1


def test_a_receiver_that_is_down_costs_a_warning(
    source: FolderSource, project: Project, monkeypatch: pytest.MonkeyPatch, log_lines: list[Any]
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    source.write(some(4))
    assert materialize(project, "landing.shops").status == "materialized"
    assert [line["event"] for line in log_lines].count("lineage_not_sent") == 1


def test_a_configuration_that_makes_no_sense_costs_a_warning(
    source: FolderSource, project: Project, monkeypatch: pytest.MonkeyPatch, log_lines: list[Any]
) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "pigeon")
    source.write(some(4))
    assert materialize(project, "landing.shops").status == "materialized"
    assert [line["event"] for line in log_lines].count("lineage_not_sent") == 1


def test_the_file_of_the_client_configures_it_too(
    source: FolderSource, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not openlineage.is_on()
    (tmp_path / "openlineage.yml").write_text(
        f"transport:\n  type: file\n  log_file_path: {tmp_path / 'events'}\n  append: true\n"
    )
    assert openlineage.is_on()
    source.write(some(4))
    materialize(project, "landing.shops")
    assert '"eventType": "COMPLETE"' in (tmp_path / "events").read_text()
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "True")
    assert not openlineage.is_on()


def test_a_file_without_a_transport_prints_nothing(
    source: FolderSource, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openlineage.yml").write_text("filters: []\n")
    source.write(some(4))
    materialize(project, "landing.shops")
    assert "eventType" not in "".join(capfd.readouterr())


def test_nothing_is_imported_without_configuration(tmp_path: Path) -> None:
    code = (
        "import sys; from catalunya.assets.record.announce import listeners; found = listeners(); "
        "print(found, any(name.startswith('openlineage') for name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stdout.strip() == "[] False"


def test_events_of_one_entry_are_the_same_each_time(source: FolderSource, project: Project) -> None:
    source.write(some(4))
    entry = materialize(project, "landing.shops").entry
    assert entry
    first: list[Event] = [event.run.runId for event in events(project, entry)]  # type: ignore[misc]
    assert first == [event.run.runId for event in events(project, entry)]
    assert run_id(project, entry) != run_id(project, replace(entry, sequence=entry.sequence + 1))
