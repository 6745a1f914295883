"""A process that writes notes by one generated package until its standard input ends, and then says how many rounds it made.

Started as `python -m tests.evolution.hammer FOLDER PACKAGE URL NAMESPACE NAME`.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

SEEDS = 200
"""Rows that are there from the beginning."""

KEPT = 200
"""Rows of its own that a process keeps: what a build has to read does not grow faster than it can."""


def main(folder: str, package: str, url: str, namespace: str, name: str) -> None:
    """Write until standard input is closed."""
    sys.path.insert(0, folder)
    module: Any = importlib.import_module(package)
    over = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    turn = 0
    with importlib.import_module(f"{package}.sync").Store.open(url, namespace=namespace) as store:
        sys.stdout.write("open\n")
        sys.stdout.flush()
        while not over.is_set():
            turn += 1
            key = f"{name}{turn}"
            store.notes.create(module.Note(id=key, owner="o", slug=key))
            store.notes.change(f"seed{turn % SEEDS}", lambda row: setattr(row, "state", "public"))
            seed = f"seed{turn * 7 % SEEDS}"
            store.notes.upsert(module.Note(id=seed, owner="o", slug=seed, state="draft"))
            if turn % 3 == 0:
                store.notes.delete(key)
            store.notes.discard(f"{name}{turn - KEPT}")
    sys.stdout.write(f"{turn}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
