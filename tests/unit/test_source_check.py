"""`catalunya sources check`: what is declared is compared with the source's metadata; the answers can be recorded and served again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import LandingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.source_check import check_sources
from catalunya.assets.record.project import Project
from catalunya.assets.record.source_checks import SourceCheck, keep, kept
from catalunya.io.environment import Settings
from catalunya.io.errors import ConfigurationError
from catalunya.io.sources.base import About
from catalunya.io.sources.http import Http
from catalunya.io.sources.socrata import Socrata
from catalunya.ops import mock
from catalunya.ops.mock.exchange import Answer, Asked
from catalunya.ops.mock.server import MockServer
from catalunya.ops.status import statuses

KEY, DATASET = "landing.service_usage", "yavr-pn8q"
NEVER = datetime(1, 1, 1, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[MockServer]:
    with mock.serve() as served:
        yield served


@pytest.fixture
def project(server: MockServer, settings: Settings) -> Project:
    quick = {"mock_url": server.url, "http_attempts": 1, "http_backoff_s": 0}
    return Project(settings.model_copy(update=quick), list(declarations().values()))


def checked(project: Project, key: str = KEY) -> SourceCheck:
    (found,) = check_sources(project, [key])
    return found


def test_every_declared_source_matches_the_mock(project: Project, server: MockServer) -> None:
    found = list(check_sources(project, project.declarations))
    in_use = [each.asset for each in found if not each.standby]
    assert in_use == [key for key in project.declarations if key.startswith("landing.")]
    assert [(each.asset, each.standby) for each in found if each.standby] == [("landing.population", "pmh")]
    assert [each.problems for each in found if not each.matches] == []
    assert all(each.requests <= 2 * len(each.datasets) for each in found), "one or two requests for each dataset"
    assert not [asked.path for asked in server.requests if asked.path.endswith("/data")], "metadata only"
    assert all(dataset.title and dataset.updated_at for each in found for dataset in each.datasets)


def test_a_required_field_that_is_gone_is_a_problem_with_both_names(project: Project, server: MockServer) -> None:
    server.faults(f"renamed-column:{DATASET}:column=codi")
    found = checked(project)
    assert found.answered
    assert not found.matches
    assert "codi" in found.problems[0]
    assert found.missing == ("codi",)
    assert found.new


def test_a_new_field_is_shown_and_no_problem(project: Project, server: MockServer) -> None:
    server.faults(f"new-column:{DATASET}")
    found = checked(project)
    assert found.matches
    assert found.new


def test_a_source_that_does_not_answer_is_told_from_one_that_does_not_match(
    project: Project, server: MockServer
) -> None:
    server.faults(f"error-503:{DATASET}")
    found = checked(project)
    assert (found.answered, found.matches) == (False, False)


def test_an_id_that_does_not_exist_is_a_problem_of_the_declaration(project: Project) -> None:
    declared = project.declarations[KEY]
    assert isinstance(declared, LandingDeclaration)
    wrong = replace(declared, source=Socrata("zzzz-zzzz"))
    found = checked(Project(project.settings, [wrong]))
    assert (found.answered, found.matches) == (True, False)
    assert "zzzz-zzzz" in found.problems[0]


def test_status_shows_the_result_until_the_table_is_landed_again(project: Project, server: MockServer) -> None:
    server.faults(f"missing-column:{DATASET}:column=codi")
    keep(project.lake, checked(project))
    (shown,) = statuses(project.state(), [project.graph[KEY]])
    assert "does not match its declaration" in shown.source_problem
    assert "codi" in shown.source_problem
    assert not shown.is_fine
    server.faults()
    materialize(project, KEY)
    (shown,) = statuses(project.state(), [project.graph[KEY]])
    assert shown.source_problem == ""


def test_status_shows_no_result_of_a_source_that_is_no_longer_declared(project: Project) -> None:
    keep(project.lake, replace(checked(project), source="Socrata aaaa-bbbb", problems=("a problem of before",)))
    (shown,) = statuses(project.state(), [project.graph[KEY]])
    assert shown.source_problem == ""


def test_a_result_that_cannot_be_read_takes_nothing_else_of_the_status_along(project: Project) -> None:
    project.lake.put("_sources", b"a file where a folder is needed")
    (shown,) = statuses(project.state(), [project.graph[KEY]])
    assert (shown.state, shown.is_fine) == ("missing", False)
    assert shown.source_problem.startswith("the last check of its source cannot be read: ")


def test_a_kept_result_is_read_as_it_was(project: Project) -> None:
    found = checked(project)
    keep(project.lake, found)
    assert kept(project.lake, KEY) == found
    assert kept(project.lake, "landing.other") is None


def test_what_was_recorded_is_served_again_to_the_same_requests(
    project: Project, settings: Settings, tmp_path: Path
) -> None:
    before = list(check_sources(project, ["landing.service_usage", "landing.population"], tmp_path / "answers"))
    assert sorted(file.name for file in (tmp_path / "answers").iterdir()) == [
        "population.har",
        "population.pmh.har",
        "service_usage.har",
    ]
    with mock.serve(datasets=[], real=None) as empty:
        nothing = Project(settings.model_copy(update={"mock_url": empty.url, "http_attempts": 1}), project.declared)
        assert not checked(nothing).matches
    with mock.serve(real=tmp_path / "answers") as again:
        recorded = Project(settings.model_copy(update={"mock_url": again.url}), project.declared)
        after = list(check_sources(recorded, ["landing.service_usage", "landing.population"]))
        assert again.requests == [], "no API of the mock was asked"
    assert [replace(each, at=NEVER, datasets=()) for each in before] == [
        replace(each, at=NEVER, datasets=()) for each in after
    ]
    assert [each.title for found in before for each in found.datasets] == [
        each.title for found in after for each in found.datasets
    ]


def test_a_recorded_question_with_a_body_is_answered_again(project: Project, tmp_path: Path) -> None:
    declared = project.declarations[KEY]
    assert isinstance(declared, LandingDeclaration)
    version_3 = replace(declared, source=Socrata(DATASET, key=("any", "codi"), api=3))
    settings = type(project.settings)(**{**project.settings.model_dump(), "socrata_app_token": "t0ken"})
    (before,) = check_sources(Project(settings, [version_3]), [KEY], tmp_path)
    assert before.matches
    with mock.serve(real=tmp_path) as again:
        recorded = Project(settings.model_copy(update={"mock_url": again.url}), [version_3])
        assert checked(recorded).matches
        assert again.requests == []


@dataclass(frozen=True)
class Surprising(Socrata):
    """A source whose metadata are of a form that its protocol did not expect."""

    def about(self, client: Http) -> Sequence[About]:
        raise KeyError("columns")


def test_metadata_that_its_protocol_did_not_expect_keep_no_other_source_from_being_checked(project: Project) -> None:
    declared = [
        replace(each, source=Surprising(DATASET, portal=None))
        if isinstance(each, LandingDeclaration) and each.asset.key == KEY
        else each
        for each in project.declared
    ]
    first, second = check_sources(Project(project.settings, declared), [KEY, "landing.municipalities"])
    assert (first.answered, first.matches) == (True, False)
    assert "KeyError" in first.problems[0]
    assert second.matches


def test_a_recording_has_no_token(project: Project, tmp_path: Path) -> None:
    settings = project.settings.model_copy(update={"hosts": {}, "socrata_app_token": None})
    secret = type(settings)(**{**settings.model_dump(), "socrata_app_token": "s3cr3t-t0ken"})
    list(check_sources(Project(secret, project.declared), [KEY], tmp_path))
    text = (tmp_path / "service_usage.har").read_text(encoding="utf-8")
    assert "s3cr3t" not in text
    assert json.loads(text)["log"]["version"] == "1.2"


def test_a_recording_has_no_token_that_the_server_repeats(project: Project, server: MockServer, tmp_path: Path) -> None:
    def echo(_: Asked, answer: Answer) -> Answer:
        body = answer.body.replace(b'"description":', b'"echo": "s3cr3t-t0ken", "description":', 1)
        return replace(answer, body=body, headers={**answer.headers, "X-Echo": "s3cr3t-t0ken"})

    server.reply(echo)
    secret = type(project.settings)(**{**project.settings.model_dump(), "socrata_app_token": "s3cr3t-t0ken"})
    list(check_sources(Project(secret, project.declared), [KEY], tmp_path))
    text = (tmp_path / "service_usage.har").read_text(encoding="utf-8")
    assert "s3cr3t" not in text
    assert text.count("***") > 1


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.har").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"x\.har: expected a recording"), mock.serve(real=tmp_path):
        pass
