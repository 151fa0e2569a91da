"""What stands in for those who are notified: a mail server that keeps its mail, and the hosts of Slack behind a proxy.

A webhook is a server of `small.http_server`, a topic one of `small.aws`. Slack's address cannot be changed, so `slack` is reached as from a
network behind a proxy: the client asks for a tunnel to hooks.slack.com, whose certificate is signed by an authority of the test's own.
"""

from __future__ import annotations

import contextlib
import datetime
import email
import email.policy
import socket
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiosmtpd.controller import Controller

from catalunya.ops.mock.exchange import Answer
from small.http_server import Server

HOST = "hooks.slack.com"


class Mailbox:
    """All mail that was received."""

    def __init__(self) -> None:
        self.mail: list[EmailMessage] = []
        self.refuses = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the interface's name
        if self.refuses:
            return "554 No such user here"
        self.mail.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        return "250 OK"


@contextlib.contextmanager
def mail_server() -> Iterator[tuple[str, Mailbox]]:
    """A mail server on a free port: its address for Apprise, and the mailbox."""
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"mailto://127.0.0.1:{port}?mode=insecure&from=watch@example.org&to=team@example.org", box
    finally:
        controller.stop()


@contextlib.contextmanager
def slack(folder: Path) -> Iterator[tuple[dict[str, str], Server]]:
    """Slack's host behind a proxy: the environment that makes a client use it, and the server that has the requests."""
    authority, pair = _certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with Server(lambda _: Answer(b"ok")).running() as server, socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_tunnels, args=[listening, context, server.url], daemon=True).start()
        proxy = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield {"HTTPS_PROXY": proxy, "https_proxy": proxy, "REQUESTS_CA_BUNDLE": str(authority)}, server
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def _tunnels(listening: socket.socket, context: ssl.SSLContext, url: str) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:  # the test is over
            return
        threading.Thread(target=_tunnel, args=[client, context, url], daemon=True).start()


def _tunnel(client: socket.socket, context: ssl.SSLContext, url: str) -> None:
    asked = b""
    while not asked.endswith(b"\r\n\r\n"):
        asked += client.recv(1)
    if not asked.startswith(f"CONNECT {HOST}:443 ".encode()):
        client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        client.close()
        return
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with context.wrap_socket(client, server_side=True) as inner, socket.create_connection(_address(url)) as outer:
        back = threading.Thread(target=_pump, args=[outer, inner], daemon=True)
        back.start()
        _pump(inner, outer)
        back.join()


def _pump(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sent := source.recv(65536):
            to.sendall(sent)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def _certificates(folder: Path) -> tuple[Path, Path]:
    """A file with an authority's certificate, and one with the key and certificate that it signed for Slack's host."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("an authority", HOST)]
    made = []
    for at, is_authority in enumerate((True, False)):
        builder = (
            x509.CertificateBuilder().subject_name(names[at]).issuer_name(names[0]).public_key(keys[at].public_key())
        )
        builder = builder.serial_number(at + 1).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(keys[at].public_key()), critical=False
        )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key())
        builder = builder.add_extension(issuer, critical=False)
        if not is_authority:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority, pair = folder / "authority.pem", folder / "slack.pem"
    authority.write_bytes(made[0])
    pair.write_bytes(key + made[1])
    return authority, pair
