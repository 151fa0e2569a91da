"""Whatever ids, codes and dimensions IDESCAT's unseen tables turn out to have, employment and GDP become the same staging tables, or
the declaration to edit is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets import employment, gdp
from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.making.source_check import check_sources
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.errors import ContractError, DeclarationError, UsageError
from catalunya.io.periods import PeriodKind, window
from catalunya.io.sources.idescat import Idescat
from catalunya.ops import mock
from small.variants import Form, month, served

JOBS = {"MONTH": slice(-6, None), "COM": ["01", "13", "TOTAL"]}
QUARTERS = {"QUARTER": slice(-9, None)}

MONTHS = Form("MONTH", "mes", month, lambda y, q: f"{3 * q:02}/{y}")
NAMED_BY_LETTER = {"SECTION": lambda code, label: (code, label if code == "TOTAL" else label[2:])}
LETTER_IN_LABEL = {
    "SECTION": lambda code, label: (f"{'ABCDEFGHIJKLMNOPQRSTUV'.find(code) + 1:02}", label),
    "COM": lambda code, label: ("CAT" if code == "TOTAL" else code, label),
}

EMPLOYMENT = {
    "2021M03": MONTHS,
    "2021-03": replace(MONTHS, codes=lambda y, q: f"{y}-{3 * q:02}"),
    "202103": replace(MONTHS, codes=lambda y, q: f"{y}{3 * q:02}"),
    "202103, named nothing, without labels": Form("TEMPS", "període", lambda y, q: f"{y}{3 * q:02}"),
    "03/2021": Form("DATA", "data", lambda y, q: f"{3 * q:02}/{y}"),
    "2021Q1": Form("QUARTER", "trimestre", lambda y, q: f"{y}Q{q}"),
    "2021T1": Form("TRIM", "trimestre", lambda y, q: f"{y}T{q}", lambda y, q: f"T{q}/{y}"),
    "202101 of quarters": Form("QUARTER", "Trimestre", lambda y, q: f"{y}{q:02}"),
    "202101 labeled 03/2021": Form("TIME", "període", lambda y, q: f"{y}{q:02}", lambda y, q: f"{3 * q:02}/{y}"),
    "202101 labeled in words": Form("MONTH", "mes", lambda y, q: f"{y}{q:02}", lambda y, q: f"{q}R TRIMESTRE DE {y}"),
    "2021m3": replace(MONTHS, codes=lambda y, q: f"{y}m{3 * q}", labels=None),
    "numbers labeled 1T 2021": Form("T", "període", lambda y, q: f"{y * 4 + q}", lambda y, q: f"{q}T {y}"),
    "numbers labeled in Spanish": Form("T", "período", lambda y, q: f"P{y * 4 + q}", lambda y, q: f"trimestre {q} de {y}"),
    "I/2021": Form("T", "trimestre", lambda y, q: f"{['I', 'II', 'III', 'IV'][q - 1]}/{y}"),
    "two metrics": replace(MONTHS, metrics="two"),
    "the second metric": replace(MONTHS, metrics="second"),
    "a metric called VALUE": replace(MONTHS, metrics="value"),
    "no metric": replace(MONTHS, metrics="none"),
    "letters only in codes": replace(MONTHS, categories=NAMED_BY_LETTER),
    "letters only in labels": replace(MONTHS, categories=LETTER_IN_LABEL, ids={"SECTION": "SEC_ACTIV_G", "COM": "TERR"}),
    "a Catalan id": replace(MONTHS, ids={"SECTION": "SECCIO"}, names={"SECTION": "s"}),
    "a label in capitals": replace(MONTHS, ids={"SECTION": "X"}, names={"SECTION": "SECCIO D'ACTIVITAT ECONOMICA"}),
    "all at once": Form(
        "T", "TRIMESTRE", lambda y, q: f"{y}{q:02}", ids={"SECTION": "D1", "COM": "D2"},
        categories=LETTER_IN_LABEL, metrics="second",
    ),
}  # fmt: skip

TRIMESTERS = Form("QUARTER", "trimestre", lambda y, q: f"{y}T{q}", lambda y, q: f"T{q}/{y}")
SPELLED = {
    "SECTOR": lambda code, label: (f"S{len(label)}{code[-1]}", label),
    "CONCEPT": lambda code, label: (str(len(label)), label.upper()),
}
GDP = {
    "2021T1": TRIMESTERS,
    "2021Q1": replace(TRIMESTERS, codes=lambda y, q: f"{y}Q{q}"),
    "2021-Q1": replace(TRIMESTERS, codes=lambda y, q: f"{y}-Q{q}"),
    "202101": replace(TRIMESTERS, codes=lambda y, q: f"{y}{q:02}", labels=None),
    "2021-01 of quarters": replace(TRIMESTERS, codes=lambda y, q: f"{y}-{q:02}"),
    "1T 2021": replace(TRIMESTERS, codes=lambda y, q: f"{q}T {y}", labels=None),
    "202101, named nothing": Form("TIME", "període", lambda y, q: f"{y}{q:02}"),
    "202101 labeled in words": Form("TIME", "període", lambda y, q: f"{y}{q:02}", lambda y, q: f"{q}r trimestre {y}"),
    "two metrics": replace(TRIMESTERS, metrics="two"),
    "the second metric": replace(TRIMESTERS, metrics="second"),
    "no metric or one called VALUE": replace(TRIMESTERS, metrics="value"),
    "no metric": replace(TRIMESTERS, metrics="none"),
    "no place": replace(TRIMESTERS, without="CAT"),
    "other codes": replace(TRIMESTERS, categories=SPELLED),
    "a sector of another name": replace(TRIMESTERS, ids={"SECTOR": "BRANCH"}, names={"SECTOR": "D3"}),
    "all at once": Form(
        "T", "Trimestres", lambda y, q: f"{y}{q:02}", ids={"SECTOR": "D1"}, names={"SECTOR": "d1"},
        categories=SPELLED, metrics="second",
    ),
}  # fmt: skip


class Made:
    """The staging table that a form of the tables becomes."""

    def __init__(self, folder: Path, declared: StagingDeclaration, tables: Sequence[object]) -> None:
        self.declared, self.tables, self.folder = declared, tables, folder

    def table(self, request: Request | None = None, **options: str) -> pl.DataFrame:
        with mock.serve(datasets=self.tables) as server:  # type: ignore[arg-type]
            lake = str(self.folder / "lake")
            settings = load_settings(
                env="local", lake=lake, cache=self.folder / "cache", mock_url=server.url, **options
            )
            project = Project(settings, [self.declared.landing, self.declared])
            asset = self.declared.asset
            materialize(project, self.declared.landing.asset.key, request or Request())
            materialize(project, asset.key)
            entry = project.ledger.latest(asset.key)
            assert entry
            return scan_table(project.lake, project.graph[asset.key], entry).collect().sort(asset.key_columns)


def made(folder: Path, of: str, form: Form | None, periods: PeriodKind | None = None) -> Made:
    declared, statistic, keep = {
        "employment": (employment.employment, "afic", JOBS),
        "gdp": (gdp.gdp, "pibt", QUARTERS),
    }[of]
    source = declared.landing.source
    assert isinstance(source, Idescat)
    changed = Idescat(*source.tables, dimensions=dict(source.dimensions), periods=periods)
    landing = replace(declared.landing, source=changed)
    kept: Mapping[str, Sequence[str] | slice] = keep
    return Made(folder, replace(declared, landing=landing), served(statistic, form, kept))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, pl.DataFrame]:
    """The tables as the mock serves them."""
    return {of: made(tmp_path_factory.mktemp(of), of, None).table() for of in ("employment", "gdp")}


def test_what_is_compared_has_all_that_tells_rows_apart(expected: Mapping[str, pl.DataFrame]) -> None:
    jobs, accounts = expected["employment"], expected["gdp"]
    assert jobs.height == 2 * (6 * 2 * 21 + 2 * 2 * 22)
    assert set(jobs["regime"]) == {"general", "self_employed"}
    assert jobs["comarca_jobs"].null_count() == 0
    assert "Agricultura, ramaderia, silvicultura i pesca" in set(jobs["section_name"])
    assert accounts.height == 9 * 10 * 4
    assert accounts["measure"].n_unique() == 4


@pytest.mark.parametrize("form", EMPLOYMENT.values(), ids=list(EMPLOYMENT))
def test_every_readable_form_of_employment_is_the_same_table(
    form: Form, expected: Mapping[str, pl.DataFrame], tmp_path: Path
) -> None:
    assert made(tmp_path, "employment", form).table().equals(expected["employment"])


@pytest.mark.parametrize("form", GDP.values(), ids=list(GDP))
def test_every_readable_form_of_gdp_is_the_same_table(
    form: Form, expected: Mapping[str, pl.DataFrame], tmp_path: Path
) -> None:
    assert made(tmp_path, "gdp", form).table().equals(expected["gdp"])


AMBIGUOUS = Form("TIME", "període", lambda y, q: f"{y}{q:02}")


def test_an_ambiguous_form_is_refused_with_both_readings_and_the_file_to_edit(tmp_path: Path) -> None:
    """The tables of the CCAE-2025 have two periods: nothing tells the first quarters from January and February."""
    with pytest.raises(
        DeclarationError,
        match=r"^landing.employment: IDESCAT afic/14987/26692/com: time dimension TIME període: .* found '202602' which may be "
        r"2026-02 \(a month\) or 2026-Q2 \(a quarter\) or .*periods='quarter' .*\(assets/employment.py\)$",
    ):
        made(tmp_path, "employment", AMBIGUOUS).table()


def test_an_ambiguous_form_is_the_same_table_once_it_is_declared(
    expected: Mapping[str, pl.DataFrame], tmp_path: Path
) -> None:
    assert made(tmp_path, "employment", AMBIGUOUS, periods="quarter").table().equals(expected["employment"])


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (replace(MONTHS, codes=lambda y, q: f"{y}M{3 * q - 1:02}"), "observed_on_the_last_day_of_the_quarter"),
        (Form("SEMESTER", "semestre", lambda y, q: f"{y + q}S{1 + q % 2}"), "quarter_id"),
    ],
    ids=["another month", "half-years"],
)
def test_a_count_on_another_day_is_not_taken_for_one_at_the_end_of_a_quarter(
    form: Form, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match=rf"staging.employment: .*{reason}"):
        made(tmp_path, "employment", form).table()


@pytest.mark.parametrize(
    ("of", "form", "message"),
    [
        ("employment", replace(MONTHS, ids={"SECTION": "X"}, names={"SECTION": "grup"}),
         r"dimensions\['SECTION'\]: expected one dimension called SECTION or secció .*X \(grup, 22 categories\).*assets/employment.py"),
        ("employment", replace(MONTHS, categories={"SECTION": lambda code, label: (f"0{code}", label[2:])}),
         r"expected all categories of SECTION to be declared, found '0A' \(Agricultura, .*assets/employment.py"),
        ("employment", replace(MONTHS, categories={"SECTION": lambda code, label: (chr(ord(code) % 22 + 65), label) if len(code) == 1 else (code, label)}),
         r"expected all categories of SECTION to be declared, found '[A-V]' \([A-V] .*assets/employment.py"),
        ("gdp", replace(TRIMESTERS, categories={"SECTOR": lambda code, label: (code, "Mineria" if code == "IND" else label)}),
         r"expected all categories of SECTOR to be declared, found 'IND' \(Mineria\).*assets/gdp.py"),
        ("gdp", replace(TRIMESTERS, categories={"CONCEPT": lambda code, label: (f"X{code}", label.replace("Índex", "Nivell"))}),
         r"dimensions\['metric'\]: expected one dimension of metrics .*CONCEPT \(concepte, metric, 3 categories\).*assets/gdp.py"),
    ],
)  # fmt: skip
def test_what_no_declaration_knows_is_refused_with_what_was_found_and_the_file_to_edit(
    of: str, form: Form, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError, match=rf"^landing.{of}: IDESCAT .*{message}"):
        made(tmp_path, of, form).table()


def test_periods_that_are_read_together_are_not_cut_apart_and_not_backfilled(
    expected: Mapping[str, pl.DataFrame], tmp_path: Path
) -> None:
    """`202503` alone may be a third quarter; with `202512` beside it, it is March."""
    together = made(tmp_path, "employment", EMPLOYMENT["202103, named nothing, without labels"])
    assert together.table(page_rows="50").equals(expected["employment"])
    with pytest.raises(UsageError, match=r"cannot read .* only: .* all of them together; .* periods='month'"):
        together.table(Request(window=window("2025", "2025")))


def test_a_backfill_reads_the_quarters_of_the_window_whatever_their_codes(tmp_path: Path) -> None:
    for name in ("2021M03", "202101 of quarters", "202101 labeled in words"):
        one = made(tmp_path / name, "employment", EMPLOYMENT[name])
        before = one.table()
        assert one.table(Request(window=window("2025-Q3", "2025-Q4"))).equals(before)
        with pytest.raises(UsageError, match="the table has no period from 2030"):
            one.table(Request(window=window("2030", "2030")))


def test_the_check_of_the_sources_names_every_table_that_is_not_as_declared(tmp_path: Path) -> None:
    ambiguous = made(tmp_path, "employment", AMBIGUOUS)
    with mock.serve(datasets=ambiguous.tables) as server:  # type: ignore[arg-type]
        settings = load_settings(env="local", lake=str(tmp_path / "lake"), cache=tmp_path, mock_url=server.url)
        (found,) = check_sources(Project(settings, [ambiguous.declared.landing]), ["landing.employment"])
        assert len(server.requests) == 4
    (problem,) = found.problems
    assert found.answered
    assert problem.count("2026-02 (a month) or 2026-Q2 (a quarter)") == 2
    assert "afic/14987/26692/com" in problem
    assert "afic/14996/26697/com" in problem
    assert problem.endswith("(assets/employment.py)")
