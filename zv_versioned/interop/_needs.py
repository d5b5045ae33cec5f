"""Packages that a format needs and that are not installed with the rest."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import NotFoundError

__all__ = ["needed"]


def needed(module: str, extra: str, what: str) -> Any:
    """Import a module that an extra brings.

    Parameters
    ----------
    module : str
    extra : str
        The extra of this package that brings it.
    what : str
        What needs it, as the beginning of a sentence: "reading TRK files".

    Raises
    ------
    NotFoundError
        If it is not installed, with the command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # it is there, and something that it needs itself is not
        raise NotFoundError(
            f"{what} needs {module.split('.')[0]}, which is not installed: "
            f'python -m pip install "zv-versioned[{extra}]"'
        ) from error
