"""Sources of several portals: each is asked at its own base URL, within its host's rate, with its host's token and no other's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from catalunya.io.environment import MOCK_TOKEN, Host, Settings, load_settings
from catalunya.io.errors import ConfigurationError, DeclarationError
from catalunya.io.sources.files import File
from catalunya.io.sources.idescat import Idescat
from catalunya.io.sources.socrata import Socrata
from catalunya.ops import mock
from catalunya.ops.scaffold.sampling import find_source

OURS, THEIRS = Socrata("9aju-tpwc"), Socrata("9aju-tpwc", portal="https://data.ny.gov")


def test_a_source_without_a_portal_is_read_from_the_project_s() -> None:
    settings = load_settings(env="prod")
    assert settings.http(OURS).base_url == "https://analisi.transparenciacatalunya.cat"
    assert settings.http(THEIRS).base_url == "https://data.ny.gov"


def test_a_token_is_sent_to_its_host_only() -> None:
    settings = load_settings(env="prod", socrata_app_token="ours", hosts={"data.ny.gov": {"token": "theirs"}})
    others = Socrata("9aju-tpwc", portal="https://data.cityofnewyork.us")
    assert [settings.http(each).app_token for each in (OURS, THEIRS, others)] == ["ours", "theirs", None]


@pytest.mark.parametrize(
    ("named", "portal"),
    [
        ("Data.NY.gov", "https://data.ny.gov"),
        ("data.ny.gov", "https://DATA.ny.gov:443/x"),
        ("data.ny.gov.", "https://data.ny.gov"),
        ("data.ny.gov", "https://data.ny.gov."),
        ("dades.català.example", "https://dades.xn--catal-vqa.example"),
        ("dades.xn--catal-vqa.example", "https://dades.CATALÀ.example"),
    ],
)
def test_a_host_is_the_same_however_it_is_written(named: str, portal: str) -> None:
    settings = load_settings(env="prod", hosts={named: {"token": "theirs", "pool": "theirs"}})
    source = Socrata("9aju-tpwc", portal=portal)
    assert settings.http(source).app_token == "theirs"
    assert settings.pool(portal) == "theirs"
    near = Socrata("9aju-tpwc", portal="https://data.ny.gov.example.org")
    assert settings.http(near).app_token is None


@pytest.mark.parametrize(
    "named", ["https://data.ny.gov", "data.ny.gov:443", "data.ny.gov/x", "me@data.ny.gov", "", "a b"]
)
def test_a_host_that_no_source_can_have_is_refused(named: str) -> None:
    with pytest.raises(ConfigurationError, match=r"CATALUNYA_HOSTS .*should name hosts without scheme") as refused:
        load_settings(hosts={named: {"token": "s3cr3t"}})
    assert "s3cr3t" not in str(refused.value)


def test_the_mock_is_sent_no_real_token() -> None:
    settings = load_settings(
        mock_url="http://mock:8765", socrata_app_token="ours", hosts={"data.ny.gov": {"token": "theirs"}}
    )
    assert {settings.http(each).app_token for each in (OURS, THEIRS)} == {MOCK_TOKEN}
    assert load_settings(mock_url="http://mock:8765").http(OURS).app_token is None


def test_apis_of_one_host_keep_its_pace_together() -> None:
    portals = ("https://data.ny.gov/v1.0", "https://data.ny.gov/v2.0", "https://DATA.ny.gov.")
    for settings in (load_settings(env="prod"), load_settings()):
        assert len({settings.http(Socrata("9aju-tpwc", portal=each)).host for each in portals}) == 1
        assert settings.http(THEIRS).host != settings.http(OURS).host


def test_pace_and_pool_are_a_host_s_own() -> None:
    hosts = {"data.ny.gov": {"requests_per_second": 2, "concurrency": 1, "pool": "new_york"}}
    settings = load_settings(env="prod", hosts=hosts)
    assert (settings.http(THEIRS).requests_per_second, settings.http(THEIRS).concurrency) == (2, 1)
    assert (settings.http(OURS).requests_per_second, settings.http(OURS).concurrency) == (20, 4)
    assert settings.pool(THEIRS.portal) == "new_york"
    assert settings.pool(None) == "default_pool"
    assert settings.pools == ["default_pool", "new_york"]


def test_a_setting_of_hosts_that_cannot_be_read_is_refused_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ('{"data.ny.gov": {"tokn": "s3cr3t"}}', '{"data.ny.gov": {"token": "s3cr3t"', '["s3cr3t"]'):
        monkeypatch.setenv("CATALUNYA_HOSTS", wrong)
        with pytest.raises(ConfigurationError, match="CATALUNYA_HOSTS") as caught:
            load_settings()
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "portal", ["data.ny.gov", "ftp://data.ny.gov", "https://me:pw@data.ny.gov", "https://x.org/?a=1"]
)
def test_a_portal_that_is_no_base_url_is_refused(portal: str) -> None:
    with pytest.raises(DeclarationError, match=r"expected a source's URL as http.*portal"):
        Socrata("9aju-tpwc", portal=portal)


@pytest.fixture
def served(settings: Settings) -> Iterator[Settings]:
    with mock.serve() as server:
        yield settings.model_copy(update={"mock_url": server.url})


def test_the_mock_stands_for_any_portal(served: Settings) -> None:
    states = [each.probe(served.http(each)) for each in (OURS, THEIRS)]
    assert states[0] == states[1]


def test_extractions_of_one_host_in_several_threads_keep_its_pace_together(served: Settings) -> None:
    http = served.model_copy(update={"hosts": {"data.ny.gov": Host(requests_per_second=20)}}).http(THEIRS)
    threads = [threading.Thread(target=lambda: THEIRS.about_each(http)) for _ in range(4)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 7 / 20, (
        "eight requests have seven intervals; each thread on its own would take one"
    )


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("39hk-dx4f", Socrata("39hk-dx4f")),
        ("https://data.ny.gov/d/39hk-dx4f", Socrata("39hk-dx4f", portal="https://data.ny.gov")),
        ("https://data.ny.gov/resource/39hk-dx4f.json?$limit=5", Socrata("39hk-dx4f", portal="https://data.ny.gov")),
        ("https://data.ny.gov/api/views/39hk-dx4f", Socrata("39hk-dx4f", portal="https://data.ny.gov")),
        ("https://data.ny.gov/api/v3/views/39hk-dx4f/query.json", Socrata("39hk-dx4f", portal="https://data.ny.gov")),
        (
            "https://data.ny.gov/Transportation/MTA-Subway-Stations/39hk-dx4f/about_data",
            Socrata("39hk-dx4f", portal="https://data.ny.gov"),
        ),
        ("https://example.org/files/stations.csv", None),
        ("https://example.org/api/3/action/datastore_search", None),
    ],
)
def test_an_address_of_a_socrata_dataset_is_recognized(address: str, expected: Socrata | None) -> None:
    assert Socrata.recognize(address) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ep/9122/10002/mun", Idescat("ep/9122/10002/mun")),
        (
            "https://api.idescat.cat/taules/v2/ep/9122/10002/mun/data?lang=ca",
            Idescat("ep/9122/10002/mun", portal="https://api.idescat.cat"),
        ),
        ("https://api.idescat.cat/taules/v2/ep", None),
        ("39hk-dx4f", None),
    ],
)
def test_an_address_of_an_idescat_table_is_recognized(address: str, expected: Idescat | None) -> None:
    assert Idescat.recognize(address) == expected


def test_a_file_in_a_folder_of_answers_is_at_its_own_name_and_at_any_host(tmp_path: Path) -> None:
    (tmp_path / "stops.v2.csv").write_text("id,name\n1,Vic\n", encoding="utf-8")
    with mock.serve(real=tmp_path) as server:
        for path in ("stops.v2.csv", "example.org/stops.v2.csv"):
            assert httpx.get(f"{server.url}/{path}").text == "id,name\n1,Vic\n"
        source, _ = find_source(f"{server.url}/stops.v2.csv", load_settings(mock_url=server.url))
        assert source == File(f"{server.url}/stops.v2.csv")
