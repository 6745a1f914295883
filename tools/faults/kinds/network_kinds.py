"""Faults of the network between writers and server. Bytes of one connection never change their order."""

from __future__ import annotations

from typing import Final

from tools.faults.kinds.fault import Fault
from tools.faults.site.site import Site
from tools.faults.site.way import CALM, Weather


def cut(site: Site) -> None:
    """Connections are cut several times. Requests on their way are lost, or arrive although their sender is gone."""
    for _ in range(site.chance.randint(2, 12)):
        what = site.chance.choice(("both", "answers"))
        number = site.proxy.cut(site.chance.choice((0.2, 0.5, 1.0)), what)
        site.note(f"{number} connections cut ({what})")
        site.rest(0.0, 0.15)


def storm(site: Site) -> None:
    """Connections are cut when bytes pass, before or behind the server: now few of them, now almost all."""
    for _ in range(site.chance.randint(1, 4)):
        share = site.chance.choice((0.05, 0.2, 0.95))
        site.proxy.change(Weather(storm=share))
        site.note(f"{share:.0%} of the exchanges cut")
        site.rest(0.3, site.deadline)
    _calm(site)


def delay(site: Site) -> None:
    """Bytes are late, in one direction or both, some of them later than a timeout."""
    most = site.chance.choice((0.01, 0.5, 1.5)) * site.timeout
    there, back = site.chance.choice(((most, 0.0), (0.0, most), (most, most)))
    site.proxy.change(Weather(there=(0.0, there), back=(0.0, back)))
    site.note(f"delays up to {there:.2f} s there and {back:.2f} s back")
    site.rest(0.3, 1.5)
    _calm(site)


def hold(site: Site) -> None:
    """Requests of some connections stop, for longer than a timeout, and arrive although their senders have given up."""
    for _ in range(site.chance.randint(1, 4)):
        number = site.proxy.hold(site.chance.choice((0.3, 0.7, 1.0)))
        site.note(f"requests of {number} connections held")
        site.rest(site.timeout, 3 * site.timeout)
        site.proxy.release()
        site.note("held requests arrive")
        site.rest(0.0, 0.3)


def silence(site: Site) -> None:
    """Requests of every connection stop, and are lost or arrive together."""
    site.proxy.change(Weather(hold=True))
    site.note("requests held")
    site.rest(0.5 * site.timeout, 1.5 * site.deadline)
    if site.chance.random() < 0.5:
        number = site.proxy.cut(1.0, site.chance.choice(("answers", "both")))
        site.note(f"{number} connections cut while their requests are held")
    _calm(site)


def straggle(site: Site) -> None:
    """Requests of every connection stop until their callers have given up, and arrive after others that were sent later."""
    for _ in range(site.chance.randint(1, 2)):
        site.proxy.change(Weather(hold=True))
        site.note("requests held")
        site.rest(site.deadline, 1.5 * site.deadline + site.timeout)
        site.proxy.hold(1.0)
        _calm(site)
        site.rest(0.3, 1.0)
        site.proxy.release()
        site.note("held requests arrive")
        site.rest(0.0, 0.3)


def black_hole(site: Site) -> None:
    """Connections open, and nothing is answered; the requests arrive. This happens several times."""
    for _ in range(site.chance.randint(1, 3)):
        site.proxy.change(Weather(hold_back=True))
        site.note("answers held")
        site.rest(0.5 * site.timeout, 1.5 * site.deadline)
        site.proxy.cut(1.0, "answers")
        _calm(site)
        site.rest(0.0, 0.2)


def refuse(site: Site) -> None:
    """No connection can be opened, and the open ones are cut."""
    site.proxy.change(Weather(refuse=True))
    site.proxy.cut(1.0, "answers")
    site.note("connections refused")
    site.rest(0.1, 1.2 * site.deadline)
    _calm(site)


def _calm(site: Site) -> None:
    site.proxy.change(CALM)
    site.note("calm")


NETWORK_KINDS: Final = (
    Fault("cut", "network", cut, share=0.4),
    Fault("storm", "network", storm, share=0.5),
    Fault("delay", "network", delay),
    Fault("hold", "network", hold, share=0.4),
    Fault("silence", "network", silence, share=0.2),
    Fault("straggle", "network", straggle),
    Fault("black_hole", "network", black_hole, share=0.2),
    Fault("refuse", "network", refuse, share=0.2),
)
