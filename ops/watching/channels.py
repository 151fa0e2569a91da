"""How a message leaves: through Apprise to e-mail, chats and webhooks, and through AWS's API to topics of SNS with the role of the process.

Every channel is tried at the same time, in a thread of its own, and given up after a limit, so that one that hangs holds up no other.
Apprise is kept to the addresses that it is given: it reads no configuration file, loads no plugin, stores nothing, and follows no redirect
(a webhook's POST would become a GET, and count as delivered). Its modules are imported when a message is sent.
Here: sending. Not here: the text (`message.py`), who is notified of what (`notify.py`), the syntax of the settings (`io/notifications.py`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from catalunya.io.errors import ConfigurationError
from catalunya.io.notifications import CONNECTION, TOPIC, Channel, parse_channels, secrets_of
from catalunya.io.safe_text import register_secret, safe_text
from catalunya.ops.watching.message import BODY, TITLE

if TYPE_CHECKING:
    from apprise import Apprise

LIMIT_S = 25.0
"""Seconds after which a channel that has not answered is given up, until the next look."""
Tone = Literal["failure", "warning", "success", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A text to send."""

    title: str
    body: str
    tone: Tone = "info"


@dataclass(frozen=True, slots=True)
class Transport:
    """A channel that can be sent to. `room`: the longest body it takes, in characters; `send` raises if the message did not arrive."""

    channel: Channel
    room: int
    send: Callable[[Message], None]


class Undelivered(Exception):
    """A message did not arrive; the text says why, as far as the service says."""


def transport_of(channel: Channel) -> Transport:
    """How a channel is reached. Raises ConfigurationError, in one line without its address, if no service accepts that."""
    if found := CONNECTION.fullmatch(channel.url):
        return _connection(channel, found["id"])
    return _topic(channel) if TOPIC.fullmatch(channel.url) else _service(channel)


def deliver(jobs: Mapping[str, Callable[[], None]], limit_s: float = LIMIT_S) -> dict[str, str]:
    """Run all jobs at the same time: by name, why each failed, or an empty text.

    One that takes longer than `limit_s` has failed. Its thread cannot be stopped: what it sends after all may arrive twice, because it
    counts as not sent. The thread does not keep the process alive.
    """
    results: dict[str, str] = {}
    threads = {
        name: threading.Thread(target=_run, args=[name, job, results], daemon=True) for name, job in jobs.items()
    }
    for thread in threads.values():
        thread.start()
    until = time.monotonic() + limit_s
    for thread in threads.values():
        thread.join(max(0.0, until - time.monotonic()))
    late = f"no answer within {limit_s:g} s"
    return {name: results.get(name, late) for name in jobs}


def _run(name: str, job: Callable[[], None], results: dict[str, str]) -> None:
    try:
        job()
    except Exception as error:  # noqa: BLE001  whatever a service's client raises: the other channels get theirs
        text = str(error) if isinstance(error, Undelivered) else f"{type(error).__name__}: {error}"
        results[name] = safe_text(text, 500) or type(error).__name__
    else:
        results[name] = ""


def _connection(channel: Channel, name: str) -> Transport:
    """The transport of the address that a connection of Airflow has as its password. Raises ConfigurationError if there is none."""
    where = f"CATALUNYA_NOTIFY: channel {channel.name!r}: Airflow's connection {name}"
    try:
        from airflow.sdk import Connection

        address = Connection.get(name).password or ""
    except Exception as error:  # noqa: BLE001  secrets backends raise what they like
        raise ConfigurationError(f"{where} cannot be read: {safe_text(error, 300)}") from None
    for secret in secrets_of(address):
        register_secret(secret)
    try:
        (there,) = parse_channels(address)
    except ValueError:
        there = channel
    if CONNECTION.fullmatch(there.url):
        raise ConfigurationError(f"{where}: expected one address of a channel as its password, such as mailto://…")
    return transport_of(replace(channel, url=there.url))


def _topic(channel: Channel) -> Transport:
    found = TOPIC.fullmatch(channel.url)
    assert found
    region = found["region"]

    def send(message: Message) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        from catalunya.io.aws import client, text_of

        subject = message.title.encode("ascii", "replace").decode()[:TITLE]
        try:
            client("sns", region).publish(TopicArn=channel.url, Subject=subject, Message=message.body)
        except (BotoCoreError, ClientError) as error:
            raise Undelivered(text_of(error)) from error

    return Transport(channel, BODY, send)


def _service(channel: Channel) -> Transport:
    box = _apprise(channel)
    service = box[0]
    room = service.body_maxlen - (
        TITLE + 2 if service.title_maxlen <= 0 else 0
    )  # such a service has the title in its body

    def send(message: Message) -> None:
        result = box.notify(body=message.body, title=message.title, notify_type=message.tone, body_format="text")
        if not result:
            reasons = dict.fromkeys(entry.message for entry in result.logs())
            raise Undelivered("; ".join(reasons) or "the service refused the message")

    return Transport(channel, room, send)


def _apprise(channel: Channel) -> Apprise:
    # requests sends the password that ~/.netrc has for a host, unless a variable names another file.
    os.environ["NETRC"] = os.devnull
    try:
        import apprise
    except ImportError as error:
        raise ConfigurationError(
            f"CATALUNYA_NOTIFY: notifications need Apprise, which is not installed ({error}); install catalunya[airflow]"
        ) from error
    from catalunya.io.project_folder import active

    # What Apprise logs is part of our own line; its handlers still collect it.
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(
        app_id=active().title,
        app_desc=active().title,
        app_url="",
        image_url_mask=False,
        image_path_mask=False,
        async_mode=False,
        service_timeout=0,
        storage_mode="memory",
        pgp_autogen=False,
        pem_autogen=False,
        http_redirects=False,
        interpret_emojis=False,
        allow_templates=False,
        secure_logging=True,
    )
    service = apprise.Apprise.instantiate(channel.url, asset=asset)
    if service is None:
        raise ConfigurationError(
            f"CATALUNYA_NOTIFY (value not shown): channel {channel.name!r}: Apprise does not accept its address; compare it with the "
            "examples in docs/watching.md"
        )
    box = apprise.Apprise(asset=asset)
    box.add(service)
    return box
