"""Runs the snippets of pages in order, as a reader would: `python -m tests.pages.story FOLDER PAGE...`.

A block with a path becomes that file. Other Python runs in one namespace, a console in bash, which keeps its folder and variables
from one block to the next; the output has to be what the page shows. JSON and YAML have to be valid. A schema that was written is
generated before the next Python. The server at localhost:6379 is one that runs for this page only.

The command `keyweave` is a fork of a process that has imported it, so that a page with twenty commands does not take twenty starts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from keyweave.cli.commands import assemble, installed
from keyweave.cli.main import main as keyweave_command
from keyweave.embedded import server as embedded
from keyweave_generator.load import load
from keyweave_generator.output import write
from keyweave_generator.render import render
from tests.pages.console import Console
from tests.snippets import Snippet, snippets

READ_ONLY: Final = {"", "text", "py"}
"""Languages of blocks that are no code of a user: none, outputs, and the signatures of generated code, which tests/test_docs.py compares."""

REDIS_CLI: Final = """\
#!{python}
import redis, shlex, sys
client = redis.Redis(unix_socket_path="{socket}", decode_responses=True)
commands = [sys.argv[1:]] if sys.argv[1:] else [shlex.split(line) for line in sys.stdin if line.strip()]
for command in commands:
    reply = client.execute_command(*command)
    print("OK" if reply is True else reply)
"""
"""redis-cli, which the wheel of the server does not have."""

KEYWEAVE: Final = """\
#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect("{socket}")
request = json.dumps([os.getcwd(), sys.argv[1:], dict(os.environ)]).encode()
socket.send_fds(server, [len(request).to_bytes(4, "big") + request], [0, 1, 2])
sys.exit((server.recv(1) or b"\\x02")[0])
"""
"""keyweave: the words, the folder, the variables and the open files go to `serve`."""


def start_server(path: Path) -> int:
    """Start a process that has imported the command line, and return its id."""
    assemble(installed(), "")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    process = os.fork()
    if process == 0:
        serve(listener)
    listener.close()
    return process


def serve(listener: socket.socket) -> NoReturn:
    """Run every command that `KEYWEAVE` sends in a fork of this process, until the process is killed."""
    while True:
        client, _ = listener.accept()
        data, files, _, _ = socket.recv_fds(client, 1 << 20, 3)
        while len(data) < 4 + int.from_bytes(data[:4], "big"):
            data += client.recv(1 << 20)
        if os.fork() == 0:
            folder, words, variables = json.loads(data[4:])
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(variables)
            for number, file in enumerate(files):
                os.dup2(file, number)
            sys.argv = ["keyweave", *words]
            status = run_keyweave()
            client.sendall(bytes([status]))
            os._exit(0)
        for file in files:
            os.close(file)
        client.close()


def run_keyweave() -> int:
    """Run the command line as the installed script does, and return its exit status."""
    try:
        keyweave_command()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does, which prints it and ends with 1
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


EMPTY: Final = {"README.md"}
"""Pages that begin in an empty folder; the others begin in the project of the shop."""


class Story:
    """One run of a page. `failures` has a text for each snippet that did not do what the page says."""

    def __init__(self, socket: Path, tools: Path) -> None:
        self.failures: list[str] = []
        self._socket = socket
        self._names: dict[str, Any] = {"__name__": "story"}
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
        self._console = Console(Path.cwd(), environment, tools.parent / "state")
        self._schema_written = False

    def run(self, page: Path) -> None:
        """Run every snippet that is not excepted."""
        for snippet in snippets(page.read_text(encoding="utf-8")):
            if snippet.not_run is not None or snippet.excerpt_of is not None:
                continue
            try:
                self._python(self._here(snippet.setup), snippet.line)
                self._run(snippet)
            except Exception:  # noqa: BLE001 - a failure of any kind is one of the page
                text = traceback.format_exc().strip()
                self.failures.append(f"{page.name}:{snippet.line}: {snippet.language}\n{text}")

    def _run(self, snippet: Snippet) -> None:
        text = self._here(snippet.text)
        if snippet.path is not None:
            file = Path(snippet.path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            self._schema_written |= file.parts[0] == "schema"
        elif snippet.language == "python":
            self._python(text, snippet.line)
        elif snippet.language == "console":
            self._typed(snippet)
        elif snippet.language == "json":
            for line in text.replace("…", "").splitlines():
                json.loads(line)
        elif snippet.language == "yaml":
            yaml.safe_load(text)
        elif snippet.language not in READ_ONLY:
            raise ValueError(f"no way to run {snippet.language}; mark the block as not run, with a reason")

    def _here(self, text: str) -> str:
        """The same text with the server of this page."""
        text = text.replace("redis://localhost:6379", f"unix://{self._socket}")
        return text.replace('host="localhost", port=6379', f'unix_socket_path="{self._socket}"')

    def _python(self, code: str, line: int) -> None:
        if not code.strip():
            return
        if self._schema_written:
            self._schema_written = False
            write(Path("generated"), render(load(Path("schema"))))
        if (generated := str(Path("generated").resolve())) not in sys.path:
            sys.path.insert(0, generated)
        exec(compile("\n" * line + code, "page", "exec"), self._names)

    def _typed(self, snippet: Snippet) -> None:
        self._console.run(snippet.text, snippet.exits, self._here)
        os.chdir(self._console.folder)


def main() -> int:
    """Run pages, each in a fork of this process: `story FOLDER PAGE...`. FOLDER has the generated project `shop`.

    Prints what failed; returns 1 if anything did.
    """
    folder, *pages = map(Path, sys.argv[1:])
    server = start_server(folder / "server.sock")
    failed = 0
    try:
        for number, page in enumerate(pages):
            own = folder / str(number)
            own.mkdir()
            child = os.fork()
            if child == 0:
                os._exit(run_page(page, folder, own))
            failed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    return int(failed > 0)


def run_page(page: Path, folder: Path, own: Path) -> int:
    """Run a page in a folder of its own, print what failed, and return 1 if anything did."""
    project = own / "shop"
    if page.name in EMPTY:
        project.mkdir()
    else:
        shutil.copytree(folder / "shop", project)
    os.chdir(project)
    lease = embedded.acquire(own / "server")
    tools = own / "tools"
    tools.mkdir()
    programs = {
        "redis-cli": REDIS_CLI.format(python=sys.executable, socket=lease.socket),
        "keyweave": KEYWEAVE.format(python=sys.executable, socket=folder / "server.sock"),
    }
    for name, text in programs.items():
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    story = Story(lease.socket, tools)
    story.run(page)
    lease.release()
    sys.stdout.write("\n\n".join(story.failures))
    sys.stdout.flush()
    return int(bool(story.failures))


if __name__ == "__main__":
    sys.exit(main())
