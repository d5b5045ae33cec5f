"""The Zarr Vectors encoding of object manifests.

A manifest is ``u32 B`` and then B blocks, each the int64 coordinates of a
chunk, a mode byte and what the mode asks for; mode 0 names one fragment as
int64. An object without fragments is ``u32 0``.

Source: Zarr Vectors 0.9, chapter on the object index.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import IntegrityError


def encode_manifests(
    fragment_counts: np.ndarray, chunks: np.ndarray, fragments: np.ndarray
) -> list[bytes]:
    """Encode the manifests of many objects at once.

    Parameters
    ----------
    fragment_counts : ndarray of int, shape (O,)
        Fragments of each object.
    chunks : ndarray of int64, shape (F, K)
        Chunk coordinates of each fragment, objects one after the other.
    fragments : ndarray of int64, shape (F,)
        The fragment's number in its chunk.

    Returns
    -------
    list of bytes, length O
        One blob an object.
    """
    block = np.dtype([("chunk", "<i8", (chunks.shape[1],)), ("mode", "u1"), ("fragment", "<i8")])
    blocks = np.zeros(len(fragments), block)
    blocks["chunk"] = chunks
    blocks["fragment"] = fragments
    raw = blocks.tobytes()
    ends = np.cumsum(fragment_counts) * block.itemsize
    starts = ends - np.asarray(fragment_counts) * block.itemsize
    heads = np.asarray(fragment_counts, "<u4").tobytes()
    return [
        heads[4 * i : 4 * i + 4] + raw[a:b]
        for i, (a, b) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    ]


def decode_manifests(
    blobs: Sequence[bytes], ndim: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the manifests of many objects, in any of the three modes.

    Parameters
    ----------
    blobs : sequence of bytes
        One an object; empty for one that is absent.
    ndim : int
        Numbers of a chunk's coordinates.

    Returns
    -------
    fragment_counts : ndarray of int64, shape (O,)
    chunks : ndarray of int64, shape (F, ndim)
    fragments : ndarray of int64, shape (F,)
        As for :func:`encode_manifests`.

    Raises
    ------
    IntegrityError
        If one of them is no manifest.

    Examples
    --------
    >>> import numpy as np
    >>> blobs = encode_manifests(np.array([1, 0]), np.array([[4, 5]]), np.array([7]))
    >>> [part.tolist() for part in decode_manifests(blobs, 2)]
    [[1, 0], [[4, 5]], [7]]
    """
    block = np.dtype([("chunk", "<i8", (ndim,)), ("mode", "u1"), ("fragment", "<i8")])
    counts = np.zeros(len(blobs), np.int64)
    chunks = [np.zeros((0, ndim), np.int64)]
    fragments = [np.zeros(0, np.int64)]
    for number, blob in enumerate(blobs):
        if len(blob) < 4:
            continue
        (n,) = struct.unpack_from("<I", blob)
        plain = len(blob) == 4 + n * block.itemsize
        blocks = np.frombuffer(blob, block, n, 4) if plain else np.zeros(0, block)
        if plain and not blocks["mode"].any():
            found = blocks["chunk"], blocks["fragment"]
        else:
            found = _decode_modes(blob, n, ndim)
        counts[number] = len(found[1])
        chunks.append(found[0])
        fragments.append(found[1])
    return counts, np.concatenate(chunks), np.concatenate(fragments)


def _decode_modes(blob: bytes, n: int, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """A manifest with runs or lists of fragments."""
    chunks, fragments = [np.zeros((0, ndim), np.int64)], [np.zeros(0, np.int64)]
    try:
        for chunk, found in _blocks(blob, n, ndim):
            chunks.append(np.broadcast_to(chunk, (len(found), ndim)))
            fragments.append(found)
    except (struct.error, ValueError) as error:
        raise IntegrityError(f"no object manifest can be read: {error}") from error
    return np.concatenate(chunks), np.concatenate(fragments)


def _blocks(blob: bytes, n: int, ndim: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    at = 4
    for _ in range(n):
        chunk = np.frombuffer(blob, "<i8", ndim, at)
        at += chunk.nbytes
        mode = blob[at] if at < len(blob) else -1
        at += 1
        if mode == 0:
            found, size = np.frombuffer(blob, "<i8", 1, at), 8
        elif mode == 1:
            start, count = struct.unpack_from("<qq", blob, at)
            found, size = np.arange(start, start + count, dtype=np.int64), 16
        elif mode == 2:
            (count,) = struct.unpack_from("<I", blob, at)
            found, size = np.frombuffer(blob, "<i8", count, at + 4), 4 + 8 * count
        else:
            raise ValueError(f"mode {mode} is none of 0, 1 and 2")
        at += size
        yield chunk, found
