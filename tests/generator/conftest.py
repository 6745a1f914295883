"""The packages of the accepted cases, generated once for all tests of a process."""

from __future__ import annotations

import pytest

from tests.generator.accepted.corpus import Corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("accepted"))
