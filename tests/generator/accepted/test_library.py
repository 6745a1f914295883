"""A library: names and texts with a meaning in Python are kept as they were written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyweave.effects import Flow, Send
from keyweave.errors import CheckViolationError, NotFoundError, ReferenceViolationError
from tests.generator.accepted.stage import Stage

CASE = "library"


def book(stage: Stage, isbn: str = "1", **more: Any) -> Any:
    library = stage.package
    given = {
        "isbn": isbn,
        "title": f"Book {isbn}",
        "hash": "h",
        "claim": int(isbn),
        "values": "v",
        "entries": 3,
        "max_depth": 2,
        "marks": [library.Mark(reader="ada")],
    }
    return library.Book(**{**given, **more})


def test_a_library_at_work(stage: Stage) -> None:
    library = stage.package
    stage.books.create(book(stage))
    volume = book(stage, "2", part_of="1")
    librarian, branch = library.HTTPLibrarian2(id="l"), library.Branch(city="Ulm")
    stage.create(volume, librarian, branch)
    for record in (stage.books.get("1"), volume, librarian, branch):
        stage.visit(record)
        stage.write_again(record)
    assert branch.opened == -1
    assert [row.isbn for row in stage.books.tree("1")] == ["1", "2"]
    with pytest.raises(ReferenceViolationError, match="part_of"):
        stage.books.delete("1")
    assert stage.books.where(values="v", entries=3).having(stage.books.where(isbn="2")).order_by(
        "max_depth"
    ).page().rows == [stage.books.get("1")]
    stage.remove(volume, stage.books.get("1"), librarian, branch)
    stage.finish()


def test_defaults_and_docs_are_what_the_schema_says(stage: Stage) -> None:
    library = stage.package
    stage.books.create(book(stage))
    plain = stage.books.get("1")
    assert plain.subtitle == 'it\'s "new"\n\tand on two lines'
    assert plain.shelf is library.Shelf('on "hold"') is library.Shelf.ON_HOLD
    assert plain.marks[0].type == 'plain "text" and a \\ backslash'
    assert library.Shelf.UNDER_REPAIR == "under\\repair"
    assert library.Shelf.ON_HOLD.is_away and not library.Shelf.ON_HOLD.is_visible
    assert str(library.__doc__).startswith('Books, "loans" and C:\\temp\\new; the doc ends with a "quote"\n')
    assert library.Shelf.__doc__.rstrip() == 'Where a book stands, or "lies"'
    assert library.Mark.__doc__.rstrip() == 'A page\'s "mark"'
    assert library.DoubleTitleError.__doc__.rstrip() == 'No two books are "the same"'


def send(stage: Stage, *words: Any) -> Any:
    """One raw command."""

    def flow() -> Flow[Any]:
        (reply,) = yield Send((words,))
        return reply

    return stage.wait_for(stage.store.session.run(flow()))


def test_a_renamed_field_is_read_under_both_names_and_written_under_the_new_one(stage: Stage) -> None:
    stage.books.create(book(stage))
    stage.books.create(book(stage, "2", part_of="1"))
    context = stage.store.session.context
    key = context.partition(stage.package.PACKAGE.entities["Book"]).document("Book", "2")
    stored: bytes = send(stage, "GET", key)
    send(stage, "SET", key, stored.replace(b'"part_of"', b'"volume_of"'))
    assert stage.books.get("2").part_of == "1"
    assert stage.books.by_part_of("1").page().rows == [stage.books.get("2")]
    assert stage.check().clean
    stage.books.change("2", lambda volume: setattr(volume, "hash", "h2"))
    assert {"part_of", "volume_of"} & json.loads(send(stage, "GET", key)).keys() == {"part_of"}
    assert stage.books.get("2").part_of == "1"


def test_errors_have_the_names_that_were_picked(stage: Stage) -> None:
    library = stage.package
    stage.books.create(book(stage))
    with pytest.raises(library.DoubleBookError):
        stage.books.create(book(stage))
    with pytest.raises(library.DoubleTitleError) as title:
        stage.books.create(book(stage, "2", title="Book 1"))
    with pytest.raises(library.DoubleTitleError) as claim:
        stage.books.create(book(stage, "2", claim=1))
    assert [title.value.constraint, claim.value.constraint] == ["title", "claim"]
    for repository in (stage.books, stage.http_librarian2s):
        with pytest.raises(library.NoSuchBookError) as missing:
            repository.get("9")
        assert isinstance(missing.value, NotFoundError)
    with pytest.raises(library.BranchNotFoundError):
        stage.branches.get("9")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": "secret"}, 'Book \'1\': check no_open_secret: title != "secret" or shelf == "closed"'),
        ({"format": "\\"}, "Book '1': check no_backslash: A \"format\" has no \\ in it"),
    ],
)
def test_messages_keep_their_quotes(stage: Stage, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckViolationError) as caught:
        stage.books.create(book(stage, **change))
    assert str(caught.value) == message


@pytest.mark.parametrize("language", ["de", "de\\", "de'", 'de"'])
def test_a_pattern_keeps_its_quotes(stage: Stage, language: str) -> None:
    stage.books.create(book(stage, language=language))
    assert stage.books.get("1").language == language
