"""The recovery drill's clock, and the settings that people make in an Airflow that is then lost."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time

import structlog

from catalunya.ops.cli import main
from small.field import Field

SECRETS = ("hunter2-of-the-drill", "key-of-the-drill", "token-of-the-drill")


class Clock:
    """How long each step of a recovery took, for the output and for docs/recovery.md."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self.cpu = _cpu()
        self.steps: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        return self.last - self.began

    def took(self, step: str) -> None:
        now = time.monotonic()
        self.steps[step], self.last = now - self.last, now

    def print(self) -> None:
        steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in self.steps.items())
        sys.stdout.write(f"\nrecovery drill: {self.seconds:.1f} s ({steps}); {_cpu() - self.cpu:.0f} s of CPU\n")


def command(*arguments: str) -> int:
    """Run `catalunya` in this process; returns its exit code. Logging is restored afterwards."""
    before = logging.root.level, list(logging.root.handlers)
    try:
        return main(arguments)
    finally:
        logging.root.level, logging.root.handlers[:] = before
        structlog.reset_defaults()


def _cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def customize(field: Field) -> None:
    """Make the settings that people make in Airflow: a pool, variables, a connection, a paused DAG."""
    client = field.client
    client.post("/pools", {"name": "slow", "slots": 3, "description": "a slow source", "include_deferred": True})
    client.post("/variables", {"key": "contact", "value": "data@example.org", "description": "whom to ask"})
    client.post("/variables", {"key": "limits", "value": '{"rows": 50000}', "description": None})
    client.post("/variables", {"key": "portal_token", "value": SECRETS[2], "description": None})
    client.post(
        "/connections",
        {
            "connection_id": "portal",
            "conn_type": "http",
            "host": "example.org",
            "port": 443,
            "login": "reader",
            "password": SECRETS[0],
            "extra": json.dumps({"api_key": SECRETS[1], "timeout": 5}),
        },
    )
    client.patch("/dags/landing.gdp", {"is_paused": True})
    client.patch("/pools/default_pool", {"slots": 64}, update_mask="slots")


def check_customized(field: Field, output: str) -> None:
    """All of them are restored, except secrets, which the output lists for someone to set."""
    get = field.client.get
    pool = get("/pools/slow")
    assert (pool["slots"], pool["include_deferred"], get("/pools/default_pool")["slots"]) == (3, True, 64)
    assert get("/variables/contact")["value"] == "data@example.org"
    assert json.loads(get("/variables/limits")["value"]) == {"rows": 50000}
    assert get("/dags/landing.gdp")["is_paused"]
    assert not get("/dags/staging.gdp")["is_paused"]
    assert "variable portal_token: its value, which may be a secret" in output
    assert "connection portal: http to example.org:443, with login, password, extra.api_key, extra.timeout" in output
    assert {each["key"] for each in get("/variables")["variables"]} == {"contact", "limits"}
