"""Schemas of other revisions, read from git's own store. The working tree, the index and the branches are not touched.

Paths are given as they are for the working tree; `git` itself finds the repository that they are in.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

_BRANCHES: Final = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
"""Names of the default branch, tried in this order."""

_OF_A_HOOK: Final = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"})
"""Variables that git sets for its hooks. With them, git would take the current folder for the top of the repository."""

_LINK: Final = "120000"


class HistoryError(Exception):
    """A revision cannot be read; the text is one line with the reason."""


def usual_base(folder: Path) -> str | None:
    """The commit with which the schema in `folder` is compared by default.

    It is the merge base of HEAD and the default branch, which is the first of origin/HEAD, origin/main,
    origin/master, main and master that exists; or HEAD if none exists.

    Returns:
        The commit's full name; None when the repository has no commit yet.

    Raises:
        HistoryError: there is no git, no repository, or no common ancestor.
    """
    top = _nearest(folder)
    head = commit_of(folder, "HEAD", missing_is_none=True)
    if head is None:
        return None
    for branch in _BRANCHES:
        if commit_of(folder, branch, missing_is_none=True) is not None:
            found = _git(top, "merge-base", "HEAD", branch, may_fail=True)
            if found is None:
                raise HistoryError(
                    f"HEAD and {branch} have no common ancestor here; name a revision with --against, "
                    "or fetch more history if this clone is shallow"
                )
            return found.decode().split("\n")[0]
    return head


def commit_of(folder: Path, reference: str, *, missing_is_none: bool = False) -> str | None:
    """The full name of the commit that `reference` names.

    Raises:
        HistoryError: there is no git, no repository, or no such commit.
    """
    top = _nearest(folder)
    _git(top, "rev-parse", "--git-dir")
    name = f"{reference}^{{commit}}"
    found = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", name, may_fail=True)
    if found is not None:
        return found.decode().strip()
    if missing_is_none:
        return None
    raise HistoryError(
        f"there is neither a folder nor a revision {reference!r} in the repository of {folder}"
    )


def files_at(folder: Path, commit: str) -> dict[str, bytes] | None:
    """The YAML files that `folder` held in a commit, by the names that they have in the working tree.

    Returns:
        None when the commit has no such folder.

    Raises:
        HistoryError: git fails, or the folder is something else there.
    """
    top = _nearest(folder)
    tree = _tree(folder, commit)
    kind = _git(top, "cat-file", "-t", tree, may_fail=True)
    if kind is None:
        return None
    if kind.strip() != b"tree":
        raise HistoryError(f"{folder} is not a folder in {commit[:12]}")
    listed = _git(top, "ls-tree", "--full-tree", "-z", tree) or b""
    found: dict[str, bytes] = {}
    for entry in filter(None, listed.split(b"\0")):
        about, _, name = entry.partition(b"\t")
        mode, sort, digest = about.decode().split()
        file = folder / os.fsdecode(name)
        if file.suffix not in (".yaml", ".yml") or sort != "blob":
            continue
        if mode == _LINK:
            raise HistoryError(
                f"{file} is a symbolic link in {commit[:12]}; links in a commit are not followed"
            )
        found[str(file)] = _git(top, "cat-file", "blob", digest) or b""
    return found


def is_folder_at(folder: Path, commit: str) -> bool:
    """Whether a commit has a folder where `folder` is in the working tree.

    Raises:
        HistoryError: git fails.
    """
    kind = _git(_nearest(folder), "cat-file", "-t", _tree(folder, commit), may_fail=True)
    return kind is not None and kind.strip() == b"tree"


def _tree(folder: Path, commit: str) -> str:
    """The name of a folder in a commit."""
    top = _nearest(folder)
    prefix = (_git(top, "rev-parse", "--show-prefix") or b"").decode().rstrip("\n")
    below = folder.resolve().relative_to(top.resolve()).as_posix()
    return f"{commit}:{(prefix + ('' if below == '.' else below)).strip('/')}"


def schemas_at(folder: Path, commit: str) -> list[Path]:
    """The folders with a package file that a commit held anywhere in the repository of `folder`, relative to its top.

    Raises:
        HistoryError: git fails.
    """
    listed = _git(_nearest(folder), "ls-tree", "-r", "--name-only", "--full-tree", "-z", commit) or b""
    paths = (Path(os.fsdecode(name)) for name in listed.split(b"\0") if name)
    return sorted({path.parent for path in paths if path.name in ("package.yaml", "package.yml")})


def top_of(folder: Path) -> Path:
    """The top of the repository that a folder is in.

    Raises:
        HistoryError: there is no git or no repository.
    """
    found = _git(_nearest(folder), "rev-parse", "--show-toplevel") or b""
    return Path(os.fsdecode(found.rstrip(b"\n")))


def manifests_at(folder: Path, commit: str) -> list[bytes]:
    """The manifests of generated packages anywhere in a commit of the repository of `folder`.

    Raises:
        HistoryError: git fails.
    """
    top = _nearest(folder)
    listed = _git(top, "ls-tree", "-r", "--full-tree", "--name-only", "-z", commit) or b""
    paths = [os.fsdecode(path) for path in listed.split(b"\0") if path.endswith(b"/manifest.json")]
    return [_git(top, "cat-file", "blob", f"{commit}:{path}") or b"" for path in paths]


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _git(folder: Path, *arguments: str, may_fail: bool = False) -> bytes | None:
    """Return the output of git in `folder`; None if git fails and `may_fail` permits it."""
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    environment["LC_ALL"] = "C"
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=False, env=environment
        )
    except OSError as error:
        raise HistoryError(f"git cannot be run: {error.strerror or error}") from None
    if done.returncode == 0:
        return done.stdout
    if may_fail:
        return None
    reason = done.stderr.decode(errors="replace").strip().split("\n")[0].removeprefix("fatal: ")
    if "not a git repository" in reason:
        raise HistoryError(f"{folder} is not in a git repository; name a folder with --against")
    raise HistoryError(f"git {arguments[0]}: {reason or f'exit status {done.returncode}'}")
