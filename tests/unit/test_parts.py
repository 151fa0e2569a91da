"""Several functions read the pages of one large source: each lands its part early, and the batch that `materialize` then makes
of them is the one that it would have made alone, whatever became of the parts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit import _idescat_server as idescat
from tests.unit._socrata_server import RESES, Answer, Asked, Portal, opened, soda

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

KEY, TABLE = "landing.services", "staging.services"
BATCH = "ingested_process_at=20260803T050000000"
LATER = "Thu, 19 Dec 2024 10:58:26 GMT"


class RawServices(LandingContract):
    """Services, as far as the portal of the test has them."""

    registre: str = raw("Register number", required=True)


class RawCells(LandingContract):
    """Cells of IDESCAT, as they come."""

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


class Field:
    """A small real portal of 75 rows in pages of ten: eight pages, of which three parts read 3, 3 and 2."""

    def __init__(self, portal: Portal, settings: Settings) -> None:
        self.portal, self.settings = portal, settings
        self.project = self.opened()

    def opened(self, **changed: object) -> Project:
        served = {"socrata_url": self.portal.server.url, "page_rows": 10, "http_concurrency": 1, "http_attempts": 1}
        return Project(self.settings.model_copy(update={**served, **changed}), declared(RESES))

    def part(self, index: int, *, batch: str = BATCH, project: Project | None = None, **request: object) -> PartRead:
        return read_part(project or self.project, KEY, Part(3, index), batch, Request(**request))  # type: ignore[arg-type]

    def make(self, key: str = KEY, **request: object) -> Outcome:
        self.portal.server.asked.clear()
        return materialize(self.project, key, Request(**request))  # type: ignore[arg-type]

    def asked(self) -> list[int]:
        return [at(asked) for asked in self.portal.asked("page")]

    def below(self, batch: str = BATCH) -> list[str]:
        return [found.path.split("/", 3)[3] for found in self.project.lake.objects(f"landing/services/{batch}")]

    def move(self) -> None:
        """The source publishes other rows."""
        self.portal.rows = [{**row, "nom": "changed"} for row in self.portal.rows]
        self.portal.rows_updated_at += 60
        self.portal.last_modified = LATER

    def is_whole(self, outcome: Outcome) -> None:
        """The batch is the one of a single reader: the same pages in the same order, the same data version."""
        assert outcome.entry
        lake = self.project.lake
        found = [lake.get(stored.path) for stored in outcome.entry.objects]
        assert found == [soda(self.portal.rows[start : start + 10]) for start in range(0, len(self.portal.rows), 10)]
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


def at(asked: Asked) -> int:
    return int(asked.params["$offset"])


@pytest.fixture
def field(settings: Settings) -> Iterator[Field]:
    with opened(75) as portal:
        yield Field(portal, settings)


def test_a_batch_of_three_parts_is_the_one_that_a_single_reader_lands(field: Field) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda index: field.part(index, project=field.opened()), range(3)))
    assert [(part.status, part.pages) for part in found] == [("landed", 3), ("landed", 3), ("landed", 2)]
    assert sorted(field.asked()) == [*range(0, 80, 10)], "no page is asked for twice"
    assert not field.project.ledger.history(KEY), "a part records nothing"
    outcome = field.make()
    assert field.asked() == [], "there was none left to ask for"
    field.is_whole(outcome)


def test_a_part_that_never_runs_or_dies_is_read_by_the_one_that_seals(field: Field) -> None:
    field.portal.on_page = lambda asked, page: Answer(b"", 503) if at(asked) == 40 else page
    with pytest.raises(SourceUnavailable):
        field.part(1)
    field.portal.on_page = lambda _, page: page
    field.part(0)
    outcome = field.make()
    assert field.asked() == [20, 40, 50, 70]
    field.is_whole(outcome)


def test_without_any_part_everything_is_as_it_was_without_parts(field: Field) -> None:
    outcome = field.make()
    assert len(field.asked()) == 8
    assert outcome.entry
    assert [stored.path.rpartition("/")[2] for stored in outcome.entry.objects] == [
        f"page-0000{n}.json" for n in range(8)
    ]


def test_the_same_part_again_asks_only_for_what_it_has_not_landed_and_writes_nothing_twice(field: Field) -> None:
    field.portal.on_page = lambda asked, page: Answer(b"", 503) if at(asked) == 30 else page
    with pytest.raises(SourceUnavailable):
        field.part(0)
    field.portal.on_page = lambda _, page: page
    before = field.below()
    field.portal.server.asked.clear()
    assert field.part(0).pages == 2
    assert field.asked() == [30, 60]
    landed = field.below()
    assert set(before) < set(landed)
    assert field.part(0).pages == 0
    assert field.below() == landed


def test_two_invocations_of_one_part_at_once_do_not_touch_each_others_pages(field: Field) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: field.part(0, project=field.opened()), range(2)))
    names = [name for name in field.below() if not name.startswith("_landed")]
    assert len({name.split(".")[0] for name in names}) == 3
    field.is_whole(field.make())


def test_a_source_that_moves_between_parts_gives_a_batch_of_its_new_state_only(field: Field) -> None:
    field.part(0)
    field.move()
    field.part(1)
    outcome = field.make()
    assert sorted(field.asked()) == [0, 20, 30, 50, 60], "all but the pages of the part that saw the new state"
    field.is_whole(outcome)


def test_a_source_that_moves_without_its_metadata_between_parts_is_found_out_by_its_stamps(field: Field) -> None:
    field.part(0)
    field.portal.rows = [{**row, "nom": "changed"} for row in field.portal.rows]
    field.portal.last_modified = LATER
    field.part(1)
    outcome = field.make()
    assert field.asked()[-8:] == [*range(0, 80, 10)], "all is read anew"
    field.is_whole(outcome)


def test_a_page_that_was_damaged_after_its_part_landed_it_is_asked_for_again(field: Field) -> None:
    field.part(0)
    lake = field.project.lake
    damaged = next(name for name in field.below() if name.startswith("page-00003"))
    path = f"landing/services/{BATCH}/{damaged}"
    lake.put(path, b"x" * len(lake.get(path)))
    outcome = field.make()
    assert 30 in field.asked()
    field.is_whole(outcome)


def test_a_source_that_did_not_change_costs_a_part_one_request_and_it_writes_nothing(field: Field) -> None:
    field.make()
    field.make(TABLE)
    field.portal.server.asked.clear()
    before = field.project.lake.objects("")
    assert field.part(2, batch="ingested_process_at=20260804T050000000").status == "skipped"
    assert len(field.portal.server.asked) == 1
    assert field.project.lake.objects("") == before


# Too late


def straggling(field: Field, while_it_reads: object) -> PartRead:
    """A part whose second page is on its way while something else happens."""
    reached, go = threading.Event(), threading.Event()

    def hold(asked: Asked, page: Answer) -> Answer:
        if at(asked) == 30 and not reached.is_set():
            reached.set()
            assert go.wait(10)
        return page

    field.portal.on_page = hold
    with ThreadPoolExecutor(1) as pool:
        straggler = pool.submit(field.part, 0, project=field.opened())
        assert reached.wait(10)
        while_it_reads()  # type: ignore[operator]
        go.set()
        return straggler.result()


def test_a_part_that_comes_after_the_seal_writes_nothing_more_and_the_batch_stays_as_it_is(field: Field) -> None:
    outcomes: list[Outcome] = []
    straggler = straggling(field, lambda: outcomes.append(field.make()))
    assert (straggler.status, straggler.pages) == ("skipped", 1)
    assert "sealed meanwhile" in straggler.why
    field.is_whole(outcomes[0])
    assert not verify(field.project).findings
    assert field.part(1).status == "skipped"
    assert field.part(1, force=True).status == "skipped"


def test_a_part_that_comes_after_the_batch_was_used_and_deleted_does_not_bring_it_back(field: Field) -> None:
    def use() -> None:
        field.make()
        field.make(TABLE)

    assert straggling(field, use).status == "skipped"
    assert field.below() == []
    assert field.part(0, force=True).status == "skipped"
    assert not verify(field.project).findings


@pytest.mark.parametrize("used", [False, True], ids=["before it is used", "after it was used"])
def test_what_a_straggler_wrote_between_the_look_and_the_seal_goes_with_its_batch(field: Field, used: bool) -> None:
    """No check can be as one with the write that follows: a page may come after all, under a name that nobody lists."""
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
    told = [(finding.kind, finding.todo, finding.damaged) for finding in verify(field.project).findings]
    assert told == ([] if used else [("unknown_object", "nothing to do: it is deleted with its batch", ())])
    assert {path: lake.get(path) for path in pages} == pages
    if not used:
        field.make(TABLE)
    prune(field.project, "prune")
    assert not [path for path in late if lake.exists(path)]
    assert not verify(field.project).findings


def test_a_batch_that_parts_are_landing_pages_in_is_left_alone_until_they_must_be_over(field: Field) -> None:
    began = datetime.now(UTC)
    for batch, is_over in ((batch_name(began), False), (batch_name(began - PARTS_TIMEOUT), True)):
        part = field.part(0, batch=batch)
        assert part.pages == 3
        removed = {removal.why for removal in plan_retention(field.project, began)}
        assert removed == ({"its run was interrupted before it was complete"} if is_over else set())
        assert {finding.kind for finding in verify(field.project).findings} == (
            {"batch_unsealed"} if is_over else set()
        )


def test_an_extraction_does_not_go_on_with_a_batch_that_was_recorded_and_deleted(field: Field) -> None:
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


# The source's and the API's side


def test_all_parts_together_ask_no_more_often_than_one_reader(field: Field) -> None:
    one = HttpSettings("http://127.0.0.1:1", requests_per_second=20.0, concurrency=4)
    assert Part(4, 1).share(one) == replace(one, requests_per_second=5.0)
    spaced = field.opened(http_requests_per_second=30.0, http_concurrency=4)
    field.part(0, project=spaced, force=True)
    times = [asked.at for asked in field.portal.asked("page")]
    assert len(times) == 3
    assert times[-1] - times[0] >= 0.18, "ten a second, for a part of three"


def test_a_part_stops_before_its_limit_and_goes_on_when_it_is_asked_again(field: Field) -> None:
    field.portal.on_page = lambda asked, page: time.sleep(2.5 if at(asked) == 30 else 0) or page  # type: ignore[func-returns-value]
    with pytest.raises(DeadlineReached, match=r"1 pages of part 0 of 3 landed; run it again to resume"):
        field.part(0, ends_at=time.monotonic() + 1.5)
    field.portal.on_page = lambda _, page: page
    assert field.part(0).pages == 2


def test_what_is_to_be_judged_is_left_to_the_one_that_seals(field: Field) -> None:
    del field.portal.columns["registre"]
    part = field.part(0)
    assert (part.status, part.pages) == ("skipped", 0)
    assert "left to the extraction that seals" in part.why
    assert field.below() == []


@pytest.mark.parametrize("batch", ["../../staging/services", "ingested_process_at=now", "", f"{BATCH}/.."])
def test_a_batch_has_the_name_of_one(field: Field, batch: str) -> None:
    with pytest.raises(UsageError, match="expected the name of a batch"):
        field.part(0, batch=batch)
    assert field.project.lake.objects("") == []


def test_only_landing_assets_are_read_in_parts(field: Field) -> None:
    with pytest.raises(UsageError, match=r"staging.services: only a landing asset"):
        read_part(field.project, TABLE, Part(3, 0), BATCH, Request())
    with pytest.raises(UsageError, match="part 3 of 3"):
        Part(3, 3)


@pytest.mark.parametrize("readers", [0, 17])
def test_the_number_of_readers_is_declared_within_bounds(readers: int) -> None:
    with pytest.raises(DeclarationError, match=f"expected 1 to 16 readers, found {readers}"):
        Landing("services", source=RESES, contract=RawServices, schedule="0 5 * * *", readers=readers)


def test_idescats_questions_are_shared_out_with_the_halves_they_have_to_be_asked_as(
    settings: Settings, tmp_path: Path
) -> None:
    with idescat.opened() as api:
        served = {"idescat_url": api.server.url, "http_concurrency": 1, "http_attempts": 1, "page_rows": 20}
        mended = settings.model_copy(update=served)
        source = Idescat(*api.tables)
        api.limit = 15  # less than is asked for at first
        project = Project(mended, cells(source))
        landed = [read_part(project, KEY, Part(3, index), BATCH, Request()).pages for index in range(3)]
        api.server.asked.clear()
        entry = materialize(project, KEY).entry
        asked_again = api.asked("data")
        alone = materialize(Project(mended.model_copy(update={"lake": str(tmp_path / "alone")}), cells(source)), KEY)
        assert entry
        assert alone.entry
    assert min(landed) > 0
    assert asked_again == []
    assert sum(landed) == len(entry.objects) == len(alone.entry.objects)
    assert (entry.rows, entry.data_version) == (api.table.cells, alone.entry.data_version)
