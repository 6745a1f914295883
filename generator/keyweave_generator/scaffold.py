"""A new project: a schema, its tests, a Makefile and a server to run it on, as texts. Existing files are never touched.

The texts are the files of `project/`, with `@app@` and `@name@` filled in.
"""

from __future__ import annotations

import json
import keyword
import re
from importlib import metadata, resources
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .freshness import STAMPS
from .output import OutputError

FILES: Final = {
    ".gitignore": "gitignore",  # under its own name it would hide files of this package
    "Makefile": "Makefile",
    "README.md": "README.md",
    "compose.yaml": "compose.yaml",
    "pyproject.toml": "pyproject.toml",
    "schema/note.yaml": "schema/note.yaml",
    "schema/package.yaml": "schema/package.yaml",
    "tests/test_notes.py": "tests/test_notes.py.txt",  # with its placeholders it is no Python yet
}
"""Path in the project -> path below `project/`."""

EXAMPLE: Final = {
    ".gitignore": "gitignore",
    "Makefile": "Makefile",
    "README.md": "example/README.md",
    "compose.yaml": "compose.yaml",
    "example.py": "example/example.py.txt",
    "pyproject.toml": "pyproject.toml",
    "schema/customer.yaml": "example/schema/customer.yaml",
    "schema/order.yaml": "example/schema/order.yaml",
    "schema/package.yaml": "example/schema/package.yaml",
    "schema/product.yaml": "example/schema/product.yaml",
    "tests/test_shop.py": "example/tests/test_shop.py.txt",
}
"""The same for a project with the example of a shop."""

MORE: Final = {"Makefile": "example/Makefile.part"}
"""What follows the text of a file in a project with the example."""


def app_name(name: str) -> str:
    """A project's name as the first part of keys and of the generated package's name."""
    app = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return app if app[:1].isalpha() and not keyword.iskeyword(app) else f"app_{app}".strip("_")


def project(name: str, *, example: bool = False) -> dict[str, str]:
    """Every file of a new project called `name`: path -> text; with the example of a shop, or with one entity to replace."""
    folder = resources.files(__package__) / "project"
    label = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "app"
    sources = EXAMPLE if example else FILES
    texts = {path: (folder / source).read_text(encoding="utf-8") for path, source in sources.items()}
    if example:
        texts |= {
            path: texts[path] + (folder / more).read_text(encoding="utf-8") for path, more in MORE.items()
        }
    return {
        path: text.replace("@app@", app_name(name)).replace("@name@", label) for path, text in texts.items()
    }


def own_requirement() -> str | None:
    """What pip installs as the Keyweave that runs, with everything; None for a release of a package index.

    A project that is made here must get the same Keyweave, and an index may not have it, or have another project of that
    name. The file direct_url.json (PEP 610) records where a distribution came from.
    """
    try:
        recorded = metadata.distribution("keyweave").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    if recorded is None:
        return None
    origin = json.loads(recorded)
    url = origin["url"]
    if "vcs_info" in origin:
        return f"keyweave[all] @ {origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    if urlsplit(url).scheme == "file":
        return f"{url2pathname(urlsplit(url).path)}[all]"
    return f"keyweave[all] @ {url}"


def origin_files(requirement: str | None) -> dict[str, str]:
    """Files that hold, for a project's Makefile, what to install as Keyweave: on this machine only, so git ignores them."""
    if requirement is None:
        return {}
    escaped = requirement.replace("$", "$$").replace("#", "\\#")
    return {
        f"{STAMPS}/.gitignore": "*\n",
        f"{STAMPS}/origin.mk": f"# Written by keyweave init: where its own Keyweave came from.\nKEYWEAVE ?= {escaped}\n",
    }


def write_new(root: Path, files: dict[str, str]) -> None:
    """Write files below `root`, all of them or none. Existing files are not touched.

    Raises:
        OutputError: one of them exists already, or the folder cannot be written.
    """
    taken = [path for path in files if (root / path).exists()]
    if taken:
        raise OutputError(f"{root}: these files exist already: {', '.join(taken)}; nothing was written")
    try:
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{error.filename or root}: {error.strerror}") from error
