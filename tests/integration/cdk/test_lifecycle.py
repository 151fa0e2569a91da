"""What S3 deletes by itself, as it follows from assets. No template is written here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.cdk.lifecycle import Rule, rules
from catalunya.io.environment import load_settings


@pytest.fixture
def assets() -> list[Asset]:
    return [declared.asset for declared in declarations().values()]


def by_prefix(assets: list[Asset], **settings: str) -> dict[str, Rule]:
    found = list(rules(assets, load_settings(env="dev", **settings)))
    assert len({rule.prefix for rule in found}) == len({rule.name for rule in found}) == len(found)
    return {rule.prefix: rule for rule in found}


def test_an_asset_that_is_kept_longer_has_its_former_versions_kept_longer(assets: list[Asset]) -> None:
    longer = [replace(each, keep_days=400) if each.name == "gdp" else each for each in assets]
    found = by_prefix(longer)

    assert found["staging/gdp/"].former == 400
    assert found["staging/population/"].former == 90
    assert found["landing/gdp/"].current == 400


def test_an_asset_that_is_added_has_rules_without_an_edit(assets: list[Asset]) -> None:
    added = replace(next(each for each in assets if each.layer is Layer.STAGING), key="staging.weather")

    assert {"staging/weather/", "_superseded/staging/weather/", "quarantine/staging/weather/"} == (
        by_prefix([*assets, added]).keys() - by_prefix(assets).keys()
    )


def test_former_versions_of_what_no_rule_names_go_last(assets: list[Asset]) -> None:
    found = by_prefix(assets)

    assert found[""].former == max(rule.former for rule in found.values())
    assert found[""].current is None


def test_no_rule_deletes_what_a_ledger_speaks_of(assets: list[Asset]) -> None:
    deleted = {prefix for prefix, rule in by_prefix(assets).items() if rule.current}

    assert {prefix.split("/")[0] for prefix in deleted} == {"landing", "_candidates", "_athena"}


def test_nothing_of_personal_fields_is_kept_once_it_was_deleted(assets: list[Asset]) -> None:
    assert {rule.former for prefix, rule in by_prefix(assets).items() if prefix.startswith("landing/")} == {1}


def test_results_that_go_elsewhere_are_no_business_of_the_lake_s(assets: list[Asset]) -> None:
    assert "_athena/" in by_prefix(assets)
    assert not any("results" in prefix for prefix in by_prefix(assets, athena_results="s3://results/dbt/"))


def test_all_rules_together_fit_into_what_s3_takes(assets: list[Asset]) -> None:
    assert len(by_prefix(assets)) * 10 < 1000, "a bucket takes 1,000 rules"
