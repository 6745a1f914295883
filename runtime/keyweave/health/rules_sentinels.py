"""The rule about Sentinels: whether they could replace a master that fails."""

from __future__ import annotations

from collections.abc import Iterator

from keyweave.health.limits import Limits
from keyweave.health.report import Finding, Health, Severity


def sentinels(health: Health, _: Limits) -> Iterator[Finding]:
    """Sentinels that cannot agree leave a failed master where it is; one that is missing brings that nearer."""
    wrong = [each for each in health.sentinels if each.problem]
    if not wrong:
        return
    asked, (host, _colon, port) = len(health.sentinels), wrong[-1].address.rpartition(":")
    if len(wrong) < asked:
        severity = Severity.WARNING
        why = "The others could still replace a master that fails. If more of them end, they could not."
    else:
        severity = Severity.CRITICAL
        why = "If the master fails, no replica takes its place, and every read and write fails from then on."
    answers = "; ".join(f"{each.address}: {each.problem}" for each in wrong)
    yield Finding(
        id="sentinel-quorum",
        severity=severity,
        what=f"{len(wrong)} of {asked} Sentinels cannot elect a master, or do not answer: {answers}",
        why=why,
        action="Start the Sentinels that are down, and let them reach each other and the servers.",
        command=f"redis-cli -h {host} -p {port} SENTINEL CKQUORUM {wrong[-1].service}",
    )
