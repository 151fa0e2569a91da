"""The pages of places: what they say of a place that much, little or nothing is known of, and when they are made again."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from catalunya.io.environment import Settings
from catalunya.io.errors import ConfigurationError
from catalunya.io.lake import Lake
from catalunya.portal import home_page, place_page, places_page
from catalunya.portal.build import File, build, moved, read_state
from catalunya.portal.declaration import Declaration
from catalunya.portal.figures import figure_series
from catalunya.portal.language import Language
from catalunya.portal.names import folded, said
from catalunya.portal.place_facts import History, PlaceFacts
from catalunya.portal.rendering import web_address
from catalunya.portal.shown_figures import change
from small.lakes import contents
from small.territory import NOON, PEOPLE, SCHOOLS, TOWNS, Territory, people, schools, towns

TAG = re.compile(r"<[^>]+>")
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>{{ site }}\u202e'


@pytest.fixture
def territory(settings: Settings, tmp_path: Path) -> Territory:
    """The small territory; no table is made yet."""
    return Territory(settings, tmp_path)


def pages(territory: Territory) -> dict[str, str]:
    """Path -> content of the pages about places, and of the home page."""
    site = territory.site()
    found: dict[str, str] = {}
    for module in (place_page, places_page, home_page):
        for part in module.parts(site):
            for file in part.files():
                assert isinstance(file, File)
                assert isinstance(file.body, bytes)
                found[file.path] = file.body.decode()
    return found


def words(page: str) -> str:
    """What is to be read in the main part of a page, in one line."""
    main = page.partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(TAG.sub(" ", main)).split())


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("Bisbal d'Empordà, la", "la Bisbal d'Empordà"),
        ("Hospitalet de Llobregat, l'", "l'Hospitalet de Llobregat"),
        ("Castell d'Aro, Platja d'Aro i s'Agaró", "Castell d'Aro, Platja d'Aro i s'Agaró"),
        ("Saus, Camallera i Llampaies", "Saus, Camallera i Llampaies"),
        ("Ripoll", "Ripoll"),
    ],
)
def test_a_name_is_written_as_it_is_said(name: str, spoken: str) -> None:
    assert pl.select(said(pl.lit(name), ("el", "la", "l'"))).item() == spoken


def test_names_are_sorted_and_searched_without_accents_and_articles() -> None:
    names = pl.Series(["Òdena", "Vic", "Bisbal, la", "Albi, l'", "Sant Marçal", "Vilagrassa", "Cal·la"])
    key = pl.select(folded(pl.lit(names))).to_series()
    assert key.to_list() == ["odena", "vic", "bisbal la", "albi l", "sant marcal", "vilagrassa", "calla"]


def test_a_page_says_how_many_what_they_were_and_that_it_is_provisional(territory: Territory) -> None:
    territory.publish_all()
    shown = words(pages(territory)["en/town/A.html"])
    assert "la Bisbal" in shown
    assert "1,210" in shown
    assert "+110 (+10.0%) compared with 2024" in shown
    assert "Provisional" in shown


def test_numbers_and_days_are_those_of_the_language(territory: Territory) -> None:
    territory.publish_all()
    shown = words(pages(territory)["ca/town/A.html"])
    assert "+110 (+10,0 %) respecte al 2024" in shown.replace("\u00a0", " ")
    assert "3 d’agost de 2026" in shown


def test_a_missing_newest_value_is_said_beside_the_last_known(territory: Territory) -> None:
    territory.publish_all()
    shown = words(pages(territory)["en/town/B.html"])
    assert "490" in shown
    assert "The most recent figure (2025) is not known." in shown


def test_what_is_not_known_of_a_place_is_said_in_words(territory: Territory) -> None:
    territory.publish_all()
    shown = words(pages(territory)["en/town/D.html"])
    assert "figure.people: not known" in shown
    # A sum that lacks a row is not known, and so are the schools of the south: there is no place above that has them.
    assert "figure.schools: not known" in words(pages(territory)["en/district/2.html"])
    assert "figure.schools" not in shown


def test_a_figure_of_the_district_is_shown_as_that_of_the_district(territory: Territory) -> None:
    territory.publish_all()
    shown = words(pages(territory)["en/town/A.html"])
    assert "they are those of this whole area (North)" in shown
    assert "figure.schools North 4" in shown.replace("· ", "")


def test_a_table_that_was_never_made_is_no_error(territory: Territory) -> None:
    territory.publish({TOWNS: towns()})
    assert "figure.people: no data published yet" in words(pages(territory)["en/town/A.html"])


def test_without_any_table_there_is_the_whole_and_an_empty_list(territory: Territory) -> None:
    found = pages(territory)
    assert "no data published yet" in words(found["en/whole/index.html"])
    assert "No places yet" in words(found["en/places.html"])
    assert not re.search(r"\b0\b", words(found["en/index.html"])), "the home page counts none where none was published"
    assert not [path for path in found if "/town/" in path]


def test_a_project_that_declares_no_places_has_a_home_page_of_its_tables(territory: Territory) -> None:
    territory.publish_all()
    territory.declared = Declaration()
    found = pages(territory)
    assert set(found) == {"en/index.html"}
    assert "Search for a table" in found["en/index.html"]
    assert f'href="table/{TOWNS}.html"' in found["en/index.html"]


def test_a_chart_has_the_same_numbers_as_a_table_and_marks_what_is_not_final(territory: Territory) -> None:
    territory.publish_all()
    page = pages(territory)["en/town/A.html"]
    chart = page.partition('<section class="graph" id="figure-people">')[2].partition("</section>")[0]
    assert chart.count('class="open') == 2  # the interpolated value and the provisional one
    assert re.findall(r"<th scope=\"row\">(\d+)</th><td class=\"number\">([\d,]+)</td>", chart) == [
        ("2025", "1,210"),
        ("2024", "1,100"),
        ("2023", "1,000"),
    ]


def test_a_place_is_compared_with_those_above_from_the_first_year_that_all_have(territory: Territory) -> None:
    territory.publish_all()
    shown = words(pages(territory)["en/town/A.html"])
    assert "la Bisbal 1,000 1,210 +21.0%" in shown
    assert "Catalonia 9,000 9,180 +2.0%" in shown


def test_a_move_to_another_district_is_told_by_the_town_and_by_both_districts(territory: Territory) -> None:
    territory.publish_all()
    found = pages(territory)
    assert "12 May 2023 today l'Albi South" in words(found["en/town/C.html"])
    assert "11 May 2023 l'Albi North" in words(found["en/town/C.html"])
    assert "12 May 2023: l'Albi left; it is now in: South" in words(found["en/district/1.html"])
    assert "12 May 2023: l'Albi joined; before, it was in: North" in words(found["en/district/2.html"])
    assert "The boundaries of North changed" in words(found["en/district/1.html"])
    assert "No change of name" in words(found["en/town/A.html"])


def test_a_page_links_to_the_places_above_below_and_beside(territory: Territory) -> None:
    territory.publish_all()
    found = pages(territory)
    assert {"../district/1.html", "../whole/index.html", "../places.html", "B.html"} <= links(found["en/town/A.html"])
    assert {"../town/A.html", "../town/B.html", "2.html"} <= links(found["en/district/1.html"])
    assert {"../district/1.html", "../district/2.html"} <= links(found["en/whole/index.html"])


def links(page: str) -> set[str]:
    return set(re.findall(r'<a href="([^"]+)"', page.partition("<main")[2]))


def test_a_place_that_is_a_point_is_on_its_maps(territory: Territory) -> None:
    territory.publish_all()
    page = pages(territory)["en/town/D.html"]
    maps = page.partition('<div class="maps">')[2].partition("</section>")[0]
    assert maps.count('<circle class="here"') == 1
    assert maps.count('<circle class="ring"') == 1


def test_a_page_describes_its_place_for_machines(territory: Territory) -> None:
    territory.publish_all()
    page = pages(territory)["en/town/A.html"]
    found = json.loads(page.partition('<script type="application/ld+json">')[2].partition("</script>")[0])
    assert found["@type"] == "City"
    assert (found["name"], found["alternateName"]) == ("la Bisbal", "Bisbal, la")
    assert found["url"] == "https://data.example/en/town/A.html"
    assert found["identifier"]["value"] == "A"
    assert [each["name"] for each in found["containedInPlace"]] == ["North", "Catalonia"]
    assert (found["geo"]["longitude"], found["geo"]["latitude"]) == (1.5, 41.5)


def test_a_name_cannot_break_out_of_any_page(territory: Territory) -> None:
    territory.publish({TOWNS: towns(A=HOSTILE), PEOPLE: people(), SCHOOLS: schools()})
    for path, page in pages(territory).items():
        assert "<script>alert" not in page, path
        assert "<img" not in page, path
        assert "\u202e" not in words(page), path
    assert "{{ site }}" in words(pages(territory)["en/town/A.html"])


def test_the_index_is_alphabetic_by_the_name_without_its_article(territory: Territory) -> None:
    territory.publish_all()
    page = pages(territory)["en/places.html"]
    names = re.findall(r">([^<>]+)</a></(?:h2|li)>", page.partition('id="places"')[2])
    assert list(map(unescape, names)) == [
        *("North", "la Bisbal", "Òdena"),
        *("South", "l'Albi", "Nowhere"),
    ]


def test_the_home_page_has_every_place_and_table_to_search(territory: Territory) -> None:
    territory.publish_all()
    page = pages(territory)["en/index.html"]
    index = json.loads(page.partition('id="index">')[2].partition("</script>")[0])
    assert ["la Bisbal", "level.town · North", "town/A.html"] in index
    assert [TOWNS, "Table", f"table/{TOWNS}.html"] in index


def test_a_second_build_makes_nothing_whatever_the_time(territory: Territory, tmp_path: Path) -> None:
    territory.publish_all()
    to = Lake(str(tmp_path / "site"))
    build(territory.site(), to)
    assert moved(territory.site(NOON + timedelta(days=40)), read_state(to), to) == []


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("towns", {"home", "places", "places-town", "places-district", "places-whole"}),
        ("people", {"home", "places-town", "places-district", "places-whole"}),
        ("schools", {"home", "places-town", "places-district", "places-whole"}),
    ],
)
def test_pages_are_made_again_when_a_table_that_they_show_was(
    table: str, expected: set[str], territory: Territory, tmp_path: Path
) -> None:
    territory.publish_all()
    to = Lake(str(tmp_path / "site"))
    build(territory.site(), to)
    changed = {"towns": {TOWNS: towns(A="Ripoll")}, "people": {PEOPLE: people().head(8)}}
    territory.publish(changed.get(table, {SCHOOLS: schools(north=4)}), NOON + timedelta(days=1))
    mine = {"home", "outlines", "places", "places-town", "places-district", "places-whole"}
    assert mine & set(moved(territory.site(), read_state(to), to)) == expected


def test_pages_are_made_again_when_the_shapes_change(territory: Territory, tmp_path: Path) -> None:
    territory.publish_all()
    to = Lake(str(tmp_path / "site"))
    build(territory.site(), to)
    territory.geometry.write_text(territory.geometry.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert {"home", "outlines", "places", "places-town"} <= set(moved(territory.site(), read_state(to), to))


def test_shapes_that_are_missing_are_one_line_with_what_to_do(territory: Territory, tmp_path: Path) -> None:
    territory.publish_all()
    territory.geometry.unlink()
    for look in (lambda: build(territory.site(), Lake(str(tmp_path / "site"))), lambda: pages(territory)):
        with pytest.raises(
            ConfigurationError, match=r"^\S+/shapes.json: expected a TopoJSON file, found none .*portal.toml$"
        ):
            look()


def test_codes_that_differ_only_by_case_are_refused_because_a_disk_may_ignore_it(
    territory: Territory, tmp_path: Path
) -> None:
    territory.publish_all()
    territory.publish({TOWNS: towns().with_columns(pl.col("town_id").replace("B", "a"))})
    with pytest.raises(
        ConfigurationError, match=r"town_id: expected codes that differ by more than case, found A, a: "
    ):
        build(territory.site(), Lake(str(tmp_path / "site")))
    assert not [path for path in contents(tmp_path / "site") if "/town/" in path]


def test_a_value_is_compared_with_the_same_time_of_the_year_before() -> None:
    quarters = History([f"{year}-Q{quarter}" for year in (2024, 2025) for quarter in (1, 2, 3, 4)], list(range(8)))
    assert quarters.before(7) == 3
    assert History(["2020", "2022", "2023"], [1, None, 3]).before(2) == 0
    assert History(["2026-08-02", "2026-08-03"], [1, 2]).before(1) == 0
    assert History(["2026"], [1]).before(0) is None


@pytest.mark.parametrize(
    ("then", "now", "shown", "direction"),
    [
        (16.42, 16.44, "0.0 (+0.1%)", "up"),
        (1641.24, 1641.23, "No change", "same"),
        (1641.23, 1641.23, "No change", "same"),
        (1000.0, 990.0, "-10.0 (-1.0%)", "down"),
        (0.0, 5.0, "+5.0", "up"),
    ],
)
def test_a_change_that_readers_would_see_as_zero_is_none(then: float, now: float, shown: str, direction: str) -> None:
    assert change(Language("en"), then, now, 1, is_percent=False) == (shown, direction)


def test_a_history_begins_with_its_first_known_value() -> None:
    history = History(["2020", "2021", "2022", "2023"], [None, 1, None, 2], [None] * 4)
    assert history.newest(9).values == [1, None, 2]
    assert history.newest(2).periods == ["2023"]


def test_the_places_above_are_the_nearest_first(territory: Territory) -> None:
    territory.publish_all()
    facts = PlaceFacts(territory.site())
    town = facts.place("town", "C")
    assert town
    assert [(each.level, each.code) for each in facts.above(town)] == [("district", "2"), ("whole", "")]


@pytest.mark.parametrize("code", ["javascript:alert(1)", "../../x", "a/b", "?q#f", "\u202eA", "", "a\nb", "x" * 300])
def test_a_place_whose_code_cannot_be_in_an_address_has_no_page(territory: Territory, code: str) -> None:
    territory.publish_all()
    renamed = pl.col("town_id").replace("A", code)
    territory.publish({TOWNS: towns().with_columns(renamed)})
    found = pages(territory)
    assert {path.partition("/town/")[2] for path in found if "en/town/" in path} == {"B.html", "C.html", "D.html"}
    assert not any("javascript:" in page or "\u202e" in page for page in found.values())


@pytest.mark.parametrize("period", ["0", "99", "10000", "2025-13", "2025-Q5", "2025-02-30", "garbage", "{n}", "", None])
def test_a_period_that_is_none_is_not_shown(territory: Territory, period: str | None) -> None:
    territory.publish_all()
    rows = people().with_columns(
        status=pl.when(pl.col("year") == 2023).then(pl.lit(period)).otherwise(pl.lit("2024-Q1"))
    )
    territory.publish({PEOPLE: rows})
    figure = territory.declared.figures["people"]
    series = replace(figure.levels["town"], period="status", status="")
    territory.declared = replace(territory.declared, figures={"people": replace(figure, levels={"town": series})})
    (read,) = figure_series(territory.site())
    assert read.rows["period"].unique().to_list() == ["2024-Q1"]


def test_a_status_or_part_with_control_characters_is_shown_legibly(territory: Territory) -> None:
    territory.publish_all()
    bad = pl.lit("odd\u202e\x07")
    kinds = pl.when(pl.col("kind") == "primary").then(bad).otherwise("kind")
    territory.publish({PEOPLE: people().with_columns(status=bad), SCHOOLS: schools().with_columns(kind=kinds)})
    found = pages(territory)
    assert "value.odd\\u202e\\x07" in found["en/town/A.html"]
    assert "value.odd\\u202e\\x07" in found["en/district/1.html"]
    assert not [path for path, page in found.items() if "\u202e" in page or "\x07" in page]


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "//[", "http://[", "data:text/html,x", " javascript:x", "", None]
)
def test_an_address_that_a_browser_should_not_follow_is_no_link(address: str | None) -> None:
    assert web_address(address) == ""
