"""`keyweave acl`: the least access rules for an application and for the admin tool."""

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
from keyweave.errors import KeyweaveError
from keyweave.opening.prepare import prepare

EPILOG = """\
Examples:

  keyweave acl                                   both rules, for redis-cli

  keyweave acl --for application | redis-cli     make the user

  redis-cli ACL SETUSER keyweave-application '>PASSWORD'     give it a password; without one nobody gets in

A rule permits the commands that are really sent, the keys of this namespace, and no channels. SCAN and CONFIG GET,
which look beyond the namespace, are the admin tool's alone: give its user to people and jobs, not to the application.
Nothing is connected: the URL only tells whether connections choose a database or a name.
"""

_USERS: Final = {Role.APPLICATION: "keyweave-application", Role.ADMIN: "keyweave-admin"}


def acl(
    package: PackageOption = None,
    url: Annotated[
        str,
        typer.Option("--url", "-u", envvar="KEYWEAVE_URL", help="As the application opens the store."),
    ] = "redis://localhost",
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    role: Annotated[Role | None, typer.Option("--for", help="Only one of the two rules.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="The user's name, together with --for.")] = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Print the least access rule (ACL) for an application and for the admin tool."""
    if user is not None and role is None:
        fail("--user names one user: choose the rule with --for")
    found = load_package(package)
    try:
        settings, context = prepare(found, url, namespace=namespace, environment=environment)
        rules = {
            each: rule(context, settings, each, user or _USERS[each])
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
    """A word as redis-cli reads it, which is also how a shell does, but for a quote inside."""
    if re.fullmatch(r"[\w+@-]+", word, re.ASCII):
        return word
    return "'" + word.replace("'", "\\'") + "'"
