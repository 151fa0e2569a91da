"""The asset graph: order, lineage, selection, and error messages for typos."""

from __future__ import annotations

import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset
from catalunya.io.errors import DeclarationError, UsageError


def asset(key: str, *upstream: str, module: str = "here") -> Asset:
    return Asset(key=key, description="", columns=(), code_version="1", upstream=upstream, module=module)


GRAPH = AssetGraph(
    [
        asset("marts.agg_growth", "marts.fact_population", "marts.dim_time"),
        asset("marts.dim_time"),
        asset("marts.fact_population", "staging.population", "marts.dim_time"),
        asset("staging.population", "landing.population"),
        asset("staging.gdp", "landing.gdp"),
        asset("landing.population"),
        asset("landing.gdp"),
    ]
)


def selected(expression: str) -> set[str]:
    return {a.key for a in GRAPH.select(expression)}


def test_assets_come_in_dependency_order() -> None:
    keys = [a.key for a in GRAPH]
    assert all(keys.index(up) < keys.index(a.key) for a in GRAPH for up in a.upstream)


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        ("staging.population", {"staging.population"}),
        ("population", {"staging.population", "landing.population"}),
        ("landing.*", {"landing.population", "landing.gdp"}),
        ("layer:staging", {"staging.population", "staging.gdp"}),
        ("source:gdp", {"landing.gdp", "staging.gdp"}),
        ("+staging.gdp", {"landing.gdp", "staging.gdp"}),
        ("dim_time+", {"marts.dim_time", "marts.fact_population", "marts.agg_growth"}),
        ("staging.gdp, marts.dim_*", {"staging.gdp", "marts.dim_time"}),
        ("*", {a.key for a in GRAPH}),
    ],
)
def test_selection_follows_dbts_syntax(expression: str, keys: set[str]) -> None:
    assert selected(expression) == keys


def test_a_typo_gets_suggestions() -> None:
    with pytest.raises(UsageError, match=r"did you mean staging\.population"):
        GRAPH.select("staging.poblation")
    with pytest.raises(UsageError, match=r"did you mean marts\.dim_time"):
        GRAPH["dim_tme"]
    with pytest.raises(UsageError, match="expected layer:NAME or source:NAME"):
        GRAPH.select("tag:x")


def test_a_project_without_tables_says_how_to_add_one() -> None:
    with pytest.raises(UsageError, match="no tables yet; `catalunya new source ADDRESS` adds the first"):
        AssetGraph([]).select()


def test_an_unknown_upstream_a_cycle_and_a_duplicate_key_are_refused() -> None:
    with pytest.raises(DeclarationError, match=r"staging\.a reads landing\.b, which is not declared"):
        AssetGraph([asset("staging.a", "landing.b")])
    with pytest.raises(DeclarationError, match="in a cycle"):
        AssetGraph([asset("staging.a", "staging.b"), asset("staging.b", "staging.a")])
    with pytest.raises(DeclarationError, match="declared twice, in here and there"):
        AssetGraph([asset("staging.a"), asset("staging.a", module="there")])


@pytest.mark.parametrize("key", ["raw.a", "staging.A", "staging", "marts.population", "staging.a-b"])
def test_a_name_against_the_conventions_is_refused(key: str) -> None:
    with pytest.raises(DeclarationError):
        asset(key)


def test_uri_and_prefix_follow_from_the_key() -> None:
    assert GRAPH["marts.dim_time"].uri == "catalunya://marts/dim_time"
    assert GRAPH["marts.dim_time"].prefix == "marts/dimensions/dim_time"
    assert GRAPH["staging.gdp"].prefix == "staging/gdp"
