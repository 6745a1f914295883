"""The two strategies of reading; see `keyweave.store.strategy`."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from keyweave.commit.family import family_by_keys, family_by_script
from keyweave.read.gather import (
    first_and_list_by_keys,
    first_and_list_by_script,
    lists_by_keys,
    lists_by_script,
    row_and_list_by_keys,
    row_and_list_by_script,
)
from keyweave.read.get import owner_by_keys, owner_by_script
from keyweave.read.merge import merge_by_keys, merge_by_script, page_by_keys
from keyweave.read.page import page_by_script
from keyweave.read.probe import probe, probe_by_pages
from keyweave.read.select import select
from keyweave.read.tree import levels_by_keys, levels_by_script
from keyweave.store.strategy import Strategy

BY_KEYS: Final = Strategy(
    family=family_by_keys,
    owner=owner_by_keys,
    page=page_by_keys,
    merge=merge_by_keys,
    lists=lists_by_keys,
    row_and_list=row_and_list_by_keys,
    first_and_list=first_and_list_by_keys,
    select=None,
    probe=probe_by_pages,
    levels=levels_by_keys,
    list_with_lock=False,
)
"""For servers whose scripts may access only keys that the caller declares."""

BY_SCRIPT: Final = Strategy(
    family=family_by_script,
    owner=owner_by_script,
    page=page_by_script,
    merge=merge_by_script,
    lists=lists_by_script,
    row_and_list=row_and_list_by_script,
    first_and_list=first_and_list_by_script,
    select=select,
    probe=probe,
    levels=levels_by_script,
    list_with_lock=True,
    by_script=True,
    inside=replace(BY_KEYS, page=page_by_script, merge=merge_by_script, list_with_lock=True),
)
"""For all other servers. A transaction uses a script only where its own rows can be merged into the reply."""
