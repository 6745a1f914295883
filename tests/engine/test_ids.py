"""New ids are KSUIDs, as the format's reference implementation writes them."""

from __future__ import annotations

from compozy_engine.ids import ksuid, new_id


def test_a_known_second_and_payload_make_a_known_id() -> None:
    payload = bytes.fromhex("B5A1CD34B5F99D1154FB6853345C9735")
    assert ksuid(107_608_047 + 1_400_000_000, payload) == "0ujtsYcgvSTl8PAuAdqWYSMnLOv"


def test_ids_sort_by_the_second() -> None:
    made = [ksuid(1_400_000_000 + seconds, bytes(16)) for seconds in (0, 1, 61, 2**31, 2**32 - 1)]
    assert made == sorted(made)
    assert {len(each) for each in made} == {27}


def test_new_ids_differ() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000
