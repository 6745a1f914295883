"""Makes the links of README.md absolute for the page on the package index, which shows it outside of the repository.

The address of the repository comes from `[project.urls]` in pyproject.toml, the revision from the version.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!#|[a-z]+:)(?P<target>[^)\s]+)\)")


def absolute(text: str, repository: str, revision: str) -> str:
    """Return a page of Markdown with absolute links; code blocks stay as they are.

    Args:
        text: the page, which lies at the top of the repository.
        repository: its address.
        revision: the tag to which links lead.
    """

    def link(match: re.Match[str]) -> str:
        kind = "raw" if match["image"] else "blob"
        return f"{match['image']}[{match['text']}]({repository}/{kind}/{revision}/{match['target']})"

    parts = _FENCE.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


class ReadmeHook(MetadataHookInterface):
    """Sets the readme of the distribution."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the text of README.md with absolute links into the metadata."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        repository, revision = metadata["urls"]["Repository"], f"v{metadata['version']}"
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, repository, revision),
        }
