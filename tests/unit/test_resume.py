"""An extraction that was stopped by a deadline, a failure or a kill resumes from the landed pages, if they are intact and of the
same source version. Killing one at every write is tested in invariants/test_kill_and_run_again.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalunya.assets.graph.spec import Landing, LandingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.batch import LandedPages
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import LandingContract, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import DeadlineReached, SourceUnavailable
from catalunya.io.periods import window
from catalunya.io.sources.extraction import Source
from catalunya.io.sources.idescat import Idescat
from small.apis import RESES, Answer, Asked, portal_with, soda, tables_with
from small.killing import KEYS, TrapdoorLake, make_all, make_all_elsewhere
from small.patience import patience
from small.portals import KEY, PortalProject, at
from small.shops import FolderSource, some


class RawServices(LandingContract):
    """Services, with the fields of the test's portal."""

    registre: str = raw("Register number")


class Services(PortalProject):
    """One landing asset over a small portal with 35 rows: three pages of ten and one of five."""

    def stop(self, offset: int = 20) -> None:
        """An attempt that fails at the page at `offset`."""
        self.portal.on_page = lambda asked, page: Answer(b"", 503) if at(asked) == offset else page
        with pytest.raises(SourceUnavailable):
            self.make()
        self.portal.on_page = lambda _, page: page

    def landed(self) -> dict[str, bytes]:
        """Every object of the landing folder, by its path in the batch."""
        lake = self.project.lake
        return {found.path.split("/", 3)[3]: lake.get(found.path) for found in lake.objects("landing/services")}

    def pages(self) -> list[bytes]:
        return [body for name, body in sorted(self.landed().items()) if name.startswith("page-")]


def declared(source: Source) -> LandingDeclaration:
    return Landing("services", source=source, contract=RawServices, schedule="0 5 * * *")


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with portal_with(35) as portal:
        yield Services(portal, settings, [declared(RESES)])


def test_an_extraction_that_reaches_its_deadline_records_nothing_and_the_next_resumes_it(
    services: Services,
) -> None:
    def slow(asked: Asked, page: Answer) -> Answer:
        time.sleep(patience(3.0) if at(asked) == 20 else 0)
        return page

    services.portal.on_page = slow
    with pytest.raises(
        DeadlineReached,
        match=r"landing.services: time limit reached with 20 of 35 rows landed \(2 pages\).*to resume from there",
    ):
        services.make(ends_at=time.monotonic() + patience(2.0))
    assert services.project.ledger.history(KEY) == []
    services.portal.on_page = lambda _, page: page
    outcome = services.make()
    assert (outcome.status, outcome.entry and outcome.entry.rows) == ("materialized", 35)
    assert services.asked() == [20, 30]
    assert services.pages() == services.expected()
    assert sorted(services.landed()) == ["_manifest.json", *(f"page-0000{n}.json" for n in range(4))]


def test_an_extraction_without_progress_before_its_deadline_is_a_failure_of_the_source(services: Services) -> None:
    services.portal.on_page = lambda _, page: time.sleep(patience(0.5)) or page  # type: ignore[func-returns-value]
    with pytest.raises(SourceUnavailable, match="deadline") as raised:
        services.make(ends_at=time.monotonic() + patience(0.3))
    assert not isinstance(raised.value, DeadlineReached)
    assert [entry.status for entry in services.project.ledger.history(KEY)] == ["failed"]


def test_after_a_failure_only_missing_pages_are_requested(services: Services) -> None:
    services.stop()
    services.make()
    assert services.asked() == [20, 30]
    assert services.pages() == services.expected()


def test_a_resumed_batch_equals_that_of_an_uninterrupted_run(services: Services, tmp_path: Path) -> None:
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
def test_a_damaged_page_is_requested_again(services: Services, damage: Callable[[bytes], bytes]) -> None:
    services.stop()
    lake = services.project.lake
    page = next(found.path for found in lake.objects("landing/services") if found.path.endswith("page-00001.json"))
    path = page.replace("_landed/", "")
    lake.put(path, damage(lake.get(path)))
    services.make()
    assert services.asked() == [10, 20, 30]
    assert services.pages() == services.expected()


@pytest.mark.parametrize("content", [b"{", b'{"version": "\xff"}', b'{"x": ' + b"[" * 100_000])
def test_a_page_whose_note_is_unreadable_is_requested_again(services: Services, content: bytes) -> None:
    services.stop()
    lake = services.project.lake
    for found in lake.objects("landing/services"):
        if found.path.endswith("_landed/page-00000.json"):
            lake.put(found.path, content)
    services.make()
    assert services.asked() == [0, 20, 30]


def test_pages_of_different_source_versions_are_never_mixed(services: Services) -> None:
    services.stop()
    services.move()
    services.make()
    assert services.asked() == [0, 10, 20, 30]
    assert services.pages() == services.expected()


def test_landed_pages_with_another_stamp_than_new_ones_are_read_again(services: Services) -> None:
    services.stop()
    services.change_rows()
    services.make()
    assert services.asked()[-4:] == [0, 10, 20, 30]
    assert services.pages() == services.expected()


def test_a_resumed_extraction_remembers_that_the_portal_was_out_of_date(services: Services) -> None:
    services.portal.headers = {"X-SODA2-Data-Out-Of-Date": "true"}
    services.stop()
    services.portal.headers = {}
    entry = services.make().entry
    assert entry
    assert entry.source_version
    assert entry.source_version.endswith("-behind")


def test_pages_of_another_size_are_not_reused(services: Services) -> None:
    services.stop()
    services.project = services.opened(page_rows=20)
    services.make()
    assert services.asked() == [0, 20]
    assert services.pages() == [soda(services.portal.rows[:20]), soda(services.portal.rows[20:])]


def test_pages_of_another_window_are_not_reused(services: Services) -> None:
    services.stop()
    batch = "landing/services/" + services.project.lake.folders("landing/services")[0]
    version = json.loads(services.project.lake.get(f"{batch}/_landed/page-00000.json"))["version"]
    assert LandedPages(services.project.lake, batch, None).has(version)
    assert len(LandedPages(services.project.lake, batch, None).of(version)) == 2
    assert not LandedPages(services.project.lake, batch, window("2014", "2016")).has(version)
    assert not LandedPages(services.project.lake, batch, None).has("another")


# IDESCAT


def test_idescat_requests_that_were_answered_or_too_large_are_not_repeated(
    settings: Settings,
) -> None:
    with tables_with() as api:
        api.limit = api.table.cells // 3  # the first request must be halved twice
        source = Idescat(*api.tables)
        served_settings = settings.model_copy(
            update={"mock_url": api.server.url, "http_concurrency": 1, "http_attempts": 1}
        )
        project = Project(served_settings, [declared(source)])
        answered = 0

        def twice(_: Asked, answer: Answer) -> Answer:
            nonlocal answered
            answered += answer.status == 200
            return answer if answer.status != 200 or answered <= 2 else Answer(b"", 503)

        api.on_data = twice
        with pytest.raises(SourceUnavailable):
            materialize(project, KEY)
        before = {asked.target for asked in api.asked("rows")[:-1]}  # all but the one that failed
        api.server.clear_requests()
        api.on_data = lambda _, answer: answer
        entry = materialize(project, KEY).entry
        again = {asked.target for asked in api.asked("rows")}
    assert before
    assert not before & again
    assert entry
    assert entry.rows == api.table.cells


# A process that is killed


def test_a_killed_extraction_leaves_its_pages_for_the_next(settings: Settings, tmp_path: Path) -> None:
    FolderSource(tmp_path / "source").write(some(8))
    for trapdoor in (6, 8, 10):  # after the lease: the first page, its note, and so on
        assert make_all_elsewhere(settings, tmp_path / "source", trapdoor) == -9
    written = Path(settings.lake).rglob("page-*.json")
    assert {path.name for path in written if path.parent.name != "_landed"} >= {"page-00000.json", "page-00001.json"}
    assert make_all(settings, tmp_path / "source") > 0
    lake = TrapdoorLake(settings.lake, None)
    assert not lake.objects("landing"), "it was completed and used"
    assert all(Project(settings, []).ledger.latest(key) for key in KEYS)
