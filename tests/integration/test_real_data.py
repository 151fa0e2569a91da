"""The whole local pipeline on real input: the mock serves the portals' own files, and known facts hold at the other end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.mock import serve

REAL = os.environ.get("CATALUNYA_REAL_DATA")
pytestmark = pytest.mark.skipif(not REAL, reason="CATALUNYA_REAL_DATA names no folder with the portals' files")

# INE's control digit over a code's five digits: weights by position.
_A, _B = [0, 3, 8, 2, 7, 4, 1, 5, 9, 6], [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Iterator[Project]:
    """Every asset of the graph, made once from the real files."""
    folder = tmp_path_factory.mktemp("real")
    assert REAL
    with serve(real=Path(REAL)) as mock:
        project = Project(load_settings(lake=str(folder / "lake"), cache=compiled, mock_url=mock.url))
        made = {asset.key: materialize(project, asset.key).status for asset in project.graph}
        assert set(made.values()) == {"materialized"}
        yield project


def table(project: Project, key: str) -> pl.DataFrame:
    entry = project.ledger.latest(key)
    assert entry
    return scan_table(project.lake, project.graph[key], entry).collect()


def test_there_are_947_current_municipalities_and_no_junk(project: Project) -> None:
    current = table(project, "marts.dim_municipalities").filter("is_current")
    assert current.height == 947
    assert not current["municipality_id"].str.starts_with("9999").any()
    assert dict(current["province_id"].value_counts().iter_rows()) == {"08": 311, "25": 231, "17": 221, "43": 184}
    assert current["comarca_id"].n_unique() == 43


def test_the_control_digits_are_right_for_all(project: Project) -> None:
    for code in table(project, "marts.dim_municipalities")["municipality_id"]:
        d = [int(digit) for digit in code]
        assert -(_B[d[0]] + _A[d[1]] + d[2] + _B[d[3]] + _A[d[4]]) % 10 == d[5], code


def test_the_official_list_of_municipalities_agrees(project: Project) -> None:
    assert REAL
    official = pl.read_csv(Path(REAL, "codes/municipis_947.csv"), infer_schema=False)
    ours = table(project, "staging.municipalities")
    joined = official.join(ours, left_on="codi_idescat6", right_on="municipality_id", how="full", coalesce=True)
    assert joined.height == 947
    assert joined.filter(pl.col("codi_comarca") != pl.col("comarca_id")).is_empty()


def test_every_municipality_has_its_area_and_a_density(project: Project) -> None:
    areas = table(project, "staging.municipality_areas")
    assert areas.height == 947
    assert round(areas["area_km2"].sum()) == 32_111
    assert areas.filter(municipality_id="080193")["area_km2"].to_list() == [101.4]
    assert areas.join(table(project, "staging.municipalities"), on="municipality_id", how="anti").is_empty()
    yearly = table(project, "marts.agg_population_trends_yearly")
    newest = yearly.filter(pl.col("year_number") == pl.col("year_number").max())
    assert newest["density_per_km2"].null_count() == 0
    density = dict(newest.select("municipality_id", "density_per_km2").iter_rows())
    assert density["080193"] == max(newest.filter(municipality_id="080193")["population"]) / 101.4
    assert len(density) > 940


def test_the_422_rows_of_service_usage_keep_their_totals(project: Project) -> None:
    usage = table(project, "staging.service_usage")
    assert usage.height == 422
    assert dict(usage.group_by("year").agg(pl.len()).iter_rows()) == {
        y: 42 if y < 2023 else 43 for y in range(2015, 2025)
    }
    for kind in ("day_centre", "residence", "total"):
        given = usage.drop_nulls([f"{kind}_women", f"{kind}_men"])
        assert (given[f"{kind}_women"] + given[f"{kind}_men"] == given[f"{kind}_users"]).all()
    assert usage["day_centre_men"].null_count() == 28, "what the source leaves out is unknown, not zero"


def test_every_real_service_is_placed_in_its_municipality(project: Project) -> None:
    services = table(project, "staging.social_services")
    placed = dict(services.select("municipality_name", "municipality_id").iter_rows())
    assert placed["Barcelona"] == "080193"
    assert placed["Bisbal d'Empordà, la"] == "170221"
    assert placed["Castell d'Aro, Platja d'Aro i s'Agaró"] == "170486"
    assert dict(services.select("service_id", "district_id").iter_rows())["S00000"] == "07"
    assert services["service_type"].str.contains("intel.lectual", literal=True).sum() == 0


def test_no_personal_field_leaves_landing(project: Project) -> None:
    kept = b"".join(
        project.lake.get(o.path) for o in project.lake.objects("staging") + project.lake.objects("quarantine")
    )
    assert b"telefon" not in kept
    frame = table(project, "staging.social_services")
    assert not {"nif", "telefon", "tax_id", "phone"} & set(frame.columns)


def test_the_fact_has_the_users_of_the_latest_year_by_comarca(project: Project) -> None:
    usage = table(project, "staging.service_usage").filter(year=2024)
    fact = table(project, "marts.fact_service_usage_daily")
    for group, column in (("elderly_day_centre", "day_centre_users"), ("elderly_residence", "residence_users")):
        ours = fact.filter(service_group=group, users_year=2024)
        assert ours["users"].sum() == usage[column].sum()
