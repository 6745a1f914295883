"""The address, credentials and limits of a store, read and checked before anything connects.

No message, `repr` or `str` of this module shows a credential. A mistake in a URL can move a part of the password
into another part of the URL, so messages name options and rules and never quote text from a URL.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote

from keyweave.errors import ConfigurationError

DEFAULT_PORT: Final = 6379
SCHEMES: Final = ("redis", "rediss", "unix", "embedded")

_LONGEST: Final = 86_400.0
_LONGEST_POLL: Final = 0.01
_URL: Final = re.compile(r"([a-z]+)://([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_EMBEDDED: Final = re.compile(r"embedded:(?!//)([^?]*)(?:\?(.*))?", re.IGNORECASE)
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]\s]*)(?::([^:]*))?")
_SWITCHES: Final = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConnectionSettings:
    """One store's address, credentials and limits. Times are in seconds.

    Attributes:
        scheme: `redis` (TCP), `rediss` (TCP with TLS), `unix` (socket), or `embedded` (a server that Keyweave starts).
        host, port: of a TCP server.
        path: the socket of `unix`, or the data folder of `embedded` (empty: the data is lost with the last store).
        db: number of the logical database.
        username, password: credentials; never shown in any text.
        timeout: the longest time that one exchange may take: sending a pipeline and reading its replies.
        connect_timeout: the longest time that connecting may take: all addresses of the host, TLS and authentication included.
        deadline: the longest time that one operation or transaction may take, everything included; an exchange that has begun ends by its timeout, so a caller waits for at most `deadline` + `timeout`.
        pool_size: most connections that one store opens.
        pool_timeout: longest wait for a free connection when all are in use; the operation's `deadline` ends it earlier.
        pipelining: the most pipelines that one connection carries at once when asyncio callers share it; 1: connections are not shared.
        tls_ca_file: file of CA certificates to trust instead of the system's.
        tls_cert_file, tls_key_file: files of the client's certificate and private key.
        tls_verify, tls_check_hostname: whether the server's certificate, and the host name in it, are verified.
        client_name: name of the connections in the server's CLIENT LIST.
        health_check_interval: a connection that was idle for longer is checked with PING before use; 0: never.
        busy_poll: the longest time to poll for a reply before the wait blocks, when one connection waits alone for a server on this machine; 0: never.
    """

    scheme: str
    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""
    db: int = 0
    username: str | None = field(default=None)
    password: str | None = field(default=None)
    timeout: float = 5.0
    connect_timeout: float = 2.0
    deadline: float = 10.0
    pool_size: int = 64
    pool_timeout: float = 5.0
    pipelining: int = 32
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    tls_verify: bool = True
    tls_check_hostname: bool = True
    client_name: str | None = None
    health_check_interval: float = 30.0
    busy_poll: float = 0.0002

    @property
    def address(self) -> str:
        """`host:port`, the socket's path, or `embedded:PATH`: the name of the server in messages."""
        if self.scheme == "unix":
            return self.path
        if self.scheme == "embedded":
            return f"embedded:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.scheme == "rediss"

    @property
    def local(self) -> bool:
        """Whether the server is on this machine. A host name other than `localhost` counts as another machine."""
        if self.scheme in ("unix", "embedded"):
            return True
        try:
            return ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __repr__(self) -> str:
        shown = [f"{self.scheme} {self.address}"]
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in _NOT_SHOWN and value != each.default:
                shown.append(f"{each.name}={value!r}")
        return f"ConnectionSettings({', '.join(shown)})"

    __str__ = __repr__


_NOT_SHOWN: Final = frozenset({"scheme", "host", "port", "path", "username", "password"})


def parse_url(url: str, **options: object) -> ConnectionSettings:
    """Read a store's URL. Options are given in its query (`?timeout=2`) or as arguments, which take precedence.

    Schemes: `redis://[user[:password]@]host[:port][/db]`, `rediss://` the same with TLS,
    `unix:///path/of/socket`, `embedded:` and `embedded:PATH`. User, password, host and path are
    percent-decoded.

    Raises:
        ConfigurationError: the URL or an option is not valid. The message names the option.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"the URL must be a string, not {type(url).__name__}")
    if any(ord(character) < 32 or ord(character) == 127 for character in url):
        raise ConfigurationError("the URL contains a control character: percent-encode it")
    embedded = _EMBEDDED.fullmatch(url)
    if embedded is not None:
        parts: dict[str, object] = {"scheme": "embedded", "path": _decoded("path", embedded[1])}
        query = embedded[2]
    else:
        parts, query = _split_url(url)
    chosen = _from_query(query or "") | {name: value for name, value in options.items() if value is not None}
    for name, value in chosen.items():
        reader = _OPTIONS.get(name)
        if reader is None:
            raise ConfigurationError(f"unknown option {name!r}{_suggestion(name, _OPTIONS)}")
        if name == "db" and "db" in parts and name not in options and reader(name, value) != parts["db"]:
            raise ConfigurationError("db: the path and the query of the URL name different databases")
        parts[name] = reader(name, value)
    return _consistent(ConnectionSettings(**parts))  # type: ignore[arg-type]


def _split_url(url: str) -> tuple[dict[str, object], str | None]:
    """Return the settings in scheme, authority and path, and the query as text."""
    match = _URL.fullmatch(url)
    if match is None:
        scheme = url.partition(":")[0].lower()
        if "#" in url and scheme in SCHEMES:
            raise ConfigurationError("the URL contains a '#': percent-encode it (%23) inside a password")
        expected = (
            "redis://host:port/db, rediss://host:port/db, unix:///path/of/socket, embedded: or embedded:PATH"
        )
        raise ConfigurationError(f"the URL must have the form {expected}{_suggestion(scheme, SCHEMES)}")
    scheme, authority, path, query = match[1].lower(), match[2], match[3] or "", match[4]
    if scheme not in SCHEMES or scheme == "embedded":
        raise ConfigurationError(
            f"unknown scheme: use one of {', '.join(SCHEMES)}{_suggestion(scheme, SCHEMES)}"
        )
    if (authority and "@" in path) or "@" in (query or ""):
        raise ConfigurationError("'/', '?' and '@' must be percent-encoded inside a user, password or option")
    credentials, _, location = authority.rpartition("@")
    username, colon, password = credentials.partition(":")
    parts: dict[str, object] = {"scheme": scheme}
    if username:
        parts["username"] = _decoded("username", username)
    if password or (username and colon):
        parts["password"] = _decoded("password", password)
    if scheme == "unix":
        if location:
            raise ConfigurationError("a unix URL has three slashes: unix:///path/of/socket")
        parts["path"] = _decoded("path", path)
    else:
        parts |= _host_and_port(location) | _database(path)
    return parts, query


def _host_and_port(location: str) -> dict[str, object]:
    match = _HOST_AND_PORT.fullmatch(location)
    if match is None:
        raise ConfigurationError(
            "host: not a name or address; put an IPv6 address in [brackets], and percent-encode '/', '?' and '#' "
            "inside a password"
        )
    host = _decoded("host", match[1].strip("[]"))
    if not host or any(character.isspace() for character in host):
        raise ConfigurationError("host: missing in the URL")
    return {"host": host, "port": _port(match[2]) if match[2] else DEFAULT_PORT}


def _port(digits: str) -> int:
    port = int(digits) if re.fullmatch("[0-9]{1,5}", digits) else 0
    if not 1 <= port <= 65535:
        raise ConfigurationError(
            "port: must be a number from 1 to 65535; '/', '?' and '#' inside a password must be percent-encoded"
        )
    return port


def _database(path: str) -> dict[str, object]:
    text = path.strip("/")
    return {"db": _natural("db", text)} if text else {}


def _from_query(query: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in query.split("&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition("=")
        name = _decoded("query", raw_name)
        if name in found:
            raise ConfigurationError(f"option {name!r} is given twice in the URL")
        found[name] = _decoded(name, raw_value)
    return found


def _consistent(settings: ConnectionSettings) -> ConnectionSettings:
    """Return the settings. Refuses those that are valid one by one and contradict each other."""
    if settings.scheme != "rediss":
        for name in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
            if getattr(settings, name) is not None:
                raise ConfigurationError(f"{name}: only a rediss:// URL uses TLS")
    if settings.tls_key_file is not None and settings.tls_cert_file is None:
        raise ConfigurationError("tls_key_file: also needs tls_cert_file")
    if settings.scheme == "unix" and len(settings.path.encode()) < 2:
        raise ConfigurationError("path: a unix URL names the socket: unix:///path/of/socket")
    if settings.scheme == "embedded" and (settings.username or settings.password):
        raise ConfigurationError("username, password: the embedded server has no credentials")
    return settings


def _decoded(name: str, text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}: the percent-encoding is not UTF-8") from None
    if "\x00" in decoded and name != "password":
        raise ConfigurationError(f"{name}: contains a NUL character")
    return decoded


def _suggestion(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    from difflib import get_close_matches  # only a mistake needs it

    close = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _number(name: str, value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{name}: must be a number of seconds")
    return float(value)


def _seconds(name: str, value: object) -> float:
    number = _number(name, value)
    if not 0 < number <= _LONGEST:
        raise ConfigurationError(
            f"{name}: must be more than 0 and at most {_LONGEST:.0f} seconds, got {number:g}"
        )
    return number


def _seconds_or_zero(name: str, value: object) -> float:
    return 0.0 if _number(name, value) == 0 else _seconds(name, value)


def _instant(name: str, value: object) -> float:
    number = _number(name, value)
    if not 0 <= number <= _LONGEST_POLL:
        raise ConfigurationError(f"{name}: must be from 0 to {_LONGEST_POLL:g} seconds, got {number:g}")
    return number


def _natural(name: str, value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"{name}: must be a whole number, 0 or more")
    return value


def _positive(name: str, value: object) -> int:
    number = _natural(name, value)
    if not 1 <= number <= 100_000:
        raise ConfigurationError(f"{name}: must be from 1 to 100000, got {number}")
    return number


def _switch(name: str, value: object) -> bool:
    if isinstance(value, str):
        value = _SWITCHES.get(value.lower())
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: must be true or false")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name}: must be a non-empty string")
    return value


def _credential(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}: must be a string")
    return value


def _file(name: str, value: object) -> str:
    return _text(name, str(value) if hasattr(value, "__fspath__") else value)


def _word(name: str, value: object) -> str:
    text = _text(name, value)
    if not all("!" <= character <= "~" for character in text):
        raise ConfigurationError(f"{name}: must be printable ASCII without spaces")
    return text


_OPTIONS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "db": _natural,
    "username": _credential,
    "password": _credential,
    "timeout": _seconds,
    "connect_timeout": _seconds,
    "deadline": _seconds,
    "pool_size": _positive,
    "pool_timeout": _seconds_or_zero,
    "pipelining": _positive,
    "tls_ca_file": _file,
    "tls_cert_file": _file,
    "tls_key_file": _file,
    "tls_verify": _switch,
    "tls_check_hostname": _switch,
    "client_name": _word,
    "health_check_interval": _seconds_or_zero,
    "busy_poll": _instant,
}
