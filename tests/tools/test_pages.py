"""The pages for operators agree with the code."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.operations.examined import all_names
from tests.operations.test_compose import compose
from tools.pages.configuration import PAGE, page

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
FINDINGS = all_names()


def test_the_configuration_page_is_written_from_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "out of date: run make pages"


def test_every_finding_is_explained() -> None:
    assert set(re.findall(r"^\| `([a-z-]+)` \|", OPERATIONS, flags=re.MULTILINE)) == FINDINGS


@pytest.mark.parametrize("name", ["doctor.svg", "health.svg"])
def test_pictures_are_whole_and_load_nothing_from_elsewhere(name: str) -> None:
    text = (DOCS / "operations" / name).read_text(encoding="utf-8")
    ET.fromstring(text)
    assert "url(http" not in text
    assert f"operations/{name}" in OPERATIONS


def test_the_picture_of_doctor_shows_findings_that_there_are() -> None:
    text = (DOCS / "operations" / "doctor.svg").read_text(encoding="utf-8")
    shown = {finding for finding in FINDINGS if f">{finding}<" in text}
    assert shown == {"eviction-policy", "aof-off", "memory-high", "tls-off"}


def test_the_picture_of_doctor_shows_the_levels_of_durability() -> None:
    text = (DOCS / "operations" / "doctor.svg").read_text(encoding="utf-8").replace("&#160;", " ")
    assert "Levels of durability on this server" in text
    for level in ("none", "disk", "replicas"):
        assert f">{level} " in text or f">{level}<" in text


def test_settings_that_the_page_names_are_those_of_the_compose_file() -> None:
    words = " ".join(compose()["services"]["redis"]["command"])
    for setting in ("appendfsync everysec", "maxmemory-policy noeviction", "appendonly yes"):
        assert setting in words
    assert "`appendfsync everysec`" in OPERATIONS
    assert "`maxmemory-policy noeviction`" in OPERATIONS
