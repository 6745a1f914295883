"""Ids: different keys have different ids, which sort as the keys do, and give the keys back."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave.errors import ValidationError
from keyweave.model.identity import id_text, joined_id, key_of_id, parts_of_id
from keyweave.model.keytext import key_text
from keyweave.model.numbering import IntKey, int_id, int_of_id

NUMBERS = st.integers() | st.integers(-(10**60), 10**60) | st.integers(0, 70).map(lambda size: 10**size)
SHORT = st.text(alphabet='\0\t\x1f !"#%:Aa~\x7fé\U00010000', max_size=4)


class Colour(StrEnum):
    RED = "red!"
    BLUE = "blue"


@given(st.lists(NUMBERS, min_size=2))
def test_ids_of_numbers_sort_as_the_numbers_and_give_them_back(numbers: list[int]) -> None:
    ids = [int_id(number) for number in sorted(numbers)]
    assert ids == sorted(ids)
    assert [int_of_id(text) for text in ids] == sorted(numbers)
    assert [key_of_id(text, int) for text in ids] == sorted(numbers)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "a0"),
        (9, "a9"),
        (10, "b10"),
        (42, "b42"),
        (-1, "Z8"),
        (-42, "Y57"),
        (10**24, f"y1{'0' * 24}"),
        (10**25, f"za01{'0' * 25}"),
        (-(10**25), f"AZ98{'9' * 25}"),
    ],
)
def test_the_text_of_a_number_is_fixed_for_good(number: int, text: str) -> None:
    assert id_text(number) == int_id(number) == text


@given(st.lists(SHORT | st.text(), min_size=2, max_size=4), st.integers(0, 3))
def test_the_id_of_a_key_of_texts_escapes_each_part(parts: list[str], place: int) -> None:
    """Nearly every such key has nothing to escape, and is joined at once."""
    low = re.compile('[\0-"]')
    each = [low.sub(lambda found: '"' + chr(ord(found[0]) + 0x40), part) for part in parts]
    assert joined_id(*parts) == "!".join(each)
    assert parts_of_id(joined_id(*parts), (str,) * len(parts)) == tuple(parts)
    plain = ["thread", "", "1f1ebd55-4769-6739", "ä~"]
    plain[place] = parts[0]
    assert joined_id(*plain) == "!".join([*plain[:place], each[0], *plain[place + 1 :]])


@given(st.lists(st.tuples(SHORT | st.text(), st.integers(-200, 200), SHORT), min_size=2, unique=True))
def test_ids_of_composite_keys_sort_as_their_parts_and_give_them_back(keys: list[Any]) -> None:
    keys.sort()
    ids = [joined_id(*key) for key in keys]
    assert [text.encode() for text in ids] == sorted({text.encode() for text in ids})
    assert [parts_of_id(text, (str, int, str)) for text in ids] == keys


def test_every_kind_of_part_comes_back() -> None:
    key = (Colour.RED, UUID(int=5), -7, "a:b%")
    text = joined_id(*key)
    assert text == f'red"a!{UUID(int=5)}!Z2!a:b%'
    found = parts_of_id(text, (Colour, UUID, int, str))
    assert found == key and found[0] is Colour.RED


@pytest.mark.parametrize(
    "text", ["", "5", "a", "a10", "b5", "b05", "Z", "Z10", "z", "za0", "za1", "é", "a٣", "-5", "a-5", "b-5"]
)
def test_a_text_that_is_the_id_of_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number has this id"):
        int_of_id(text)


@pytest.mark.parametrize("text", ["", "x", "x!a5!y", "x!5", "a b!a5", 'x"!a5', 'x"1!a5', "!", 'x"c!a5'])
def test_a_text_that_is_the_id_of_no_composite_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no (key|number) has this id"):
        parts_of_id(text, (str, int))


def test_a_number_of_a_row_is_written_as_its_id_and_any_other_as_it_is() -> None:
    assert key_text(IntKey(42), "int") == "b42"
    assert key_text(42, "int") == "42"
    assert IntKey(42) == 42


@pytest.mark.parametrize("value", ["5", True, 5.0, None])
def test_an_id_of_another_kind_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        id_text(value, "int")


def test_a_part_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(ValidationError):
        joined_id("\ud800", 5)
