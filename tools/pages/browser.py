"""A headless Chromium, driven over a pipe by its DevTools protocol: for pictures of pages, and for tests of them.

Chromium comes from the operating system (Debian: apt install chromium). No driver and no package is needed.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_LONGEST: Final = 60.0
"""Seconds that an answer may take on the slowest machine."""


_AS_3_AND_4: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts the browser, which reads commands from descriptor 3 and writes answers to 4."""


class Browser:
    """One page of a browser.

    Args:
        process: the running browser.
        send: the file descriptor for commands.
        receive: that for answers and events.
    """

    def __init__(self, process: subprocess.Popen[bytes], send: int, receive: int) -> None:
        self._process = process
        self._send = send
        self._receive = receive
        self._rest = b""
        self._number = 0
        self._session = ""
        self._loaded = 0
        self.problems: list[str] = []
        """What the console and the log of the browser reported, such as a violation of the content security policy."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command; return its result.

        Raises:
            RuntimeError: the browser refused it.
            TimeoutError: it did not answer.
        """
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._send, json.dumps(command).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    def open(self, url: str) -> None:
        """Load a page, and wait until it is there."""
        before = self._loaded
        self.ask("Page.navigate", url=url)
        self._wait_for_load(before)

    def follow(self, script: str) -> None:
        """Run JavaScript that leads to another page, and wait until it is there."""
        before = self._loaded
        self.value(script)
        self._wait_for_load(before)

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page.

        Raises:
            RuntimeError: it threw an exception.
        """
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, such as Tab."""
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=9)

    def shape(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Set the size of the window in pixels, the preferred colours, and whether it is a phone."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self) -> bytes:
        """Return the window as a PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])

    def _wait_for_load(self, before: int) -> None:
        while self._loaded == before:
            self._next()

    def _next(self) -> dict[str, Any]:
        """Return the next message, and keep what events report."""
        limit = time.monotonic() + _LONGEST
        while b"\0" not in self._rest:
            if not select.select([self._receive], [], [], max(0.0, limit - time.monotonic()))[0]:
                raise TimeoutError
            read = os.read(self._receive, 1 << 16)
            if not read:
                raise RuntimeError(f"the browser ended with {self._process.wait()}")
            self._rest += read
        first, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded += 1
            case "Log.entryAdded":
                self.problems.append(message["params"]["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.problems.append(json.dumps(message["params"]))
        return message


def _high(descriptor: int) -> int:
    """Move a descriptor out of the way of 3 and 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser of its own, with an empty profile.

    Raises:
        RuntimeError: there is no Chromium.
    """
    program = next((found for name in _NAMES if (found := shutil.which(name)) is not None), None)
    if program is None:
        raise RuntimeError("there is no Chromium in the PATH; Debian: apt install chromium")
    to_browser, send = map(_high, os.pipe())
    receive, from_browser = map(_high, os.pipe())
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        words = [
            *(sys.executable, "-c", _AS_3_AND_4, str(to_browser), str(from_browser), program),
            *(
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
            ),
            *("--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"),
            f"--user-data-dir={Path(profile)}",
        ]
        process = subprocess.Popen(
            words, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            yield Browser(process, send, receive)
        finally:
            os.close(send)  # ends it
            try:
                process.wait(_LONGEST)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(receive)
