"""Flows, driven with literal replies: no shell, no server, no clock."""

from __future__ import annotations
