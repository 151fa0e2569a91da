"""The life of a finding: it opens once, is said again only when it worsens, and closes by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalunya.io.lake import Lake
from catalunya.ops.watching.findings import (
    CALM,
    PATH,
    REMEMBERED,
    WORSE,
    Board,
    Changes,
    Kind,
    Seen,
    Severity,
    keep_board,
    read_board,
    updated,
)

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
TICK = timedelta(minutes=10)


def late(measure: float = 1, severity: Severity = Severity.WARNING, subject: str = "landing.gdp") -> Seen:
    return Seen(
        kind=Kind.SOURCE_OVERDUE, subject=subject, severity=severity, what="late", remedy="wait", measure=measure
    )


def test_what_is_seen_again_and_again_opens_once_and_closes_when_it_is_gone() -> None:
    board, changes = updated(Board(), [late()], NOON)
    assert [each.identity for each in changes.opened] == ["source_overdue:landing.gdp"]
    board, changes = updated(board, [late(1.5)], NOON + TICK)
    assert (changes.opened, changes.worsened, changes.closed) == ((), (), ())
    assert (board.open[0].opened_at, board.open[0].seen_at, board.open[0].measure) == (NOON, NOON + TICK, 1.5)
    board, changes = updated(board, [], NOON + 2 * TICK)
    assert board.open == ()
    assert changes.closed[0].closed_at == NOON + 2 * TICK
    board, changes = updated(board, [late()], NOON + 3 * TICK)
    assert (board.open[0].opened_at, board.open[0].reopened) == (NOON, 1), "within an hour it is the same finding"
    board, changes = updated(board, [], NOON + 4 * TICK)
    board, changes = updated(board, [late()], NOON + 4 * TICK + CALM)
    assert (board.open[0].opened_at, board.open[0].reopened) == (NOON + 4 * TICK + CALM, 0), "it is a new finding"


def test_what_comes_and_goes_at_every_look_is_one_finding_on_the_board() -> None:
    board = Board()
    for number in range(100):
        board, _ = updated(board, [late()] if number % 2 else [], NOON + number * TICK)
    assert len(board.findings) == 1
    assert (board.open[0].opened_at, board.open[0].reopened) == (NOON + TICK, 49)


def test_what_a_newer_release_found_is_kept_for_it(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    board, _ = updated(Board(stale_since={"marts.x": NOON}), [late()], NOON)
    keep_board(lake, board)
    kept = json.loads(lake.get(PATH))
    newer = {**kept["findings"][0], "kind": "tides_unusual", "moon": "full"}
    lake.put(PATH, json.dumps({**kept, "findings": [newer, *kept["findings"]]}).encode())

    found = read_board(lake)
    assert (found.open, found.stale_since) == (board.open, board.stale_since)
    assert found.is_unsettled("tides_unusual:landing.gdp", NOON)
    after, changes = updated(found, [late()], NOON + TICK)
    assert changes == Changes()
    keep_board(lake, after)
    assert newer in json.loads(lake.get(PATH))["findings"]
    after, _ = updated(read_board(lake), [late()], NOON + REMEMBERED)
    assert not after.foreign, "no newer release has looked for a month"


def test_one_finding_that_cannot_be_read_takes_no_other_with_it(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    board, _ = updated(Board(), [late(), late(subject="landing.population")], NOON)
    keep_board(lake, board)
    kept = json.loads(lake.get(PATH))
    kept["findings"][0]["measure"] = -1
    lake.put(PATH, json.dumps({**kept, "findings": [*kept["findings"], "a text", None]}).encode())
    assert [each.subject for each in read_board(lake).open] == ["landing.population"]


def test_it_is_said_again_when_it_is_twice_as_bad_and_when_it_becomes_an_error() -> None:
    board, _ = updated(Board(), [late(3)], NOON)
    board, changes = updated(board, [late(5.9)], NOON + TICK)
    assert changes.worsened == ()
    board, changes = updated(board, [late(6)], NOON + 2 * TICK)
    assert len(changes.worsened) == 1
    board, changes = updated(board, [late(7)], NOON + 3 * TICK)
    assert changes.worsened == ()
    board, changes = updated(board, [late(7, Severity.ERROR)], NOON + 4 * TICK)
    assert len(changes.worsened) == 1
    board, changes = updated(board, [late(7)], NOON + 5 * TICK)
    board, changes = updated(board, [late(7, Severity.ERROR)], NOON + 6 * TICK)
    assert changes.worsened == (), "an error that comes and goes is said once"


def test_of_what_could_not_be_seen_the_findings_stay() -> None:
    board, _ = updated(Board(), [late()], NOON)
    board, changes = updated(board, [], NOON + TICK, blind=[Kind.SOURCE_OVERDUE])
    assert len(board.open) == 1
    assert changes.closed == ()


def test_errors_that_no_one_knows_of_come_first() -> None:
    known = Seen(kind=Kind.TABLE_FAILED, subject="a.b", severity=Severity.ERROR, what="x", remedy="y", known="by me")
    board, _ = updated(Board(), [late(), known, late(severity=Severity.ERROR, subject="landing.population")], NOON)
    assert [each.subject for each in board.open] == ["landing.population", "a.b", "landing.gdp"]
    assert [each.is_urgent for each in board.open] == [True, False, False]


def test_a_board_is_read_back_as_it_was_kept_and_a_broken_one_begins_anew(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    assert read_board(lake) == Board()
    board, _ = updated(Board(stale_since={"marts.x": NOON}), [late()], NOON)
    keep_board(lake, board)
    assert read_board(lake) == board
    for content in (b"", b"[]", b'{"findings": [{"kind": "nonsense"}]}', b"\xff", b'{"at": "yesterday"}'):
        lake.put(PATH, content)
        assert read_board(lake) == Board()


LOOKS = st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e6), max_size=3), max_size=12)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(LOOKS)
def test_whatever_is_seen_each_opening_has_one_end_and_nothing_is_said_twice(looks: list[dict[str, float]]) -> None:
    board, is_open, said = Board(), set(), {}
    for number, seen in enumerate(looks):
        board, changes = updated(board, [late(each, subject=name) for name, each in seen.items()], NOON + number * TICK)
        assert {each.subject for each in changes.opened} == seen.keys() - is_open
        assert {each.subject for each in changes.closed} == is_open - seen.keys()
        assert {each.subject for each in board.open} == seen.keys()
        for each in changes.worsened:
            assert each.measure >= WORSE * said[each.subject]
        said |= {each.subject: each.measure for each in (*changes.opened, *changes.worsened)}
        is_open = set(seen)
    board, _ = updated(board, [], NOON + len(looks) * TICK)
    board, _ = updated(board, [], NOON + len(looks) * TICK + REMEMBERED)
    assert board.findings == ()
