"""Reading a store's URL: every part of it, every mistake, and never a credential in any text."""

from __future__ import annotations

import contextlib
import traceback
from dataclasses import FrozenInstanceError
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.connection.settings import ConnectionSettings, parse_url
from keyweave.errors import ConfigurationError

READ = {
    "redis://db.example": {"scheme": "redis", "host": "db.example", "port": 6379, "db": 0, "username": None},
    "redis://db:7000/3": {"host": "db", "port": 7000, "db": 3, "password": None},
    "REDIS://db:7000/3/": {"scheme": "redis", "db": 3},
    "redis://db?db=4": {"db": 4},
    "redis://db/4?db=4": {"db": 4},
    "redis://:word@db": {"username": None, "password": "word"},
    "redis://ann:word@db": {"username": "ann", "password": "word"},
    "redis://ann:@db": {"username": "ann", "password": ""},
    "redis://ann@db": {"username": "ann", "password": None},
    "redis://a%40b:p%2Fq%3F%23%3A%25@db": {"username": "a@b", "password": "p/q?#:%"},
    "redis://:p@ss@db": {"password": "p@ss", "host": "db"},
    "redis://:%C3%A9%E2%82%AC@db": {"password": "é€"},
    "redis://[::1]:7000/1": {"host": "::1", "port": 7000, "db": 1},
    "redis://[fe80::1%25eth0]": {"host": "fe80::1%eth0", "port": 6379},
    "rediss://db/?tls_verify=no&tls_check_hostname=0": {"tls_verify": False, "tls_check_hostname": False},
    "rediss://db?tls_ca_file=/a%20b/ca.pem": {"scheme": "rediss", "tls_ca_file": "/a b/ca.pem"},
    "unix:///run/r.sock?db=2": {"scheme": "unix", "path": "/run/r.sock", "db": 2},
    "unix:///run/a@b.sock": {"path": "/run/a@b.sock", "username": None},
    "unix://ann:word@/run/r.sock": {"username": "ann", "password": "word", "path": "/run/r.sock"},
    "unix:///run/r.sock?password=p%40q": {"password": "p@q"},
    "embedded:": {"scheme": "embedded", "path": ""},
    "embedded:/var/lib/x#1": {"path": "/var/lib/x#1"},
    "embedded:data/a%20b?timeout=0.5&pool_size=2": {"path": "data/a b", "timeout": 0.5, "pool_size": 2},
    "redis://db?timeout=1.5&connect_timeout=1&deadline=3&pool_timeout=0&pool_size=9": {
        "timeout": 1.5, "connect_timeout": 1.0, "deadline": 3.0, "pool_timeout": 0.0, "pool_size": 9,
    },
    "redis+cluster://c1": {
        "scheme": "redis+cluster", "nodes": (("c1", 6379),), "host": "c1", "service": "", "encrypted": False, "clustered": True,
    },
    "rediss+cluster://u:p@c1:7000,[::1]:7001?tls_verify=no": {
        "scheme": "rediss+cluster", "nodes": (("c1", 7000), ("::1", 7001)), "username": "u", "password": "p",
        "encrypted": True, "clustered": True, "address": "c1:7000,[::1]:7001",
    },
    "redis+cluster://c1/0": {"db": 0},
    "redis+sentinel://s1/mymaster": {
        "scheme": "redis+sentinel", "nodes": (("s1", 26379),), "service": "mymaster", "db": 0, "encrypted": False,
        "address": "mymaster of s1:26379",
    },
    "rediss+sentinel://ann:w%40@s1:7000,[::1]:7001,s3/my%20master/2?timeout=1": {
        "nodes": (("s1", 7000), ("::1", 7001), ("s3", 26379)), "service": "my master", "db": 2, "username": "ann",
        "password": "w@", "timeout": 1.0, "encrypted": True, "address": "my master of s1:7000,[::1]:7001,s3:26379",
    },
    "redis://db?client_name=worker-1&health_check_interval=0": {
        "client_name": "worker-1", "health_check_interval": 0.0,
    },
}  # fmt: skip

REFUSED = [
    ("", "the URL must have the form redis://"),
    ("db.example:6379", "the URL must have the form redis://"),
    ("http://db", "unknown scheme"),
    ("reddis://db", "did you mean 'redis'?"),
    ("embedded://data", "unknown scheme"),
    ("redis://", "host: missing in the URL"),
    ("redis://:7000", "host: missing in the URL"),
    ("redis://ann:word@", "host: missing in the URL"),
    ("redis://a b", "host: not a name or address"),
    ("redis://::1", "host: not a name or address"),
    ("redis://db:0", "port: must be a number from 1 to 65535"),
    ("redis://db:65536", "port: must be"),
    ("redis://db:abc", "port: must be a number from 1 to 65535"),
    ("redis://db/zero", "db: must be a whole number"),
    ("redis://db/-1", "db: must be a whole number"),
    ("redis://db/1?db=2", "db: the path and the query of the URL name different databases"),
    ("redis://db?timeout=-1", "timeout: must be more than 0"),
    ("redis://db?timeout=0", "timeout: must be more than 0"),
    ("redis://db?timeout=nan", "timeout: must be a number of seconds"),
    ("redis://db?timeout=inf", "timeout: must be a number of seconds"),
    ("redis://db?timeout=soon", "timeout: must be a number of seconds"),
    ("redis://db?timeout=1&timeout=2", "option 'timeout' is given twice"),
    ("redis://db?time_out=1", "unknown option 'time_out'; did you mean 'timeout'?"),
    ("redis://db?colour=red", "unknown option 'colour'"),
    ("redis://db?pool_size=0", "pool_size: must be from 1"),
    ("redis://db?pool_size=many", "pool_size: must be a whole number"),
    ("redis://db?tls_verify=perhaps", "tls_verify: must be true or false"),
    ("redis://db?client_name=a%20b", "client_name: must be printable ASCII without spaces"),
    ("redis://db?tls_ca_file=/x", "tls_ca_file: only a rediss:// URL uses TLS"),
    ("rediss://db?tls_key_file=/x", "tls_key_file: also needs tls_cert_file"),
    ("redis://:%FF@db", "password: the percent-encoding is not UTF-8"),
    ("redis://db%00", "host: contains a NUL character"),
    ("redis://:a\nb@db", "the URL contains a control character"),
    ("unix://", "path: a unix URL names the socket"),
    ("unix://run/r.sock", "three slashes"),
    ("redis+cluster://c1,c2/1", "db: a Redis Cluster has database 0 only"),
    ("redis+cluster://c1?db=2", "db: a Redis Cluster has database 0 only"),
    ("redis+cluster://", "host: missing in the URL"),
    ("redis+cluster://c1,,c2", "host: missing in the URL"),
    ("redis+cluster://c1/x", "db: must be a whole number"),
    ("redis+clustre://c1", "did you mean 'redis+cluster'?"),
    ("redis+sentinel://s1,s2", "service: a Sentinel URL names the service"),
    ("redis+sentinel://s1/", "service: a Sentinel URL names the service"),
    ("redis+sentinel://s1,,s3/mymaster", "host: missing in the URL"),
    ("redis+sentinel:///mymaster", "host: missing in the URL"),
    ("redis+sentinel://s1:0/mymaster", "port: must be a number"),
    ("redis+sentinel://s1/mymaster/zero", "db: must be a whole number"),
    ("redis+sentinel://s1/mymaster?tls_ca_file=/x", "tls_ca_file: only a rediss:// URL uses TLS"),
    ("redis+sentinal://s1/mymaster", "did you mean 'redis+sentinel'?"),
    ("embedded:?username=ann", "the embedded server has no credentials"),
]

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6, max_size=20)


@pytest.mark.parametrize(("url", "expected"), READ.items())
def test_every_part_of_a_url_is_read(url: str, expected: dict[str, object]) -> None:
    settings = parse_url(url)
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(("url", "message"), REFUSED)
def test_a_mistake_is_named(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_url(url)
    assert message in str(caught.value)


@pytest.mark.parametrize("url", [None, 6379, b"redis://db", Path("redis://db")])
def test_a_url_that_is_no_string_is_refused(url: object) -> None:
    with pytest.raises(ConfigurationError, match="must be a string"):
        parse_url(url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", "1"), ("timeout", 3), ("connect_timeout", 0.25), ("deadline", 30), ("pool_size", 1),
        ("pool_timeout", 0), ("tls_verify", False), ("client_name", "x"), ("password", "word"), ("db", 7),
        ("tls_ca_file", Path("/x/ca.pem")), ("health_check_interval", 5.0),
    ],
)  # fmt: skip
def test_an_argument_wins_over_the_query(name: str, value: object) -> None:
    given_first = {"db": "3", "tls_ca_file": "/y", "client_name": "y", "password": "y", "tls_verify": "yes"}
    settings = parse_url(f"rediss://db?{name}={given_first.get(name, '9')}", **{name: value})
    assert getattr(settings, name) == (
        str(value) if isinstance(value, Path) else type(getattr(settings, name))(value)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", True), ("timeout", [1]), ("deadline", -0.5), ("deadline", 1e9), ("pool_size", 1.5),
        ("pool_size", 10**9), ("tls_verify", 1), ("password", b"word"), ("password", 5), ("client_name", ""),
        ("client_name", "a\nb"), ("tls_ca_file", 5), ("tls_ca_file", ""), ("health_check_interval", -1),
        ("db", True), ("port", 1),
    ],
)  # fmt: skip
def test_an_invalid_argument_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        parse_url("rediss://db", **{name: value})


def test_an_argument_that_is_none_counts_as_absent() -> None:
    assert parse_url("redis://db", timeout=None, password=None) == parse_url("redis://db")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://ann:word@db:7000", "db:7000"),
        ("redis://[::1]", "[::1]:6379"),
        ("unix://:word@/run/r.sock", "/run/r.sock"),
        ("embedded:", "embedded:"),
        ("embedded:/data", "embedded:/data"),
    ],
)
def test_the_address_names_the_server_and_nothing_else(url: str, address: str) -> None:
    assert parse_url(url).address == address


def test_settings_cannot_be_changed() -> None:
    settings = parse_url("redis://db")
    with pytest.raises(FrozenInstanceError):
        settings.timeout = 1.0  # type: ignore[misc]


@given(username=TEXT, password=TEXT, where=st.sampled_from(["userinfo", "query", "argument"]))
def test_no_text_of_settings_shows_a_credential(username: str, password: str, where: str) -> None:
    user, word = f"u-{username}", f"p-{password}"
    if where == "userinfo":
        settings = parse_url(f"redis://{quote(user, safe='')}:{quote(word, safe='')}@db/1")
    elif where == "query":
        settings = parse_url(f"unix:///s?username={quote(user, safe='')}&password={quote(word, safe='')}")
    else:
        settings = parse_url("redis://db", username=user, password=word)
    assert (settings.username, settings.password) == (user, word)
    for shown in (repr(settings), str(settings), f"{settings}", settings.address, repr([settings])):
        assert user not in shown
        assert word not in shown


@given(
    password=st.text(
        st.sampled_from("secret:/?#[]@%&=. é\\\n0") | st.characters(exclude_categories=["Cs"]), max_size=12
    ),
    place=st.sampled_from(
        ["db:6379/0", "db:0", "", "db/x", "db?timeout=-1", "[::1", "db?tls_verfy=1", "db#x"]
    ),
)
def test_no_error_about_a_url_shows_a_password_however_it_is_written(password: str, place: str) -> None:
    word = f"KEEPOUT{password}KEEPOUT"
    for url in (f"redis://:{word}@{place}", f"redis://ann:{word}@{place}", f"unix://:{word}@/{place}"):
        try:
            settings = parse_url(url)
        except ConfigurationError as error:
            shown = str(error) + "".join(traceback.format_exception(error, limit=0))
        else:
            shown = repr(settings)
        assert "KEEPOUT" not in shown


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for url in (text, f"redis://{text}", f"embedded:{text}", f"redis://db?{text}"):
        with contextlib.suppress(ConfigurationError):
            assert isinstance(parse_url(url), ConnectionSettings)
