"""Every kind of fault, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tools.faults.kinds.fault import Fault
from tools.faults.kinds.network_kinds import NETWORK_KINDS
from tools.faults.kinds.server_kinds import SERVER_KINDS
from tools.faults.kinds.writer_kinds import WRITER_KINDS

KINDS: Final[Mapping[str, Fault]] = {
    fault.name: fault for fault in (*SERVER_KINDS, *NETWORK_KINDS, *WRITER_KINDS)
}
