"""What is accepted of the user's arrays, and what the error says where it is not.

Everything here is checked before a byte is written.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from ._sets import distinct
from .errors import ArrayError, MetadataError, ZVError
from .spatial.boxes import Box, box_of

MAX_ID = 2**63 - 1
MAX_VERTICES = 2**31 - 1
_BLOCK_ROWS = 1 << 16
_POSITION_KINDS = {"float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32"}


def is_whole(value: object) -> bool:
    """Whether a value is a whole number; a boolean is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def flag(value: object, name: str, error: type[ZVError] = MetadataError) -> bool:
    """A word that is True or False; others, such as "no", could be meant either way.

    Raises
    ------
    MetadataError
        Or `error`, if it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} must be True or False, got {value!r}")
    return bool(value)


def flags(**values: object) -> None:
    """Refuse words that are neither True nor False; see :func:`flag`."""
    for name, value in values.items():
        flag(value, name)


def told(progress: object) -> None:
    """Accept what is told of progress: a function, or nothing.

    Raises
    ------
    MetadataError
    """
    if progress is not None and not callable(progress):
        raise MetadataError(
            f"progress is a function, which is told how far it is, got {progress!r}"
        )


def parse_vertex_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype of coordinates.

    Raises
    ------
    MetadataError
        If coordinates cannot have it.
    """
    try:
        parsed = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise MetadataError(
            f"vertex_dtype={dtype!r} is no dtype; choose one of "
            f"{', '.join(sorted(_POSITION_KINDS))}"
        ) from error
    if parsed.name not in _POSITION_KINDS:
        raise MetadataError(
            f"vertex_dtype {parsed.name!r} is not one that coordinates can have; choose one of "
            f"{', '.join(sorted(_POSITION_KINDS))}"
        )
    native: np.dtype[Any] = parsed.newbyteorder("=")
    return native


def positions(values: Any, ndim: int, stored: np.dtype[Any], dtype: Any = None) -> np.ndarray:
    """Coordinates as they will be stored: (N, D), of the level's dtype, C-contiguous.

    Parameters
    ----------
    values : array_like
        What the user gave.
    ndim : int
    stored : numpy.dtype
        What the level stores.
    dtype : dtype-like, optional
        The user's word that rounding to this dtype is meant; it must be the
        level's.

    Raises
    ------
    ArrayError
        If the shape, the dtype or a value does not fit.
    """
    array = as_array(values, "positions")
    if array.shape == (0,):
        array = np.zeros((0, ndim), stored)
    if array.ndim != 2 or array.shape[1] != ndim:
        raise ArrayError(
            f"positions must have shape (N, {ndim}), one row a vertex; got shape {array.shape}"
        )
    if array.dtype.kind not in "iuf":
        raise ArrayError(f"positions must be numbers, got dtype {array.dtype}")
    if len(array) > MAX_VERTICES:
        raise ArrayError(f"{len(array):,} vertices in one append; {MAX_VERTICES:,} at most")
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if dtype is not None:
        _same_dtype(dtype, stored)
    rounding = f"pass dtype={stored.name!r} to round them"
    return convert(array, stored, "positions", rounding, rounds=dtype is not None)


def as_array(values: Any, what: str) -> np.ndarray:
    """What the user gave, as an array without masked values."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ArrayError(f"{what}: not an array that numpy can make: {error}") from error
    if np.ma.is_masked(values):
        raise ArrayError(f"{what}: some values are masked; fill them or leave them out")
    return array


def _same_dtype(dtype: Any, stored: np.dtype[Any]) -> None:
    try:
        asked = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ArrayError(
            f"dtype={dtype!r} is no dtype; this level stores dtype={stored.name!r}"
        ) from error
    if asked.newbyteorder("=") != stored:
        raise ArrayError(
            f"dtype {asked.name!r} was asked for, but this level stores {stored.name!r}; pass "
            f"dtype={stored.name!r}, or create a dataset with vertex_dtype={asked.name!r}"
        )


def convert(
    array: np.ndarray, to: np.dtype[Any], name: str, rounding: str, *, rounds: bool
) -> np.ndarray:
    """Convert without losing anything, or, where rounding is meant, without overflow.

    `rounding` is what the error advises where values would only be rounded.
    """
    if array.dtype == to:
        return array
    # numpy calls 8-byte integers to float64 safe; above 2**53 it is not.
    if np.can_cast(array.dtype, to, "safe") and not (array.dtype.kind in "iu" and to.kind == "f"):
        return array.astype(to)
    result = np.empty(array.shape, to)
    lost = 0
    example: Any = None
    for start in range(0, len(array), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        block = array[rows]
        with np.errstate(invalid="ignore", over="ignore"):
            result[rows] = block
            back = result[rows].astype(array.dtype)
            differs = _differs(block, result[rows], back)
            if rounds and to.kind == "f":
                differs &= np.isinf(result[rows]) & np.isfinite(block.astype(np.float64))
        if differs.any():
            example = block[differs].flat[0] if example is None else example
            lost += int(differs.reshape(len(block), -1).any(axis=1).sum())
    if lost:
        with np.errstate(over="ignore"):
            only_rounded = to.kind == "f" and not rounds and np.isfinite(to.type(example))
        raise ArrayError(
            f"{name}: {array.dtype.name} values would change as {to.name} in {lost:,} of "
            f"{len(array):,} rows (such as {as_written(example)}); "
            f"{rounding if only_rounded else 'correct them, or store another dtype'}"
        )
    return result


def as_written(value: Any) -> str:
    """A value as somebody would write it: 1.5 and not np.float64(1.5)."""
    plain = isinstance(value, np.generic) and value.dtype.kind in "biufmM"
    return str(value) if plain else repr(value)


def _differs(block: np.ndarray, result: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Which values a conversion changed, seen from converting them back."""
    # NaN is compared as itself here; whether it may be there at all is asked elsewhere.
    differs = (back != block) & ~((back != back) & (block != block))
    differs |= (block < 0) != (result < 0)  # an integer that wrapped round comes back as it was
    if result.dtype.kind in "iu" and block.dtype.kind == "f":
        differs |= ~np.isfinite(block)
    if result.dtype.kind == "f" and block.dtype.kind in "iu":
        # The next float above the largest integer may come back as that integer.
        differs |= np.isinf(result)
        differs |= result >= 2.0 ** (8 * block.dtype.itemsize - (block.dtype.kind == "i"))
    return np.asarray(differs)


def box_of_finite(array: np.ndarray) -> Box:
    """The box of the vertices.

    Raises
    ------
    ArrayError
        If any coordinate is NaN or infinite, naming the first such vertex.
    """
    box = box_of(array)
    if not (np.isfinite(box.lo).all() and np.isfinite(box.hi).all()):
        bad = ~np.isfinite(array).all(axis=1)
        first = int(np.argmax(bad))
        raise ArrayError(
            f"positions have NaN or infinite coordinates in {int(bad.sum()):,} of {len(array):,} "
            f"vertices, the first is vertex {first}: {array[first].tolist()}; remove them, nothing "
            "was written"
        )
    return box


def within(array: np.ndarray, box: Box, bounds: Box) -> None:
    """Refuse vertices outside the closed bounds of the dataset.

    Bounds are compared as the coordinates' dtype has them: a coordinate that
    was rounded with its bound is still on it.

    Raises
    ------
    ArrayError
        Naming how many, the first one and the remedies.
    """
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bounds = Box(
                bounds.lo.astype(array.dtype).astype(np.float64),
                bounds.hi.astype(array.dtype).astype(np.float64),
            )
    if bounds.contains(box):
        return
    outside = ((array < bounds.lo) | (array > bounds.hi)).any(axis=1)
    first = int(np.argmax(outside))
    raise ArrayError(
        f"{int(outside.sum()):,} of {len(array):,} vertices are outside the bounds {bounds}, the "
        f"first is vertex {first}: {array[first].tolist()}. Check the unit, or pass "
        'out_of_bounds="expand" to let the bounds grow; nothing was written'
    )


def object_ids(values: Any, n: int, one: str = "vertex") -> np.ndarray:
    """Object ids as int64, shape (n,), one a `one`; one number stands for all.

    Raises
    ------
    ArrayError
        If they are not whole numbers from 0 up, or not one a vertex.
    """
    array = as_array(values, "object_ids")
    if array.dtype.kind not in "iu" and array.size:
        raise ArrayError(_no_ids(array))
    if array.ndim == 0:
        array = np.broadcast_to(array, (n,))
    if array.shape != (n,):
        raise ArrayError(f"object_ids must have shape ({n},), one a {one}; got {array.shape}")
    if n and int(array.max()) > MAX_ID:
        raise ArrayError(f"object id {int(array.max())} is above {MAX_ID}")
    if n and int(array.min()) < 0:
        raise ArrayError(f"object ids must be 0 or more, got {int(array.min())}")
    return np.ascontiguousarray(array, np.int64)


def _no_ids(array: np.ndarray) -> str:
    first = array.flat[0]
    if array.dtype.kind == "O":
        # numpy has no dtype for whole numbers beyond 64 bits.
        beyond = [v for v in array.flat if is_whole(v) and not 0 <= v <= MAX_ID]
        first = beyond[0] if beyond else first
        if beyond:
            return f"object_ids must be integers from 0 to {MAX_ID}, got {first}"
    advice = (
        "; if they are whole, give object_ids.astype('int64')" if array.dtype.kind == "f" else ""
    )
    example = as_written(first.item() if array.dtype.kind in "US" else first)
    return (
        f"object_ids must be integers from 0 to {MAX_ID}, got dtype {array.dtype} (such as "
        f"{example}){advice}"
    )


def ids_asked_for(objects: Any) -> np.ndarray:
    """Ids of objects that somebody asks for: int64, ascending, without repeats.

    Raises
    ------
    ArrayError
        If they are no whole numbers from 0 to 2**63 - 1.
    """
    # What is an array already is soon checked, and takes long to be shown.
    known = type(objects) is np.ndarray
    if isinstance(objects, Set):
        objects = list(objects)
    ids = np.atleast_1d(objects if known else as_array(objects, f"objects {objects!r}"))
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ArrayError(
            f"objects are given by id, whole numbers from 0 to {MAX_ID}: one, or a list, an array "
            f"or a set of them; got {objects!r}"
        )
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) > MAX_ID):
        raise ArrayError(f"object ids are 0 to 2**63 - 1, got {int(ids.min())} to {int(ids.max())}")
    return distinct(ids.astype(np.int64))
