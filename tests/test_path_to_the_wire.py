"""How many files a reader opens to follow a call from the generated method to the bytes on the socket."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from socket import socket
from types import FrameType
from typing import Any

import pytest

from compozy_store import Role, User
from compozy_store.sync import Store
from tests.servers.running import new_namespace, server_url

ROOT = Path(__file__).resolve().parent.parent


def opened(call: Callable[[], Any]) -> list[str]:
    """The project's files of which a function runs before the call's first bytes are sent, in that order."""
    found: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and isinstance(getattr(argument, "__self__", None), socket):
            sys.setprofile(None)
        elif event == "call":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT) and path != Path(__file__) and ".venv" not in path.parts:
                name = path.relative_to(ROOT).as_posix()
                if name not in found:
                    found.append(name)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    ("what", "first", "most"),
    [
        ("save", "runtime/keyweave/sync/repository.py", 15),
        ("page", "generated/compozy_store/sync/user.py", 12),
    ],
)
def test_a_reader_opens_few_files_on_the_way_to_the_wire(what: str, first: str, most: int) -> None:
    with Store.open(server_url(), namespace=new_namespace("path")) as store:
        user = store.users.create(User(id="u", email="a@b", role=Role.USER))
        user.role = Role.ADMIN
        calls: dict[str, Callable[[], Any]] = {
            "save": lambda: store.users.save(user),
            "page": lambda: store.users.by_role(Role.USER).page(),
        }
        files = opened(calls[what])
    assert files[0] == first
    assert files[-1] == "runtime/keyweave/connection/direct/link_sync.py"
    assert len(files) <= most, "\n".join(files)
