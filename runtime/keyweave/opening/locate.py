"""Locates the generated package that a command or a test works with."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from keyweave.errors import ConfigurationError
from keyweave.model.entity import Package


def locate(name: str | None, project: Path, *, hint: str) -> Package:
    """Return the generated package `name`, or the only one in the project's folder `generated`.

    That folder is added to the import path if the package is in it.

    Args:
        name: import name, or None.
        project: the folder that contains `generated`.
        hint: how the user can name a package; ends the error message.

    Raises:
        ConfigurationError: there is no package, there are several, or it cannot be imported.
    """
    generated = (project / "generated").resolve()
    if name is None:
        found = sorted(path.parent.name for path in generated.glob("*/manifest.json"))
        if len(found) != 1:
            reason = f"generated/ has {', '.join(found)}" if found else "there is none in generated/"
            raise ConfigurationError(f"which generated package? {reason}; {hint}")
        name = found[0]
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(f"{name!r} is not the import name of a package")
    if (generated / name).is_dir() and str(generated) not in sys.path:
        sys.path.insert(0, str(generated))
    try:
        package: object = importlib.import_module(f"{name}.package").PACKAGE
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigurationError(f"cannot import the generated package {name!r}: {reason}") from error
    if not isinstance(package, Package):
        raise ConfigurationError(f"{name} is not a package that keyweave generated")
    return package
