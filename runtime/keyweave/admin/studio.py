"""`keyweave studio`: serves pages of this machine that show the store."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import Annotated, Final

import typer

from keyweave.admin.target import (
    EnvironmentOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    fail,
    opened,
)

EPILOG = """\
Examples, with the store in KEYWEAVE_URL:

  keyweave studio                  prints a URL of this machine; Ctrl-C ends it

  keyweave studio --port 8411      always the same port

The pages show entities, rows by view, a row with its keys and entries, how a query is read, check and health. They only read,
and secrets are hidden. Only a browser of this machine that has the whole URL sees them: its random token is new at each start. For a
server elsewhere, run the studio there and forward the same port: ssh -L 8411:127.0.0.1:8411 HOST.

It needs the extra studio: pip install 'keyweave[studio]'.

Exit status: 0 ended by an interrupt, 2 could not run.
"""

_NEEDED: Final = ("jinja2", "starlette", "uvicorn")


def studio(
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one.")
    ] = 0,
) -> None:
    """Show the store in a browser of this machine: read-only pages, secrets hidden."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        fail(f"the studio needs {' and '.join(missing)}; install it with: pip install 'keyweave[studio]'")
    from keyweave.studio.serve import LOOPBACK, serve  # an extra

    def announce(
        address: str,
    ) -> None:  # no browser is started: its arguments, with the token, are seen by other users
        typer.echo(f"keyweave studio: {address}")
        typer.echo("Only this machine sees it, and the URL holds its token. Ctrl-C ends it.", err=True)

    with opened(package, url, namespace, environment) as session:
        try:
            with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when it has shut down
                serve(session, port, announce)
        except OSError as error:
            fail(f"cannot listen on {LOOPBACK}:{port}: {error.strerror}")
