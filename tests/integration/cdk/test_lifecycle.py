"""What S3 deletes, derived from the assets. No template is written here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.cdk.lifecycle import Rule, rules


@pytest.fixture
def assets() -> list[Asset]:
    return [declared.asset for declared in declarations().values()]


def by_prefix(assets: list[Asset]) -> dict[str, Rule]:
    found = list(rules(assets))
    assert len({rule.prefix for rule in found}) == len({rule.name for rule in found}) == len(found)
    return {rule.prefix: rule for rule in found}


def test_old_versions_are_kept_as_long_as_the_asset(assets: list[Asset]) -> None:
    longer = [replace(each, keep_days=400) if each.name == "gdp" else each for each in assets]
    found = by_prefix(longer)

    assert found["staging/gdp/"].versions == 400
    assert found["staging/population/"].versions == 90
    assert found["landing/gdp/"].objects == 400


def test_a_new_asset_gets_its_own_rules(assets: list[Asset]) -> None:
    added = replace(next(each for each in assets if each.layer is Layer.STAGING), key="staging.weather")

    assert {"staging/weather/", "_superseded/staging/weather/", "quarantine/staging/weather/"} == (
        by_prefix([*assets, added]).keys() - by_prefix(assets).keys()
    )


def test_old_versions_outside_every_rule_are_kept_longest(assets: list[Asset]) -> None:
    found = by_prefix(assets)

    assert found[""].versions == max(rule.versions for rule in found.values())
    assert found[""].objects is None


def test_no_rule_deletes_objects_that_the_ledger_names(assets: list[Asset]) -> None:
    deleted = {prefix for prefix, rule in by_prefix(assets).items() if rule.objects}

    assert {prefix.split("/")[0] for prefix in deleted} == {"landing", "_answers", "_candidates"}


def test_deleted_landing_objects_are_kept_for_one_day_only(assets: list[Asset]) -> None:
    assert {rule.versions for prefix, rule in by_prefix(assets).items() if prefix.startswith("landing/")} == {1}


def test_the_number_of_rules_is_far_below_the_limit_of_s3(assets: list[Asset]) -> None:
    assert len(by_prefix(assets)) * 10 < 1000, "S3 allows 1,000 rules per bucket"
