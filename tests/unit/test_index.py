"""The ledger's index: it says what the ledger says, costs a few requests, and is only a cache."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.record.index import KEPT, PATH, Index, keep_index, read_index
from catalunya.assets.record.ledger import Entry, Ledger, Stored
from catalunya.assets.record.newest import NEWEST, read_newest
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import MANY, State
from catalunya.io.environment import load_settings
from catalunya.io.lake import Lake

KEYS = ("landing.a", "staging.a")
START = datetime(2026, 1, 1, tzinfo=UTC)


class CountingLake(Lake):
    """A lake that counts what it is asked for."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.asked: Counter[str] = Counter()

    def get(self, path: str) -> bytes:
        self.asked["get"] += 1
        return super().get(path)

    def paths(self, prefix: str) -> Any:
        self.asked["list"] += 1
        return super().paths(prefix)


@pytest.fixture
def lake(tmp_path: Path) -> CountingLake:
    return CountingLake(str(tmp_path))


def add(lake: Lake, key: str, **values: Any) -> Entry:
    """Record one more entry of a table, a day after the one before."""
    ledger = Ledger(lake)
    last = ledger.last_attempt(key)
    number = last.sequence if last else 0
    entry = Entry(
        **{
            "asset": key,
            "sequence": 0,
            "status": "materialized",
            "run_id": f"run-{number + 1}",
            "correlation_id": "c",
            "reason": "DATA",
            "started_at": START + timedelta(days=number),
            "seconds": 1.0,
            "code_version": "1",
            "versions": {},
            "rows": 100 + number,
            **values,
        }
    )
    return ledger.append(entry, after=number)


def look(lake: Lake) -> tuple[Ledger, Index]:
    ledger = Ledger(lake)
    index = read_index(ledger, KEYS)
    keep_index(lake, index)
    return ledger, index


def test_after_the_first_look_only_new_entries_are_read(lake: CountingLake) -> None:
    for _ in range(5):
        add(lake, KEYS[0])
        add(lake, KEYS[1])
    _, index = look(lake)
    assert (index.new, index.rows.height) == (10, 10)
    lake.asked.clear()
    ledger, index = look(lake)
    assert (index.new, index.rows.height) == (0, 10)
    latest = ledger.latest(KEYS[0], index.listing)
    assert latest
    assert latest.rows == 104
    assert lake.asked == {"list": 1, "get": 2}, "the listing and the index, whatever the number of tables"

    add(lake, KEYS[0], rows=7)
    lake.asked.clear()
    _, index = look(lake)
    assert (index.new, lake.asked["get"]) == (1, 3)
    assert index.history(KEYS[0])["rows"].to_list() == [100, 101, 102, 103, 104, 7]


def test_the_state_of_a_table_that_failed_is_known_from_the_index(lake: CountingLake) -> None:
    add(lake, KEYS[0])
    for _ in range(3):
        add(lake, KEYS[0], status="failed", error="SourceUnavailable: it is down", rows=0)
    look(lake)
    lake.asked.clear()
    ledger, index = look(lake)
    made, attempt = ledger.latest(KEYS[0], index.listing), ledger.last_attempt(KEYS[0], index.listing)
    assert made
    assert attempt
    assert (made.sequence, made.rows, attempt.sequence, attempt.error) == (1, 100, 4, "SourceUnavailable: it is down")
    assert lake.asked["get"] == 2


def test_it_keeps_the_newest_entries_of_each_table(lake: CountingLake) -> None:
    for _ in range(KEPT + 3):
        add(lake, KEYS[0])
    look(lake)
    add(lake, KEYS[0])
    _, index = look(lake)
    assert index.history(KEYS[0])["sequence"].to_list() == list(range(5, KEPT + 5))


def test_merged_entries_and_those_of_removed_tables_are_forgotten(lake: CountingLake) -> None:
    for _ in range(4):
        add(lake, KEYS[0])
        add(lake, KEYS[1])
    look(lake)
    Ledger(lake).compact(KEYS[0], [1, 2])
    _, index = look(lake)
    assert index.history(KEYS[0])["sequence"].to_list() == [3, 4]
    index = read_index(Ledger(lake), [KEYS[0]])
    assert index.history(KEYS[1]).height == 0


@pytest.mark.parametrize("path", [PATH, NEWEST])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}", b"\xff" * 100, b'{"asset":"landing.a","sequence":1}\n'])
def test_an_index_that_cannot_be_read_is_built_again(lake: CountingLake, path: str, content: bytes) -> None:
    add(lake, KEYS[0])
    look(lake)
    whole = lake.get(path)
    lake.put(path, content)
    _, index = look(lake)
    assert (index.new, index.rows.height, len(index.newest)) == (1, 1, 1)
    assert lake.get(path) == whole


def test_an_index_of_which_only_half_was_written_is_completed(lake: CountingLake) -> None:
    add(lake, KEYS[0])
    look(lake)
    before = lake.get(NEWEST)
    add(lake, KEYS[0], rows=7)
    look(lake)
    lake.put(NEWEST, before)
    _, index = look(lake)
    assert (index.new, [entry.rows for entry in index.newest]) == (1, [7])
    assert [entry.rows for entry in read_newest(Ledger(lake))] == [7]


def test_an_overview_takes_a_listing_and_one_object_and_reads_only_what_the_watch_has_not_read(
    lake: CountingLake,
) -> None:
    add(lake, KEYS[0], objects=(Stored(path="landing/a/x", bytes=1, rows=1, sha256="0" * 64),))
    add(lake, KEYS[1])
    look(lake)
    add(lake, KEYS[1], status="failed", error="SourceError: no", rows=0)
    project = Project(load_settings(lake=lake.root), [])
    project.lake = lake
    lake.asked.clear()
    state = project.overview()
    made, attempt = state.latest(KEYS[0]), state.last_attempt(KEYS[1])
    assert made
    assert attempt
    assert (made.objects, attempt.error) == ((), "SourceError: no")
    assert lake.asked == {"list": 1, "get": 2}
    assert project.state().latest(KEYS[0]).objects, "what a run needs is read from the ledger itself"  # type: ignore[union-attr]


def test_of_a_long_ledger_a_run_lists_only_the_folders_of_the_assets_that_it_asks_about(lake: CountingLake) -> None:
    add(lake, KEYS[0])
    for number in range(MANY):
        lake.put(Ledger.path("staging.other", number + 1), b"{}")
    state = State(AssetGraph([]), Ledger(lake), START)
    lake.asked.clear()
    for _ in range(2):
        latest, attempt = state.latest(KEYS[0]), state.last_attempt(KEYS[0])
        assert latest
        assert latest == attempt
    assert state.listing is None
    assert lake.asked == {"list": 2, "get": 1}
    assert State(AssetGraph([]), Ledger(lake), START, listed=Ledger(lake).listed()).latest(KEYS[0]) == latest


def test_an_entry_that_cannot_be_read_is_that_tables_matter_only(lake: CountingLake) -> None:
    add(lake, KEYS[0])
    add(lake, KEYS[1])
    lake.put(Ledger.path(KEYS[0], 1), b"{")
    ledger, index = look(lake)
    assert index.rows["asset"].to_list() == [KEYS[1]]
    latest = ledger.latest(KEYS[1], index.listing)
    assert latest
    with pytest.raises(Exception, match="verify --repair"):
        ledger.latest(KEYS[0], index.listing)
