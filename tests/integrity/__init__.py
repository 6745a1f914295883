"""Checking, repairing, exporting and importing on a real server."""

from __future__ import annotations
