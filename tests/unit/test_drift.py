"""A change of type is drift: of the type that the source declares for a field, and of what its rows hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.graph.spec import Declaration, Landing, staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import Contract, Drift, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError
from small.shops import FolderSource

KNOWN = {"codi": "text", "cp": "text", "places": "number", "obert": "checkbox"}


class Houses:
    """A source of houses and its two tables, made on request; `drift` is the policy of the landing contract."""

    def __init__(self, settings: Settings, folder: Path, drift: Drift = "evolve") -> None:
        class RawHouses(LandingContract, drift=drift):
            """Houses as their source has them."""

            codi: str = raw("Code", kind="text", required=True)
            cp: str = raw("Postal code")
            places: str = raw("Places")
            obert: str = raw("Whether it is open")

        class CleanHouses(Contract, tolerate=0.5, max_shrink=1.0, max_change=1.0):
            """Houses."""

            house_id: str = column("Code", source="codi", key=True)
            postal_code: str = column("Postal code", source="cp", nullable=True)
            places: float = column("Places", source="places", nullable=True)

        self.source = FolderSource(folder / "source")
        landing = Landing("houses", source=self.source, contract=RawHouses, schedule="@daily")

        @staging(landing, contract=CleanHouses)
        def houses(raw: pl.LazyFrame) -> pl.LazyFrame:
            return raw

        declared: list[Declaration] = [landing, houses]
        self.project = Project(settings, declared)

    def land(self, rows: Sequence[Mapping[str, Any]], fields: Mapping[str, str] | None = None) -> Entry:
        self.source.write([dict(row) for row in rows], fields={**KNOWN, **(fields or {})})
        return self._make("landing.houses", Request(force=True))

    def stage(self, request: Request | None = None) -> Entry:
        return self._make("staging.houses", request or Request(force=True))

    def _make(self, key: str, request: Request) -> Entry:
        entry = materialize(self.project, key, request).entry
        assert entry
        return entry


@pytest.fixture
def houses(settings: Settings, tmp_path: Path) -> Houses:
    return Houses(settings, tmp_path)


def test_the_entry_of_a_batch_has_the_types_that_the_source_declares(houses: Houses) -> None:
    assert houses.land([{"codi": "1"}]).fields == KNOWN


def test_a_field_of_no_declared_kind_that_the_source_retypes_is_drift_once(houses: Houses) -> None:
    assert houses.land([{"codi": "1"}]).drift == ""
    assert houses.land([{"codi": "2"}], {"cp": "number"}).drift == "cp was text, is number"
    assert houses.land([{"codi": "3"}], {"cp": "number"}).drift == ""


def test_it_is_refused_under_freeze_and_ignored_under_discard(settings: Settings, tmp_path: Path) -> None:
    for drift in ("freeze", "discard"):
        houses = Houses(settings, tmp_path / drift, drift)  # type: ignore[arg-type]
        houses.project = Project(
            settings.model_copy(update={"lake": str(tmp_path / drift / "lake")}),
            list(houses.project.declarations.values()),
        )
        houses.land([{"codi": "1"}])
        if drift == "discard":
            assert houses.land([{"codi": "2"}], {"cp": "number"}).drift == ""
        else:
            for _ in range(2):
                with pytest.raises(ContractError, match=r"landing.houses: .* cp was text, is number"):
                    houses.land([{"codi": "2"}], {"cp": "number"})


def test_an_entry_of_an_earlier_release_without_fields_is_no_drift(houses: Houses) -> None:
    houses.land([{"codi": "1"}])
    path = Path(houses.project.settings.lake, "_ledger/landing/houses/0000000001.json")
    content = path.read_text(encoding="utf-8")
    path.write_text(content.replace('"cp": "text"', '"other": "text"'), encoding="utf-8")
    houses.project = Project(houses.project.settings, list(houses.project.declarations.values()))
    assert houses.land([{"codi": "2"}], {"cp": "number"}).drift == ""


def test_a_field_whose_name_polars_takes_for_a_pattern_of_names_stays_in_landing(
    settings: Settings, tmp_path: Path
) -> None:
    class RawMarked(LandingContract):
        """Codes with a footnote."""

        codi: str = raw("Code", kind="text")
        mark: str = raw("A footnote", kind="text", alias="*")

    class Marked(Contract):
        """Codes."""

        code: str = column("Code", source="codi", key=True)

    source = FolderSource(tmp_path / "source")
    landing = Landing("marked", source=source, contract=RawMarked, schedule="@daily")

    @staging(landing, contract=Marked)
    def marked(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw

    project = Project(settings, [landing, marked])
    source.write([{"codi": "1", "*": "a", "^codi$": 2}], fields={"codi": "text", "*": "text", "^codi$": "number"})
    for key in ("landing.marked", "staging.marked"):
        entry = materialize(project, key).entry
        assert entry
        assert entry.rows == 1


def test_text_that_becomes_a_json_number_is_drift_of_the_table_made_from_it(houses: Houses) -> None:
    houses.land([{"codi": "1", "cp": "08001"}, {"codi": "2", "cp": "08002"}])
    assert houses.stage().drift == ""
    houses.land([{"codi": "1", "cp": 8001}, {"codi": "2", "cp": "08002"}, {"codi": "3", "cp": 8003}])
    entry = houses.stage()
    assert (entry.drift, entry.fields) == ("cp was text, is a JSON number in 2 rows", {"cp": "number"})


@pytest.mark.parametrize(
    ("rows", "drift"),
    [
        ([{"codi": "1", "cp": True}], "cp was text, is a JSON boolean in 1 row"),
        ([{"codi": "1", "cp": -1.5}], "cp was text, is a JSON number in 1 row"),
        ([{"codi": 1}], "codi was text, is a JSON number in 1 row"),
        ([{"codi": "1", "places": 3}, {"codi": "2", "places": 4.5}], ""),
        ([{"codi": "1", "obert": True}, {"codi": "2", "obert": False}], ""),
        ([{"codi": "1", "places": False}, {"codi": "2"}], "places was number, is a JSON boolean in 1 row"),
        ([{"codi": "1", "cp": None}], ""),
        (
            [
                {"codi": "1", "lloc": {"cp": 8001, "obert": {"codi": [1]}}, "cp": "C"},
                {"codi": "A", "lloc": [{"codi": 1}]},
            ],
            "",
        ),
        (
            [{"codi": "1", "cp": 'x","cp":8001'}, {"codi": '":1', "cp": '{"cp":8001}'}, {"codi": "{", "cp": '\\":[1'}],
            "",
        ),
    ],
)
def test_json_types_that_the_source_does_not_declare_are_drift(
    houses: Houses, rows: list[dict[str, Any]], drift: str
) -> None:
    houses.land(rows)
    assert houses.stage().drift == drift


def test_the_rows_are_refused_under_freeze(settings: Settings, tmp_path: Path) -> None:
    houses = Houses(settings, tmp_path, "freeze")
    houses.land([{"codi": "1", "cp": 8001}])
    with pytest.raises(
        ContractError,
        match=r"staging.houses: the rows .*: cp was text, is a JSON number in 1 row\. Nothing was published",
    ):
        houses.stage()


def test_a_number_is_read_by_the_type_that_the_source_declares(houses: Houses) -> None:
    houses.land([{"codi": "1", "places": "1.000"}, {"codi": "2", "places": "12"}])
    assert houses.stage().quarantined == 0
    houses.land([{"codi": "1", "places": "1.000"}, {"codi": "2", "places": "12"}, {"codi": "3"}], {"places": "text"})
    assert houses.stage().quarantined == 1


def test_a_replay_reads_numbers_by_the_types_of_the_latest_batch(houses: Houses) -> None:
    houses.land([{"codi": "1", "places": "1.000"}, {"codi": "2"}], {"places": "text"})
    assert houses.stage().quarantined == 1
    houses.land([{"codi": "9", "places": "2"}, {"codi": "8"}])
    assert houses.stage(Request(replay=True)).rows == 2
