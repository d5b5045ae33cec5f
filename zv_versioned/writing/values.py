"""Values of attributes: what is accepted, and the numbers that are stored for them.

Numbers and booleans are stored as they are. Datetimes and timedeltas are
stored as int64 in their unit; texts as int32 codes of a dictionary, which each
batch has for itself, so that nothing that is stored of one batch depends on
another. Everything is checked before a byte is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _checks, _paths
from ..errors import ArrayError, IntegrityError
from ..format import columns
from ..format.cells import MAX_PAYLOAD
from ..format.metadata import TEXT, VERTEX_ATTRIBUTES, AttributeMeta, fill_value
from ..format.table import range_of

_BLOCK_VALUES = 1 << 16
_MAX_TEXT = MAX_PAYLOAD // 2
"""Bytes of different texts: what a dictionary, which is one cell, certainly has room for."""
_CODES = np.dtype("i4")
_TIMES = np.dtype("i8")


@dataclass(frozen=True)
class Stored:
    """What is stored of one batch.

    Parameters
    ----------
    rows : ndarray, shape (n, *row_shape)
        Numbers of the attribute's stored dtype.
    texts : list of str or None
        The dictionary that they are codes of; None where they are no codes.
    """

    rows: np.ndarray
    texts: list[str] | None = None


@dataclass(frozen=True)
class Values:
    """Values of one attribute, checked.

    Parameters
    ----------
    meta : AttributeMeta
    given : ndarray, shape (N, *row_shape)
        The numbers to be stored, or, where they are texts, the texts.
    encoded : Stored, optional
        What is stored of all of them, where that was worked out already.
    """

    meta: AttributeMeta
    given: np.ndarray
    encoded: Stored | None = None

    def __len__(self) -> int:
        return len(self.given)

    def stored(self, start: int = 0, stop: int | None = None) -> Stored:
        """What is stored of the values from `start` to `stop`."""
        if self.encoded is not None and start == 0 and stop is None:
            return self.encoded
        rows = self.given[start:stop]
        if self.meta.logical != TEXT:
            return Stored(rows)
        codes, texts = _encode_texts(rows.reshape(-1))
        return Stored(codes.reshape(rows.shape), texts)

    def once(self) -> Values:
        """The same, with what is stored worked out once for all who ask."""
        return replace(self, encoded=self.stored())

    def range(self, start: int = 0, stop: int | None = None) -> tuple[float, float] | None:
        """Between what the values from `start` to `stop` lie; None where that is of no use.

        It is for numbers, booleans and times, one for each vertex.
        """
        meta = self.meta
        if meta.family != VERTEX_ATTRIBUTES or meta.row_shape or meta.logical_dtype.kind in "Oc":
            return None
        missing = fill_value(meta.dtype) if meta.logical_dtype.kind in "mM" else None
        return range_of(self.given[start:stop], missing)


def parse(
    where: str,
    values: Any,
    n: int,
    counted: str,
    name: str,
    *,
    family: str = VERTEX_ATTRIBUTES,
    known: AttributeMeta | None = None,
    dtype: Any = None,
) -> Values:
    """Check the values of one attribute.

    Parameters
    ----------
    where : str
        What the error begins with, such as ``attribute 'x'``.
    values : array_like, shape (n,) or (n, C)
    n : int
        How many there must be.
    counted : str
        What they are compared with, such as ``level vertex count 50``.
    name : str
    family : str
    known : AttributeMeta, optional
        What the values have to fit: they are converted where that changes none.
    dtype : dtype-like, optional
        What to store them as; rounding is meant.

    Raises
    ------
    ArrayError, MetadataError
        If the name, the shape, the dtype or a value is not acceptable.
    """
    _paths.check_name(name, "an attribute")
    array = _array(where, values)
    if len(array) != n:
        raise ArrayError(f"{where}: values length {len(array)} != {counted}")
    if known is not None and array.shape[1:] != known.row_shape:
        raise ArrayError(
            f"{where} has values of shape {known.row_shape} in this level, got {array.shape[1:]}; "
            "give values of that shape, or give the attribute another name"
        )
    shape = array.shape[1:]
    if known is not None:
        target, rounds = np.dtype(object if known.logical == TEXT else known.logical_dtype), False
    elif dtype is not None:
        target, rounds = _parse_dtype(where, dtype), True
    else:
        target, rounds = _own_dtype(array), False
    if target.kind == "O":
        if array.dtype.kind not in "UTO":
            raise ArrayError(f"{where} is text in this level, got {array.dtype.name}")
        return Values(AttributeMeta(name, _CODES, shape, family, TEXT), array)
    given = _numbers(where, array, target, rounds=rounds, fits=known is not None)
    if target.kind in "mM":
        meta = AttributeMeta(name, _TIMES, shape, family, target.name)
        return Values(meta, np.ascontiguousarray(given).view(_TIMES))
    return Values(AttributeMeta(name, target, shape, family), given)


def appended(
    given: Mapping[str, Any] | None,
    n: int,
    known: Mapping[str, AttributeMeta],
    family: str = VERTEX_ATTRIBUTES,
    counted: str = "vertices appended",
) -> list[Values]:
    """All attributes of one family that an append brings, checked.

    Parameters
    ----------
    given : mapping of str to array_like, or None
    n : int
        Vertices, links or objects of the append.
    known : mapping of str to AttributeMeta
        What the level has.
    family : str
    counted : str
        What `n` counts, in words.
    """
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise ArrayError(
            f"attributes must be a mapping of names to values, got {type(given).__name__}"
        )
    return [
        parse(
            f"attribute {name!r}",
            values,
            n,
            f"{n} {counted}",
            name,
            family=family,
            known=known.get(name),
        )
        for name, values in given.items()
    ]


# ---- what is accepted -------------------------------------------------------


def _array(where: str, values: Any) -> np.ndarray:
    array = _checks.as_array(values, where)
    if array.dtype.kind == "U" and not hasattr(values, "dtype"):
        # numpy writes out the numbers of a list that has texts too.
        array = _checks.as_array(np.asarray(values, object), where)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise ArrayError(f"{where} must have shape (N,) or (N, C), got shape {array.shape}")
    kind = array.dtype.kind
    if kind == "S":
        raise ArrayError(
            f"{where} has bytes ({array.dtype}), which are no text: decode them, "
            "np.char.decode(values, 'utf-8'), or give numbers, values.view('u1')"
        )
    if kind in "OTU":
        _check_texts(where, array)
        return array
    if kind in "mM":
        _check_unit(where, array.dtype)
    elif kind not in "biuf" or array.dtype.itemsize > 8:
        raise ArrayError(
            f"{where} has dtype {array.dtype}; booleans, integers and floats of up to 8 bytes, "
            "text, datetimes and timedeltas are supported. Store the real and the imaginary part "
            "as two columns where they are complex"
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _check_unit(where: str, dtype: np.dtype[Any]) -> None:
    if np.datetime_data(dtype)[0] == "generic":
        raise ArrayError(
            f"{where} has dtype {dtype} without a unit; give it one, such as "
            f"values.astype('{dtype.name}[s]')"
        )


def _may_be_missing(kind: type) -> bool:
    """Whether a value of this type can stand for a missing text: None, NaN, pandas' NA."""
    missing = issubclass(kind, float | np.floating) or kind.__name__ in ("NAType", "NaTType")
    return missing or kind is type(None)


def _blocks(array: np.ndarray) -> Iterator[list[Any]]:
    """The values one after the other, in lists of bounded length."""
    flat = array.reshape(-1)
    for start in range(0, len(flat), _BLOCK_VALUES):
        yield flat[start : start + _BLOCK_VALUES].tolist()


def _check_texts(where: str, array: np.ndarray) -> None:
    """Refuse what is no text and no missing one, and what UTF-8 or a dictionary cannot hold."""
    size = 0
    for block in _blocks(array):
        kinds = {kind for kind in set(map(type, block)) if not issubclass(kind, str)}
        other = {kind for kind in kinds if not _may_be_missing(kind)}
        if other:
            raise _no_text(where, next(value for value in block if type(value) in other))
        for value in dict.fromkeys(block) if kinds else ():
            if isinstance(value, float | np.floating) and not np.isnan(value):
                raise _no_text(where, value)
        texts = [v for v in dict.fromkeys(block) if isinstance(v, str)] if kinds else block
        try:
            size += len("".join(texts).encode())
        except UnicodeEncodeError as error:
            raise ArrayError(f"{where} has text that is no Unicode: {error}") from error
    if size > _MAX_TEXT and sum(map(_distinct_bytes, _blocks(array))) > _MAX_TEXT:
        raise ArrayError(
            f"{where} has more than {_MAX_TEXT:,} bytes of different texts; store what is never "
            "the same twice elsewhere, and its key here"
        )


def _distinct_bytes(block: list[Any]) -> int:
    return sum(len(text.encode()) for text in dict.fromkeys(block) if isinstance(text, str))


def _no_text(where: str, value: Any) -> ArrayError:
    return ArrayError(
        f"{where} has dtype object and the value {value!r}, which is neither text nor None; give "
        "an array of one dtype, such as values.astype('float64') or values.astype('datetime64[us]')"
    )


def _parse_dtype(where: str, dtype: Any) -> np.dtype[Any]:
    """What values are to be stored as; object stands for text."""
    try:
        parsed = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ArrayError(f"{where}: dtype {dtype!r} is no dtype, as 'float32' is one") from error
    if parsed.kind in "UTO":
        return np.dtype(object)
    if parsed.kind in "mM":
        _check_unit(where, parsed)
    elif parsed.kind not in "biuf" or parsed.itemsize > 8:
        raise ArrayError(
            f"{where}: dtype {parsed.name!r} cannot be stored; choose bool, an integer or float of "
            "up to 8 bytes, str, or a datetime or timedelta with a unit"
        )
    native: np.dtype[Any] = parsed.newbyteorder("=")
    return native


def _own_dtype(array: np.ndarray) -> np.dtype[Any]:
    return np.dtype(object) if array.dtype.kind in "UTO" else array.dtype


def _group(dtype: np.dtype[Any]) -> str:
    """What is never converted into another: numbers, booleans, dates, spans, text."""
    return "number" if dtype.kind in "iuf" else "text" if dtype.kind in "UTO" else dtype.kind


def _numbers(
    where: str, array: np.ndarray, target: np.dtype[Any], *, rounds: bool, fits: bool
) -> np.ndarray:
    """Convert to the dtype that is stored; `fits`: it is that of the level."""
    if _group(array.dtype) != _group(target):
        of = "in this level" if fits else "by dtype="
        got = "text" if _group(array.dtype) == "text" else array.dtype.name
        example = f" (such as {_checks.as_written(array.flat[0])})" if array.size else ""
        raise ArrayError(
            f"{where} is {target.name} {of}, got {got}{example}; convert the values first, or give "
            "the attribute another name"
        )
    if target.kind in "mM":
        return _times(where, array, target, rounds=rounds)
    rounding = f"round them yourself, values.astype({target.name!r})"
    return _checks.convert(array, target, where, rounding, rounds=rounds)


def _times(where: str, array: np.ndarray, target: np.dtype[Any], *, rounds: bool) -> np.ndarray:
    """Convert dates or spans to another unit; what is only cut off must be meant."""
    if array.dtype == target:
        return array
    try:
        result = array.astype(target)
        changed = (result.astype(array.dtype) != array) & ~np.isnat(array)
    except (TypeError, OverflowError) as error:
        raise ArrayError(
            f"{where}: {array.dtype.name} cannot become {target.name}: {error}"
        ) from error
    if rounds and not np.can_cast(array.dtype, target, "safe"):
        return result
    if changed.any():
        example = _checks.as_written(array[changed].flat[0])
        raise ArrayError(
            f"{where}: {array.dtype.name} values would change as {target.name} in "
            f"{int(changed.sum()):,} places (such as {example}); convert them "
            "yourself, or store another unit"
        )
    return result


# ---- texts and their codes --------------------------------------------------


def _encode_texts(texts: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Codes of texts, -1 for a missing one, and the dictionary, sorted."""
    codes = np.empty(len(texts), _CODES)
    number: dict[Any, int] = {}
    done = 0
    for block in _blocks(texts):
        fresh = dict.fromkeys(block).keys() - number.keys()
        number.update(zip(fresh, range(len(number), len(number) + len(fresh)), strict=True))
        # Looked up without a loop of ours: mapping, iterating and storing are all compiled.
        codes[done : done + len(block)] = np.fromiter(
            map(number.__getitem__, block), _CODES, len(block)
        )
        done += len(block)
    distinct = sorted(str(text) for text in number if isinstance(text, str))
    place = {text: code for code, text in enumerate(distinct)}
    final = np.array([place.get(text, -1) for text in number], _CODES)
    return final[codes], distinct


def decode_texts(codes: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Texts of codes, as objects: str, or None for a missing one.

    Parameters
    ----------
    codes : ndarray of int
    texts : ndarray of object, shape (K + 1,)
        The dictionary, and None behind it.

    Raises
    ------
    IntegrityError
        If there is a code that the dictionary lacks.
    """
    if codes.size and (int(codes.max()) >= len(texts) - 1 or int(codes.min()) < -1):
        raise IntegrityError(
            f"codes of texts go from {int(codes.min())} to {int(codes.max())}, and their "
            f"dictionary has {len(texts) - 1}"
        )
    return np.asarray(texts[codes])


def pack_texts(texts: list[str]) -> bytes:
    """A dictionary as the payload of a cell."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return columns.pack({"end": ends, "text": np.frombuffer(b"".join(encoded), np.uint8)})


def unpack_texts(payload: memoryview) -> np.ndarray:
    """A dictionary from the payload of a cell, with None behind it; see :func:`decode_texts`."""
    table = columns.unpack(payload)
    if table.keys() != {"end", "text"}:
        raise IntegrityError(f"a dictionary of texts has the columns {sorted(table)}")
    raw, ends = table["text"].tobytes(), table["end"].tolist()
    texts = np.full(len(ends) + 1, None, object)
    starts = [0, *ends][: len(ends)]
    texts[:-1] = [raw[a:b].decode() for a, b in zip(starts, ends, strict=True)]
    return texts


def logical(rows: np.ndarray, attribute: AttributeMeta) -> np.ndarray:
    """Stored numbers as what they stand for; texts are :func:`decode_texts`'s."""
    return rows.view(attribute.logical) if attribute.logical else rows


def shown_dtype(attribute: AttributeMeta) -> np.dtype[Any]:
    """The dtype of an attribute's values for tools that have times of four units only.

    These are xarray, pandas and Arrow.
    """
    dtype = attribute.logical_dtype
    if dtype.kind not in "mM" or np.datetime_data(dtype)[0] in ("s", "ms", "us", "ns"):
        return dtype
    # Coarser ones are whole numbers of seconds; finer ones would lose digits, so they stay numbers.
    coarser = np.datetime_data(dtype)[0] not in ("ps", "fs", "as")
    return np.dtype(f"{dtype.kind}8[s]") if coarser else attribute.dtype
