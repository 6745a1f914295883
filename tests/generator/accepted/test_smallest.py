"""The smallest schema makes a store that works."""

from __future__ import annotations

import pytest

from keyweave.errors import AlreadyExistsError, ValidationError
from tests.generator.accepted.stage import Stage

CASE = "smallest"


def test_a_note(stage: Stage) -> None:
    note = stage.package.Note(id="n")
    stage.create(note)
    stage.visit(note)
    stage.write_again(note)
    with pytest.raises(AlreadyExistsError):
        stage.notes.create(note)
    with pytest.raises(ValidationError):
        stage.notes.create(stage.package.Note(id=""))
    stage.remove(note)
    with pytest.raises(stage.package.NoteNotFoundError):
        stage.notes.get("n")
    stage.finish()
