"""Asking the Sentinels of a store whether they could replace its master. The store itself asks them only where the master is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import ConnectionFailure, Flow, Send, ServerError
from keyweave.health.report import SentinelAnswer
from keyweave.sync.shell import Shell


def sentinel_answers(settings: ConnectionSettings) -> tuple[SentinelAnswer, ...]:
    """Ask each Sentinel of a `redis+sentinel` URL whether enough of them reach each other to elect a master."""
    scheme = settings.scheme.partition("+")[0]
    plain = replace(
        settings, scheme=scheme, nodes=(), service="", db=0, username=None, password=None, pool_size=1
    )
    found = []
    for host, port in settings.nodes:
        sentinel = replace(plain, host=host, port=port)
        with Shell(sentinel) as shell:
            problem = shell.run(_problem(settings.service))
        found.append(SentinelAnswer(sentinel.address, settings.service, problem))
    return tuple(found)


def _problem(service: str) -> Flow[str]:
    try:
        (reply,) = yield Send((("SENTINEL", "CKQUORUM", service),))
    except ConnectionFailure as failure:
        return str(failure)
    answer: Any = reply
    return answer.message if type(answer) is ServerError else ""
