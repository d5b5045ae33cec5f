"""Arrays with a chunk for each cell of each batch: coordinates, values, fragment tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from ...format import arrays
from ...format.fragments import encode_tables
from ...format.metadata import TEXT, AttributeMeta
from ._batches import Batches, Part, fragments_in
from ._dictionaries import Dictionary
from ._nodes import NO_CODECS, ArrayNode, Index, Loaded, Place, Source, Unit, frame, frames

PAGE_BYTES = 256 << 10
"""Raw bytes of cells that are read together."""


def grid_document(
    batches: Batches, axes: Sequence[Mapping[str, str]], slots: int, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """The document of an array with a chunk a cell."""
    shape = [max(slots, 1), *batches.shape]
    names = ["batch", *(axis["name"] for axis in axes)]
    facts = {**attributes, "chunk_grid_origin": [0, *batches.origin.tolist()]}
    return arrays.bytes_array(shape, [1] * len(shape), NO_CODECS, names, facts)


class CellArray(ArrayNode, Source):
    """An array with a chunk for each cell of each batch.

    Parameters
    ----------
    path : str
    batches : Batches
    attributes : mapping
        Of its document, without the list of its chunks.
    """

    def __init__(self, path: str, batches: Batches, attributes: Mapping[str, Any]) -> None:
        super().__init__(path)
        self.rank = 1 + len(batches.shape)
        self._batches = batches
        self._attributes = attributes

    def document(self) -> dict[str, Any]:
        """What its ``zarr.json`` says."""
        reader = self._batches.reader
        facts = {**self._attributes, "nonempty_chunks": self._batches.nonempty}
        return grid_document(self._batches, reader.meta.axes, reader.state.facts.slots, facts)

    def chunks(self) -> Iterable[Index]:
        """The indices of the chunks that there are."""
        return self._batches.indices()

    def place(self, index: Index) -> Place | None:
        """Where a chunk is found."""
        found = self._batches.cell(index)
        if found is None:
            return None
        part, at = found
        return Place(self, (part.row, self._page(part, at)), at)

    @abstractmethod
    def _page(self, part: Part, at: int) -> int:
        """The page that a cell, given by position, is in."""

    def _page_of(self, unit: Unit) -> tuple[Part, int]:
        """The batch and the page that a unit stands for."""
        row, page = cast("tuple[int, int]", unit)
        return self._batches.by_row[row], page


class RowsArray(CellArray):
    """An array of rows: the coordinates, or the values of a vertex attribute.

    Parameters
    ----------
    path : str
    batches : Batches
    attributes : mapping
    row_bytes : int
        Bytes of one row.
    """

    def __init__(
        self, path: str, batches: Batches, attributes: Mapping[str, Any], row_bytes: int
    ) -> None:
        super().__init__(path, batches, attributes)
        self._row_bytes = row_bytes

    def _page(self, part: Part, at: int) -> int:
        return int(part.vertex_start[at]) * self._row_bytes // PAGE_BYTES

    def _cells(self, unit: Unit) -> tuple[Part, np.ndarray]:
        """The cells of a page."""
        part, page = self._page_of(unit)
        begins = part.vertex_start[:-1] * self._row_bytes
        edges = np.searchsorted(begins, [page * PAGE_BYTES, (page + 1) * PAGE_BYTES])
        return part, np.arange(*edges)

    def weight(self, unit: Unit) -> int:
        """About how many bytes a unit takes."""
        part, at = self._cells(unit)
        return int(part.vertices[at].sum()) * self._row_bytes + 128 * len(at)

    def load(self, units: Sequence[Unit]) -> list[Loaded]:
        """Make units."""
        cells = [self._cells(unit) for unit in units]
        rows = np.ascontiguousarray(self._rows(cells))
        raw = rows.reshape(-1).view(np.uint8).data
        made: list[Loaded] = []
        offset = 0
        for part, at in cells:
            sizes = part.vertices[at] * self._row_bytes
            stops = offset + np.cumsum(sizes)
            made.append(dict(zip(at.tolist(), frames(raw, stops - sizes, stops), strict=True)))
            offset += int(sizes.sum())
        return made

    @abstractmethod
    def _rows(self, cells: Sequence[tuple[Part, np.ndarray]]) -> np.ndarray:
        """All rows of some cells."""


class VerticesArray(RowsArray):
    """``vertices``: the coordinates."""

    def __init__(self, batches: Batches) -> None:
        meta = batches.reader.meta
        dtype = meta.vertex_dtype
        facts = {"zv_array": "vertices", "dtype": dtype.name, "encoding": "raw"}
        super().__init__("vertices", batches, facts, dtype.itemsize * meta.ndim)

    def _rows(self, cells: Sequence[tuple[Part, np.ndarray]]) -> np.ndarray:
        return self._batches.reader.positions_of([part.selection(at) for part, at in cells])


def value_facts(attribute: AttributeMeta, kind: str) -> dict[str, Any]:
    """What the document of an array of values says, but for its chunks and its dictionary."""
    stored = attribute.dtype if attribute.logical == TEXT else attribute.logical_dtype
    facts: dict[str, Any] = {
        "zv_array": kind,
        "name": attribute.name,
        "dtype": stored.name,
        "row_shape": list(attribute.row_shape),
    }
    if attribute.row_shape:
        facts["channel_names"] = [f"ch{i}" for i in range(attribute.row_shape[0])]
    return facts


class ValuesArray(RowsArray):
    """``vertex_attributes/NAME``: the values, or fill values where a batch has none."""

    def __init__(self, batches: Batches, attribute: AttributeMeta) -> None:
        facts = value_facts(attribute, "attribute")
        self._dictionary: Dictionary | None = None
        if attribute.logical == TEXT:
            self._dictionary = Dictionary.of(batches.reader, attribute)
            facts.update(self._dictionary.facts())
        super().__init__(attribute.path, batches, facts, attribute.row_bytes)
        self._attribute = attribute

    def _rows(self, cells: Sequence[tuple[Part, np.ndarray]]) -> np.ndarray:
        reader, attribute = self._batches.reader, self._attribute
        selections = [part.selection(at) for part, at in cells]
        if self._dictionary is None:
            return reader.attribute_of(attribute, selections)
        present = reader.state.table.content(attribute.path)
        has = [s for s in selections if present[s.row]]
        stored = reader.rows_of(attribute.path, attribute.dtype, attribute.row_shape, has)
        parts = [(s.row, s.vertex_count) for s in selections]
        codes = self._dictionary.recode(attribute, parts, stored)
        live = reader.live(selections)
        return codes if live is None else codes[live]


class FragmentsArray(CellArray):
    """``vertex_fragments``: which vertices of a cell belong together."""

    def __init__(self, batches: Batches) -> None:
        facts = {"zv_array": "vertex_fragments", "encoding": "fragment_index_v1"}
        super().__init__("vertex_fragments", batches, facts)

    def _page(self, part: Part, at: int) -> int:
        return part.page_of(at)

    def weight(self, unit: Unit) -> int:
        """About how many bytes a unit takes."""
        part, page = self._page_of(unit)
        at = part.page(page)
        return 16 * int(part.fragments[at].sum()) + 160 * len(at)

    def load(self, units: Sequence[Unit]) -> list[Loaded]:
        """Make units; what was made of a batch serves other snapshots too."""
        parts = self._batches.reader.parts
        names = []
        for unit in units:
            part, page = self._page_of(unit)
            names.append(("vertex_fragments", part.name, page))
        made: list[Loaded | None] = [parts.get(name) for name in names]
        wanting = [i for i, known in enumerate(made) if known is None]
        cells = []
        for i in wanting:
            part, page = self._page_of(units[i])
            cells.append((part, part.page(page)))
        for i, (part, at), page_of in zip(wanting, cells, fragments_in(cells), strict=True):
            tables = encode_tables(page_of.vertices, part.fragments[at])
            found = dict(zip(at.tolist(), map(frame, tables), strict=True))
            parts.put(names[i], found, self.weight(units[i]))
            made[i] = found
        return [loaded for loaded in made if loaded is not None]
