"""The pages of the API: which names they show. Sphinx reads the docstrings of the modules when it builds the site.

The generated package is the shop of `keyweave init --example`, generated for the purpose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from keyweave_generator.load import load
from keyweave_generator.output import write
from keyweave_generator.render import render
from keyweave_generator.scaffold import project

_HEAD: Final = """\
# {title}

{text}

```{{eval-rst}}
{directives}
```
"""

_INDEX: Final = """\
# Python API

The public names of the runtime `keyweave`, and those of a generated package, from their docstrings.

```{toctree}
:maxdepth: 1

"""

_RUNTIME: Final = {
    "keyweave": (
        "keyweave",
        "The names of the runtime that applications use in annotations.",
        {
            "autoexception": ["keyweave.KeyweaveError"],
            "autoclass": [
                "keyweave.model.record.Record",
                "keyweave.model.record.Value",
                "keyweave.model.page.Page",
                "keyweave.integrity.drift.Report",
            ],
        },
    ),
    "repositories": (
        "Repositories and rows",
        (
            "What every repository inherits, and the handles that views and filters return. `keyweave.aio` has the same names and "
            "methods for asyncio: every method that asks the server is awaited, and rows are iterated with `async for`."
        ),
        {
            "autoclass": [
                "keyweave.sync.repository.RepositoryOfRecords",
                "keyweave.sync.repository.Repository",
                "keyweave.sync.rows.Rows",
                "keyweave.sync.rows.Pairs",
                "keyweave.sync.rows.Groups",
                "keyweave.sync.sweeper.Sweeper",
            ]
        },
    ),
    "query": (
        "Predicates",
        "What a filter may ask for beside one value.",
        {"automodule": ["keyweave.query"]},
    ),
    "errors": ("Errors", "Every exception of the runtime.", {"automodule": ["keyweave.errors"]}),
    "testing": (
        "Fixtures for pytest",
        "The plugin that pytest loads where Keyweave is installed.",
        {"automodule": ["keyweave.testing.pytest_plugin"]},
    ),
}
"""Page -> its title, its first sentence, and what autodoc shows on it."""

_GENERATED: Final = (
    "A generated package",
    "The package of the shop that `keyweave init shop --example` begins. `shop_store.aio` has the same names for asyncio.",
    {
        "automodule": [
            "shop_store",
            "shop_store.sync",
            "shop_store.sync.customer",
            "shop_store.sync.product",
            "shop_store.sync.order",
        ]
    },
)

_OPTIONS: Final = ":members:\n   :member-order: bysource"


def api_pages() -> dict[str, str]:
    """Path in the sources of the site -> text of each page of the API."""
    described = {**_RUNTIME, "generated": _GENERATED}
    pages = {
        f"api/{name}.md": _HEAD.format(title=title, text=text, directives=_directives(shown))
        for name, (title, text, shown) in described.items()
    }
    return {"api/index.md": _INDEX + "\n".join(described) + "\n```\n", **pages}


def _directives(shown: dict[str, list[str]]) -> str:
    return "\n\n".join(
        f".. {directive}:: {name}\n   {_OPTIONS}" for directive, names in shown.items() for name in names
    )


def write_shop(folder: Path) -> None:
    """Generate the package `shop_store` into a folder."""
    for path, text in project("shop", example=True).items():
        if path.startswith("schema/"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    write(folder / "generated", render(load(folder / "schema")))
