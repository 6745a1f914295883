"""Docstrings of this repository read like Markdown. Sphinx reads reStructuredText, where one thing differs: blocks of code."""

from __future__ import annotations

from itertools import pairwise


def with_literal_blocks(lines: list[str]) -> list[str]:
    """The same lines, with `::` before each block that is indented after an empty line."""
    result = lines[:1]
    margin = 0
    for before, line in pairwise(lines):
        indent = len(line) - len(line.lstrip())
        if line and not before and indent >= margin + 4:
            result += ["::", ""]
        if line:
            margin = indent
        result.append(line)
    return result
