"""Extracting tables from a small real API on loopback: complete, of one state, byte for byte, in as few questions as possible."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import polars as pl
import pytest
from structlog.testing import capture_logs

from catalunya.assets.graph import spec
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, LakeError, SourceChanged, SourceError, UsageError
from catalunya.io.periods import window
from catalunya.io.sources.base import Extraction
from catalunya.io.sources.idescat import Idescat
from catalunya.io.sources.jsonstat import read_cells
from small.apis import HALF_YEARS, Answer, Api, Asked, Landing, Table, tables_with
from small.apis import extract_tables as extract
from small.apis import probe_tables as probe


@pytest.fixture
def api() -> Iterator[Api]:
    """One table of twelve half-years, twelve cells each."""
    with tables_with() as api:
        yield api


@pytest.fixture
def two() -> Iterator[Api]:
    """Two tables of the same dimensions; the years of the second follow those of the first."""
    earlier, later = Table("afic/14987/15881/com"), Table("afic/14987/26692/com", "2026-04-02")
    earlier.codes["SEMESTER"], later.codes["SEMESTER"] = HALF_YEARS[:8], HALF_YEARS[8:]
    with tables_with(earlier, later) as api:
        yield api


def cells(landing: Landing, done: Extraction) -> pl.DataFrame:
    return pl.concat([read_cells(landing.files[page.name]) for page in done.pages])


# What an extraction gives


def test_a_table_within_the_limit_is_one_request_that_names_no_dimension(api: Api) -> None:
    landing = Landing()
    done = extract(api, landing)
    (asked,) = api.asked("rows")
    assert asked.target == "/taules/v2/ep/9122/10002/mun/data?lang=ca"
    body = api.table.whole()
    assert landing.files == {"page-00000.json": body}
    (page,) = done.pages
    assert (page.rows, page.bytes, page.sha256) == (144, len(body), hashlib.sha256(body).hexdigest())
    assert page.url == f"{api.server.url}{asked.target}"
    assert done.rows == done.state.rows == 144


def test_a_table_beyond_the_limit_is_requested_by_periods_and_arrives_complete(api: Api) -> None:
    landing = Landing()
    done = extract(api, landing, page_rows=60)
    assert api.filters() == [{"SEMESTER": HALF_YEARS[start : start + 5]} for start in (0, 5, 10)]
    assert [(page.name, page.rows) for page in done.pages] == [
        ("page-00000.json", 60), ("page-00001.json", 60), ("page-00002.json", 24),
    ]  # fmt: skip
    assert cells(landing, done)["value"].to_list() == [str(number) for number in range(144)]


def test_no_question_asks_for_more_cells_than_the_api_answers() -> None:
    table = Table()
    table.codes["MUN"] = [f"{number:06}" for number in range(900)]
    with tables_with(table) as api:
        done = extract(api, Landing())
    assert [page.rows for page in done.pages] == [7 * 2700, 5 * 2700]


def test_a_period_too_large_for_one_answer_is_split_by_the_largest_other_dimension(api: Api) -> None:
    landing = Landing()
    done = extract(api, landing, page_rows=9)
    assert api.filters()[:2] == [
        {"SEMESTER": ["2014S1"], "MUN": ["080193", "170010", "250019"]},
        {"SEMESTER": ["2014S1"], "MUN": ["TOTAL"]},
    ]
    assert len(done.pages) == 24
    assert cells(landing, done)["value"].to_list() == [str(number) for number in range(144)]


def test_metrics_are_cut_last_because_what_they_are_is_read_from_all_of_them(api: Api) -> None:
    api.table.codes |= {"SEMESTER": ["2014S1"], "CONCEPT": [f"C{number}" for number in range(9)]}
    extract(api, Landing(), page_rows=27)
    assert api.filters() == [{"MUN": [place]} for place in ("080193", "170010", "250019", "TOTAL")]


def test_a_table_can_be_read_one_cell_at_a_time(api: Api) -> None:
    api.table.codes["SEMESTER"] = HALF_YEARS[:2]
    landing = Landing()
    done = extract(api, landing, page_rows=1)
    assert cells(landing, done)["value"].to_list() == [str(number) for number in range(24)]


def test_a_table_without_a_time_dimension_is_split_by_its_largest(api: Api) -> None:
    del api.table.role["time"]
    extract(api, Landing(), page_rows=72)
    assert api.filters() == [{"SEMESTER": HALF_YEARS[:6]}, {"SEMESTER": HALF_YEARS[6:]}]


def test_a_table_without_cells_gives_no_page(api: Api) -> None:
    api.table.codes["SEMESTER"] = []
    done = extract(api, Landing())
    assert (done.pages, done.rows, api.asked("rows")) == ((), 0, [])


def test_tables_of_one_source_land_one_after_another(two: Api) -> None:
    landing = Landing()
    done = extract(two, landing, page_rows=60)
    assert [page.rows for page in done.pages] == [60, 36, 48]
    assert cells(landing, done)["table"].unique(maintain_order=True).to_list() == list(two.tables)
    assert done.state.rows == 144


def test_a_question_too_long_for_a_url_is_posted_and_its_url_is_recorded(api: Api) -> None:
    api.table.codes["MUN"] = [f"{number:06}" for number in range(600)]
    landing = Landing()
    done = extract(api, landing, page_rows=1500)
    asked = api.asked("rows")
    assert {request.method for request in asked} == {"GET", "POST"}
    assert max(len(api.server.url + request.target) for request in asked) <= 2000
    posted = next(request for request in asked if request.method == "POST")
    assert posted.target == "/taules/v2/ep/9122/10002/mun/data"
    assert posted.headers["content-type"] == "application/x-www-form-urlencoded"
    assert done.pages[0].url.endswith(",000498,000499")
    assert cells(landing, done)["value"].to_list() == [str(number) for number in range(12 * 1800)]


def test_the_metadata_are_requested_before_the_cells_and_again_after_them(two: Api) -> None:
    done = extract(two, Landing())
    kinds = [asked.kind for asked in two.server.requests]
    assert kinds == ["metadata"] * 4 + ["rows"] * 2 + ["metadata"] * 2
    assert done.requests == 6  # the first two are the probe's


def test_progress_reports_cells_received_and_cells_expected(api: Api) -> None:
    calls: list[tuple[int, int]] = []
    extract(api, Landing(), progress=lambda *rows: calls.append(rows), concurrency=1, page_rows=60)
    assert calls == [(60, 144), (120, 144), (144, 144)]


def test_at_most_as_many_pages_are_in_memory_as_requests_are_allowed(api: Api) -> None:
    def slow(_: Asked, answer: Answer) -> Answer:
        answer.delay = 0.05
        return answer

    api.on_data = slow
    landing = Landing()
    extract(api, landing, page_rows=12, concurrency=3)
    assert api.server.most_at_once == 3
    assert landing.most_at_once <= 3
    assert len(landing.files) == 12


def test_an_error_of_the_sink_passes_through_unchanged(api: Api) -> None:
    def full(name: str, body: bytes) -> None:
        raise LakeError("no space left")

    with pytest.raises(LakeError, match="no space left"):
        extract(api, full, page_rows=12)


# Only some periods


def test_a_window_asks_for_the_periods_that_lie_entirely_in_it(api: Api) -> None:
    landing = Landing()
    done = extract(api, landing, window("2015-H2", "2017-09"), page_rows=36)
    assert cells(landing, done)["time"].unique(maintain_order=True).to_list() == [
        "2015S2",
        "2016S1",
        "2016S2",
        "2017S1",
    ]
    assert [page.rows for page in done.pages] == [36, 12]
    assert done.rows == done.state.rows == 48


def test_a_window_over_all_periods_sends_no_filter(api: Api) -> None:
    done = extract(api, Landing(), window("2014", None))
    assert (done.rows, api.filters()) == (144, [{}])


def test_a_window_may_cover_only_one_of_the_tables(two: Api) -> None:
    done = extract(two, Landing(), window("2018", "2018"))
    assert [asked.path for asked in two.asked("rows")] == ["/taules/v2/afic/14987/26692/com/data"]
    assert done.rows == 24


def test_the_error_for_a_window_without_periods_lists_those_available(two: Api) -> None:
    with pytest.raises(
        UsageError,
        match=r"the table has no period from 2030-01-01 to 2031-12-31, only 2014S1 to 2019S2",
    ):
        extract(two, Landing(), window("2030", "2031"))
    with pytest.raises(UsageError, match=r"the table has no period from 2016-01-01 to 2016-01-31"):
        extract(two, Landing(), window("2016-01", "2016-01"))
    assert two.asked("rows") == []


def test_a_window_on_a_table_without_time_is_refused(api: Api) -> None:
    del api.table.role["time"]
    with pytest.raises(
        UsageError, match=r"cannot read from 2015-01-01 only: .* role time, found none among SEMESTER, MUN"
    ):
        extract(api, Landing(), window("2015", None))


def test_a_window_over_codes_that_are_not_periods_is_refused(api: Api) -> None:
    api.table.codes["SEMESTER"][3] = "TOTAL"
    with pytest.raises(SourceError, match=r"not all categories of SEMESTER are periods: .*'TOTAL'.* without a window"):
        extract(api, Landing(), window("2015", None))
    assert extract(api, Landing()).rows == 144


# A source that changes


def test_if_the_table_is_updated_between_pages_everything_is_read_again(api: Api) -> None:
    def published(_: Asked, answer: Answer) -> Answer:
        if len(api.asked("rows")) == 2 and api.table.updated == "2026-01-29":
            api.table.updated = "2026-07-30"
            api.table.codes["SEMESTER"].append("2020S1")
        return answer

    api.on_data = published
    before = probe(api)
    landing = Landing()
    with capture_logs() as logs:
        done = extract(api, landing, page_rows=60, concurrency=1)
    assert before
    assert done.state.version != before.version
    assert done.state.version.startswith("2026-07-30-")
    assert done.rows == done.state.rows == 156
    assert set(cells(landing, done)["updated"]) == {"2026-07-30"}
    (warned,) = [line for line in logs if line["event"] == "extraction_inconsistent"]
    assert "expected cells updated 2026-01-29, found cells updated 2026-07-30" in warned["found"]


def test_if_a_period_is_added_under_the_same_date_everything_is_read_again(api: Api) -> None:
    def published(_: Asked, answer: Answer) -> Answer:
        if len(api.table.codes["SEMESTER"]) == 12:
            api.table.codes["SEMESTER"].append("2020S1")
        return answer

    api.on_metadata = published  # the answer was made before
    done = extract(api, Landing())
    assert done.rows == 156


def test_if_the_metadata_change_after_the_last_page_everything_is_read_again(api: Api) -> None:
    def published(_: Asked, answer: Answer) -> Answer:
        api.table.updated = "2026-07-30"
        return answer

    api.on_data = published
    done = extract(api, Landing())
    assert done.state.version.startswith("2026-07-30-")
    assert len(api.asked("rows")) == 2


def test_a_table_that_changed_since_the_probe_is_read_once_as_it_is_now(api: Api) -> None:
    def published(_: Asked, answer: Answer) -> Answer:
        api.table.updated = "2026-07-30"
        return answer

    api.on_metadata = published
    assert extract(api, Landing()).state.version.startswith("2026-07-30-")
    assert len(api.asked("rows")) == 1


def test_a_table_that_keeps_changing_fails_after_three_readings(api: Api) -> None:
    def restless(_: Asked, answer: Answer) -> Answer:
        api.table.updated = f"2026-02-{len(api.asked('rows')):02}"
        return answer

    api.on_data = restless
    with pytest.raises(
        SourceChanged, match=r"IDESCAT ep/9122/10002/mun at .* changed during each of 3 readings: expected version"
    ):
        extract(api, Landing())
    assert len(api.asked("rows")) == 3


def test_a_lost_pass_requests_no_more_pages(api: Api) -> None:
    def mixed(_: Asked, answer: Answer) -> Answer:
        answer.body = answer.body.replace(b"2026-01-29", b"2026-01-30")
        return answer

    api.on_data = mixed
    with pytest.raises(SourceChanged, match="expected cells updated 2026-01-29, found cells updated 2026-01-30"):
        extract(api, Landing(), page_rows=12, concurrency=2)
    assert len(api.asked("rows")) <= 3 * 2


def test_a_different_role_of_a_dimension_is_a_different_state(api: Api) -> None:
    def changed(_: Asked, answer: Answer) -> Answer:
        answer.body = answer.body.replace(b'"geo":["MUN"]', b'"geo":["SEX"]')
        return answer

    api.on_data = changed
    with pytest.raises(SourceChanged, match=r"expected the dimensions .*'MUN': 'geo'.*, found .*'SEX': 'geo'"):
        extract(api, Landing())


# Several dimensions of one role


class RawOneMetric(LandingContract):
    """A table with one metric dimension."""

    time: str = raw("Half-year", kind="time", required=True)
    geo: str = raw("Municipality", kind="geo", required=True)
    metric: str = raw("What was counted", kind="metric", required=True)
    CONCEPT: str = raw("What was counted", kind="dimension")
    SEX: str = raw("F, M or TOTAL", kind="dimension")
    value: str = raw("The figure")


class RawTwoMetrics(LandingContract):
    """The same table, with each of its metric dimensions by name."""

    CONCEPT: str = raw("What was counted", kind="metric", required=True)
    SEX: str = raw("F, M or TOTAL", kind="metric", required=True)
    SEX_label: str = raw("Its name")
    value: str = raw("The figure")


class Figures(Contract, max_shrink=1.0):
    """Figures by municipality and half-year."""

    half_year: str = column("Half-year", source="time", key=True, period=True)
    municipality_id: str = column("Municipality", source="geo", key=True)
    concept: str = column("What was counted", source=RawTwoMetrics.CONCEPT, key=True)
    sex: str = column("Sex", source=RawTwoMetrics.SEX, key=True)
    figure: int = column("The figure", source=RawTwoMetrics.value)


class RawTwoMetricsWhole(RawTwoMetrics):
    """All fields that the table of the test reads."""

    time: str = raw("Half-year", kind="time", required=True)
    geo: str = raw("Municipality", kind="geo", required=True)


def figures(api: Api, settings: Settings) -> Project:
    landing = spec.Landing("figures", source=Idescat(*api.tables), contract=RawTwoMetricsWhole, schedule="0 5 * * *")

    @spec.staging(landing, contract=Figures)
    def figures(page: pl.LazyFrame) -> pl.LazyFrame:
        return page

    return Project(settings.model_copy(update={"mock_url": api.server.url}), [landing, figures])


def test_a_table_with_two_metric_dimensions_is_made_by_a_contract_that_names_both(api: Api, settings: Settings) -> None:
    api.table.role = {"time": ["SEMESTER"], "geo": ["MUN"], "metric": ["CONCEPT", "SEX"]}
    project = figures(api, settings)
    for key in ("landing.figures", "staging.figures"):
        materialize(project, key)
    entry = project.ledger.latest("staging.figures")
    assert entry
    table = scan_table(project.lake, project.graph["staging.figures"], entry).collect()
    assert table.height == api.table.cells
    assert set(table["sex"]) == {"F", "M", "TOTAL"}
    assert set(table["concept"]) == {"POP"}


def test_a_contract_that_expects_one_metric_dimension_is_told_which_two_there_are(api: Api, settings: Settings) -> None:
    api.table.role = {"time": ["SEMESTER"], "geo": ["MUN"], "metric": ["CONCEPT", "SEX"]}
    landing = spec.Landing("figures", source=Idescat(*api.tables), contract=RawOneMetric, schedule="0 5 * * *")
    project = Project(settings.model_copy(update={"mock_url": api.server.url}), [landing])
    with pytest.raises(
        ContractError,
        match=r"missing metric.*several dimensions are of the kind metric: declare (SEX, CONCEPT|CONCEPT, SEX) in place of metric, with kind='metric'",
    ):
        materialize(project, "landing.figures")
