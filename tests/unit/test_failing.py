"""A table that stands failed is reported until it is made, or its failure acknowledged; another failure is heard again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.failing import PATIENCE, acknowledge, acknowledged, failing, path, withdraw
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, SourceUnavailable, UsageError
from catalunya.ops.status import log_left_alone, statuses
from small.shops import declare_failing, some

LANDING, SHOPS, CITIES = "landing.shops", "staging.shops", "staging.cities"


class Shop:
    """The shops, with a staging function that fails when it is told to."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.raises: Exception | None = None
        self.source, self.declared = declare_failing(folder, lambda: self.raises)
        self.settings = settings
        self.source.write(some(4))
        materialize(self.open(), LANDING)

    def open(self) -> Project:
        return Project(self.settings, self.declared)

    def fail(self, error: Exception, run_id: str | None = None) -> None:
        self.raises = error
        with pytest.raises(type(error)):
            materialize(self.open(), SHOPS, Request(force=True, run_id=run_id))
        self.raises = None

    def left(self) -> dict[str, Any]:
        """What `ops.reconcile` logs about the shops."""
        project = self.open()
        with capture_logs() as logged:
            log_left_alone(project.state(), project.graph, triggered=())
        (line,) = [line for line in logged if line["asset"] == SHOPS]
        return dict(line)


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings, tmp_path / "source")


def test_a_lasting_failure_is_reported_until_the_table_is_made(shop: Shop) -> None:
    shop.fail(ContractError("a breach"))
    line = shop.left()
    assert (line["event"], line["log_level"], line["tolerated"]) == ("left_alone", "warning", False)
    assert "it failed for good" in line["why"]
    assert line["since"]

    materialize(shop.open(), SHOPS, Request(force=True))
    assert failing(shop.open().state(), SHOPS) is None


def test_a_failure_that_passes_is_tolerated_until_it_has_failed_often(shop: Shop) -> None:
    found = []
    for number in range(PATIENCE):
        shop.fail(SourceUnavailable("no answer"), run_id=f"run-{number}")
        found.append(shop.left()["tolerated"])
    assert found == [True] * (PATIENCE - 1) + [False]


def test_a_table_whose_ledger_cannot_be_read_is_reported(shop: Shop) -> None:
    shop.fail(ContractError("a breach"))
    shop.open().lake.put("_ledger/staging/shops/0000000001.json", b"damaged")
    line = shop.left()
    assert line["tolerated"] is False
    assert "cannot be read" in line["why"]


def test_an_acknowledged_failure_is_tolerated_and_says_who_knows_of_it_and_why(shop: Shop) -> None:
    shop.fail(ContractError("a breach"))
    acknowledge(shop.open().state(), SHOPS, by="maria", reason="the publisher knows")
    line = shop.left()
    assert line["tolerated"] is True
    assert line["why"].endswith(": the publisher knows)")

    (found,) = statuses(shop.open().state(), [shop.open().graph[SHOPS]])
    assert found.acknowledged
    assert (found.acknowledged.by, found.acknowledged.error) == ("maria", "ContractError: a breach")
    assert found.is_fine

    assert withdraw(shop.open().lake, SHOPS)
    assert not withdraw(shop.open().lake, SHOPS)
    assert shop.left()["tolerated"] is False


def test_another_error_is_heard_again(shop: Shop) -> None:
    shop.fail(ContractError("a breach"))
    acknowledge(shop.open().state(), SHOPS, by="maria")
    shop.fail(ContractError("a breach"))
    assert shop.left()["tolerated"] is True, "the same failure, once more"
    shop.fail(ContractError("another breach"))
    assert shop.left()["tolerated"] is False


def test_the_same_error_is_heard_again_after_the_table_was_made(shop: Shop) -> None:
    shop.fail(ContractError("a breach"))
    acknowledge(shop.open().state(), SHOPS, by="maria")
    materialize(shop.open(), SHOPS, Request(force=True))
    shop.fail(ContractError("a breach"))
    assert shop.left()["tolerated"] is False


def test_only_a_failure_can_be_acknowledged_and_a_damaged_acknowledgement_is_none(shop: Shop) -> None:
    with pytest.raises(UsageError, match=r"expected a table whose last attempt failed"):
        acknowledge(shop.open().state(), SHOPS, by="maria")
    shop.fail(ContractError("a breach"))
    project = shop.open()
    project.lake.put(path(SHOPS), b"{")
    found = failing(project.state(), SHOPS)
    assert found
    assert acknowledged(project.lake, found) is None


def test_a_reason_is_one_line_that_fits_into_a_log(shop: Shop) -> None:
    shop.fail(ContractError("a breach"))
    state = shop.open().state()
    known = acknowledge(state, SHOPS, by="maria", reason="known\nuntil \x1b[31mMonday  ")
    assert known.reason == r"known until \x1b[31mMonday"
    with pytest.raises(UsageError, match="expected at most 300 characters, found 3,000,000"):
        acknowledge(state, SHOPS, by="maria", reason="x" * 3_000_000)
    found = failing(state, SHOPS)
    assert found
    assert acknowledged(state.ledger.lake, found) == known


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"asset": 1}', "\xff", "null", "[" * 100_000])
def test_a_damaged_acknowledgement_is_none_and_can_be_given_again(shop: Shop, text: str) -> None:
    shop.fail(ContractError("a breach"))
    state = shop.open().state()
    state.ledger.lake.put(path(SHOPS), text.encode("latin-1"))
    assert shop.left()["tolerated"] is False
    acknowledge(state, SHOPS, by="maria")
    assert shop.left()["tolerated"] is True


def test_what_waits_for_an_upstream_is_tolerated(shop: Shop) -> None:
    project = shop.open()
    with capture_logs() as logged:
        log_left_alone(project.state(), project.graph, triggered=(SHOPS,))
    waits = {line["asset"]: line for line in logged}
    assert SHOPS not in waits
    assert waits[CITIES]["tolerated"] is True
    assert f"{SHOPS} has never been made" in waits[CITIES]["why"]
