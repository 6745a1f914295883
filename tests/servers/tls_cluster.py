"""A cluster of three masters and three replicas whose clients use TLS, with certificates made for the test.

The nodes of Redis 8 speak TLS with clients and with each other (`tls-cluster`). The Valkey of the wheel is built without TLS:
a relay before each node ends it, and the nodes announce the relays' ports to clients only (`cluster-announce-client-port`).
Tests ask the nodes themselves without TLS.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import redis
import trustme

from tests.servers.cluster import Cluster
from tests.servers.cluster_node import ClusterNode
from tests.servers.guarded import guarded
from tests.servers.node import HOST
from tests.servers.ports import reserve_port
from tests.servers.running import chosen_server
from tests.servers.tls import relay


class TlsNode(ClusterNode):
    """A node whose clients use TLS.

    Attributes:
        outside: the port for clients with TLS.
    """

    def __init__(self, folder: Path, options: dict[str, str]) -> None:
        self._outside: Final = reserve_port()
        self.outside: Final = self._outside.number
        own = "tls-port" if chosen_server() == "redis8" else "cluster-announce-client-port"
        super().__init__(folder, {**options, own: str(self.outside)})

    @property
    def peer_port(self) -> int:
        return self.outside if chosen_server() == "redis8" else self.port

    def close(self) -> None:
        super().close()
        self._outside.release()


class TlsCluster(Cluster):
    """A cluster whose clients use TLS.

    Attributes:
        trusted: the certificate of the authority, which clients are to trust.
    """

    def __init__(self, folder: Path, trusted: Path, **options: str) -> None:
        super().__init__(folder, TlsNode, **options)
        self.trusted: Final = trusted

    @property
    def outside(self) -> list[tuple[str, int]]:
        """Hosts and ports for clients with TLS."""
        return [(HOST, cast(TlsNode, node).outside) for node in self.nodes]

    @property
    def url(self) -> str:
        return f"rediss+cluster://{','.join(f'{host}:{port}' for host, port in self.outside)}"

    def client(self, **options: Any) -> redis.RedisCluster:
        startup = [redis.cluster.ClusterNode(*each) for each in self.outside]  # type: ignore[no-untyped-call]
        return redis.RedisCluster(startup_nodes=startup, ssl=True, ssl_ca_certs=str(self.trusted), **options)


@contextmanager
def tls_cluster() -> Iterator[TlsCluster]:
    """Start a cluster behind TLS, yield it, stop it and delete its data.

    Raises:
        RuntimeError: a server does not start; its log is in the message.
        TimeoutError: the servers do not become a cluster.
    """
    with guarded("tls-cluster-") as folder, ExitStack() as stack:
        authority = trustme.CA()
        trusted = folder / "ca.pem"
        authority.cert_pem.write_to_path(trusted)
        certificate = authority.issue_cert(HOST, "localhost")
        options: dict[str, str] = {}
        if chosen_server() == "redis8":
            certificate.private_key_pem.write_to_path(folder / "server.key")
            certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
            options = {
                "tls_cluster": "yes",
                "tls_replication": "yes",
                "tls_auth_clients": "no",
                "tls_cert_file": str(folder / "server.pem"),
                "tls_key_file": str(folder / "server.key"),
                "tls_ca_cert_file": str(trusted),
            }
        cluster = TlsCluster(folder, trusted, **options)
        stack.callback(cluster.close)
        cluster.start()
        if chosen_server() != "redis8":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            inside = [partial(asyncio.open_connection, HOST, node.port) for node in cluster.nodes]
            ports = [port for _, port in cluster.outside]
            stack.enter_context(relay(dict(zip(ports, inside, strict=True)), context))
        yield cluster
