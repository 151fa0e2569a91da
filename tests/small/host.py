"""A Dokku host in namespaces of this machine: a real systemd with its own files, processes, networks and control groups.

Its root is an overlay whose changes live in memory, so that nothing it does reaches this machine. Its containers are network namespaces
on bridges, as Docker makes them; `docker`, `dokku` and what needs the internet are stand-ins. Needs root, iproute2 and nftables.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from small.patience import patience, wait_until

NEEDS = ("/lib/systemd/systemd", "/lib/systemd/systemd-socket-proxyd", "/usr/sbin/nft", "/usr/sbin/ip")
UNITS = {
    # What every unit depends on by default; this machine's own would start everything it has.
    **dict.fromkeys(("sysinit.target", "basic.target", "shutdown.target"), "[Unit]\n"),
    **dict.fromkeys(("sockets.target", "multi-user.target"), "[Unit]\n"),
}
# Runs as the first process of the namespaces, and becomes their systemd.
BOOT = r"""
set -euo pipefail
mount --make-rprivate /
mount -t tmpfs tmpfs "$FOLDER"
mkdir "$FOLDER"/{up,work,root}
mount -t overlay overlay -o lowerdir=/,upperdir="$FOLDER/up",workdir="$FOLDER/work" "$FOLDER/root"
cd "$FOLDER/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount --rbind /dev dev
mount --bind "$LOG" dev/console
rm -rf etc/systemd/system usr/lib/systemd/system-generators
cp -r "$GIVEN/." .
mkdir -p run/netns
ip link set lo up
mount --make-rshared .  # as systemd does outside of containers: credentials of units are mounted by its children
exec env -i container=test PATH="$PATH" SYSTEMD_UNIT_PATH=/etc/systemd/system SYSTEMD_LOG_TARGET=console \
  chroot . /lib/systemd/systemd --system --unit=multi-user.target --show-status=0 --log-level=warning
"""
SHIMS = {
    "sudo": 'exec "$@"',
    "docker": """
        case "$4" in *Gateway*) cat "/etc/networks.d/$5.gateway";; *Subnet*) cat "/etc/networks.d/$5.subnet";; *) exit 1;; esac""",
    "dokku": 'echo "$@" >> /var/lib/dokku.calls',
    "curl": "cp /usr/share/helper aws_signing_helper",
    "sha256sum": "cat > /dev/null",
    "apt-get": "exit 0",
}


@dataclass
class Host:
    """A running host."""

    pid: int
    log: Path

    def run(
        self, *command: str, inside: str | None = None, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, or in one of its containers, and wait for it."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--cgroup", "--ipc", "--uts", "--root"]
        container = ["ip", "netns", "exec", inside] if inside else []
        as_user = ["setpriv", f"--reuid={user}", "--regid=65534", "--clear-groups"] if user else []
        return subprocess.run(
            [*enter, *container, *as_user, *command],
            env={"PATH": "/opt/shims:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience(120),
            check=False,
        )

    def do(self, script: str, **variables: str) -> str:
        """Run a script on the host, which must succeed. Returns what it printed."""
        sets = "".join(f"export {name}='{value}'\n" for name, value in variables.items())
        done = self.run("bash", "-euo", "pipefail", "-c", sets + script)
        assert done.returncode == 0, f"{done.stderr}\n{self.log.read_text(errors='replace')[-3000:]}"
        return done.stdout

    def network(self, name: str, prefix: str, *containers: str) -> None:
        """A bridge with these containers, as `docker network create` makes it; `prefix` are the first three parts of its addresses."""
        bridge = f"br-{prefix}"
        lines = [
            f"ip link add {bridge} type bridge",
            f"ip addr add {prefix}.1/24 dev {bridge}",
            f"ip link set {bridge} up",
        ]
        for number, container in enumerate(containers, start=2):
            lines += [
                f"ip netns add {container}",
                f"ip link add v-{container} type veth peer name eth0 netns {container}",
                f"ip link set v-{container} master {bridge} up",
                f"ip -n {container} addr add {prefix}.{number}/24 dev eth0",
                f"ip -n {container} link set eth0 up",
                f"ip -n {container} route add default via {prefix}.1",
            ]
        lines += [f"mkdir -p /etc/networks.d; echo {prefix}.1 > /etc/networks.d/{name}.gateway"]
        lines += [f"echo {prefix}.0/24 > /etc/networks.d/{name}.subnet"]
        self.do("\n".join(lines))


def missing() -> str:
    """What this machine lacks for a host, if anything."""
    if os.geteuid() != 0:
        return "root"
    return ", ".join(path for path in NEEDS if not Path(path).exists())


@contextmanager
def host(folder: Path, files: Mapping[str, str]) -> Iterator[Host]:
    """A host with these executable files, by path, on which nothing runs yet. Ended with all its processes."""
    given, log = folder / "given", folder / "host.log"
    written = {f"etc/systemd/system/{name}": text for name, text in UNITS.items()}
    written |= {f"opt/shims/{name}": f"#!/bin/sh\n{textwrap.dedent(text)}\n" for name, text in SHIMS.items()}
    for name, text in {**written, **files}.items():
        path = given / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if "etc/" not in name else 0o644)
    folder.joinpath("fs").mkdir()
    group = _control_groups() / f"catalunya-test-{os.getpid()}"
    group.mkdir()
    command = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--net",
        "--ipc",
        "--uts",
        "--cgroup",
        "bash",
        "-c",
        BOOT,
    ]
    script = 'echo $$ > "$0/cgroup.procs"; exec "$@"'
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", script, group, *command],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "FOLDER": str(folder / "fs"),
                "GIVEN": str(given),
                "LOG": str(log),
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: children.read_text(encoding="utf-8").split(), 30, log.read_text)
        found = Host(int(children.read_text(encoding="utf-8").split()[0]), log)
        wait_until(
            lambda: found.run("systemctl", "is-active", "multi-user.target").returncode == 0,
            60,
            log.read_text,
            poll_s=0.3,
        )
        yield found
    finally:
        process.send_signal(
            signal.SIGKILL
        )  # the first process of the namespace dies with it, and all others with that one
        process.wait()
        wait_until(lambda: "populated 0" in (group / "cgroup.events").read_text(), 30)
        for path, _, __ in os.walk(group, topdown=False):
            Path(path).rmdir()
        shutil.rmtree(given)


def _control_groups() -> Path:
    """Where this machine's version 2 control groups are."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return next(Path(mount[1]) for mount in mounts if mount[2] == "cgroup2")
