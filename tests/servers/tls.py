"""A server that is reached by TLS, with certificates made for the test.

Redis 8 listens for TLS itself. The Valkey of the wheel is built without TLS; before it stands a relay that ends the
TLS, which is how many people run servers that have none. `tests.servers.tls_cluster` does the same for a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import trustme

from tests.servers.running import chosen_server, configured_server, free_port

Connect: TypeAlias = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Connects to a server without TLS."""


@contextmanager
def tls_server(folder: Path, *, client_certificates: bool = False, **options: str) -> Iterator[str]:
    """A server of the kind under test behind TLS; yields `localhost:port`.

    Args:
        folder: gets `ca.pem`, which is to be trusted, and `client.pem`, a client's certificate with its key.
        client_certificates: whether a client has to show one.
        options: settings of the server.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(
        folder / "client.pem"
    )
    certificate = authority.issue_cert("localhost")
    if chosen_server() == "redis8":
        certificate.private_key_pem.write_to_path(folder / "server.key")
        certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
        port = free_port()
        listener = {
            "tls_port": str(port),
            "tls_cert_file": str(folder / "server.pem"),
            "tls_key_file": str(folder / "server.key"),
            "tls_ca_cert_file": str(folder / "ca.pem"),
            "tls_auth_clients": "yes" if client_certificates else "no",
        }
        with configured_server(**listener, **options):
            yield f"localhost:{port}"
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if client_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    with configured_server(**options) as server:
        port = free_port()
        with relay({port: partial(asyncio.open_unix_connection, str(server.socket))}, context):
            yield f"localhost:{port}"


@contextmanager
def relay(servers: Mapping[int, Connect], context: ssl.SSLContext) -> Iterator[None]:
    """End TLS on one event loop in a thread of its own: a TLS connection is not for two threads at once.

    Args:
        servers: ports to listen on, and what connects to the server behind each.
        context: with the certificate.
    """

    async def serve(connect: Connect, outside: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            reader, writer = await connect()
        except OSError:
            back.close()
            return
        await asyncio.gather(_pump(outside, writer), _pump(reader, back))

    async def listen() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for port, connect in servers.items():
                began = await asyncio.start_server(partial(serve, connect), "127.0.0.1", port, ssl=context)
                listener = await stack.enter_async_context(began)
                stack.callback(listener.close)
            listening.set()
            await ending.wait()

    listening = threading.Event()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        ending = asyncio.Event()
        thread = threading.Thread(target=runner.run, args=(listen(),))
        thread.start()
        try:
            if not listening.wait(30):
                raise RuntimeError("the relay does not listen")
            yield
        finally:
            loop.call_soon_threadsafe(ending.set)
            thread.join()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.close()
