"""The wire format, the same for both shells: packing, parsing, greeting, TLS. Opens no socket.

Replies are read as RESP2: bytes, int, None and lists; an error reply becomes a `ServerError` value wherever it
occurs. RESP2 needs no HELLO, has no push messages, and gives the same values on every server.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import hiredis

from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError
from keyweave.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl

INCOMPLETE: Final = object()
"""What a reader returns while a reply is not complete."""

PING: Final[Command] = ("PING",)
READ_SIZE: Final = 65_536
ProtocolError: Final = hiredis.ProtocolError
"""What a reader raises when the bytes are not the Redis protocol."""
PushMessage: Final = hiredis.PushNotification
"""What a reader returns for a message in RESP3 that no command asked for."""

TLS: TypeAlias = "ssl.SSLContext"

_REFUSED: Final = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})
_CONDEMNING: Final = frozenset({"READONLY", "MASTERDOWN", "NOAUTH", "WRONGPASS"})
"""Codes of error replies that a new connection may not get: the address may lead to another server meanwhile, or the credentials
that this connection was opened with are no longer valid."""
_FULL: Final = "ERR max number of clients"
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


# hiredis's own annotation describes a tuple of one word.
pack_command: Final[Callable[[Command], bytes]] = hiredis.pack_command  # type: ignore[assignment]
"""Return a command as bytes. Raises TypeError for a word that is not str, bytes, int or float."""


def new_reader() -> Any:
    """Return an incremental parser: `feed(bytes)`, then `gets()` until it returns `INCOMPLETE`."""
    return hiredis.Reader(replyError=ServerError, notEnoughData=INCOMPLETE)


def condemning(replies: Sequence[Reply]) -> bool:
    """Return whether one of the replies says that the connection is of no use any more."""
    return any(type(reply) is ServerError and reply.code in _CONDEMNING for reply in replies)


def greeting(settings: ConnectionSettings) -> list[Command]:
    """Return what a new connection sends first, as one pipeline. The reply to the PING at its end proves it alive."""
    commands: list[Command] = []
    if settings.username:
        commands.append(("AUTH", settings.username, settings.password or ""))
    elif settings.password:
        commands.append(("AUTH", settings.password))
    if settings.client_name is not None:
        commands.append(("CLIENT", "SETNAME", settings.client_name))
    if settings.db:
        commands.append(("SELECT", settings.db))
    commands.append(PING)
    return commands


def check_greeting(
    settings: ConnectionSettings, commands: Sequence[Command], replies: Sequence[Reply]
) -> None:
    """Raise ConnectionFailure if the server refused the credentials, the database or one more client.

    A server that is loading, or a replica that lost its primary, is usable as a connection: it answers the commands
    that follow with its own error.
    """
    for command, reply in zip(commands, replies, strict=True):
        if not isinstance(reply, ServerError):
            continue
        if command[0] == "AUTH" or (reply.code in _REFUSED and command[0] in ("SELECT", "PING")):
            raise ConnectionFailure(
                "authentication", f"{settings.address} refused the credentials ({reply.code})", sent=False
            )
        if command[0] == "SELECT" or reply.message.startswith(_FULL):
            raise ConnectionFailure("connect", f"{settings.address}: {reply.message}", sent=False)


def tls_context(settings: ConnectionSettings) -> TLS | None:
    """Return the TLS context for the settings; None for a scheme without TLS.

    Raises:
        ConfigurationError: a certificate or key file cannot be read.
    """
    if settings.scheme != "rediss":
        return None
    import ssl  # connections without TLS do not load it

    try:
        context = ssl.create_default_context(cafile=settings.tls_ca_file)
    except OSError as error:
        raise ConfigurationError(f"tls_ca_file: {cause(error)}") from error
    context.check_hostname = settings.tls_verify and settings.tls_check_hostname
    context.verify_mode = ssl.CERT_REQUIRED if settings.tls_verify else ssl.CERT_NONE
    if settings.tls_cert_file is not None:
        try:
            # Without a password, OpenSSL would prompt for that of an encrypted key on the terminal.
            context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file, password="")
        except OSError as error:
            raise ConfigurationError(f"tls_cert_file, tls_key_file: {cause(error)}") from error
    return context


def tune(connection: socket.socket) -> None:
    """Disable Nagle's algorithm, and let the kernel detect dead peers by TCP keepalive."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def cause(error: BaseException) -> str:
    """Return the message of an operating system error, without errno and addresses."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def connect_failed(
    settings: ConnectionSettings, error: BaseException, seconds: float | None = None
) -> ConnectionFailure:
    """Return the failure of connecting. None of the flow's commands were sent.

    Args:
        seconds: how long connecting was allowed to take; `connect_timeout` by default.
    """
    if isinstance(error, TimeoutError):
        limit = settings.connect_timeout if seconds is None else seconds
        message = f"connecting to {settings.address} took longer than {limit:.3g} s"
        return ConnectionFailure("timeout", message, sent=False)
    return ConnectionFailure("connect", f"cannot connect to {settings.address}: {cause(error)}", sent=False)


def timed_out(settings: ConnectionSettings, seconds: float) -> ConnectionFailure:
    """Return the failure of replies that did not arrive in time. The server may have run the commands."""
    return ConnectionFailure("timeout", f"{settings.address} did not answer within {seconds:g} s", sent=True)


def connection_lost(
    settings: ConnectionSettings, error: BaseException | None, replies: Sequence[Reply] = ()
) -> ConnectionFailure:
    """Return the failure of a connection that ended before the last reply. The server may have run the commands."""
    reason = cause(error) if error is not None else "the server closed it"
    if replies and isinstance(replies[-1], ServerError):
        # A server that rejects a client sends the reason before it closes the connection.
        reason = replies[-1].message
    return ConnectionFailure("closed", f"the connection to {settings.address} broke: {reason}", sent=True)


def unexpected_reply(settings: ConnectionSettings) -> ConnectionFailure:
    """Return the failure of more replies than commands: which reply belongs to which command is unknown."""
    message = f"{settings.address} sent more replies than there were commands"
    return ConnectionFailure("closed", message, sent=True)


def pool_exhausted(settings: ConnectionSettings, seconds: float) -> ConnectionFailure:
    """Return the failure of a wait for a connection that timed out after `seconds`. Nothing was sent."""
    busy = f"all {settings.pool_size} connections to {settings.address} stayed busy"
    return ConnectionFailure("pool", f"{busy} for {seconds:.3g} s", sent=False)


def deadline_passed() -> ConnectionFailure:
    """Return the failure of an effect that the operation's deadline leaves no time for. Nothing was sent."""
    return ConnectionFailure("deadline", "the operation's deadline has passed", sent=False)


def require_in_time(until: float | None, within: float | None, patience: float) -> None:
    """Refuse a reply that came long after its time: what it says may rest on a lease that has ended meanwhile.

    Raises:
        ConnectionFailure: it did.
    """
    if until is not None and time.monotonic() > until + patience + (within or 0.0):
        raise stood_still()


def stood_still() -> ConnectionFailure:
    """Return the failure of an exchange whose reply came long after its time, because this process did not run."""
    return ConnectionFailure(
        "timeout", "this process stood still for longer than the exchange may take", sent=True
    )


def earlier(until: float | None, seconds: float) -> float:
    """Return the monotonic time in `seconds`, or `until` if that comes first."""
    end = time.monotonic() + seconds
    return end if until is None else min(end, until)


def share_of_time(deadline: float, attempts: int) -> float:
    """Return the monotonic time by which the first of some attempts has to end, so that each gets its share until `deadline`."""
    now = time.monotonic()
    return now + max(deadline - now, 0.0) / attempts


def seconds_left(limit: float, until: float | None) -> float:
    """Return the seconds that a wait may take: `limit`, and not beyond the monotonic time `until`."""
    return limit if until is None else max(min(limit, until - time.monotonic()), 0.0)


def before_sending(
    settings: ConnectionSettings, failure: ConnectionFailure, seconds: float | None = None
) -> ConnectionFailure:
    """Return a failure of the greeting as a failure to connect: none of the flow's commands were sent."""
    if failure.reason == "timeout":
        return connect_failed(settings, TimeoutError(), seconds)
    reason = "connect" if failure.reason == "closed" else failure.reason
    return ConnectionFailure(reason, str(failure), sent=False)
