"""Serving a built site: ranges, media types, a page for what is not there, and nothing from outside the folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from catalunya.io.environment import load_settings, local_port
from catalunya.ops.processes import free_ports
from catalunya.portal.publish import CONTENT_TYPES
from catalunya.portal.serve import serving, site_app
from small.patience import wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "site"
    (place / "ca").mkdir(parents=True)
    (place / "index.html").write_text("<h1>root</h1>", encoding="utf-8")
    (place / "ca/index.html").write_text("<h1>inici</h1>", encoding="utf-8")
    (place / "404.html").write_text("<h1>no such page</h1>", encoding="utf-8")
    for ending in CONTENT_TYPES:
        (place / f"file{ending}").write_bytes(b"0123456789")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (place / "link.txt").symlink_to(tmp_path / "secret.txt")
    return place


@pytest.fixture
def pages(folder: Path) -> Iterator[TestClient]:
    with TestClient(site_app(folder)) as client:
        yield client


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [("bytes=2-4", 206, b"234"), ("bytes=-3", 206, b"789"), ("bytes=7-", 206, b"789"), ("bytes=50-60", 416, None)],
)
def test_a_part_of_a_file_can_be_read(pages: TestClient, asked: str, status: int, expected: bytes | None) -> None:
    answer = pages.get("/file.parquet", headers={"Range": asked})
    assert answer.status_code == status
    assert expected is None or answer.content == expected


@pytest.mark.parametrize(("ending", "kind"), CONTENT_TYPES.items())
def test_a_file_has_the_media_type_that_a_bucket_serves_it_with(pages: TestClient, ending: str, kind: str) -> None:
    assert pages.get(f"/file{ending}").headers["content-type"] == kind
    assert pages.head(f"/file{ending}").headers["content-length"] == "10"


def test_the_home_page_of_a_folder_is_its_index(pages: TestClient) -> None:
    assert (pages.get("/").text, pages.get("/ca/").text) == ("<h1>root</h1>", "<h1>inici</h1>")


def test_what_is_not_there_is_answered_with_a_page(pages: TestClient) -> None:
    answer = pages.get("/ca/municipality/999999.html")
    assert (answer.status_code, answer.text) == (404, "<h1>no such page</h1>")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/ca/..%2f..%2fsecret.txt",
        "//etc/passwd",
        "/link.txt",
        "/ca/%00",
        "/" + "a" * 5000,
    ],
)
def test_nothing_outside_the_folder_is_served(pages: TestClient, path: str) -> None:
    answer = pages.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_nothing_can_be_written(pages: TestClient) -> None:
    assert {pages.request(verb, "/index.html").status_code for verb in ("POST", "PUT", "DELETE")} == {405}


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://localhost:8081", 8081), ("http://127.0.0.1:9000/", 9000), ("https://dades.example.org", 8081)],
)
def test_this_machine_serves_the_pages_where_they_say_that_they_are(url: str, port: int) -> None:
    assert local_port(load_settings(env="local", portal_url=url)) == port


def test_the_command_serves_on_this_machine_alone_and_says_if_the_port_is_in_use(folder: Path) -> None:
    (port,) = free_ports(1)
    run = "import sys; from catalunya.ops.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", run, "portal", "serve", str(folder), "--port", str(port)]
    environment = {**os.environ, "CATALUNYA_PORTAL_URL": "https://dades.example.org"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            wait_until(lambda: _answers(port), 30)
            second = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            assert second.returncode == 2
            assert second.stderr.strip().count("\n") == 0
            assert f"`catalunya portal serve --port {port + 1}`" in second.stderr
        finally:
            server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=20)
    assert f"http://localhost:{port}/" in out
    assert "names https://dades.example.org" in err


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_pages_served_beside_other_work_answer_from_the_first_moment_and_no_longer_than_asked(folder: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/"

    with serving(folder, port):
        assert "root" in httpx.get(url).text
        with pytest.raises(OSError, match="in use"), serving(folder, port):
            pass
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
