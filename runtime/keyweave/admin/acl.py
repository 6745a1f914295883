"""`keyweave acl`: the minimal access rules for an application and for the admin tool."""

from __future__ import annotations

import json
import re
from typing import Annotated, Final

import typer

from keyweave.admin.permissions import Role, rule
from keyweave.admin.target import (
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    fail,
    load_package,
)
from keyweave.admin.tenants import refuse_namespace
from keyweave.errors import KeyweaveError
from keyweave.opening.prepare import prepare

EPILOG = """\
Examples:

  keyweave acl                                   print both rules, for redis-cli

  keyweave acl --for application | redis-cli     create the user

  keyweave acl --all-tenants                     for an application that calls store.tenant(name)

  keyweave acl --durable disk                    for a store that opens with durable="disk"

  redis-cli ACL SETUSER keyweave-application '>PASSWORD'     set its password; without one it cannot log in

A rule permits only the commands that are sent, the keys of this namespace (with --all-tenants of every tenant of the application and
environment, of later ones too), and no channels. The admin tool's rule permits
SCAN and CONFIG GET, which reach beyond the namespace: give its user to people and jobs, not to the application. An
application with retention may use SCAN as well, because a row may replace one that the server freed before a sweep. SCAN
shows the names of all keys. On a server that others share, leave it out with --no-search: then such a write is refused
until `keyweave sweep` has run.
The command does not connect: the URL only shows whether connections select a database, set a client name, or are made by
redis-py, as those of a redis+sentinel:// or redis+cluster:// URL.
Users are not replicated: create them on every server, replicas and all nodes of a cluster included, or a failover ends with AuthenticationError. The
Sentinels have users of their own and need none of these. A managed service has another place for users: give it the words
behind the name of the user, which --format json prints one by one, as far as it accepts them. Where it takes no SCAN for
applications, use --no-search.
"""

_USERS: Final = {Role.APPLICATION: "keyweave-application", Role.ADMIN: "keyweave-admin"}


def acl(
    command: typer.Context,
    package: PackageOption = None,
    url: Annotated[
        str,
        typer.Option(
            "--url", "-u", envvar="KEYWEAVE_URL", help="The URL with which the application opens the store."
        ),
    ] = "redis://localhost",
    namespace: NamespaceOption = None,
    all_tenants: Annotated[
        bool,
        typer.Option(
            "--all-tenants", help="Permit the keys of every tenant of the application and environment."
        ),
    ] = False,
    environment: EnvironmentOption = None,
    role: Annotated[Role | None, typer.Option("--for", help="Print only one of the two rules.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Name of the user; needs --for.")] = None,
    search: Annotated[
        bool, typer.Option(help="Let an application with retention search for the entries of freed rows.")
    ] = True,
    durable: Annotated[
        str | None,
        typer.Option(
            "--durable",
            help="Permit what confirms the writes of a store with this level: disk, or replicas:N.",
        ),
    ] = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Print the minimal access rules (ACL) for an application and for the admin tool."""
    refuse_namespace(command, all_tenants=all_tenants)
    if user is not None and role is None:
        fail("--user names one user; select its rule with --for")
    found = load_package(package)
    try:
        settings, context = prepare(found, url, namespace=namespace, environment=environment, durable=durable)
        rules = {
            each: rule(context, settings, each, user or _USERS[each], search=search, all_tenants=all_tenants)
            for each in ([role] if role is not None else list(Role))
        }
    except KeyweaveError as error:
        fail(str(error))
    if format is Format.JSON:
        typer.echo(json.dumps({each.value: words for each, words in rules.items()}))
        return
    for words in rules.values():
        typer.echo(" ".join(["ACL SETUSER", *(quoted(word) for word in words)]))


def quoted(word: str) -> str:
    """Return a word quoted for redis-cli. A shell reads it the same way, except for a quote inside."""
    if re.fullmatch(r"[\w+@-]+", word, re.ASCII):
        return word
    return "'" + word.replace("'", "\\'") + "'"
