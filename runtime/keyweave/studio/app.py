"""The web application: addresses, and the answers to mistakes. `pages` reads what is shown, templates print it.

Starlette, because it is typed, has a test client, and is what FastAPI, which many applications have, stands on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from keyweave.errors import KeyweaveError, NotFoundError, StoreUnavailableError
from keyweave.look.words import entity_named
from keyweave.model.entity import Entity
from keyweave.studio import pages
from keyweave.studio.guard import Guard
from keyweave.sync.session import Session

_HERE: Final = Path(__file__).parent


def application(session: Session, token: str, port: int) -> ASGIApp:
    """Return the application that shows a store.

    Args:
        session: the open store's. Its owner closes it.
        token: the first part of every path.
        port: the port that the server listens on, which Host headers have to name.
    """
    studio = _Studio(session, f"/{token}")
    routes = [
        Mount(
            f"/{token}",
            routes=[
                Route("/", studio.overview),
                Route("/entity/{name}", studio.entity),
                Route("/rows/{name}", studio.rows),
                Route("/row/{name}", studio.row),
                Route("/check", studio.check),
                Route("/health", studio.health),
                Mount("/static", StaticFiles(directory=_HERE / "static")),
            ],
        )
    ]
    handlers: Any = {KeyweaveError: studio.refused, 404: studio.unknown}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token, port)


class _Studio:
    """The answers. Each is a plain function, which Starlette runs in a thread, so the blocking store serves them."""

    def __init__(self, session: Session, root: str) -> None:
        self._session = session
        self._root = root
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def overview(self, _request: Request) -> Response:
        found = self._session.health()
        return self._page("overview", "Entities", summaries=pages.summaries(self._session), health=found)

    def entity(self, request: Request) -> Response:
        found = entity_named(self._session.context.package, request.path_params["name"])
        return self._page(
            "entity", found.name, entity=found, doc=pages.doc_of(found), fields=pages.fields_of(found)
        )

    def rows(self, request: Request) -> Response:
        asked = _asked(request)
        words = request.query_params
        entity, listed = pages.listed(
            self._session, request.path_params["name"], asked, words.get("cursor") or None
        )
        return self._page(
            "rows",
            f"{entity.name}: {asked.view or 'rows'}",
            entity=entity,
            fields=pages.fields_of(entity),
            asked=asked,
            listed=listed,
            first="cursor" not in words,
        )

    def row(self, request: Request) -> Response:
        words = request.query_params.getlist("key")
        entity, shown, fields = pages.row(self._session, request.path_params["name"], words)
        title = f"{entity.name} {', '.join(words)}"
        return self._page(
            "row", title, entity=entity, shown=shown, fields=fields, moments=pages.moments(shown)
        )

    def check(self, request: Request) -> Response:
        report = self._session.check() if "run" in request.query_params else None
        drift = pages.drift_of(report) if report is not None else []
        return self._page("check", "Check", report=report, drift=drift)

    def health(self, _request: Request) -> Response:
        return self._page("health", "Health", health=self._session.health())

    def refused(self, _request: Request, error: Exception) -> Response:
        status = (
            404
            if isinstance(error, NotFoundError)
            else 503 if isinstance(error, StoreUnavailableError) else 400
        )
        message = str(error).replace("with scan()", "with the box below the conditions")
        return self._page("refused", type(error).__name__, status=status, message=message)

    def unknown(self, _request: Request, _error: Exception) -> Response:
        return self._page("refused", "No such page", status=404, message="There is no page at this address.")

    def _page(self, template: str, title: str, status: int = 200, **shown: Any) -> Response:
        context = self._session.context
        text = self._templates.get_template(f"{template}.html.j2").render(
            title=title,
            package=context.package,
            namespace=context.keyspace.namespace.prefix(),
            server=context.address,
            root=self._root,
            rows_url=self._rows_url,
            row_url=self._row_url,
            **shown,
        )
        return HTMLResponse(text, status)

    def _rows_url(
        self, entity: Entity[Any], asked: pages.Asked | None = None, cursor: str | None = None
    ) -> str:
        words = asked.words() if asked is not None else []
        words += [("cursor", cursor)] if cursor else []
        return f"{self._root}/rows/{entity.name}{'?' if words else ''}{urlencode(words)}"

    def _row_url(self, entity: Entity[Any], key: list[str]) -> str:
        return f"{self._root}/row/{entity.name}?{urlencode([('key', each) for each in key])}"


def _asked(request: Request) -> pages.Asked:
    """Return what the address asks for. Empty fields of a form count as not given."""
    words = request.query_params
    return pages.Asked(
        words.get("view") or None,
        tuple([each for each in words.getlist("value") if each]),
        tuple([each for each in words.getlist("where") if each.strip()]),
        words.get("order") or None,
        bool(words.get("reverse")),
        bool(words.get("scan")),
    )
