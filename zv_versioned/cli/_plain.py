"""Values as JSON has them: no numpy, no NaN, no tuples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from os import PathLike, fspath
from typing import Any
from uuid import UUID

import numpy as np

__all__ = ["plain"]


def plain(value: Any, *, strict: bool = True) -> Any:
    """A value as JSON has it.

    Parameters
    ----------
    value : object
        Numbers of numpy and arrays become numbers and lists; NaN and infinity,
        which JSON does not have, become null; a time becomes text (ISO 8601).
    strict : bool
        Refuse what is none of these, or write its ``repr``.

    Raises
    ------
    TypeError
        With `strict`, for anything else.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.generic):
        return plain(value.item(), strict=strict)
    if isinstance(value, np.ndarray):
        return [plain(item, strict=strict) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item, strict=strict) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item, strict=strict) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, PathLike | UUID):
        return fspath(value) if isinstance(value, PathLike) else str(value)
    if strict:
        raise TypeError(f"{type(value).__name__} is nothing that JSON has")
    return repr(value)
