"""The campaign of faults: its judge, its proxy, and a short form of the whole."""

from __future__ import annotations
