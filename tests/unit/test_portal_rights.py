"""What must be said of a table: the rights statements that follow from where its sources are read, and who publishes the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import ConfigurationError
from catalunya.portal.publisher import DIR3, not_set, publisher_of
from catalunya.portal.rights import all_rights, rights_of
from catalunya.portal.site import Site, read_site


@pytest.fixture
def site(settings: Settings, compiled: Path) -> Site:
    return read_site(Project(settings.model_copy(update={"cache": compiled})))


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("marts.fact_gdp_quarterly", ["idescat"]),
        ("marts.dim_municipalities", ["generalitat"]),
        ("marts.fact_population_monthly", ["generalitat", "idescat"]),
        ("marts.dim_time", []),
        ("staging.social_services", ["generalitat"]),
    ],
)
def test_a_table_has_the_rights_of_those_whose_data_is_in_it(key: str, names: list[str], site: Site) -> None:
    assert [each.name for each in rights_of(site, site.graph[key])] == names


def test_every_rights_statement_has_a_text_in_each_language(site: Site) -> None:
    assert [each.name for each in all_rights(site)] == list(site.declared.rights)
    for statement in all_rights(site):
        texts = {statement.text(language) for language in site.languages}
        assert len(texts) == 3
        assert f"rights.{statement.name}" not in texts


def test_every_landing_table_has_a_rights_statement(site: Site) -> None:
    assert [asset.key for asset in site.graph.select("layer:landing") if not rights_of(site, asset)] == []


def test_what_only_the_operator_can_know_is_listed_until_it_is_set() -> None:
    assert list(not_set(load_settings(env="local"))) == [
        "CATALUNYA_PORTAL_URL",
        "CATALUNYA_PUBLISHER",
        "CATALUNYA_PUBLISHER_DIR3",
        "CATALUNYA_PUBLISHER_EMAIL",
        "CATALUNYA_PUBLISHER_PHONE",
        "CATALUNYA_PUBLISHER_URL",
    ]
    assert not_set(load_settings(env="local")).keys() - not_set(load_settings(env="local"), in_spain=False).keys() == {
        "CATALUNYA_PUBLISHER_DIR3",
        "CATALUNYA_PUBLISHER_PHONE",
    }
    told = load_settings(
        env="local",
        portal_url="https://data.example.org",
        publisher="Example",
        publisher_dir3="A00000000",
        publisher_email="data@example.org",
        publisher_phone="+34 930 000 000",
        publisher_url="https://example.org",
    )
    assert not_set(told) == {}
    assert publisher_of(told).address == f"{DIR3}A00000000"
    assert publisher_of(load_settings(env="local")).address == ""


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("publisher_dir3", "a0900297", "a letter and eight letters or digits"),
        ("publisher_email", 'a"@example.org', "an address such as data@example.org"),
        ("publisher_phone", "930 000 000", "a number with its country code"),
        ("publisher_url", "javascript:alert(1)", "an address such as https://"),
        ("portal_url", 'https://example.org/"><script>', "an address such as https://"),
        ("portal_url", "https://example.org/?a=1", "an address without ? and #"),
        ("publisher", "two\nlines", "a name of one line"),
    ],
)
def test_a_wrong_value_of_the_publisher_is_one_line(name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_settings(env="local", **{name: value})
    assert str(error.value).startswith(f"CATALUNYA_{name.upper()}=")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
