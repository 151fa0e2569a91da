"""An alternative source that died is found while it is not needed, and the remedy for a source that is down names the alternative."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.graph.spec import LandingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.assets.record.source_checks import SourceCheck, keep
from catalunya.io.environment import Settings
from catalunya.io.errors import SourceUnavailable
from catalunya.io.sources.base import HttpSettings, SourceState
from catalunya.ops.watching.consumers import situation
from catalunya.ops.watching.findings import Severity
from catalunya.ops.watching.look import look
from small.two_sources import declare, make
from small.years import YearsSource

LANDING = "landing.births"


@dataclass(frozen=True)
class Down(YearsSource):
    """A source that does not answer."""

    def probe(self, http: HttpSettings, known: str | None = None) -> SourceState | None:
        raise SourceUnavailable("no answer")


def test_an_alternative_that_does_not_answer_is_a_finding_of_its_own_and_none_of_the_table(
    settings: Settings, tmp_path: Path
) -> None:
    first, _, declared = declare(tmp_path)
    first.write({"2023-H1": 1})
    make(settings, tmp_path)
    project, now = Project(settings, declared), datetime.now(UTC)
    check = SourceCheck(
        asset=LANDING, source="folder register", at=now, answered=False, problems=("HTTP 404",), standby="register"
    )
    keep(project.lake, check)
    board = look(project, now).board
    (found,) = board.open
    assert (found.identity, found.severity) == ("source_mismatch:landing.births.register", Severity.WARNING)
    assert "folder register, the source that landing.births could be read from instead" in found.what
    assert found.affected == ()
    assert situation(project.graph, board, now).notices == (), "it changes nothing for readers"


@pytest.mark.parametrize(("uses", "remedy"), [("", "births register`"), ("register", "births --back`")])
def test_the_remedy_for_a_source_that_is_down_is_the_command_that_switches(
    settings: Settings, tmp_path: Path, uses: str, remedy: str
) -> None:
    landing = declare(tmp_path, uses)[2][0]
    assert isinstance(landing, LandingDeclaration)
    project = Project(settings, [replace(landing, source=Down(tmp_path / "down"))])
    with pytest.raises(SourceUnavailable):
        materialize(project, LANDING)
    (found,) = look(project, datetime.now(UTC)).board.open
    assert found.identity == "source_down:landing.births"
    assert f"if it will not be back, `catalunya sources switch {remedy}" in found.remedy
