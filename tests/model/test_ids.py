"""Ids: of the right form, different, and in the order in which a process makes them."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from compozy_engine.ids import new_id
from keyweave.model import ids
from keyweave.model.ids import ksuid, ksuid_of, uuid4_text, uuid7, uuid7_text


def millis(value: UUID) -> int:
    return value.int >> 80


def test_a_uuid7_has_its_version_its_variant_and_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert before <= millis(made) <= time.time_ns() // 1_000_000 + 1
    assert (made.version, made.variant) == (7, "specified in RFC 4122")


def test_uuid7s_are_in_the_order_of_their_making() -> None:
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}


def test_uuid7s_are_in_order_also_if_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    second = uuid7()
    monkeypatch.undo()
    assert first < second < uuid7()


def test_threads_never_make_the_same_uuid7() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [
            each for part in pool.map(lambda _: [uuid7() for _ in range(1000)], range(8)) for each in part
        ]
    assert len(set(made)) == 8000


def test_a_child_process_makes_ids_of_its_own() -> None:
    """Also if another thread of the parent was making one at the moment of the fork."""
    uuid7()
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with ids._sequence.lock:
            held.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, "".join(uuid7_text() for _ in range(3)).encode())
        os._exit(0)
    done.set()
    holder.join()
    os.waitpid(child, 0)
    theirs = os.read(reading, 3 * 36).decode()
    os.close(reading)
    os.close(writing)
    ours = {uuid7_text() for _ in range(3)}
    assert len(theirs) == 3 * 36
    assert ours.isdisjoint({theirs[start : start + 36] for start in (0, 36, 72)})


def test_texts_are_those_of_uuids() -> None:
    assert UUID(uuid7_text()).version == 7
    assert UUID(uuid4_text()).version == 4
    assert str(UUID(uuid7_text())) != uuid7_text()


def test_a_known_second_and_payload_make_a_known_ksuid() -> None:
    payload = bytes.fromhex("B5A1CD34B5F99D1154FB6853345C9735")
    assert ksuid_of(107_608_047 + 1_400_000_000, payload) == "0ujtsYcgvSTl8PAuAdqWYSMnLOv"


def test_ksuids_sort_by_the_second() -> None:
    made = [ksuid_of(1_400_000_000 + seconds, bytes(16)) for seconds in (0, 1, 61, 2**31, 2**32 - 1)]
    assert made == sorted(made)
    assert {len(each) for each in made} == {27}


def test_new_ksuids_differ() -> None:
    assert len({make() for make in (ksuid, new_id) for _ in range(1000)}) == 2000
