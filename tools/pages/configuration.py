"""docs/configuration.md: every option, environment variable and default, read from the code that accepts them.

`python -m tools.pages.configuration` writes the page.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from keyweave.cli import commands
from keyweave.connection.options import OPTIONS
from keyweave.connection.settings import DEFAULT_PORT, SENTINEL_PORT, ConnectionSettings
from keyweave.opening import prepare
from keyweave.store.policy import Policy
from keyweave.testing import pytest_plugin

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"

_TAKES: Final = {
    "_seconds": "seconds, more than 0, at most a day",
    "_seconds_or_zero": "seconds, 0 or more, at most a day",
    "_instant": "seconds, 0 or more, at most 0.01",
    "natural": "whole number, 0 or more",
    "_positive": "whole number, 1 to 100000",
    "_switch": "true or false",
    "_credential": "text",
    "_file": "path",
    "command_words": "whole number, 100 to 1000000",
    "_word": "printable ASCII without spaces",
}
"""What each reader of `keyweave.connection.options` accepts."""

_HEAD: Final = """\
# Configuration

For developers and operators: every option, environment variable and default. `make pages` writes this page from the code; a test
fails when the page is out of date.

A URL names the server. Every other setting has a default that is meant for production. An application reads its own settings and
passes them as arguments; the command line and the test fixtures read the environment variables below.

```python
from shop_store.sync import Store

with Store.open("embedded:?timeout=2", namespace="tenant-7", pool_size=16) as store:
    assert store.health().serving
```

An unknown name, an invalid value, or two settings that contradict each other raise `ConfigurationError` before a connection is
opened. No error message contains a credential.
"""

_URLS: Final = """\
## Server URLs

| URL | server |
| --- | --- |
| `redis://[user[:password]@]host[:port][/db]` | Redis or Valkey over TCP |
| `rediss://…` | the same over TLS |
| `unix:///path/of/socket` | a local socket |
| `embedded:` | a Valkey server that this program starts; its data is deleted when the program's last store closes |
| `embedded:PATH` | the same, but its data is kept in the folder PATH |
| `redis+sentinel://[user[:password]@]host[:port][,host[:port]...]/service[/db]` | the master that these Sentinels name; needs the extra `redis` |
| `redis+cluster://[user[:password]@]host[:port][,host[:port]...]` | a Redis Cluster to which these nodes belong; needs the extra `redis` |
| `rediss+sentinel://…`, `rediss+cluster://…` | the same over TLS |

Percent-encode `/`, `?`, `#`, `@` and `%` in user, password, host and path. The default port is {port}, of a Sentinel {sentinel}.
`Store.over(client)` takes a client of redis-py instead of a URL; see [topologies](topologies.md).
"""


_CONNECTION: Final = """\
## Connection

Set these in the URL's query (`?timeout=2`) or as arguments of `open`. An argument overrides the query.
"""

_POLICY: Final = """\
## Timeouts and retries

Arguments of `open`, in seconds unless the name says otherwise. They are the fields of `keyweave.store.policy.Policy`.
"""

_COMMAND_LINE: Final = """\
## The command line

Each environment variable sets the option beside it. An option on the command line overrides the variable.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_sections()]).rstrip() + "\n"


def _sections() -> Iterator[str]:
    yield _URLS.format(port=DEFAULT_PORT, sentinel=SENTINEL_PORT)
    yield "## Arguments of `open`\n"
    arguments = _described(prepare.prepare, "Args")
    parameters = inspect.signature(prepare.prepare).parameters
    yield _table(
        ("argument", "default", "meaning"),
        [
            (f"`{name}`", "" if parameters[name].default is inspect.Parameter.empty else "none", text)
            for name, text in arguments.items()
            if name not in ("where", "options")
        ],
    )
    yield _CONNECTION
    yield _table(("option", "default", "accepts", "meaning"), list(_connection()))
    yield _POLICY
    yield _table(("option", "default", "meaning"), list(_policy()))
    yield _COMMAND_LINE
    yield _table(("variable", "option", "commands", "meaning"), list(_variables()))
    yield "`keyweave COMMAND --help` lists the other options of a command:\n"
    yield _table(("command", "what it does"), [(f"`keyweave {name}`", text) for name, text in _commands()])
    yield "## Tests\n\nThe package provides the pytest fixtures `keyweave_store` and `keyweave_async_store`.\n"
    yield _table(("setting", "default", "meaning"), list(_fixtures()))


def _connection() -> Iterator[tuple[str, ...]]:
    described = _described(ConnectionSettings, "Attributes")
    defaults = {field.name: field.default for field in dataclasses.fields(ConnectionSettings)}
    for name, reader in OPTIONS.items():
        yield f"`{name}`", _value(defaults[name]), _TAKES[reader.__name__], described[name]


def _policy() -> Iterator[tuple[str, ...]]:
    described = _described(Policy, "Attributes")
    for field in dataclasses.fields(Policy):
        if field.name not in OPTIONS:  # the connection's option of that name sets it
            yield f"`{field.name}`", _value(field.default), described[field.name]


def _command_line() -> Any:
    return typer.main.get_command(commands.assemble(commands.installed()))


def _commands() -> Iterator[tuple[str, str]]:
    for name, command in sorted(_command_line().commands.items()):
        yield name, (command.help or "").strip().split("\n\n")[0].replace("\n", " ")


def _variables() -> Iterator[tuple[str, ...]]:
    options: dict[str, list[tuple[str, Any]]] = {}
    for name, command in sorted(_command_line().commands.items()):
        for option in command.params:
            if option.envvar:
                options.setdefault(str(option.envvar), []).append((name, option))
    for variable, users in sorted(options.items()):
        words = ", ".join(f"`{word}`" for word in users[0][1].opts)
        # A command may describe the option in its own words; most commands share one text.
        text = Counter(option.help for _, option in users).most_common(1)[0][0]
        yield f"`{variable}`", words, ", ".join(name for name, _ in users), text


def _fixtures() -> Iterator[tuple[str, ...]]:
    recorder = _Recorder()
    pytest_plugin.pytest_addoption(recorder)  # type: ignore[arg-type]
    for name, text in recorder.options:
        yield f"`{name}`", "none", text
    yield f"`{pytest_plugin.URL_VARIABLE}`", "none", "the same, as an environment variable"
    for name, text in recorder.settings:
        yield f"`{name}` in pytest's settings", "none", text


class _Recorder:
    """Replaces pytest's parser and records what is added to it."""

    def __init__(self) -> None:
        self.options: list[tuple[str, str]] = []
        self.settings: list[tuple[str, str]] = []

    def getgroup(self, *_: str) -> _Recorder:
        return self

    def addoption(self, name: str, **given: Any) -> None:
        self.options.append((name, given["help"]))

    def addini(self, name: str, text: str, **_: Any) -> None:
        self.settings.append((name, text))


def _described(source: object, section: str) -> dict[str, str]:
    """Descriptions by name, from one section of a docstring; several names may share one description."""
    lines = inspect.getdoc(source) or ""
    body = re.split(r"\n\n", lines.partition(f"{section}:\n")[2])[0]
    found: dict[str, str] = {}
    for names, text in re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", body, flags=re.MULTILINE):
        for name in names.split(", "):
            found[name] = " ".join(text.split()).removesuffix(".")
    return found


def _value(default: object) -> str:
    if default is None or default == "":
        return "none"
    if isinstance(default, bool):
        return "true" if default else "false"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines) + "\n"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
