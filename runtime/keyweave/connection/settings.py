"""The address, credentials and limits of a store, read and checked before anything connects.

No message, `repr` or `str` of this module shows a credential. A mistake in a URL can move a part of the password
into another part of the URL, so messages name options and rules and never quote text from a URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Final

from keyweave.connection.options import OPTIONS, decoded, natural, suggestion
from keyweave.errors import ConfigurationError

DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
CLUSTER: Final = ("redis+cluster", "rediss+cluster")
SCHEMES: Final = ("redis", "rediss", "unix", "embedded", *SENTINEL, *CLUSTER)

NEEDS_REDIS_PY: Final = (
    "a URL of Sentinels or of a cluster needs redis-py; install it with: pip install 'keyweave[redis]'"
)

_URL: Final = re.compile(r"([a-z+]+)://([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_EMBEDDED: Final = re.compile(r"embedded:(?!//)([^?]*)(?:\?(.*))?", re.IGNORECASE)
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]\s]*)(?::([^:]*))?")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConnectionSettings:
    """One store's address, credentials and limits. Times are in seconds.

    Attributes:
        scheme: `redis` (TCP), `rediss` (TCP with TLS), `unix` (socket), `embedded` (a server that Keyweave starts), `redis+sentinel` and `rediss+sentinel` (a server that Sentinels name), or `redis+cluster` and `rediss+cluster` (the masters of a cluster).
        host, port: of a TCP server, or of the first Sentinel or node of a cluster.
        nodes: host and port of every Sentinel, or of some nodes of a cluster.
        service: the name by which the Sentinels know the server; empty for other schemes.
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
        command_words: the most words that one command may have, its name included; longer work goes in several commands, and one atomic step that would need more is refused.
    """

    scheme: str
    host: str = ""
    port: int = DEFAULT_PORT
    nodes: tuple[tuple[str, int], ...] = ()
    service: str = ""
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
    command_words: int | None = None

    @property
    def address(self) -> str:
        """`host:port`, the socket's path, `embedded:PATH`, `SERVICE of host:port,host:port`, or `host:port,host:port`: the server in messages."""
        if self.scheme == "unix":
            return self.path
        if self.scheme == "embedded":
            return f"embedded:{self.path}"
        if self.service:
            return f"{self.service} of {','.join(_location(*node) for node in self.nodes)}"
        if self.nodes:
            return ",".join(_location(*node) for node in self.nodes)
        return _location(self.host, self.port)

    @property
    def clustered(self) -> bool:
        """Whether the data is spread over the masters of a cluster."""
        return self.scheme in CLUSTER

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.scheme.startswith("rediss")

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


_NOT_SHOWN: Final = frozenset({"scheme", "host", "port", "nodes", "service", "path", "username", "password"})


def _location(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_url(url: str, **options: object) -> ConnectionSettings:
    """Read a store's URL. Options are given in its query (`?timeout=2`) or as arguments, which take precedence.

    Schemes: `redis://[user[:password]@]host[:port][/db]`, `rediss://` the same with TLS,
    `unix:///path/of/socket`, `embedded:`, `embedded:PATH`, and
    `redis+sentinel://[user[:password]@]host[:port][,host[:port]...]/service[/db]`,
    `redis+cluster://[user[:password]@]host[:port][,host[:port]...]`, `rediss+sentinel://` and `rediss+cluster://` the same
    with TLS. User, password, host, service and path are percent-decoded.

    Raises:
        ConfigurationError: the URL or an option is not valid. The message names the option.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"the URL must be a string, not {type(url).__name__}")
    if any(ord(character) < 32 or ord(character) == 127 for character in url):
        raise ConfigurationError("the URL contains a control character: percent-encode it")
    embedded = _EMBEDDED.fullmatch(url)
    if embedded is not None:
        parts: dict[str, object] = {"scheme": "embedded", "path": decoded("path", embedded[1])}
        query = embedded[2]
    else:
        parts, query = _split_url(url)
    chosen = _from_query(query or "") | {name: value for name, value in options.items() if value is not None}
    for name, value in chosen.items():
        reader = OPTIONS.get(name)
        if reader is None:
            raise ConfigurationError(f"unknown option {name!r}{suggestion(name, OPTIONS)}")
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
            "redis://host:port/db, rediss://host:port/db, unix:///path/of/socket, embedded:, embedded:PATH, "
            "redis+sentinel://host:port,host:port/service/db or redis+cluster://host:port,host:port"
        )
        raise ConfigurationError(f"the URL must have the form {expected}{suggestion(scheme, SCHEMES)}")
    scheme, authority, path, query = match[1].lower(), match[2], match[3] or "", match[4]
    if scheme not in SCHEMES or scheme == "embedded":
        raise ConfigurationError(
            f"unknown scheme: use one of {', '.join(SCHEMES)}{suggestion(scheme, SCHEMES)}"
        )
    if (authority and "@" in path) or "@" in (query or ""):
        raise ConfigurationError("'/', '?' and '@' must be percent-encoded inside a user, password or option")
    credentials, _, location = authority.rpartition("@")
    username, colon, password = credentials.partition(":")
    parts: dict[str, object] = {"scheme": scheme}
    if username:
        parts["username"] = decoded("username", username)
    if password or (username and colon):
        parts["password"] = decoded("password", password)
    if scheme == "unix":
        if location:
            raise ConfigurationError("a unix URL has three slashes: unix:///path/of/socket")
        parts["path"] = decoded("path", path)
    elif scheme in SENTINEL:
        parts |= _several(location, SENTINEL_PORT) | _service(path)
    elif scheme in CLUSTER:
        parts |= _several(location, DEFAULT_PORT) | _database(path)
    else:
        parts |= _host_and_port(location) | _database(path)
    return parts, query


def _several(location: str, port: int) -> dict[str, object]:
    found = tuple(_host_and_port(each, port) for each in location.split(","))
    nodes = tuple((each["host"], each["port"]) for each in found)
    return {**found[0], "nodes": nodes}


def _service(path: str) -> dict[str, object]:
    name, _, database = path.removeprefix("/").partition("/")
    if not name:
        raise ConfigurationError(
            "service: a Sentinel URL names the service that the Sentinels watch: redis+sentinel://host:port/service"
        )
    return {"service": decoded("service", name)} | _database(database)


def _host_and_port(location: str, default: int = DEFAULT_PORT) -> dict[str, object]:
    match = _HOST_AND_PORT.fullmatch(location)
    if match is None:
        raise ConfigurationError(
            "host: not a name or address; put an IPv6 address in [brackets], and percent-encode '/', '?' and '#' "
            "inside a password"
        )
    host = decoded("host", match[1].strip("[]"))
    if not host or any(character.isspace() for character in host):
        raise ConfigurationError("host: missing in the URL")
    return {"host": host, "port": _port(match[2]) if match[2] else default}


def _port(digits: str) -> int:
    port = int(digits) if re.fullmatch("[0-9]{1,5}", digits) else 0
    if not 1 <= port <= 65535:
        raise ConfigurationError(
            "port: must be a number from 1 to 65535; '/', '?' and '#' inside a password must be percent-encoded"
        )
    return port


def _database(path: str) -> dict[str, object]:
    text = path.strip("/")
    return {"db": natural("db", text)} if text else {}


def _from_query(query: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in query.split("&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition("=")
        name = decoded("query", raw_name)
        if name in found:
            raise ConfigurationError(f"option {name!r} is given twice in the URL")
        found[name] = decoded(name, raw_value)
    return found


def _consistent(settings: ConnectionSettings) -> ConnectionSettings:
    """Return the settings. Refuses those that are valid one by one and contradict each other."""
    if not settings.encrypted:
        for name in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
            if getattr(settings, name) is not None:
                raise ConfigurationError(f"{name}: only a rediss:// URL uses TLS")
    if settings.tls_key_file is not None and settings.tls_cert_file is None:
        raise ConfigurationError("tls_key_file: also needs tls_cert_file")
    if settings.scheme == "unix" and len(settings.path.encode()) < 2:
        raise ConfigurationError("path: a unix URL names the socket: unix:///path/of/socket")
    if settings.clustered and settings.db:
        raise ConfigurationError("db: a Redis Cluster has database 0 only; leave the database out of the URL")
    if settings.scheme == "embedded" and (settings.username or settings.password):
        raise ConfigurationError("username, password: the embedded server has no credentials")
    return settings
