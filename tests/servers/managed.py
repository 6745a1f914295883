"""The managed service under test: `KEYWEAVE_TEST_PROFILE` names a profile, and the server under test then stands behind its proxy.

Stores get `command_words` by the URL where the service refuses longer commands, as an application would.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from tests.servers.filtering import managed_server
from tests.servers.profiles import PROFILES, Profile

CHOICE: Final = "KEYWEAVE_TEST_PROFILE"


def chosen_profile(environment: Mapping[str, str] = os.environ) -> Profile | None:
    """The profile under test; None for a server without restrictions.

    Raises:
        ValueError: the variable names no profile.
    """
    chosen = environment.get(CHOICE)
    if not chosen:
        return None
    if chosen not in PROFILES:
        raise ValueError(f"{CHOICE}={chosen}: must be one of {', '.join(PROFILES)}")
    return PROFILES[chosen]


def service_url(profile: Profile) -> str:
    """Start a server behind the proxy of a profile, which end with the process, and return the URL for a store.

    Raises:
        RuntimeError: the server does not start.
    """
    stack = ExitStack()
    atexit.register(stack.close)
    url = stack.enter_context(managed_server(profile))
    return store_url(profile, url)


def store_url(profile: Profile, url: str) -> str:
    """Return the URL of a service with the options that a store needs there."""
    return url if profile.words is None else f"{url}?command_words={profile.words}"
