"""Faults of the writers: their calls are interrupted."""

from __future__ import annotations

from typing import Final

from tools.faults.kinds.fault import Fault
from tools.faults.site.site import Site
from tools.faults.writers.messages import Interrupt


def interrupt(site: Site) -> None:
    """Exceptions are thrown into threads while they use the store."""
    _interrupt(site, "sync")


def cancel(site: Site) -> None:
    """Tasks are cancelled while they use the store."""
    _interrupt(site, "aio")


def _interrupt(site: Site, flavour: str) -> None:
    number, pause = site.chance.choice(((20, 0.05), (200, 0.01)))
    for crew in site.crews:
        if crew.flavour == flavour:
            crew.interrupt(Interrupt(number, pause, site.chance.randrange(1 << 30)))
    site.note(f"{number} interruptions of each process begin")
    site.rest(number * pause, number * pause)


WRITER_KINDS: Final = (
    Fault("interrupt", "writers", interrupt, share=0.4),
    Fault("cancel", "writers", cancel, share=0.4),
)
