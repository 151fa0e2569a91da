"""A column declared as `datetime`, from the source's text to the published file."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from catalunya.assets.graph.spec import Declaration, Landing, staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import DeclarationError
from small.shops import FolderSource


class RawServices(LandingContract):
    """Services as their source has them."""

    codi: str = raw("Code", kind="text", required=True)
    inscrit: str = raw("When it was registered", kind="calendar_date")


class Services(Contract, tolerate=0.5):
    """Services, with the time of their registration; summer time is added by the function."""

    service_id: str = column("Code", source=RawServices.codi, key=True)
    registered_at: datetime = column("When it was registered, UTC", source=RawServices.inscrit, nullable=True)
    seen_at: datetime = column("The same, as Madrid's clocks show it, to the microsecond", nullable=True)


def test_a_datetime_of_a_source_is_published_as_utc_in_milliseconds(settings: Settings, tmp_path: Path) -> None:
    source = FolderSource(tmp_path / "source")
    landing = Landing("services", source=source, contract=RawServices, schedule="@daily")

    @staging(landing, contract=Services)
    def services(raw: pl.LazyFrame) -> pl.LazyFrame:
        local = pl.lit("2025-07-01T12:00:00.000001").str.to_datetime(time_unit="us", time_zone="Europe/Madrid")
        return raw.with_columns(seen_at=local)

    declared: list[Declaration] = [landing, services]
    project = Project(settings, declared)
    texts = [
        "2025-09-23T11:40:00.795",
        "2025-09-23T11:40:00+02:00",
        "2025-09-23T11:40:00Z",
        "2025-09-23",
        "12007-02-07T00:00:00.000",
        "0007-02-07T00:00:00.000",
    ]
    rows = [{"codi": str(number), "inscrit": text} for number, text in enumerate(texts)]
    source.write([*rows, {"codi": "7"}], fields={"codi": "text", "inscrit": "calendar_date"})
    materialize(project, "landing.services")
    entry = materialize(project, "staging.services").entry

    assert entry
    assert entry.quarantine
    file = Path(settings.lake, entry.objects[0].path)
    assert [str(field.type) for field in pq.read_schema(file)] == ["large_string", "timestamp[ms]", "timestamp[ms]"]
    read = duckdb.sql(f"select registered_at, seen_at from '{file}' order by service_id").fetchall()
    seen = datetime(2025, 7, 1, 10)  # noqa: DTZ001  UTC without a zone, as Hive keeps it
    at = [datetime(2025, 9, 23, 11, 40, 0, 795000), datetime(2025, 9, 23, 9, 40), datetime(2025, 9, 23, 11, 40), None]  # noqa: DTZ001
    assert read == [(moment, seen) for moment in at]
    assert pl.read_parquet(project.lake.get(entry.quarantine))["_reason"].to_list() == [
        "registered_at: '2025-09-23' is not a valid timestamp",
        "registered_at: '12007-02-07T00:00:00.000' is not a valid timestamp",
        "registered_at: '0007-02-07 00:00:00.000' is not in the years 1000 to 2999",
    ]


@pytest.mark.parametrize(
    "declared", [datetime, pl.Datetime, pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ns")], ids=str
)
def test_every_way_to_declare_it_is_the_same_column(declared: Any) -> None:
    class Visits(Contract):
        """Visits."""

        at: declared = column("When", key=True)  # type: ignore[valid-type]

    assert Visits.polars_schema() == {"at": pl.Datetime("ms")}
    assert [found.type for found in Visits.columns()] == ["timestamp"]


def test_a_zone_cannot_be_declared() -> None:
    class Visits(Contract):
        """Visits in a zone, which not every engine keeps."""

        at: Annotated[pl.Datetime, "ms", "Europe/Madrid"] = column("When", key=True)

    with pytest.raises(DeclarationError, match="column at has type Datetime"):
        Visits.columns()
