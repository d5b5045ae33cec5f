"""Packages that only some parts need: found, or asked for by the line that installs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import MissingExtraError


def need(module: str, extra: str, what: str) -> Any:
    """Import a module of a package that may not be installed.

    Parameters
    ----------
    module : str
    extra : str
        The extra of this project that has the package.
    what : str
        What it is needed for, as the beginning of a sentence.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtraError(
            f"{what} needs {package}, which is not installed: "
            f"python -m pip install 'zv-versioned[{extra}]'",
            name=package,
        ) from error
