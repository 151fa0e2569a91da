"""The site as a table of the pipeline: when it is built, what its state is, and that one run builds it at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.lease import lease
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import prune
from catalunya.assets.record.verify import verify
from catalunya.io.environment import NO_MOCK, Settings
from catalunya.io.errors import CatalunyaError, ContractError, LeaseHeld, LeaseLost
from catalunya.io.lake import Lake
from catalunya.ops.backup.make import back_up
from catalunya.ops.watching.findings import Board, Finding, Kind, Seen, Severity, keep_board, updated
from catalunya.ops.watching.look import look
from catalunya.portal.build import STATE, build
from catalunya.portal.making import KEY, LATE, SiteStatus, build_site, is_due, status, unseen, waits_for, why_not
from catalunya.portal.publish import open_site
from catalunya.portal.site import Site, _is_of_a_mock, read_site
from small.lakes import contents
from small.shops import declare_failing, some

LANDING, SHOPS, CITIES = "landing.shops", "staging.shops", "staging.cities"
NOTHING = "nothing changed since the last build"


class Shops:
    """Shops and cities made once, of a project that declares nothing for its pages."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.raises: Exception | None = None
        self.source, self.declared = declare_failing(folder, lambda: self.raises)
        self.change(4)
        self.make(SHOPS)
        self.make(CITIES)

    @property
    def project(self) -> Project:
        return Project(self.settings, self.declared)

    def change(self, rows: int) -> None:
        """The source has other rows, and they were landed."""
        self.source.write(some(rows))
        self.make(LANDING)

    def make(self, key: str, error: Exception | None = None) -> None:
        self.raises = error
        try:
            materialize(self.project, key)
        except CatalunyaError as raised:
            assert raised is error  # noqa: PT017
        self.raises = None

    def site(self, after: timedelta = timedelta()) -> Site:
        return read_site(self.project, datetime.now(UTC) + after)

    def status(self, after: timedelta = timedelta()) -> SiteStatus:
        return status(self.site(after))

    def build(self, run: str = "r1") -> None:
        build_site(self.project, run)

    def seen(self, after: timedelta = timedelta()) -> dict[str, Finding]:
        found = look(self.project, datetime.now(UTC) + after).board.open
        return {each.identity: each for each in found}


@pytest.fixture
def shops(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shops:
    folder = tmp_path / "project"
    (folder / "assets").mkdir(parents=True)
    text = 'name = "shops"\ntitle = "Shops"\nqualifier = "shp"\n[portals]\nsocrata = "https://data.example.org"\n'
    (folder / "assets/project.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("CATALUNYA_PROJECT", str(folder))
    return Shops(
        settings.model_copy(update={"portal_folder": f"{settings.lake}/portal", "backup": str(tmp_path / "backup")}),
        tmp_path / "source",
    )


def test_the_site_is_missing_then_fresh_then_stale_and_says_what_changed(shops: Shops) -> None:
    assert (shops.status().state, shops.status().built) == ("missing", None)
    shops.build()
    found = shops.status()
    assert (found.state, found.why, found.moved, found.behind_since) == ("fresh", "", (), None)
    assert found.bytes == sum(
        len(body) for path, body in contents(open_site(shops.settings).root).items() if path != STATE
    )
    shops.change(5)
    shops.make(SHOPS)
    assert (shops.status().state, shops.status().why) == ("stale", f"{SHOPS} changed")
    shops.make(CITIES)
    assert unseen(shops.site(), shops.status().built) == [SHOPS, CITIES]
    shops.build()
    assert shops.status().state == "fresh"


def test_a_wave_of_tables_makes_one_build_at_its_end(shops: Shops) -> None:
    shops.build()
    assert why_not(shops.project) == NOTHING
    shops.change(5)
    assert why_not(shops.project) == f"{SHOPS}, {CITIES} will be made first"
    shops.make(SHOPS)
    assert why_not(shops.project) == f"{CITIES} will be made first"
    assert is_due(shops.site()) == ""
    shops.make(CITIES)
    assert why_not(shops.project) == ""
    assert is_due(shops.site()) == f"{SHOPS}, {CITIES} changed"


def test_a_build_waits_for_an_hour_at_most(shops: Shops) -> None:
    shops.build()
    shops.change(5)
    shops.make(SHOPS)
    built = shops.status().built
    assert waits_for(shops.site(LATE - timedelta(minutes=2)), built)
    assert waits_for(shops.site(LATE + timedelta(minutes=2)), built) == ""


def test_a_table_that_changes_again_and_again_keeps_no_build_waiting(shops: Shops) -> None:
    """Late is what the site does not show since the first change, whenever the last one was."""
    shops.build()
    before, changed = datetime.now(UTC), []
    for rows in (5, 6, 7):
        shops.change(rows)
        shops.make(SHOPS)
        entry = shops.site().entry(SHOPS)
        assert entry
        changed.append(entry.recorded_at)
    since = shops.status().behind_since
    assert since
    assert before <= since <= changed[0]


def test_a_table_that_failed_for_good_keeps_no_build_waiting(shops: Shops) -> None:
    shops.build()
    shops.change(5)
    shops.make(SHOPS, ContractError("the column city holds a number"))
    shops.change(6)
    assert why_not(shops.project), "it is made from other rows now"
    shops.make(SHOPS, ContractError("the column city holds a number"))
    shops.make(CITIES)
    assert why_not(shops.project) == ""


def test_pages_are_built_when_something_else_than_tables_changed(shops: Shops) -> None:
    shops.build()
    assert is_due(shops.site()) == ""
    shops.settings = shops.settings.model_copy(update={"portal_url": "https://data.example.org"})
    assert is_due(shops.site()) == "the portal's code, or what every page shows, changed"


def test_a_changed_finding_alone_makes_a_build_due(shops: Shops) -> None:
    """The page about quality shows it, and no event says so: `ops.reconcile` triggers the build."""
    shops.build()
    before = shops.site()
    assert is_due(before) == ""
    failing = Seen(kind=Kind.TABLE_FAILED, subject=SHOPS, severity=Severity.ERROR, what="it failed", remedy="see why")
    keep_board(shops.project.lake, updated(Board(), [failing], datetime.now(UTC))[0])
    assert all(before.version(each.key) == shops.site().version(each.key) for each in before.published)
    assert is_due(shops.site()).startswith("quality")


def test_two_runs_never_build_at_once(shops: Shops) -> None:
    with lease(shops.project.lake, KEY, "other", 60):
        assert (shops.status().state, shops.status().why) == ("running", "in run other")
        assert is_due(shops.site()) == ""
        with pytest.raises(LeaseHeld):
            shops.build()
    shops.build()


def test_a_run_that_lost_its_lease_records_nothing(shops: Shops, tmp_path: Path) -> None:
    def lost() -> None:
        raise LeaseLost("another run took over")

    with pytest.raises(LeaseLost):
        build(shops.site(), Lake(str(tmp_path / "site")), check=lost)
    assert STATE not in contents(tmp_path / "site")


def test_a_build_that_failed_is_tried_again_later_and_later(shops: Shops) -> None:
    place = Path(open_site(shops.settings).root)
    (place / "en").write_text("in the way of a folder", encoding="utf-8")
    for run, minutes in (("r1", 10), ("r2", 20)):
        with pytest.raises(CatalunyaError):
            shops.build(run)
        found = shops.status()
        assert found.last
        assert (found.state, found.last.run_id) == ("failed", run)
        assert "there is a file where a folder is needed" in found.why
        assert timedelta(minutes=minutes - 1) < found.last.next_try - datetime.now(UTC) <= timedelta(minutes=minutes)
        assert is_due(shops.site()) == ""
        assert is_due(shops.site(timedelta(minutes=minutes + 1))) == found.why
    (place / "en").unlink()
    shops.build()
    assert shops.status().state == "fresh"


def test_nothing_is_due_before_any_table_was_made(settings: Settings, shops: Shops, tmp_path: Path) -> None:
    empty = Project(settings.model_copy(update={"lake": str(tmp_path / "empty")}), shops.declared)
    assert is_due(read_site(empty)) == ""


def test_pages_older_than_a_table_are_a_finding_once_they_are_late(shops: Shops) -> None:
    shops.change(5)
    shops.make(SHOPS)
    assert "pages_old:portal" not in shops.seen(timedelta(hours=9)), "a project without pages"
    shops.build()
    shops.change(6)
    shops.make(SHOPS)
    shops.make(CITIES)
    assert "pages_old:portal" not in shops.seen(timedelta(minutes=50))
    found = shops.seen(timedelta(hours=2))["pages_old:portal"]
    assert found.severity is Severity.WARNING
    assert f"{SHOPS}, {CITIES} changed since" in found.cause
    assert "no run of ops.portal" in found.cause
    assert "`catalunya portal build`" in found.remedy
    assert shops.seen(timedelta(hours=8))["pages_old:portal"].severity is Severity.ERROR
    shops.build()
    assert "pages_old:portal" not in shops.seen(timedelta(hours=8))


def test_the_finding_says_why_the_last_build_failed(shops: Shops) -> None:
    shops.build()
    shops.change(5)
    shops.make(SHOPS)
    shops.make(CITIES)
    folder = Path(open_site(shops.settings).root) / "en"
    folder.rename(folder.with_name("moved"))
    folder.write_text("in the way", encoding="utf-8")
    with pytest.raises(CatalunyaError):
        shops.build()
    assert "there is a file where a folder is needed" in shops.seen(timedelta(hours=2))["pages_old:portal"].cause


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8765", True),
        ("[::1]:8765", True),
        ("192.168.1.5", True),
        ("mock:8765", True),
        ("localhost", True),
        ("mock.example.org:8765/data.ny.gov", True),
        ("analisi.transparenciacatalunya.cat", False),
        ("api.idescat.cat:8443", False),
        ("8.8.8.8", False),
    ],
)
def test_data_that_a_mock_answered_are_a_sample(host: str, expected: bool) -> None:
    assert _is_of_a_mock(host) is expected


def test_a_site_is_a_sample_by_its_settings_and_by_what_was_landed(shops: Shops, compiled: Path) -> None:
    assert shops.site().is_sample
    real = Shops.__new__(Shops)
    real.settings, real.declared = shops.settings.model_copy(update={"mock_url": NO_MOCK}), shops.declared
    assert not real.site().is_sample


def test_what_is_published_is_no_table_to_verify_prune_or_back_up(shops: Shops) -> None:
    """It can be built again from the lake that it is in."""
    shops.build()
    before = contents(shops.settings.lake)
    assert [path for path in before if path.startswith("portal/")]
    assert verify(shops.project).findings == []
    assert prune(shops.project, "p1", now=datetime.now(UTC) + timedelta(days=1000)).removals == []
    back_up(shops.project, "b1")
    saved = contents(shops.settings.backup)
    assert saved
    assert not [path for path, body in saved.items() if "portal" in path or b"portal/" in body]
    assert {path: body for path, body in contents(shops.settings.lake).items() if path.startswith("portal/")} == {
        path: body for path, body in before.items() if path.startswith("portal/")
    }
