"""Several functions read the pages of one large source, each landing its part of the pages in advance.

Whatever happens to the parts, `materialize` makes the same batch from them that it would have made alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.graph.spec import Declaration, Landing, staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.parts import PartRead, read_part
from catalunya.assets.making.request import Outcome, Request
from catalunya.assets.record.batch import PARTS_TIMEOUT
from catalunya.assets.record.paths import batch_name
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import plan_retention, prune
from catalunya.assets.record.verify import verify
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import DeadlineReached, DeclarationError, SourceUnavailable, UsageError
from catalunya.io.sources.base import HttpSettings, Part
from catalunya.io.sources.extraction import Source
from catalunya.io.sources.idescat import Idescat
from small.apis import RESES, Answer, Asked, portal_with, tables_with
from small.patience import patience
from small.portals import KEY, PortalProject, at

TABLE = "staging.services"
BATCH = "ingested_process_at=20260803T050000000"


class RawServices(LandingContract):
    """Services, with the fields of the test's portal."""

    registre: str = raw("Register number", required=True)


class RawCells(LandingContract):
    """Cells of an IDESCAT table."""

    value: str = raw("Value")


class Services(Contract, max_shrink=1.0):
    """Services."""

    service_id: str = column("Register number", source=RawServices.registre, key=True)


def cells(source: Source) -> list[Declaration]:
    return [Landing("services", source=source, contract=RawCells, schedule="0 5 * * *", readers=3)]


def declared(source: Source) -> list[Declaration]:
    landing = Landing("services", source=source, contract=RawServices, schedule="0 5 * * *", readers=3)

    @staging(landing, contract=Services)
    def services(raw):  # type: ignore[no-untyped-def]
        return raw

    return [landing, services]


class Field(PortalProject):
    """A small portal with 75 rows in pages of ten: eight pages, of which three parts read 3, 3 and 2."""

    def part(self, index: int, *, batch: str = BATCH, project: Project | None = None, **request: object) -> PartRead:
        return read_part(project or self.project, KEY, Part(3, index), batch, Request(**request))  # type: ignore[arg-type]

    def below(self, batch: str = BATCH) -> list[str]:
        return [found.path.split("/", 3)[3] for found in self.project.lake.objects(f"landing/services/{batch}")]

    def check_batch(self, outcome: Outcome) -> None:
        """Assert that the batch equals that of a single reader: the same pages in the same order, the same data version."""
        assert outcome.entry
        lake = self.project.lake
        found = [lake.get(stored.path) for stored in outcome.entry.objects]
        assert found == self.expected()
        assert {f"{BATCH}/{name}" for name in self.below()} == {
            *(stored.path.split("/", 2)[2] for stored in outcome.entry.objects),
            f"{BATCH}/_manifest.json",
        }
        alone = materialize(self.opened(lake=f"{self.settings.lake}-alone"), KEY).entry
        assert alone
        assert (alone.data_version, alone.rows, alone.source_version) == (
            outcome.entry.data_version,
            outcome.entry.rows,
            outcome.entry.source_version,
        )


@pytest.fixture
def field(settings: Settings) -> Iterator[Field]:
    with portal_with(75) as portal:
        yield Field(portal, settings, declared(RESES))


def test_a_batch_read_in_three_parts_equals_that_of_a_single_reader(field: Field) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda index: field.part(index, project=field.opened()), range(3)))
    assert [(part.status, part.pages) for part in found] == [("landed", 3), ("landed", 3), ("landed", 2)]
    assert sorted(field.asked()) == [*range(0, 80, 10)], "no page is requested twice"
    assert not field.project.ledger.history(KEY), "a part records nothing"
    outcome = field.make()
    assert field.asked() == [], "no page was missing"
    field.check_batch(outcome)


def test_pages_of_parts_that_failed_or_never_ran_are_read_when_the_batch_is_sealed(field: Field) -> None:
    field.portal.on_page = lambda asked, page: Answer(b"", 503) if at(asked) == 40 else page
    with pytest.raises(SourceUnavailable):
        field.part(1)
    field.portal.on_page = lambda _, page: page
    field.part(0)
    outcome = field.make()
    assert field.asked() == [20, 40, 50, 70]
    field.check_batch(outcome)


def test_without_parts_the_extraction_reads_all_pages(field: Field) -> None:
    outcome = field.make()
    assert len(field.asked()) == 8
    assert outcome.entry
    assert [stored.path.rpartition("/")[2] for stored in outcome.entry.objects] == [
        f"page-0000{n}.json" for n in range(8)
    ]


def test_a_repeated_part_requests_only_missing_pages_and_writes_nothing_twice(field: Field) -> None:
    field.portal.on_page = lambda asked, page: Answer(b"", 503) if at(asked) == 30 else page
    with pytest.raises(SourceUnavailable):
        field.part(0)
    field.portal.on_page = lambda _, page: page
    before = field.below()
    field.portal.server.clear_requests()
    assert field.part(0).pages == 2
    assert field.asked() == [30, 60]
    landed = field.below()
    assert set(before) < set(landed)
    assert field.part(0).pages == 0
    assert field.below() == landed


def test_concurrent_invocations_of_one_part_do_not_touch_each_others_pages(field: Field) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: field.part(0, project=field.opened()), range(2)))
    names = [name for name in field.below() if not name.startswith("_landed")]
    assert len({name.split(".")[0] for name in names}) == 3
    field.check_batch(field.make())


def test_a_source_that_changes_between_parts_gives_a_batch_of_its_new_version_only(field: Field) -> None:
    field.part(0)
    field.move()
    field.part(1)
    outcome = field.make()
    assert sorted(field.asked()) == [0, 20, 30, 50, 60], "all but the pages of the part that read the new version"
    field.check_batch(outcome)


def test_a_change_that_the_metadata_do_not_show_is_detected_by_the_pages_stamps(field: Field) -> None:
    field.part(0)
    field.change_rows()
    field.part(1)
    outcome = field.make()
    assert field.asked()[-8:] == [*range(0, 80, 10)], "all pages are read again"
    field.check_batch(outcome)


def test_a_page_that_was_damaged_after_landing_is_requested_again(field: Field) -> None:
    field.part(0)
    lake = field.project.lake
    damaged = next(name for name in field.below() if name.startswith("page-00003"))
    path = f"landing/services/{BATCH}/{damaged}"
    lake.put(path, b"x" * len(lake.get(path)))
    outcome = field.make()
    assert 30 in field.asked()
    field.check_batch(outcome)


def test_a_part_of_an_unchanged_source_makes_one_request_and_writes_nothing(field: Field) -> None:
    field.make()
    field.make(TABLE)
    field.portal.server.clear_requests()
    before = field.project.lake.objects("")
    assert field.part(2, batch="ingested_process_at=20260804T050000000").status == "skipped"
    assert len(field.portal.server.requests) == 1
    assert field.project.lake.objects("") == before


# Late parts


def straggling(field: Field, while_it_reads: object) -> PartRead:
    """A part whose second page is held back while `while_it_reads` runs."""
    reached, go = threading.Event(), threading.Event()

    def hold(asked: Asked, page: Answer) -> Answer:
        if at(asked) == 30 and not reached.is_set():
            reached.set()
            assert go.wait(patience(20))
        return page

    field.portal.on_page = hold
    with ThreadPoolExecutor(1) as pool:
        straggler = pool.submit(field.part, 0, project=field.opened())
        assert reached.wait(patience(20))
        while_it_reads()  # type: ignore[operator]
        go.set()
        return straggler.result()


def test_a_part_that_is_late_for_the_seal_writes_no_more_and_leaves_the_batch_unchanged(field: Field) -> None:
    outcomes: list[Outcome] = []
    straggler = straggling(field, lambda: outcomes.append(field.make()))
    assert (straggler.status, straggler.pages) == ("skipped", 1)
    assert "sealed meanwhile" in straggler.why
    field.check_batch(outcomes[0])
    assert not verify(field.project).findings
    assert field.part(1).status == "skipped"
    assert field.part(1, force=True).status == "skipped"


def test_a_part_does_not_recreate_a_batch_that_was_used_and_deleted(field: Field) -> None:
    def use() -> None:
        field.make()
        field.make(TABLE)

    assert straggling(field, use).status == "skipped"
    assert field.below() == []
    assert field.part(0, force=True).status == "skipped"
    assert not verify(field.project).findings


@pytest.mark.parametrize("used", [False, True], ids=["batch not used", "batch used"])
def test_a_page_that_a_late_part_still_wrote_is_deleted_with_its_batch(field: Field, used: bool) -> None:
    """A check and the write that follows are not atomic, so a page can still be written, under a name that no manifest lists."""
    outcome = field.make()
    assert outcome.entry
    assert outcome.entry.batch
    if used:
        field.make(TABLE)
    lake, late = (
        field.project.lake,
        [f"{outcome.entry.batch}/{name}" for name in ("page-00003.0badcafe.json", "_landed/page-00003.0badcafe.json")],
    )
    pages = {stored.path: lake.get(stored.path) for stored in outcome.entry.objects if not used}
    for path in late:
        lake.put(path, b"[]")
    found = [(finding.kind, finding.todo, finding.damaged) for finding in verify(field.project).findings]
    assert found == ([] if used else [("unknown_object", "nothing to do: it is deleted with its batch", ())])
    assert {path: lake.get(path) for path in pages} == pages
    if not used:
        field.make(TABLE)
    prune(field.project, "prune")
    assert not [path for path in late if lake.exists(path)]
    assert not verify(field.project).findings


def test_a_batch_is_not_pruned_while_parts_may_still_be_landing_pages(field: Field) -> None:
    now = datetime.now(UTC)
    for batch, is_over in ((batch_name(now), False), (batch_name(now - PARTS_TIMEOUT), True)):
        part = field.part(0, batch=batch)
        assert part.pages == 3
        removed = {removal.why for removal in plan_retention(field.project, now)}
        assert removed == ({"its run was interrupted before it was complete"} if is_over else set())
        assert {finding.kind for finding in verify(field.project).findings} == (
            {"batch_unsealed"} if is_over else set()
        )


def test_an_extraction_does_not_resume_a_batch_that_was_recorded_and_deleted(field: Field) -> None:
    field.part(0)
    kept = {
        path: field.project.lake.get(path) for path in (f"landing/services/{BATCH}/{name}" for name in field.below())
    }
    field.make()
    field.make(TABLE)
    for path, body in kept.items():
        field.project.lake.put(path, body)
    outcome = field.make(force=True)
    assert outcome.entry
    assert outcome.entry.batch != f"landing/services/{BATCH}"
    assert field.below() == []


# Requests and declarations


def test_all_parts_together_stay_within_the_request_rate_of_one_reader(field: Field) -> None:
    one = HttpSettings("http://127.0.0.1:1", requests_per_second=20.0, concurrency=4)
    assert Part(4, 1).share(one) == replace(one, requests_per_second=5.0)
    spaced = field.opened(http_requests_per_second=30.0, http_concurrency=4)
    field.part(0, project=spaced, force=True)
    times = [asked.at for asked in field.portal.asked("rows")]
    assert len(times) == 3
    assert times[-1] - times[0] >= 0.12, "ten requests a second for one of three readers, less what the first was late"


def test_a_part_stops_before_its_time_limit_and_resumes_when_repeated(field: Field) -> None:
    field.portal.on_page = lambda asked, page: time.sleep(patience(2.5) if at(asked) == 30 else 0) or page  # type: ignore[func-returns-value]
    with pytest.raises(DeadlineReached, match=r"1 pages of part 0 of 3 landed; run it again to resume"):
        field.part(0, ends_at=time.monotonic() + patience(1.5))
    field.portal.on_page = lambda _, page: page
    assert field.part(0).pages == 2


def test_a_contract_breach_is_left_to_the_extraction_that_seals_the_batch(field: Field) -> None:
    field.portal.columns = {"nom": "text"}
    part = field.part(0)
    assert (part.status, part.pages) == ("skipped", 0)
    assert "left to the extraction that seals" in part.why
    assert field.below() == []


@pytest.mark.parametrize("batch", ["../../staging/services", "ingested_process_at=now", "", f"{BATCH}/.."])
def test_an_invalid_batch_name_is_refused(field: Field, batch: str) -> None:
    with pytest.raises(UsageError, match="expected the name of a batch"):
        field.part(0, batch=batch)
    assert field.project.lake.objects("") == []


def test_only_landing_assets_are_read_in_parts(field: Field) -> None:
    with pytest.raises(UsageError, match=r"staging.services: only a landing asset"):
        read_part(field.project, TABLE, Part(3, 0), BATCH, Request())
    with pytest.raises(UsageError, match="part 3 of 3"):
        Part(3, 3)


@pytest.mark.parametrize("readers", [0, 17])
def test_the_number_of_readers_must_be_within_bounds(readers: int) -> None:
    with pytest.raises(DeclarationError, match=f"expected 1 to 16 readers, found {readers}"):
        Landing("services", source=RESES, contract=RawServices, schedule="0 5 * * *", readers=readers)


def test_parts_share_idescats_requests_including_those_that_must_be_halved(settings: Settings, tmp_path: Path) -> None:
    with tables_with() as api:
        served = {"mock_url": api.server.url, "http_concurrency": 1, "http_attempts": 1, "page_rows": 20}
        served_settings = settings.model_copy(update=served)
        source = Idescat(*api.tables)
        api.limit = 15  # fewer cells than the first requests ask for
        project = Project(served_settings, cells(source))
        landed = [read_part(project, KEY, Part(3, index), BATCH, Request()).pages for index in range(3)]
        api.server.clear_requests()
        entry = materialize(project, KEY).entry
        asked_again = api.asked("rows")
        alone = materialize(
            Project(served_settings.model_copy(update={"lake": str(tmp_path / "alone")}), cells(source)), KEY
        )
        assert entry
        assert alone.entry
    assert min(landed) > 0
    assert asked_again == []
    assert sum(landed) == len(entry.objects) == len(alone.entry.objects)
    assert (entry.rows, entry.data_version) == (api.table.cells, alone.entry.data_version)
