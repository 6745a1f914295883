"""Tools of this repository: benchmarks, and makers of pages. They start servers and engines with the code of `tests`."""

from __future__ import annotations
