"""Serves the pages on a loopback address until the process is interrupted."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from keyweave.studio.app import application
from keyweave.studio.guard import new_token
from keyweave.sync.session import Session

LOOPBACK = "127.0.0.1"
"""The only address that is listened on; there is no option for another one."""


def serve(
    session: Session,
    port: int,
    announce: Callable[[str], None],
    *,
    observe: Callable[[uvicorn.Server], object] | None = None,
) -> None:
    """Serve the pages of a store, and return after an interrupt.

    Args:
        session: the open store's.
        port: the port to listen on; 0 for a free one.
        announce: is called with the URL, token included, when the port is open.
        observe: is called with the server before it starts, so that another thread can end it.

    Raises:
        OSError: the port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen()
        port = listener.getsockname()[1]
        token = new_token()
        config = uvicorn.Config(
            application(session, token, port),
            log_level="warning",
            access_log=False,  # it would write the token
            server_header=False,
            lifespan="off",
            ws="none",
        )
        server = uvicorn.Server(config)
        if observe is not None:
            observe(server)
        announce(f"http://{LOOPBACK}:{port}/{token}/")
        server.run(sockets=[listener])
