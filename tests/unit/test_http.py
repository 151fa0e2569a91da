"""The HTTP client against a real server on loopback: what it retries, how long it waits, its error messages."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from email.utils import formatdate
from typing import Any

import pytest
from structlog.testing import capture_logs

from catalunya.io.errors import ConfigurationError, DeadlineReached, SourceError, SourceUnavailable
from catalunya.io.sources.http import BadBodyError, Http, HttpSettings, Reply, connect
from catalunya.ops.mock.exchange import Answer
from small.http_server import Asked, Server, in_turn
from small.patience import patience

OK = Answer(b'{"well":"done"}')
HTML = b"<html><head><style>p {color: red}</style></head><body><h1>Service\n Unavailable</h1></body></html>"

Serve = Callable[[Callable[[Asked], Answer]], Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda reply: stack.enter_context(Server(reply).running())


def fast(url: str, **changed: Any) -> HttpSettings:
    kind = {"attempts": 4, "timeout_s": 2.0, "deadline_s": 5.0, "requests_per_second": 2000.0}
    waits = {"backoff_initial_s": 0.001, "backoff_max_s": 0.01, "backoff_jitter_s": 0.001}
    return HttpSettings(url, **{**kind, **waits, **changed})


def body(reply: Reply) -> bytes:
    return bytes(reply.body)


def run(settings: HttpSettings, work: Callable[[Http], Any], **options: Any) -> Any:
    with connect(settings, "Test source", **options) as http:
        return work(http)


def at_once(count: int, ask: Callable[[int], Any]) -> None:
    """So many requests from as many threads. Raises what the first of them raises."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(ask, range(count)))


def get(settings: HttpSettings, accept: Callable[[Reply], Any] = body, **options: Any) -> Any:
    return run(settings, lambda http: http.get("/table.json", accept), **options)


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(b"slow down", 429),
        Answer(HTML, 503, {"Content-Type": "text/html"}),
        Answer(b"", 500),
        Answer(b"", 202),
        Answer(b"", 408),
        Answer(b'{"well":"done"}', cut=7),
        Answer(b"not gzip at all", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["429", "503 HTML", "500", "202", "408", "cut off", "broken compression"],
)
def test_a_transient_failure_is_retried(serve: Serve, trouble: Answer) -> None:
    server = serve(in_turn(trouble, trouble, OK))
    assert get(fast(server.url)) == OK.body
    assert len(server.asked) == 3


def test_a_request_that_times_out_is_retried(serve: Serve) -> None:
    server = serve(in_turn(Answer(delay=0.2), OK))
    with capture_logs() as logs:
        assert get(fast(server.url, timeout_s=0.05)) == OK.body
    assert [line["reason"] for line in logs if line["event"] == "http_retry"] == ["no answer within 0.05 s"]


def test_a_request_whose_answer_is_not_accepted_is_sent_again(serve: Serve) -> None:
    server = serve(in_turn(Answer(b"half"), OK))

    def accept(reply: Reply) -> bytes:
        if bytes(reply.body) == b"half":
            raise BadBodyError("half of it")
        return bytes(reply.body)

    with capture_logs() as logs:
        assert get(fast(server.url), accept) == OK.body
    assert [line["reason"] for line in logs if line["event"] == "http_retry"] == ["invalid response body (half of it)"]


def test_every_retry_logs_a_warning_with_url_attempt_wait_and_reason(serve: Serve) -> None:
    server = serve(in_turn(Answer(HTML, 503), Answer(b"", 429), OK))
    with capture_logs() as logs:
        get(fast(server.url))
    retries = [line for line in logs if line["event"] == "http_retry"]
    assert [(line["log_level"], line["attempt"], line["url"]) for line in retries] == [
        ("warning", 1, f"{server.url}/table.json"),
        ("warning", 2, f"{server.url}/table.json"),
    ]
    assert [line["reason"] for line in retries] == [
        "503 Service Unavailable: Service Unavailable",
        "429 Too Many Requests",
    ]
    assert all(0 < line["wait_s"] <= 0.01 for line in retries)


def test_waits_double_up_to_a_maximum(serve: Serve) -> None:
    server = serve(in_turn(Answer(b"", 500)))
    bounds = {"backoff_initial_s": 0.004, "backoff_max_s": 0.012, "backoff_jitter_s": 0.0}
    with capture_logs() as logs, pytest.raises(SourceUnavailable):
        get(fast(server.url, **bounds))
    assert [line["wait_s"] for line in logs if line["event"] == "http_retry"] == [0.004, 0.008, 0.012]


def test_jitter_makes_waits_differ(serve: Serve) -> None:
    server = serve(in_turn(Answer(b"", 500)))
    with capture_logs() as logs, pytest.raises(SourceUnavailable):
        get(fast(server.url, backoff_initial_s=0.0, backoff_max_s=0.05, backoff_jitter_s=0.02, attempts=6))
    waits = [line["wait_s"] for line in logs if line["event"] == "http_retry"]
    assert len(set(waits)) > 1
    assert max(waits) <= 0.02


def test_retry_after_delays_every_request_of_the_client(serve: Serve) -> None:
    server = serve(in_turn(Answer(b"", 429, {"Retry-After": "0.2"}), OK))

    def two(http: Http) -> None:
        def ask(number: int) -> None:
            while number and not logs:  # the client has not been told to wait yet
                time.sleep(0.001)
            http.get(("/table.json", "/other.json")[number], body)

        at_once(2, ask)

    with capture_logs() as logs:
        run(fast(server.url), two)
    first, *others = server.asked
    assert len(others) == 2
    assert all(other.at - first.at >= 0.2 for other in others)


def test_retry_after_zero_falls_back_to_the_clients_own_wait(serve: Serve) -> None:
    server = serve(in_turn(Answer(b"", 503, {"Retry-After": "0"}), OK))
    with capture_logs() as logs:
        assert get(fast(server.url)) == OK.body
    assert [line["wait_s"] > 0 for line in logs if line["event"] == "http_retry"] == [True]


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "3600"},
        # The server's clock is an hour slow: the wait is the difference of its own two dates.
        {
            "Retry-After": formatdate(time.time(), usegmt=True),
            "Date": formatdate(time.time() - 3600, usegmt=True),
        },
    ],
    ids=["seconds", "date"],
)
def test_a_wait_beyond_the_deadline_is_not_started(serve: Serve, headers: dict[str, str]) -> None:
    server = serve(in_turn(Answer(b"", 429, headers), OK))
    with pytest.raises(
        SourceUnavailable, match=r"asks to wait 3600 s .*429 Too Many Requests.* left until the deadline"
    ):
        get(fast(server.url, deadline_s=1))
    assert len(server.asked) == 1


def test_when_all_attempts_fail_the_message_has_url_reason_and_number_of_attempts(serve: Serve) -> None:
    server = serve(in_turn(Answer(HTML, 503, {"Content-Type": "text/html"})))
    with pytest.raises(SourceUnavailable) as caught:
        get(fast(server.url))
    assert str(caught.value) == (
        f"Test source: {server.url}/table.json failed at all of 4 attempts, the last time with "
        "503 Service Unavailable: Service Unavailable. Try again later."
    )
    assert len(server.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416])
def test_a_refusal_is_not_retried(serve: Serve, status: int) -> None:
    server = serve(in_turn(Answer(b"<p>No, " + b"never " * 20_000 + b"</p>", status)))
    with pytest.raises(SourceError, match=f"Test source: GET {server.url}/table.json answered {status} ") as caught:
        get(fast(server.url))
    assert len(server.asked) == 1
    assert len(str(caught.value)) < 400
    assert "<p>" not in str(caught.value)


def test_the_source_explains_a_refusal_in_its_own_words(serve: Serve) -> None:
    server = serve(in_turn(Answer(b"{}", 404)))
    with pytest.raises(SourceError, match="404 Not Found: no such table"):
        get(fast(server.url), explain=lambda _: "no such table")


def test_a_source_sees_a_refusal_first_and_can_raise_its_own_error(serve: Serve) -> None:
    def refused(reply: Reply) -> None:
        if reply.status in {416, 504}:
            raise KeyError(reply.excerpt())

    server = serve(in_turn(Answer(b"", 503), Answer(b"too much", 416)))
    with pytest.raises(KeyError, match="too much"):
        run(fast(server.url), lambda http: http.get("/table.json", body, refused=refused))
    assert len(server.asked) == 2
    server.reply = in_turn(Answer(b"no", 403))
    with pytest.raises(SourceError, match="403 Forbidden: no"):
        run(fast(server.url), lambda http: http.post("/table.json", body, {}, refused=refused))


def test_a_source_can_have_a_refused_request_sent_again(serve: Serve) -> None:
    def refused(_: Reply) -> None:
        raise BadBodyError("not final")

    server = serve(in_turn(Answer(b"no", 400), OK))
    assert run(fast(server.url), lambda http: http.get("/table.json", body, refused=refused)) == OK.body


def test_a_redirect_is_refused_because_it_would_send_the_token_elsewhere(serve: Serve) -> None:
    server = serve(in_turn(Answer(b"", 301, {"Location": "https://elsewhere.example/table.json"})))
    with pytest.raises(SourceError, match=r"301 Moved Permanently\. It redirects to https://elsewhere\.example"):
        get(fast(server.url))


def test_if_nothing_listens_the_error_is_one_line_that_names_the_mock() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with capture_logs() as logs, pytest.raises(SourceUnavailable) as caught:
        get(fast(url))
    text = str(caught.value)
    assert text.startswith(f"Test source: cannot connect to {url} (")
    assert text.endswith("4 attempts); is the mock running? Start it with `catalunya mock`")
    assert "\n" not in text
    assert len([line for line in logs if line["event"] == "http_retry"]) == 3


def test_the_deadline_ends_all_requests_and_its_error_has_the_last_failure(serve: Serve) -> None:
    server = serve(in_turn(Answer(b"", 503), Answer(delay=2)))
    with pytest.raises(SourceUnavailable, match=r"deadline of 0\.7 s after 2 request\(s\).* last failure: .* 503 "):
        get(fast(server.url, deadline_s=0.7))


def test_the_deadline_ends_an_answer_that_comes_byte_by_byte() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while True:  # each byte within the timeout
                    connection.sendall(b"1")
                    time.sleep(0.02)

        pool.submit(drip)
        began = time.monotonic()
        with pytest.raises(DeadlineReached, match=r"deadline of 0\.5 s after 1 request\(s\)"):
            get(fast(f"http://127.0.0.1:{listening.getsockname()[1]}", deadline_s=0.5, timeout_s=patience(20)))
        assert 0.5 <= time.monotonic() - began < patience(10)


def test_a_client_that_is_stopped_ends_what_its_other_threads_wait_for(serve: Serve) -> None:
    server = serve(in_turn(Answer(delay=patience(3))))
    settings = fast(server.url, deadline_s=patience(60), timeout_s=patience(60))
    with connect(settings, "Test source") as http, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(http.get, f"/{number}", body) for number in range(2)]
        while len(server.asked) < 2:
            time.sleep(0.001)
        began = time.monotonic()
        http.stop()
        assert all(isinstance(each.exception(), DeadlineReached) for each in waiting)
        assert time.monotonic() - began < patience(2)


def test_a_timeout_of_the_job_itself_is_not_mistaken_for_the_deadline(serve: Serve) -> None:
    def work(http: Http) -> None:
        raise TimeoutError("the disk")

    with pytest.raises(TimeoutError, match="the disk"):
        run(fast(serve(in_turn(OK)).url), work)


def test_no_more_requests_are_in_flight_than_allowed(serve: Serve) -> None:
    server = serve(in_turn(Answer(delay=0.05)))

    def many(http: Http) -> int:
        at_once(12, lambda n: http.get(f"/{n}", body))
        return http.requests

    assert run(fast(server.url, concurrency=3), many) == 12
    assert server.most_at_once == 3


def test_requests_stay_within_the_rate_limit(serve: Serve) -> None:
    server = serve(in_turn(OK))

    def many(http: Http) -> None:
        at_once(11, lambda n: http.get(f"/{n}", body))

    began = time.monotonic()
    run(fast(server.url, requests_per_second=50, concurrency=11), many)
    assert max(asked.at for asked in server.asked) - began >= 10 / 50 * 0.95


def test_urls_are_sent_unquoted_where_that_is_allowed(serve: Serve) -> None:
    server = serve(in_turn(OK))
    params = {"$order": "any,:id", "$select": "count(*) as total", "nom": "Besòs & més"}
    run(fast(f"{server.url}/v2/"), lambda http: http.get("/table.json", body, params))
    (asked,) = server.asked
    assert asked.target == (
        "/v2/table.json?$order=any,:id&$select=count(*)%20as%20total&nom=Bes%C3%B2s%20%26%20m%C3%A9s"
    )
    assert asked.params == params


def test_a_form_is_posted_again_after_a_failure(serve: Serve) -> None:
    server = serve(in_turn(Answer(b"", 504), OK))
    assert run(fast(server.url), lambda http: http.post("/data", body, {"MUN": "080193,171045"})) == OK.body
    assert [(asked.method, asked.body) for asked in server.asked] == [("POST", b"MUN=080193%2C171045")] * 2


def test_a_proxy_in_the_environment_is_not_used_for_this_machine(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert get(fast(serve(in_turn(OK)).url)) == OK.body


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_url": "analisi.example"}, "http"),
        ({"base_url": "ftp://analisi.example"}, "ftp://analisi.example"),
        ({"base_url": "https://me:secret@analisi.example"}, "without user"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"requests_per_second": float("nan")}, "requests_per_second=nan"),
        ({"deadline_s": -1}, "deadline_s=-1"),
        ({"app_token": "secret\n"}, "printable ASCII"),
    ],
)
def test_invalid_settings_are_refused_without_showing_secrets(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpSettings(**{"base_url": "https://analisi.example", **wrong})
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
