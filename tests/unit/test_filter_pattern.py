"""The parser of CloudWatch's filter patterns, by the examples of its documentation, and what it refuses."""

from __future__ import annotations

import json

import pytest

from small.filter_pattern import FilterPatternError, matches, parse

LINE = {
    "eventType": "UpdateTrail",
    "sourceIPAddress": "111.111.111.111",
    "arrayKey": ["value", "another value"],
    "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
    "SomeObject": None,
    "cluster-name": "c",
    "latency": 50.5,
    "tiny": 0.001,
    "errors": 400,
    "is_over": True,
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{ $.eventType = UpdateTrail }", True),
        ('{ $.eventType = "Update" }', False),
        ("{ $.eventType = Update* }", True),
        ('{ $.eventType = "*Trail" }', True),
        ("{ $.eventType = %Trail% }", True),
        ("{ $.eventType = %^Trail% }", False),
        ('{ $.sourceIPAddress != "123.123.*" }', True),
        ('{ $.sourceIPAddress != "111.111.*" }', False),
        ('{ $.arrayKey[0] = "value" }', True),
        ('{ $.arrayKey[2] = "value" }', False),
        ("{ $.objectList[1].id = 2 }", True),
        ('{ $.cluster-name = "c" }', True),
        ("{ $.latency > 50 }", True),
        ("{ $.latency <= 50 }", False),
        ("{ $.tiny = 1e-3 }", True),
        ("{ $.errors >= 4E+2 }", True),
        ('{ $.errors = "400" }', False),
        ("{ $.is_over IS TRUE }", True),
        ("{ $.is_over IS FALSE }", False),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.SomeObject NOT EXISTS }", False),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.SomeOtherObject IS NULL }", False),
        ('{ $.objectList = "a" }', False),
        ("{ ($.errors = 400) && ($.latency > 50) }", True),
        ("{ $.errors = 1 && $.latency > 50 || $.is_over IS TRUE }", True),
        ("{ $.errors = 1 && ($.latency > 50 || $.is_over IS TRUE) }", False),
    ],
)
def test_a_pattern_matches_as_documented(pattern: str, expected: bool) -> None:
    assert matches(pattern, json.dumps(LINE)) is expected


@pytest.mark.parametrize("line", ["", "ERROR eventType UpdateTrail", '["eventType"]', '{"eventType": "Upd'])
def test_a_line_that_is_no_json_object_does_not_match(line: str) -> None:
    assert not matches("{ $.eventType NOT EXISTS }", line)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "ERROR",
        '$.event = "a"',
        '{ $.event = "a"',
        '{ $.event = "a" } }',
        '{ event = "a" }',
        '{ $.event == "a" }',
        '{ $.event < "a" }',
        "{ $.event = two words }",
        "{ $.event = 'a' }",
        "{ $.event IS 1 }",
        "{ $.event IS NOT NULL }",
        "{ $.event EXISTS }",
        '{ $.event = "a" and $.x = 1 }',
        '{ $.event = "a" && }',
        "{ $.event = %(a|b)% }",
        "{ $.event is true }",
    ],
)
def test_what_is_not_documented_is_refused(pattern: str) -> None:
    with pytest.raises(FilterPatternError):
        parse(pattern)


def test_unequal_is_refused_for_a_line_without_the_value() -> None:
    with pytest.raises(FilterPatternError, match="not documented"):
        matches('{ $.missing != "a" }', json.dumps(LINE))
