"""Text as Zarr Vectors has it: codes of one dictionary for all batches.

Each batch is stored with a dictionary of its own. Zarr Vectors keeps one, in the
array's document, so the codes are rewritten on the way out.

Source: Zarr Vectors 0.9, chapter on categorical attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import IntegrityError
from ...format.metadata import AttributeMeta
from ...reading.reader import LevelReader
from ...reading.values import load_dictionaries

MISSING = -1
"""The code of a missing text."""


@dataclass(frozen=True)
class Dictionary:
    """The texts of all batches, and the code of each batch's own texts.

    Parameters
    ----------
    texts : list of str
        Sorted.
    codes : mapping of int to ndarray of int32
        For each batch (row) that has values, the codes of its texts, and behind
        them that of a missing one.
    """

    texts: list[str]
    codes: Mapping[int, np.ndarray]

    @classmethod
    def of(cls, reader: LevelReader, attribute: AttributeMeta) -> Dictionary:
        """Join the dictionaries of all batches."""
        rows = np.flatnonzero(reader.state.table.content(attribute.path)).tolist()
        loaded = load_dictionaries(reader, attribute, rows)
        own = {row: texts[:-1].tolist() for row, texts in loaded.items()}
        texts = sorted(set().union(*own.values()))
        number = {text: code for code, text in enumerate(texts)}
        codes = {
            row: np.array([*map(number.__getitem__, part), MISSING], "<i4")
            for row, part in own.items()
        }
        return cls(texts, codes)

    def facts(self) -> dict[str, Any]:
        """What the document of the array says of it."""
        return {
            "encoding": "dictionary",
            "categories": self.texts,
            "ordered": False,
            "_FillValue": MISSING,
        }

    def recode(
        self, attribute: AttributeMeta, parts: Sequence[tuple[int, int]], stored: np.ndarray
    ) -> np.ndarray:
        """Codes of the batches' own dictionaries as codes of this one.

        Parameters
        ----------
        attribute : AttributeMeta
        parts : sequence of (row, n)
            Rows of the table, and how many values are asked of each.
        stored : ndarray of int32
            The codes of those batches that have some, one after the other.

        Returns
        -------
        ndarray of int32, shape (sum of n, *row_shape)
        """
        result = np.full((sum(n for _, n in parts), *attribute.row_shape), MISSING, "<i4")
        offset = taken = 0
        for row, n in parts:
            own = self.codes.get(row)
            if own is not None:
                codes = stored[taken : taken + n]
                if codes.size and (int(codes.max()) >= len(own) - 1 or int(codes.min()) < MISSING):
                    raise IntegrityError(
                        f"attribute {attribute.name!r}: codes of texts go from {int(codes.min())} "
                        f"to {int(codes.max())}, and their dictionary has {len(own) - 1}"
                    )
                result[offset : offset + n] = own[codes]
                taken += n
            offset += n
        return result
