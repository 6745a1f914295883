"""Finding the generated package that somebody means, for the command line and for tests."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from keyweave.errors import ConfigurationError
from keyweave.model.entity import Package


def locate(name: str | None, project: Path, *, hint: str) -> Package:
    """The generated package called `name`, or the only one in the project's folder `generated`.

    That folder joins the import path when the package is in it.

    Args:
        name: import name, or None.
        project: the folder that holds `generated`.
        hint: how the caller's user names a package.

    Raises:
        ConfigurationError: there is none, there are several, or it cannot be imported.
    """
    generated = (project / "generated").resolve()
    if name is None:
        found = sorted(path.parent.name for path in generated.glob("*/manifest.json"))
        if len(found) != 1:
            several = f"generated/ holds {', '.join(found)}" if found else "there is none in generated/"
            raise ConfigurationError(f"which generated package? {several}; {hint}")
        name = found[0]
    if (generated / name).is_dir() and str(generated) not in sys.path:
        sys.path.insert(0, str(generated))
    try:
        package: object = importlib.import_module(f"{name}.package").PACKAGE
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"cannot import the generated package {name!r}: {error}") from error
    if not isinstance(package, Package):
        raise ConfigurationError(f"{name} is no package that keyweave generated")
    return package
