"""The Zarr Vectors encoding of object manifests.

A manifest is ``u32 B`` and then B blocks, each the int64 coordinates of a
chunk, a mode byte and what the mode asks for; mode 0 names one fragment as
int64. An object without fragments is ``u32 0``.

Source: Zarr Vectors 0.9, chapter on the object index.
"""

from __future__ import annotations

import numpy as np


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
