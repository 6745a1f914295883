"""Runs the `keyweave` command as `python -m keyweave.cli`."""

from __future__ import annotations

from keyweave.cli.main import main

main()
