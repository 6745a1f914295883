"""Documents are read under the names that their fields had before."""

from __future__ import annotations

import json

import pytest

from keyweave.document.head import HEAD
from keyweave.document.rename import with_new_names

HEAD_TEXT = '{"revision":1790000000000002,"created":1790000000000001,"expires":0,"op":"9f2c"'
RENAMED = (("title", "name"), ("made", "created_by"))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (',"title":"a"}', ',"name":"a"}'),
        (',"title":"a","made":{"title": [1e3, -0.0]}}', ',"name":"a","created_by":{"title": [1e3, -0.0]}}'),
        (',"x":12345678901234567890123,"title":null}', ',"x":12345678901234567890123,"name":null}'),
        (
            ',"name":"written before","title":"written since by old code"}',
            ',"name":"written since by old code"}',
        ),
    ],
)
def test_old_names_become_new_ones_and_values_keep_their_bytes(members: str, expected: str) -> None:
    assert with_new_names((HEAD_TEXT + members).encode(), RENAMED).decode() == HEAD_TEXT + expected


@pytest.mark.parametrize("members", [',"name":"a"}', ',"x":{"title":1}}', ',"x":"title"}', "}"])
def test_a_document_without_old_names_is_the_same_bytes(members: str) -> None:
    document = (HEAD_TEXT + members).encode()
    assert with_new_names(document, RENAMED) is document


def test_the_head_stays_where_it_is_read() -> None:
    document = with_new_names((HEAD_TEXT + ',"title":"a"}').encode(), RENAMED)
    assert HEAD.match(document)
    assert json.loads(document)["name"] == "a"


@pytest.mark.parametrize(
    "document", [b'{"title"', b'["title"]', b'"title"', b'{"title":\xff}', b'{"title":1' + b"[" * 5000]
)
def test_what_is_no_document_is_left_to_the_decoder(document: bytes) -> None:
    assert with_new_names(document, RENAMED) is document
