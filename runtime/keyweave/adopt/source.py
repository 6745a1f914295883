"""The connection to PostgreSQL: one read-only transaction, whose snapshot does not change while it is open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import conninfo
from psycopg.rows import TupleRow

from keyweave.adopt.errors import SourceUnavailableError

Connection = psycopg.Connection[TupleRow]

_SCHEMES: Final = ("postgresql", "postgres")
_PATIENCE: Final = 10


def parameters(url: str) -> dict[str, Any]:
    """Return the parameters of a URL. `postgresql+driver://`, as other libraries write it, is accepted.

    Raises:
        SourceUnavailableError: it is no URL of PostgreSQL. The message does not repeat it, because it may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in _SCHEMES:
        raise SourceUnavailableError("the source is not a URL such as postgresql://user@host:5432/database")
    try:
        found = dict(conninfo.conninfo_to_dict(f"postgresql://{rest}"))
    except psycopg.ProgrammingError:
        found = {}
    # A password with a slash ends the host too early, and the rest of it would be shown as a name.
    ports = str(found.get("port") or "0").split(",")
    if not found or "@" in rest.partition("/")[2].partition("?")[0] or not all(map(str.isdigit, ports)):
        raise SourceUnavailableError(
            "the source is not a valid URL of PostgreSQL; characters such as @ : / # in a user or password are written as "
            "%40 %3A %2F %23"
        )
    return found


def label(url: str) -> str:
    """Return the host, port and database of a URL: what may be printed."""
    found = parameters(url)
    host = found.get("host") or found.get("hostaddr") or "the default host"
    port = f":{found['port']}" if found.get("port") else ""
    name = found.get("dbname") or found.get("user") or "the default database"
    return f"{name} on {host}{port}"


@contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """Open a read-only transaction with one snapshot, and close the connection at the end.

    Raises:
        SourceUnavailableError: PostgreSQL cannot be reached, refuses the login, or closed the connection.
    """
    options = {"connect_timeout": _PATIENCE, "application_name": "keyweave adopt", **parameters(url)}
    try:
        connection = psycopg.connect(**options)
    except psycopg.Error as error:
        raise SourceUnavailableError(f"cannot connect to {label(url)}: {_reason(error, options)}") from None
    try:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        for setting in (
            "set local timezone = 'UTC'",
            "set local datestyle = 'ISO, YMD'",
            "set local intervalstyle = 'iso_8601'",
            "set local extra_float_digits = 1",
            "set local search_path = pg_catalog",
            # A policy would hide rows without a word; with this setting PostgreSQL reports it.
            "set local row_security = off",
            "set local statement_timeout = 0",
            "set local idle_in_transaction_session_timeout = 0",
        ):
            connection.execute(setting)
        yield connection
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise SourceUnavailableError(f"{label(url)}: {_reason(error, options)}") from None
    except psycopg.Error as error:
        raise SourceUnavailableError(
            f"{label(url)} refuses what an adoption reads: {_reason(error, options)}"
        ) from None
    finally:
        connection.close()


def _reason(error: psycopg.Error, options: dict[str, Any]) -> str:
    """What PostgreSQL said, in one line, without the password."""
    text = error.diag.message_primary or str(error)
    password = options.get("password")
    text = " ".join(text.split())
    return text.replace(str(password), "***") if password else text
