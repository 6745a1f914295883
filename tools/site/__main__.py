"""Builds the site into .site/html: `python -m tools.site`. Every warning of Sphinx, a link without a target included, is an error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from sphinx.cmd.build import build_main

from tools.site import llms
from tools.site.api import write_shop
from tools.site.navigation import ROOT
from tools.site.stage import stage

BUILD: Final = ROOT / ".site"


def main() -> int:
    """Make the sources and build; return Sphinx's exit status."""
    shop = BUILD / "shop"
    write_shop(shop)
    sys.path.insert(0, str(shop / "generated"))
    sources, target = BUILD / "source", BUILD / "html"
    stage(sources)
    conf = str(Path(__file__).parent)
    # Everything anew: a page that did not change would keep the navigation of an earlier build.
    options = ["--fail-on-warning", "--quiet", "--fresh-env", "--write-all", "-c", conf]
    status = build_main([*options, str(sources), str(target)])
    (target / "llms.txt").write_text(llms.short(), encoding="utf-8")
    (target / "llms-full.txt").write_text(llms.full(), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
