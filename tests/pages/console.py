"""Runs the consoles of a page in bash: one after another, as one reader types them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.snippets import fits, typed

TIMEOUT: Final = 300
"""Seconds that the commands of one block may take together."""

_MARK: Final = "\x1e"
_ENDED: Final = re.compile(rf"{_MARK}(\d+) ([\d.]+) ([\d.]+){_MARK}")


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ran, with the seconds that it took."""

    command: str
    seconds: float


class Console:
    """A bash whose folder and exported variables last from one block to the next; other variables and functions do not.

    Args:
        folder: where the first block begins.
        environment: the variables of the first block.
        state: a file for what one block leaves to the next.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], state: Path) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self._state = state

    def run(self, text: str, exits: Sequence[int] = (), here: Callable[[str], str] = str) -> list[Ran]:
        """Run the commands of a block, and return how long each took.

        Args:
            text: the block.
            exits: how the last commands end; those before them end with 0.
            here: changes what the page shows to what is here.

        Raises:
            AssertionError: a command does not end so, or its output is not the page's.
        """
        commands = typed(here(text))
        lines = [
            f"__begun=$EPOCHREALTIME\n{each.command}\nprintf '{_MARK}%s %s %s{_MARK}' $? $__begun $EPOCHREALTIME\n"
            for each in commands
        ]
        script = f"{''.join(lines)}pwd > '{self._state}'\nenv -0 >> '{self._state}'\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        pieces = _ENDED.split(done.stdout)
        if len(pieces) != 4 * len(commands) + 1:
            raise AssertionError(f"bash ended early:\n{pieces[-1]}")
        ran = []
        statuses = [0] * (len(commands) - len(exits)) + [*exits]
        for number, each in enumerate(commands):
            output, end, begun, ended = pieces[4 * number : 4 * number + 4]
            if int(end) != statuses[number]:
                raise AssertionError(f"$ {each.command}\nended with {end}, not {statuses[number]}:\n{output}")
            if each.output and not fits(each.output, output):
                raise AssertionError(f"$ {each.command}\nprinted\n{output}\nthe page shows\n{each.output}")
            ran.append(Ran(each.command, float(ended) - float(begun)))
        folder, _, variables = self._state.read_text(encoding="utf-8").partition("\n")
        self.folder = Path(folder)
        pairs = (each.partition("=") for each in variables.split("\0") if each)
        self.environment = {name: value for name, _, value in pairs if name != "_"}
        return ran
