"""Building the site: only what moved is made, an interrupted build is done again, files of no part are deleted."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from babel.numbers import format_decimal

from catalunya.assets.record.project import Project
from catalunya.io.environment import NO_MOCK, Settings, load_settings
from catalunya.io.errors import ConfigurationError, LakeError
from catalunya.io.lake import Lake
from catalunya.portal.build import STATE, build, moved, parts, read_state
from catalunya.portal.language import Language, words
from catalunya.portal.publish import Publisher, open_site
from catalunya.portal.site import read_site
from small.lakes import contents

LEVEL = '[levels.{}]\ntable = "marts.dim_time"\ncode = "date_id"\nname = "date_id"\nparent = "{}"\n'


@pytest.fixture
def project(settings: Settings, compiled: Path) -> Project:
    return Project(settings.model_copy(update={"cache": compiled}))


@pytest.fixture
def to(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "site"))


@pytest.fixture(scope="module")
def once_built(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """The site of a project whose tables were never made."""
    folder = tmp_path_factory.mktemp("built")
    settings = load_settings(env="local", lake=str(folder / "lake"), cache=compiled)
    build(read_site(Project(settings)), Lake(str(folder / "site")))
    return folder / "site"


@pytest.fixture
def built(once_built: Path, to: Lake) -> Lake:
    """A copy of that site, which a test may change."""
    shutil.copytree(once_built, to.root, dirs_exist_ok=True)
    return to


def test_a_second_build_writes_nothing(project: Project, to: Lake) -> None:
    first = build(read_site(project), to)
    before = contents(to.root)
    assert first.written == first.files == len(before) - 1
    second = build(read_site(project), to)
    assert (second.made, second.written, second.deleted) == ([], 0, 0)
    assert contents(to.root) == before
    assert moved(read_site(project), read_state(to), to) == []


@pytest.mark.parametrize(
    "change", [{"portal_url": "https://data.example.org/open"}, {"mock_url": NO_MOCK}, {"publisher": "Example"}]
)
def test_what_every_page_shows_moves_every_part(project: Project, built: Lake, change: dict[str, str]) -> None:
    site = read_site(project)
    other = Project(project.settings.model_copy(update=change))
    assert set(moved(read_site(other), read_state(built), built)) == {part.name for part in parts(site)}


def test_a_build_without_a_readable_state_builds_everything_again(project: Project, built: Lake) -> None:
    before = contents(built.root)
    built.put(STATE, b'{"built_at": ')
    (Path(built.root) / "ca/index.html").write_text("half of a pa", encoding="utf-8")
    build(read_site(project), built)
    assert {k: v for k, v in contents(built.root).items() if k != STATE} == {
        k: v for k, v in before.items() if k != STATE
    }


def test_a_file_that_was_deleted_or_cut_by_hand_comes_back_alone(project: Project, built: Lake) -> None:
    before = contents(built.root)
    built.delete(["en/table/marts.dim_time.html"])
    (Path(built.root) / "ca/about.html").write_text("half of a pa", encoding="utf-8")
    assert moved(read_site(project), read_state(built), built) == ["table:marts.dim_time", "about"]
    again = build(read_site(project), built)
    assert (again.made, again.written, again.deleted) == (["table:marts.dim_time", "about"], 2, 0)
    assert without_state(contents(built.root)) == without_state(before)
    assert moved(read_site(project), read_state(built), built) == []


@pytest.mark.parametrize(
    "path", ["../mine.csv", "en/../../mine.csv", "/mine.csv", "..", "./about.html", "en//about.html", "en\\about.html"]
)
def test_a_state_that_names_a_file_outside_of_the_folder_counts_as_none(path: str, to: Lake) -> None:
    """All is built again, and nothing outside is deleted."""
    made = {"version": "x", "files": {"en/about.html": ["0" * 64, 4]}}
    to.put(STATE, json.dumps({"built_at": "2026-08-03T12:00:00Z", "parts": {"a": made}}).encode())
    assert read_state(to)
    made["files"] = {path: ["0" * 64, 4]}
    to.put(STATE, json.dumps({"built_at": "2026-08-03T12:00:00Z", "parts": {"a": made}}).encode())
    assert read_state(to) is None


def test_nothing_outside_of_the_folder_is_deleted_whatever_the_state_says(project: Project, built: Lake) -> None:
    site = read_site(project)
    mine = Path(built.root).parent / "mine.csv"
    mine.write_text("mine", encoding="utf-8")
    edited = json.loads(built.get(STATE))
    edited["parts"]["gone"] = {"version": "x", "files": {"../mine.csv": ["0" * 64, 4]}}
    built.put(STATE, json.dumps(edited).encode())
    assert build(site, built).made == [part.name for part in parts(site)]
    assert mine.read_text(encoding="utf-8") == "mine"


def test_a_version_in_the_state_is_no_path(to: Lake) -> None:
    for name, is_read in (("2026-08-03T1200Z", True), ("../../mine", False)):
        versions = {"marts.dim_time": {name: "x"}}
        to.put(STATE, json.dumps({"built_at": "2026-08-03T12:00:00Z", "versions": versions}).encode())
        assert (read_state(to) is not None) is is_read


@pytest.mark.parametrize("name", ["index.html", "robots.txt"])
def test_another_site_is_left_as_it_is(name: str, project: Project, to: Lake) -> None:
    to.put(name, b"mine")
    with pytest.raises(ConfigurationError, match=rf"expected an empty folder or a built site .*found {name}"):
        build(read_site(project), to)
    assert contents(to.root) == {name: b"mine"}


@pytest.mark.parametrize("folder", [".", "..", "/"])
def test_pages_are_not_written_where_the_lake_is(folder: str, project: Project) -> None:
    with pytest.raises(ConfigurationError, match="expected a folder for the public pages only"):
        open_site(project.settings, str(Path(project.settings.lake) / folder))


def test_other_files_in_the_folder_stay(project: Project, built: Lake) -> None:
    built.put("photos/mine.jpg", b"mine")
    build(read_site(project), built)
    build(read_site(project), built, everything=True)
    assert built.get("photos/mine.jpg") == b"mine"


def test_every_language_has_the_same_words() -> None:
    languages = {code: words(code) for code in ("ca", "es", "en")}
    assert set(languages["ca"]) == set(languages["es"]) == set(languages["en"])


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("ca", "2026-Q2", "2n trimestre del 2026"),
        ("es", "2026-04", "abril de 2026"),
        ("en", "2026-04-01", "1 April 2026"),
        ("ca", "2026-04-01", "1 d’abril de 2026"),
        ("es", "2025-H1", "1.er semestre de 2025"),
        ("ca", "2025", "2025"),
        ("ca", "not a period", "not a period"),
    ],
)
def test_a_period_is_written_as_the_language_does(code: str, text: str, expected: str) -> None:
    assert Language(code).period(text) == expected


def test_numbers_are_written_as_the_language_does() -> None:
    assert [Language(code).number(1234567.8, 1) for code in ("ca", "es", "en")] == [
        "1.234.567,8",
        "1.234.567,8",
        "1,234,567.8",
    ]
    assert [Language(code).percent(12.34) for code in ("ca", "en")] == ["12,3\u00a0%", "12.3%"]


@pytest.mark.parametrize("value", [-0.04, -0.0, 0.0, 0.04])
def test_what_rounds_to_zero_has_no_sign(value: float) -> None:
    """As on the map, whose script writes it so, and where it is of the color of no change. babel writes -0.0."""
    english = Language("en")
    written = (
        english.number(value, 1),
        english.signed(value, 1),
        english.percent(value),
        english.percent(value, signed=True),
    )
    assert written == ("0.0", "0.0", "0.0%", "0.0%")


@pytest.mark.parametrize("code", ["ca", "es", "en"])
@pytest.mark.parametrize(
    "value", [0, 0.05, 0.25, 0.35, -2.5, 999.995, 1000, 12345.675, -1234567.89, 1e22, 3e-7, math.inf, -math.inf]
)
def test_numbers_are_written_as_babel_writes_them(code: str, value: float) -> None:
    language = Language(code)
    for digits, pattern in enumerate(("#,##0", "#,##0.0", "#,##0.00")):
        assert language.number(value, digits) == format_decimal(value, pattern, language.locale)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('languages = ["ca", "xx"]', "languages: expected some of ca, en, es, found 'xx'"),
        ('[levels.place]\ntable = "marts.nothing"\ncode = "a"\nname = "b"', "table = 'marts.nothing'"),
        (
            '[levels.place]\ntable = "marts.dim_time"\ncode = "date_id"\nname = "nick"',
            "expected columns of marts.dim_time",
        ),
        ('[rights.a]\nhosts = []\nurl = "javascript:alert(1)"', "rights.a: expected an http(s) address"),
        ('spatial = ["https://example.org/a b"]', "spatial[0]: expected an http(s) address"),
        (LEVEL.format("town", "") + 'current = "nothing = 1"', "unable to find column"),
        (LEVEL.format("town", "") + 'current = "))("', "expected a condition in SQL on the columns of marts.dim_time"),
        (LEVEL.format("town", "") + "current = \"year_number = 'x'\"", "cannot compare string with numeric"),
        (LEVEL.format("town", "town"), "expected a level that is not below this one"),
        (LEVEL.format("a", "b") + LEVEL.format("b", "a"), "expected a level that is not below this one"),
        (LEVEL.format("table", ""), "other than table"),
        (LEVEL.format('"../x"', ""), "expected a name of lowercase letters"),
        ('colour = "red"', "unknown field `colour`"),
        ("languages = ", "Invalid value"),
    ],
)
def test_a_mistake_in_the_declaration_is_one_line(
    line: str, said: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets/project.toml").write_text(
        'name = "other"\ntitle = "Other"\nqualifier = "o"\n[portals]\n', encoding="utf-8"
    )
    (folder / "assets/portal.toml").write_text(line, encoding="utf-8")
    graph = project.graph
    monkeypatch.setenv("CATALUNYA_PROJECT", str(folder))
    from catalunya.portal.declaration import declaration

    with pytest.raises(ConfigurationError) as error:
        declaration(graph)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


class Stopped(Exception):
    """The build was killed."""


class Fragile(Lake):
    """A folder that stops a build after so many writes."""

    def __init__(self, root: str, writes: int) -> None:
        super().__init__(root)
        self.left = writes

    def put(self, path: str, body: bytes | Path | BinaryIO, headers: Mapping[str, str] | None = None) -> None:
        if not self.left:
            raise Stopped
        self.left -= 1
        super().put(path, body, headers)


def test_a_stopped_build_is_done_again_also_when_what_it_showed_is_gone(project: Project, built: Lake) -> None:
    """The pages that it had written show what the tables no longer are: the next build writes them again."""
    site = read_site(project)
    before = contents(built.root)
    other = replace(site, base="https://data.example.org")
    build(other, Lake(f"{built.root}-other"))
    after = contents(f"{built.root}-other")
    assert {path for path in after if after[path] != before[path]} > {STATE, "ca/index.html"}
    for writes in (1, 2, 5, 11):
        with pytest.raises(Stopped):
            build(other, Fragile(built.root, writes))
        build(site, built)
        assert without_state(contents(built.root)) == without_state(before)
    build(other, built)
    assert without_state(contents(built.root)) == without_state(after)


def without_state(found: dict[str, bytes]) -> dict[str, bytes]:
    return {path: body for path, body in found.items() if path != STATE}


class Slow(Lake):
    """A store that takes longer for data than for pages, and tells in which order it was done."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.is_local = False
        self.done: list[str] = []

    def put(self, path: str, body: bytes | Path | BinaryIO, headers: Mapping[str, str] | None = None) -> None:
        time.sleep(0.001 if path.endswith(".html") else 0.05)
        super().put(path, body)
        self.done.append(path)


def test_a_page_is_written_after_the_files_that_it_links_to(tmp_path: Path) -> None:
    to, files = Slow(str(tmp_path)), [f"data/{n}.csv" for n in range(40)]
    began = time.monotonic()
    with Publisher(to) as publisher:
        for path in (*files, "en/a.html", "en/b.html"):
            publisher.put(path, b"x")
    assert sorted(to.done[:40]) == sorted(files)
    assert sorted(to.done[40:]) == ["en/a.html", "en/b.html"]
    assert time.monotonic() - began < 40 * 0.05, "they are written at the same time"


def test_a_file_that_cannot_be_written_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way", encoding="utf-8")
    to = Slow(str(tmp_path))
    with pytest.raises(LakeError), Publisher(to) as publisher:
        publisher.put("data/a.csv", b"x")


def test_a_file_without_a_media_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Publisher(Lake(str(tmp_path))) as publisher:
        publisher.put("data/a.exe", b"x")
