"""A durable store behind Sentinels: the master is killed under writers, and nothing that was confirmed is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from compozy_store import Role, User, aio, sync
from keyweave.errors import DurabilityError, KeyweaveError, OutcomeUnknownError
from tests.harness import FLAVOURS
from tests.servers.running import new_namespace
from tests.servers.sentinels import Sentinels, running_sentinels
from tests.waiting import wait_until

WRITERS = 4
"""Of each store."""

PATIENT, BRIEF = 60.0, 0.6
"""Seconds of `deadline`: longer and shorter than the Sentinels need to promote a replica."""

SOME = 5


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    with running_sentinels() as started:
        yield started


@dataclass
class Ends:
    """How the calls of one store ended, by the rows' keys."""

    confirmed: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: dict[str, OutcomeUnknownError] = field(default_factory=dict)

    def note(self, key: str, error: KeyweaveError | None) -> None:
        """Remember the end of a call."""
        if error is None:
            self.confirmed.append(key)
        elif isinstance(error, DurabilityError):
            assert error.level == "replicas:1" and error.result.id == key
            self.unconfirmed.append(key)
        elif isinstance(error, OutcomeUnknownError):
            self.unknown[key] = error
        else:
            self.refused.append(key)


class Crew:
    """Writers in both stores of one flavour, in a thread of their own.

    Args:
        flavour: `sync` or `aio`.
        sentinels: that lead to the master.
        namespace: of the stores.

    Attributes:
        patient: how calls with a long deadline ended.
        brief: how calls with a short deadline ended.
        present: the keys of all rows at the end, as the new master has them.
    """

    def __init__(self, flavour: str, sentinels: Sentinels, namespace: str) -> None:
        self.patient, self.brief = Ends(), Ends()
        self.present: set[str] = set()
        self._url = sentinels.url
        self._namespace = namespace
        self._ending = threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self._work = self._thread.submit(self._sync if flavour == "sync" else self._aio)

    @property
    def ends(self) -> list[tuple[float, Ends]]:
        """How calls ended, with the deadline of the store."""
        return [(PATIENT, self.patient), (BRIEF, self.brief)]

    def await_more(self, ends: Ends) -> None:
        """Wait until more calls of a store were confirmed."""
        before = len(ends.confirmed)
        wait_until(lambda: self._work.done() or len(ends.confirmed) > before + SOME)

    def end(self) -> None:
        """End all writers, settle the unknown outcomes, and read all rows."""
        self._ending.set()
        self._work.result()
        self._thread.shutdown()

    def _options(self, deadline: float) -> dict[str, Any]:
        return {"namespace": self._namespace, "durable": "replicas:1", "deadline": deadline}

    def _keys(self, name: str) -> Iterator[str]:
        number = 0
        while not self._ending.is_set():
            yield f"{name}-{number}"
            number += 1

    def _sync(self) -> None:
        with ThreadPoolExecutor(2 * WRITERS) as threads:
            stores = [(sync.Store.open(self._url, **self._options(limit)), ends) for limit, ends in self.ends]
            try:
                list(
                    threads.map(
                        lambda each: self._write(*each),
                        [
                            (store, ends, f"{place}-{writer}")
                            for place, (store, ends) in enumerate(stores)
                            for writer in range(WRITERS)
                        ],
                    )
                )
                for store, ends in stores:
                    for key, error in ends.unknown.items():
                        try:
                            applied = store.outcome(error).applied
                        except DurabilityError as late:
                            applied = late.result.applied
                        (ends.confirmed if applied else ends.refused).append(key)
            finally:
                for store, _ in stores:
                    store.close()
        with sync.Store.open(self._url, namespace=self._namespace) as store:
            self.present = {row.id for row in store.users.all()}
            assert store.check().clean

    def _write(self, store: Any, ends: Ends, name: str) -> None:
        for key in self._keys(name):
            try:
                store.users.create(row(key))
            except KeyweaveError as error:
                ends.note(key, error)
            else:
                ends.note(key, None)

    def _aio(self) -> None:
        asyncio.run(self._waiting())

    async def _waiting(self) -> None:
        stores = [
            (await aio.Store.open(self._url, **self._options(limit)), ends) for limit, ends in self.ends
        ]
        try:
            await asyncio.gather(
                *(
                    self._awaited(store, ends, f"{place}-{writer}")
                    for place, (store, ends) in enumerate(stores)
                    for writer in range(WRITERS)
                )
            )
            for store, ends in stores:
                for key, error in ends.unknown.items():
                    try:
                        applied = (await store.outcome(error)).applied
                    except DurabilityError as late:
                        applied = late.result.applied
                    (ends.confirmed if applied else ends.refused).append(key)
        finally:
            for store, _ in stores:
                await store.close()
        async with aio.Store.open(self._url, namespace=self._namespace) as store:
            self.present = {each.id async for each in store.users.all()}
            assert (await store.check()).clean

    async def _awaited(self, store: Any, ends: Ends, name: str) -> None:
        for key in self._keys(name):
            try:
                await store.users.create(row(key))
            except KeyweaveError as error:
                ends.note(key, error)
            else:
                ends.note(key, None)


def row(key: str) -> User:
    return User(id=key, email=f"{key}@x", role=Role.USER)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_failover_loses_nothing_that_was_confirmed_and_settles_the_rest(
    flavour: str, sentinels: Sentinels
) -> None:
    """The replicas stop first, so that writes wait for them at the moment at which the master is killed."""
    crew = Crew(flavour, sentinels, new_namespace("failover"))
    old = sentinels.primary()
    replicas = sentinels.replicas()
    try:
        crew.await_more(crew.patient)
        crew.await_more(crew.brief)
        for replica in replicas:
            replica.pause()
        wait_until(lambda: len(crew.brief.unconfirmed) > SOME)
        old.kill()
        for replica in replicas:
            replica.resume()
        sentinels.kill_primary()  # waits for the promotion
        crew.await_more(crew.patient)
        crew.await_more(crew.brief)
    finally:
        for replica in replicas:
            replica.resume()
        crew.end()
        sentinels.revive(old)
    for _, ends in crew.ends:
        assert [key for key in ends.confirmed if key not in crew.present] == []
        assert [key for key in ends.refused if key in crew.present] == []
    assert crew.brief.unknown, "no write was on its way when the master was killed"
    assert crew.brief.unconfirmed
    assert not crew.patient.unknown and not crew.patient.refused
