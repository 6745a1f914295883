"""What both shells report when a server refuses, stalls, sends a wrong answer or closes, and whether it may have run a command."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme

from keyweave import aio, sync
from keyweave.connection.settings import parse_url
from keyweave.errors import ConfigurationError
from tests.connection.everywhere import opened_everywhere  # noqa: F401
from tests.connection.peers import Client, Open, answering, failing, once, pausing, peer


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_a_refused_connection_was_not_sent(opened: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failure = failing(opened(f"redis://ann:KEEPOUT@127.0.0.1:{port}"))
    assert (failure.reason, failure.sent) == ("connect", False)
    assert f"127.0.0.1:{port}" in str(failure)
    assert "KEEPOUT" not in str(failure)


@pytest.mark.parametrize(
    "url", ["redis://nowhere.invalid", f"redis://{'a' * 70}.invalid", "unix:///no/such.sock"]
)
def test_an_address_that_leads_nowhere_was_not_sent(opened: Open, url: str) -> None:
    failure = failing(opened(url))
    assert (failure.reason, failure.sent) == ("connect", False)


def test_a_server_that_accepts_and_stays_silent_was_not_sent(opened: Open) -> None:
    with peer(Client.wait) as address:
        failure = failing(opened(f"redis://{address}", connect_timeout=0.1))
    assert (failure.reason, failure.sent) == ("timeout", False)
    assert "0.1 s" in str(failure)


def test_a_server_that_goes_silent_may_have_the_commands(opened: Open) -> None:
    received: list[object] = []

    def silent(client: Client) -> None:
        client.greet()
        while (command := client.request()) is not None:
            received.append(command)

    started = time.monotonic()
    with peer(once(silent)) as address:
        driver = opened(f"redis://{address}", timeout=0.1)
        failure = failing(driver, ("INCR", "a"))
        assert driver.send(("ECHO", "y")) == [b"y"]
    assert (failure.reason, failure.sent) == ("timeout", True)
    assert received == [[b"INCR", b"a"]]
    assert time.monotonic() - started < 2


def test_a_server_that_sends_single_bytes_is_bounded_by_the_timeout_of_the_exchange(opened: Open) -> None:
    stop = threading.Event()

    def drip(client: Client) -> None:
        client.greet()
        client.request()
        client.send(b"$100000\r\n")
        while not stop.wait(0.02):
            client.send(b"x")

    with peer(drip) as address:
        failure = failing(opened(f"redis://{address}", timeout=0.2))
    stop.set()
    assert (failure.reason, failure.sent) == ("timeout", True)


def test_a_server_that_does_not_read_is_bounded(opened: Open) -> None:
    stop = threading.Event()

    def deaf(client: Client) -> None:
        client.greet()
        stop.wait(30)

    with peer(deaf) as address:
        failure = failing(opened(f"redis://{address}", timeout=0.2), ("SET", "a", "x" * 30_000_000))
    stop.set()
    assert (failure.reason, failure.sent) == ("timeout", True)


def test_what_was_not_sent_at_the_timeout_is_never_sent(opened: Open) -> None:
    begin, received = threading.Event(), [0]
    ended = threading.Event()

    def late(client: Client) -> None:
        client.greet()
        begin.wait(30)
        try:
            while data := client.connection.recv(1_000_000):
                received[0] += len(data)
        except ConnectionResetError:
            pass
        finally:
            ended.set()

    with peer(late) as address:
        driver = opened(f"redis://{address}", timeout=0.2)
        assert failing(driver, ("SET", "a", "x" * 30_000_000)).sent
        begin.set()
        for _ in range(100):
            if ended.wait(0.02):
                break
            driver.run(pausing())  # lets an event loop run
        assert ended.is_set()
    assert received[0] < 30_000_000


@pytest.mark.parametrize(
    "answer", [b"", b"$10\r\nabc", b"*2\r\n:1\r\n", b"+O", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x01"]
)
def test_commands_may_have_run_after_a_truncated_or_invalid_answer(opened: Open, answer: bytes) -> None:
    def hang_up(client: Client) -> None:
        client.greet()
        client.request()
        client.send(answer)

    with peer(once(hang_up)) as address:
        driver = opened(f"redis://{address}")
        failure = failing(driver)
        assert driver.send(("ECHO", "y")) == [b"y"]
    assert (failure.reason, failure.sent) == ("closed", True)


def test_a_full_server_is_reported_and_the_commands_were_not_sent(opened: Open) -> None:
    def full(client: Client) -> None:
        client.send(b"-ERR max number of clients reached\r\n")

    with peer(full) as address:
        failure = failing(opened(f"redis://{address}/3"))
    assert (failure.reason, failure.sent) == ("connect", False)
    assert "max number of clients" in str(failure)


def test_a_server_that_is_loading_is_connected_and_answers_for_itself(opened: Open) -> None:
    def loading(client: Client) -> None:
        while client.request() is not None:
            client.send(b"-LOADING the dataset\r\n")

    with peer(loading) as address:
        (reply,) = opened(f"redis://{address}").send(("GET", "a"))
    assert reply.code == "LOADING"


def test_a_reply_too_many_never_reaches_the_next_command(opened: Open) -> None:
    def talkative(client: Client) -> None:
        client.greet()
        client.request()
        client.send(b"+OK\r\n+STRAY\r\n")
        client.wait()

    with peer(once(talkative)) as address:
        driver = opened(f"redis://{address}")
        failure = failing(driver, ("SET", "a", "1"))
        assert driver.send(("ECHO", "mine")) == [b"mine"]
    assert (failure.reason, failure.sent) == ("closed", True)


def test_failures_give_their_connections_back(opened: Open) -> None:
    def hang_up(client: Client) -> None:
        client.greet()
        client.request()

    with peer(hang_up) as address:
        driver = opened(f"redis://{address}", pool_size=1, pool_timeout=0)
        assert {failing(driver).reason for _ in range(5)} == {"closed"}


# Credentials and TLS.


def test_credentials_name_and_database_are_used(opened: Open, tmp_path: Path) -> None:
    keeper = opened(f"embedded:{tmp_path}")
    keeper.send(
        ("ACL", "SETUSER", "ann", "on", ">p@s", "~*", "+@all"), ("CONFIG", "SET", "requirepass", "top")
    )
    path = keeper.shell.settings.path
    user = opened(f"unix://ann:p%40s@{path}?db=3&client_name=me")
    assert user.send(("ACL", "WHOAMI"), ("CLIENT", "GETNAME"), ("SET", "a", "1")) == [b"ann", b"me", b"OK"]
    assert b"db=3" in user.send(("CLIENT", "INFO"))[0]
    assert opened(f"unix://:top@{path}").send(("ACL", "WHOAMI")) == [b"default"]


@pytest.mark.parametrize(
    ("credentials", "database"), [("ann:KEEPOUT@", 0), (":KEEPOUT@", 0), ("", 0), ("", 2), ("bob:right@", 1)]
)
def test_refused_credentials_are_reported_and_not_shown(
    opened: Open, tmp_path: Path, credentials: str, database: int
) -> None:
    keeper = opened(f"embedded:{tmp_path}")
    keeper.send(("ACL", "SETUSER", "bob", "on", ">right", "-@all"), ("CONFIG", "SET", "requirepass", "top"))
    failure = failing(opened(f"unix://{credentials}{keeper.shell.settings.path}?db={database}"))
    assert (failure.reason, failure.sent) == ("authentication", False)
    for secret in ("KEEPOUT", "ann", "bob", "right"):
        assert secret not in str(failure).replace(str(tmp_path), "")


def test_a_missing_database_is_reported(opened: Open) -> None:
    failure = failing(opened(f"unix://{opened('embedded:').shell.settings.path}?db=9999"))
    assert (failure.reason, failure.sent) == ("connect", False)
    assert "DB index" in str(failure)


@pytest.mark.parametrize(
    ("options", "trouble"),
    [
        ({"tls_ca_file": "ours"}, None),
        ({"tls_verify": False}, None),
        ({}, "certificate"),
        ({"tls_ca_file": "others"}, "certificate"),
    ],
)
def test_tls_trusts_the_configured_authority(
    opened: Open, tmp_path: Path, authority: trustme.CA, options: dict[str, object], trouble: str | None
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ours")
    trustme.CA().cert_pem.write_to_path(tmp_path / "others")
    if "tls_ca_file" in options:
        options = {"tls_ca_file": str(tmp_path / str(options["tls_ca_file"]))}
    with peer(answering, server_tls(authority, "127.0.0.1")) as address:
        driver = opened(f"rediss://:word@{address}", **options)
        if trouble is None:
            assert driver.send(("ECHO", "x" * 300_000), ("ECHO", "y")) == [b"x" * 300_000, b"y"]
            assert driver.send(("ECHO", "z")) == [b"z"]
        else:
            failure = failing(driver)
            assert (failure.reason, failure.sent) == ("connect", False)
            assert trouble in str(failure)


def test_tls_checks_the_name_unless_the_check_is_disabled(
    opened: Open, tmp_path: Path, authority: trustme.CA
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca")
    with peer(answering, server_tls(authority, "elsewhere.example")) as address:
        assert failing(opened(f"rediss://{address}", tls_ca_file=tmp_path / "ca")).reason == "connect"
        lenient = opened(f"rediss://{address}", tls_ca_file=tmp_path / "ca", tls_check_hostname=False)
        assert lenient.send(("ECHO", "x")) == [b"x"]


def test_tls_shows_its_own_certificate(opened: Open, tmp_path: Path, authority: trustme.CA) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca")
    authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(tmp_path / "mine")
    context = server_tls(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    with peer(answering, context) as address:
        url = f"rediss://{address}?tls_ca_file={tmp_path / 'ca'}"
        assert opened(url, tls_cert_file=tmp_path / "mine").send(("ECHO", "x")) == [b"x"]
        assert failing(opened(url)).sent is False


@pytest.mark.parametrize("name", ["tls_ca_file", "tls_cert_file"])
def test_a_certificate_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "junk").write_text("junk")
    for file in ("absent", "junk"):
        settings = parse_url("rediss://db", **{name: tmp_path / file})
        for shell in (sync.Shell, aio.Shell):
            with pytest.raises(ConfigurationError, match=name):
                shell(settings)


def test_a_server_without_tls_is_refused(opened: Open) -> None:
    with peer(answering) as address:
        failure = failing(opened(f"rediss://{address}", connect_timeout=0.5))
    assert failure.sent is False


def server_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context
