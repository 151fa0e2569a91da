"""An extraction that was stopped goes on from the pages that are landed: after a deadline, a failure or a kill; whole pages of
one state only. (Killed at every write: invariants/test_kill_and_run_again.py, whose source can be gone on with, too.)"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit import _idescat_server as idescat
from tests.unit._socrata_server import RESES, Answer, Asked, Portal, opened, soda

from catalunya.assets.graph.spec import Landing, LandingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Outcome, Request
from catalunya.assets.record.batch import LandedPages
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import LandingContract, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import DeadlineReached, SourceUnavailable
from catalunya.io.periods import window
from catalunya.io.sources.extraction import Source
from catalunya.io.sources.idescat import Idescat
from small.killing import KEYS, TrapdoorLake, make_all, make_all_elsewhere
from small.shops import FolderSource, some

KEY = "landing.services"


class RawServices(LandingContract):
    """Services, as far as the portal of the test has them."""

    registre: str = raw("Register number")


class Services:
    """One landing asset over a small real portal of 35 rows: three pages of ten and one of five."""

    def __init__(self, portal: Portal, settings: Settings) -> None:
        self.portal, self.settings = portal, settings
        self.project = self.opened()

    def opened(self, **changed: object) -> Project:
        served = {"socrata_url": self.portal.server.url, "page_rows": 10, "http_concurrency": 1, "http_attempts": 1}
        settings = self.settings.model_copy(update={**served, **changed})
        return Project(settings, [declared(RESES)])

    def make(self, **request: object) -> Outcome:
        self.portal.server.asked.clear()
        return materialize(self.project, KEY, Request(**request))  # type: ignore[arg-type]

    def stop(self, offset: int = 20) -> None:
        """An attempt that comes as far as the page at `offset`, which fails."""
        self.portal.on_page = lambda asked, page: Answer(b"", 503) if at(asked) == offset else page
        with pytest.raises(SourceUnavailable):
            self.make()
        self.portal.on_page = lambda _, page: page

    def asked(self) -> list[int]:
        """The offsets that the last attempt asked for."""
        return [at(asked) for asked in self.portal.asked("page")]

    def landed(self) -> dict[str, bytes]:
        """Every object of the landing folder below its batch."""
        lake = self.project.lake
        return {found.path.split("/", 3)[3]: lake.get(found.path) for found in lake.objects("landing/services")}

    def pages(self) -> list[bytes]:
        return [body for name, body in sorted(self.landed().items()) if name.startswith("page-")]

    def expected(self) -> list[bytes]:
        return [soda(self.portal.rows[start : start + 10]) for start in range(0, len(self.portal.rows), 10)]


def declared(source: Source) -> LandingDeclaration:
    return Landing("services", source=source, contract=RawServices, schedule="0 5 * * *")


def at(asked: Asked) -> int:
    return int(asked.params["$offset"])


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with opened(35) as portal:
        yield Services(portal, settings)


def test_an_extraction_that_reaches_its_deadline_records_nothing_and_the_next_goes_on_from_there(
    services: Services,
) -> None:
    def slow(asked: Asked, page: Answer) -> Answer:
        time.sleep(1.0 if at(asked) == 20 else 0)
        return page

    services.portal.on_page = slow
    with pytest.raises(
        DeadlineReached,
        match=r"landing.services: time limit reached with 20 of 35 rows landed \(2 pages\).*to resume from there",
    ):
        services.make(ends_at=time.monotonic() + 0.6)
    assert services.project.ledger.history(KEY) == []
    services.portal.on_page = lambda _, page: page
    outcome = services.make()
    assert (outcome.status, outcome.entry and outcome.entry.rows) == ("materialized", 35)
    assert services.asked() == [20, 30]
    assert services.pages() == services.expected()
    assert sorted(services.landed()) == ["_manifest.json", *(f"page-0000{n}.json" for n in range(4))]


def test_an_extraction_that_came_no_further_within_its_time_is_a_failure_of_the_source(services: Services) -> None:
    services.portal.on_page = lambda _, page: time.sleep(0.5) or page  # type: ignore[func-returns-value]
    with pytest.raises(SourceUnavailable, match="deadline") as raised:
        services.make(ends_at=time.monotonic() + 0.3)
    assert not isinstance(raised.value, DeadlineReached)
    assert [entry.status for entry in services.project.ledger.history(KEY)] == ["failed"]


def test_after_a_failure_only_what_is_not_landed_is_asked_for(services: Services) -> None:
    services.stop()
    services.make()
    assert services.asked() == [20, 30]
    assert services.pages() == services.expected()


def test_a_resumed_batch_is_that_of_a_run_that_nobody_stopped(services: Services, tmp_path: Path) -> None:
    services.stop()
    resumed = services.make().entry
    other = services.opened(lake=str(tmp_path / "other"))
    fresh = materialize(other, KEY).entry
    assert resumed
    assert fresh
    assert (resumed.data_version, resumed.source_version, resumed.rows) == (
        fresh.data_version,
        fresh.source_version,
        fresh.rows,
    )


@pytest.mark.parametrize("damage", [lambda body: body[:-3], lambda body: b"x" * len(body)], ids=["cut off", "changed"])
def test_a_page_that_is_not_whole_any_more_is_asked_for_again(
    services: Services, damage: Callable[[bytes], bytes]
) -> None:
    services.stop()
    lake = services.project.lake
    page = next(found.path for found in lake.objects("landing/services") if found.path.endswith("page-00001.json"))
    path = page.replace("_landed/", "")
    lake.put(path, damage(lake.get(path)))
    services.make()
    assert services.asked() == [10, 20, 30]
    assert services.pages() == services.expected()


def test_a_note_that_cannot_be_read_counts_for_nothing(services: Services) -> None:
    services.stop()
    lake = services.project.lake
    for found in lake.objects("landing/services"):
        if found.path.endswith("_landed/page-00000.json"):
            lake.put(found.path, b"{")
    services.make()
    assert services.asked() == [0, 20, 30]


def test_pages_of_a_source_that_moved_are_never_mixed(services: Services) -> None:
    services.stop()
    services.portal.rows = [{**row, "nom": "changed"} for row in services.portal.rows]
    services.portal.rows_updated_at += 60
    services.portal.last_modified = "Thu, 19 Dec 2024 10:58:26 GMT"
    services.make()
    assert services.asked() == [0, 10, 20, 30]
    assert services.pages() == services.expected()


def test_pages_that_carry_another_stamp_than_those_read_now_are_read_anew(services: Services) -> None:
    services.stop()
    services.portal.rows = [{**row, "nom": "changed"} for row in services.portal.rows]
    services.portal.last_modified = "Thu, 19 Dec 2024 10:58:26 GMT"  # and the metadata do not know of it
    services.make()
    assert services.asked()[-4:] == [0, 10, 20, 30]
    assert services.pages() == services.expected()


def test_that_the_portal_lagged_behind_is_not_forgotten_with_the_attempt(services: Services) -> None:
    services.portal.headers = {"X-SODA2-Data-Out-Of-Date": "true"}
    services.stop()
    services.portal.headers = {}
    entry = services.make().entry
    assert entry
    assert entry.source_version
    assert entry.source_version.endswith("-behind")


def test_pages_of_another_size_answer_other_questions(services: Services) -> None:
    services.stop()
    services.project = services.opened(page_rows=20)
    services.make()
    assert services.asked() == [0, 20]
    assert services.pages() == [soda(services.portal.rows[:20]), soda(services.portal.rows[20:])]


def test_pages_of_another_window_are_not_taken(services: Services) -> None:
    services.stop()
    batch = "landing/services/" + services.project.lake.folders("landing/services")[0]
    version = json.loads(services.project.lake.get(f"{batch}/_landed/page-00000.json"))["version"]
    assert LandedPages(services.project.lake, batch, None).has(version)
    assert len(LandedPages(services.project.lake, batch, None).of(version)) == 2
    assert not LandedPages(services.project.lake, batch, window("2014", "2016")).has(version)
    assert not LandedPages(services.project.lake, batch, None).has("another")


# IDESCAT


def test_idescats_questions_that_were_answered_are_not_asked_again_nor_those_that_were_too_large(
    settings: Settings,
) -> None:
    with idescat.opened() as api:
        api.limit = api.table.cells // 3  # the first question has to be halved, twice
        source = Idescat(*api.tables)
        mended = settings.model_copy(update={"idescat_url": api.server.url, "http_concurrency": 1, "http_attempts": 1})
        project = Project(mended, [declared(source)])
        answered = 0

        def twice(_: Asked, answer: Answer) -> Answer:
            nonlocal answered
            answered += answer.status == 200
            return answer if answer.status != 200 or answered <= 2 else Answer(b"", 503)

        api.on_data = twice
        with pytest.raises(SourceUnavailable):
            materialize(project, KEY)
        before = {asked.target for asked in api.asked("data")[:-1]}  # but for the one that failed
        api.server.asked.clear()
        api.on_data = lambda _, answer: answer
        entry = materialize(project, KEY).entry
        again = {asked.target for asked in api.asked("data")}
    assert before
    assert not before & again
    assert entry
    assert entry.rows == api.table.cells


# A process that is killed


def test_a_killed_extraction_leaves_its_pages_to_the_next(settings: Settings, tmp_path: Path) -> None:
    FolderSource(tmp_path / "source").write(some(8))
    for trapdoor in (6, 8, 10):  # after the lease: the first page, its note, ...
        assert make_all_elsewhere(settings, tmp_path / "source", trapdoor) == -9
    written = Path(settings.lake).rglob("page-*.json")
    assert {path.name for path in written if path.parent.name != "_landed"} >= {"page-00000.json", "page-00001.json"}
    assert make_all(settings, tmp_path / "source") > 0
    lake = TrapdoorLake(settings.lake, None)
    assert not lake.objects("landing"), "it was made whole, and used"
    assert all(Project(settings, []).ledger.latest(key) for key in KEYS)
