"""The AWS credentials of docs/dokku.md answer only the app they belong to: the page's block on a real systemd, with real networks."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from small.host import Host, host, missing
from small.patience import patience, wait_until

PAGE = (Path(__file__).parents[2] / "docs/dokku.md").read_text(encoding="utf-8")
(BLOCK,) = (
    textwrap.dedent(body)
    for body in re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", PAGE)
    if "credentials-door.socket" in body
)
# In place of AWS's helper: it has its options and its address, and answers with whose credentials they are and how it runs.
HELPER = """#!/usr/bin/python3
import argparse, http.server, json, os, pathlib
options = argparse.ArgumentParser()
options.add_argument("command", choices=["serve"])
options.add_argument("--port", type=int)
for name in ("certificate", "private-key", "trust-anchor-arn", "profile-arn", "role-arn"):
    options.add_argument(f"--{name}", required=True)
given = options.parse_args()
key = pathlib.Path(given.private_key).read_text().strip()
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
try:
    pathlib.Path("/usr/local/written").touch()
    can_write = True
except OSError:
    can_write = False
can_read = os.access("/etc/catalunya", os.R_OK | os.X_OK)
found = {"key": key, "role": given.role_arn, "uid": os.getuid(), "capabilities": status["CapEff"].strip(),
         "no_new_privileges": status["NoNewPrivs"].strip(), "can_write": can_write, "can_read_keys": can_read}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()
"""
ASK = (
    "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())"
)
APPS = {"catalunya-dev": ("172.31.1", "9911"), "catalunya-prod": ("172.31.2", "9912")}


@pytest.fixture(scope="module")
def dokku(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host on which the block was run for dev and for prod; each has a container, and there is a third app that is none of ours."""
    if lacking := missing():
        pytest.skip(f"needs {lacking}: run as root, with iproute2, nftables and systemd installed")
    folder = tmp_path_factory.mktemp("host")
    with host(folder, {"usr/share/helper": HELPER}) as found:
        found.network("other", "172.31.9", "other")
        for app, (prefix, port) in APPS.items():
            found.network(app, prefix, app.removeprefix("catalunya-"))
            found.do(
                f"""
                install --directory --mode 700 /etc/catalunya
                cd /etc/catalunya
                echo "key of {app}" > {app}.key; echo certificate > {app}.pem; chmod 600 {app}.*
                printf 'ANCHOR=a\\nPROFILE=p\\nROLE=role-of-{app}\\n' > {app}.env"""
            )
            found.do(f"cd /root\n{BLOCK}", APP=app, PORT=port)
        for app, (prefix, port) in APPS.items():
            address, container = f"http://{prefix}.1:{port}/", app.removeprefix("catalunya-")
            wait_until(partial(ask, found, address, inside=container), 60, found.log.read_text)
        yield found


def ask(dokku: Host, url: str, *, inside: str | None = None, user: str | None = None) -> dict[str, object] | None:
    """The credentials at an address, or None if they are refused."""
    done = dokku.run("python3", "-c", ASK, url, str(patience(3)), inside=inside, user=user)
    if done.returncode == 0:
        found: dict[str, object] = json.loads(done.stdout)
        return found
    # Dropped, rejected, or forwarded to a helper that does not run.
    assert re.search("timed out|refused|reset|closed connection", done.stderr), done.stderr
    return None


@pytest.mark.parametrize("app", APPS)
def test_an_apps_own_container_gets_the_credentials_of_its_role(dokku: Host, app: str) -> None:
    prefix, port = APPS[app]
    found = ask(dokku, f"http://{prefix}.1:{port}/", inside=app.removeprefix("catalunya-"))
    assert found is not None
    assert (found["key"], found["role"]) == (f"key of {app}", f"role-of-{app}")
    assert f"config:set {app} AWS_METADATA_ENDPOINT=http://{prefix}.1:{port}" in dokku.do("cat /var/lib/dokku.calls")


@pytest.mark.parametrize(
    ("app", "others"), [("catalunya-dev", ("prod", "other")), ("catalunya-prod", ("dev", "other"))]
)
def test_no_other_container_of_the_host_gets_them(dokku: Host, app: str, others: tuple[str, ...]) -> None:
    prefix, port = APPS[app]
    for container in others:
        assert ask(dokku, f"http://{prefix}.1:{port}/", inside=container) is None


def test_no_other_user_of_the_host_gets_them(dokku: Host) -> None:
    for app, (prefix, port) in APPS.items():
        for user in ("nobody", next(each for each in APPS if each != app) + "-door"):
            assert ask(dokku, f"http://127.0.0.1:{port}/", user=user) is None
            assert ask(dokku, f"http://{prefix}.1:{port}/", user=user) is None
        assert ask(dokku, f"http://127.0.0.1:{port}/", user=f"{app}-door") is not None


def test_it_is_their_rules_that_refuse_them(dokku: Host) -> None:
    """Without its rule, each request is answered, so that nothing else would keep it away."""
    socket, service = "catalunya-dev-credentials-door.socket", "catalunya-dev-credentials.service"
    dokku.do(f"systemctl set-property --runtime {socket} IPAddressAllow=any; nft delete table inet catalunya-dev")
    try:
        assert ask(dokku, "http://172.31.1.1:9911/", inside="other") is not None
        assert ask(dokku, "http://127.0.0.1:9911/", user="nobody") is not None
    finally:
        dokku.do(f"rm -r /run/systemd/system.control/{socket}.d; systemctl daemon-reload; systemctl restart {service}")
    assert ask(dokku, "http://172.31.1.1:9911/", inside="other") is None
    assert ask(dokku, "http://127.0.0.1:9911/", user="nobody") is None
    wait_until(lambda: ask(dokku, "http://172.31.1.1:9911/", inside="dev"), 60, dokku.log.read_text)


def test_without_its_rule_the_helper_does_not_run(dokku: Host) -> None:
    unit, rules = "catalunya-prod-credentials.service", "/etc/catalunya/catalunya-prod.nft"
    dokku.do(f"mv {rules} {rules}.away")
    try:
        assert dokku.run("systemctl", "restart", unit).returncode != 0
        assert ask(dokku, "http://127.0.0.1:9912/", user="catalunya-prod-door") is None
    finally:
        dokku.do(f"mv {rules}.away {rules}; systemctl restart {unit}")
    wait_until(lambda: ask(dokku, "http://172.31.2.1:9912/", inside="prod"), 60, dokku.log.read_text)


def test_the_helper_has_no_privileges_and_neither_has_the_forwarder(dokku: Host) -> None:
    found = ask(dokku, "http://172.31.1.1:9911/", inside="dev")
    assert found is not None
    assert found["uid"] not in (0, None)
    assert int(str(found["capabilities"]), 16) == 0
    assert (found["no_new_privileges"], found["can_write"], found["can_read_keys"]) == ("1", False, False)
    shown = dokku.do("systemctl show --property MainPID --value catalunya-dev-credentials-door.service").strip()
    status = dokku.do(f"cat /proc/{shown}/status")
    assert re.search(r"(?m)^CapEff:\s0+$", status)
    assert re.search(r"(?m)^NoNewPrivs:\s1$", status)
    assert not re.search(r"(?m)^Uid:\s0\b", status)
