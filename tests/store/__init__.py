"""The generated repositories on a real server."""

from __future__ import annotations
