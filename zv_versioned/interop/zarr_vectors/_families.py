"""The arrays of links and of their values: one for each family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np

from ..._sets import distinct
from ...format.link_families import is_within, segment_name
from ...format.metadata import TEXT, AttributeMeta
from ...reading.links import link_rows_of
from ...reading.selection import Selection
from ._batches import Batches, texts
from ._cells import grid_document, value_facts
from ._dictionaries import Dictionary
from ._link_pages import FRAGMENT_TABLES, LinkPages, Segment
from ._nodes import ArrayNode, GroupNode, Index, Loaded, Node, Place, Source, Unit, frames

LINKS = "links"
DELTA = "0"
"""The name of the families within one level."""


class LinkValues(Source):
    """The values of an attribute of links; members are (segment, cell).

    Parameters
    ----------
    batches : Batches
    pages : LinkPages
    attribute : AttributeMeta
    """

    def __init__(self, batches: Batches, pages: LinkPages, attribute: AttributeMeta) -> None:
        super().__init__(attribute.path)
        self._batches = batches
        self._pages = pages
        self._attribute = attribute
        self.dictionary = (
            Dictionary.of(batches.reader, attribute) if attribute.logical == TEXT else None
        )

    def weight(self, unit: Unit) -> int:
        """About how many bytes a unit takes."""
        return self._pages.weight(unit) * self._attribute.row_bytes // 16 + 1024

    def load(self, units: Sequence[Unit]) -> list[Loaded]:
        """Make units."""
        pages = self._pages.pages(units)
        cells = []
        for unit, page in zip(units, pages, strict=True):
            row, _ = cast("tuple[int, int]", unit)
            cells.append((self._batches.by_row[row], distinct(page.cell)))
        values = self._stored(cells)
        made: list[Loaded] = []
        taken = 0
        for (part, at), page in zip(cells, pages, strict=True):
            counts = part.head.cell_links[at].astype(np.int64)
            before = taken + np.cumsum(counts) - counts
            taken += int(counts.sum())
            rows = np.ascontiguousarray(values[before[np.searchsorted(at, page.cell)] + page.row])
            size = self._attribute.row_bytes
            starts = size * np.array([group.start for group in page.groups], np.int64)
            stops = size * np.array([group.stop for group in page.groups], np.int64)
            chunks = frames(rows.reshape(-1).view(np.uint8).data, starts, stops)
            keys = [(group.segment, group.at) for group in page.groups]
            made.append(dict(zip(keys, chunks, strict=True)))
        return made

    def _stored(self, cells: Sequence[tuple[Any, np.ndarray]]) -> np.ndarray:
        """All values of stored cells, missing where a batch has none."""
        attribute, reader = self._attribute, self._batches.reader
        present = reader.state.table.content(attribute.path)
        has = [Selection(part.row, part.head, at) for part, at in cells if present[part.row]]
        stored = link_rows_of(reader, attribute.path, attribute.dtype, attribute.row_shape, has)
        counts = [(part.row, int(part.head.cell_links[at].sum())) for part, at in cells]
        if self.dictionary is not None:
            return self.dictionary.recode(attribute, counts, stored)
        if len(has) == len(cells):
            return stored
        values = attribute.fill(sum(n for _, n in counts))
        offset = taken = 0
        for row, n in counts:
            if present[row]:
                values[offset : offset + n] = stored[taken : taken + n]
                taken += n
            offset += n
        return values


class FamilyArray(ArrayNode):
    """The links of one family, or their values, or the fragments of those within chunks.

    Parameters
    ----------
    path : str
    batches : Batches
    pages : LinkPages
    segment : Segment
        Of the family.
    source : Source
        What its chunks are made from.
    member : hashable
        What they are called there, before the cell.
    attributes : mapping
        Of its document, without the list of its chunks.
    """

    def __init__(
        self,
        path: str,
        batches: Batches,
        pages: LinkPages,
        segment: Segment,
        source: Source,
        attributes: Mapping[str, Any],
        member: Any = None,
    ) -> None:
        super().__init__(path)
        self.rank = 1 + len(batches.shape)
        self._batches = batches
        self._pages = pages
        self._segment = segment
        self._source = source
        self._attributes = attributes
        self._member = segment if member is None else member

    @cached_property
    def _cells(self) -> dict[int, np.ndarray]:
        """For each batch (row) that has links here, the cells, by position."""
        census = self._pages.census
        return {
            row: part.chunks[self._segment]
            for row, part in census.items()
            if self._segment in part.chunks
        }

    def _addresses(self) -> np.ndarray:
        parts = [self._batches.by_row[row].addresses[at] for row, at in self._cells.items()]
        return np.concatenate([np.zeros((0, self.rank), np.int64), *parts])

    def document(self) -> dict[str, Any]:
        """What its ``zarr.json`` says."""
        reader = self._batches.reader
        facts = {**self._attributes, "nonempty_chunks": sorted(texts(self._addresses()))}
        return grid_document(self._batches, reader.meta.axes, reader.state.facts.slots, facts)

    def chunks(self) -> Iterable[Index]:
        """The indices of the chunks that there are."""
        shift = np.concatenate(([0], self._batches.origin))
        return map(tuple, (self._addresses() - shift).tolist())

    def place(self, index: Index) -> Place | None:
        """Where a chunk is found."""
        found = self._batches.cell(index)
        if found is None:
            return None
        part, at = found
        cells = self._cells.get(part.row)
        if cells is None:
            return None
        i = int(np.searchsorted(cells, at))
        if i == len(cells) or cells[i] != at:
            return None
        unit = part.row, self._pages.census[part.row].page_of(at)
        return Place(self._source, unit, (self._member, at))


class Families:
    """The nodes of the links of a level, and of their values.

    Parameters
    ----------
    batches : Batches
    attributes : mapping of str to AttributeMeta
        Of links.
    """

    def __init__(self, batches: Batches, attributes: Mapping[str, AttributeMeta]) -> None:
        self._batches = batches
        self._attributes = attributes
        meta = batches.reader.meta
        self._stored = meta.link_width > 0
        self._width = meta.link_width or 2
        self._faces = self._width > 2
        self._pages = LinkPages(batches, within=bool(attributes))
        self._values: dict[str, LinkValues] = {}
        zero = (0,) * (meta.ndim + 1)
        self._within: Segment = (zero,) * (self._width - 1)

    @cached_property
    def segments(self) -> dict[str, Segment]:
        """The families that there are, by name; of stored links always the one within chunks."""
        found = {s for part in self._pages.census.values() for s in part.chunks}
        if self._stored:
            found.add(self._within)
        return {segment_name(segment): segment for segment in sorted(found)}

    @property
    def _has_within(self) -> bool:
        return self._stored or bool(self._attributes)

    def top(self) -> list[str]:
        """The names of the nodes of links at the top of the level."""
        names = [LINKS]
        if self._has_within:
            names.append(FRAGMENT_TABLES)
        if self._attributes:
            names += ["link_attributes", *(["face_attributes"] if self._faces else [])]
        return names

    def children(self, path: str) -> list[str]:
        """The names of the nodes in a group; this may read."""
        parts = path.split("/")
        if parts == [LINKS]:
            return [DELTA]
        if parts == [LINKS, DELTA]:
            return list(self.segments)
        if parts[0] in ("link_attributes", "face_attributes") and len(parts) == 1:
            return sorted(self._attributes)
        if parts[0] == "link_attributes" and len(parts) == 2:
            return [DELTA]
        if parts[0] == "link_attributes" and len(parts) == 3:
            return [n for n, s in self.segments.items() if not (self._faces and is_within(s))]
        return []

    def node(self, path: str) -> Node | None:
        """What lies at a path of the level; this may read."""
        parts = path.split("/")
        if parts[0] not in self.top():
            return None
        if len(parts) == 1 and path != FRAGMENT_TABLES:
            return GroupNode(path)
        if path == FRAGMENT_TABLES:
            facts = {"zv_array": FRAGMENT_TABLES, "encoding": "fragment_index_v1"}
            return self._array(path, self._within, self._pages, facts, FRAGMENT_TABLES)
        if parts[0] == LINKS:
            return self._links(path, parts[1:])
        attribute = self._attributes.get(parts[1])
        if attribute is None:
            return None
        if parts[0] == "face_attributes":
            facts = value_facts(attribute, "face_attribute")
            return (
                self._value_array(path, self._within, attribute, facts) if len(parts) == 2 else None
            )
        return self._link_attribute(path, parts[2:], attribute)

    def _links(self, path: str, parts: Sequence[str]) -> Node | None:
        if parts[0] != DELTA or len(parts) > 2:
            return None
        if len(parts) == 1:
            return GroupNode(path, self._family_facts())
        segment = self.segments.get(parts[1])
        if segment is None:
            return None
        facts = {
            "zv_array": LINKS,
            "dtype": "int64",
            "offsets": [list(offset) for offset in segment],
            "has_perm": not is_within(segment),
            "link_width": self._width,
            "level_delta": 0,
        }
        return self._array(path, segment, self._pages, facts)

    def _family_facts(self) -> dict[str, Any]:
        links = sum(int(part.page_links.sum()) for part in self._pages.census.values())
        return {
            "zv_array": "links_family",
            "level_delta": 0,
            "link_width": self._width,
            "sid_ndim": self._batches.reader.meta.ndim + 1,
            "directed": False,
            "store": "canonical",
            "num_links": links,
            "num_physical_records": links,
        }

    def _link_attribute(
        self, path: str, parts: Sequence[str], attribute: AttributeMeta
    ) -> Node | None:
        if not parts:
            return GroupNode(path)
        if parts[0] != DELTA or len(parts) > 2:
            return None
        if len(parts) == 1:
            facts = {"zv_array": "link_attribute_family", "name": attribute.name, "level_delta": 0}
            return GroupNode(path, {**facts, "num_links": self._family_facts()["num_links"]})
        segment = self.segments.get(parts[1])
        if segment is None or (self._faces and is_within(segment)):
            return None
        facts = {
            **value_facts(attribute, "link_attribute"),
            "offsets": [list(offset) for offset in segment],
            "level_delta": 0,
        }
        return self._value_array(path, segment, attribute, facts)

    def _value_array(
        self, path: str, segment: Segment, attribute: AttributeMeta, facts: Mapping[str, Any]
    ) -> Node:
        source = self._values.get(attribute.name)
        if source is None:
            source = LinkValues(self._batches, self._pages, attribute)
            self._values[attribute.name] = source
        dictionary = {} if source.dictionary is None else source.dictionary.facts()
        return self._array(path, segment, source, {**facts, **dictionary})

    def _array(
        self,
        path: str,
        segment: Segment,
        source: Source,
        facts: Mapping[str, Any],
        member: Any = None,
    ) -> FamilyArray:
        return FamilyArray(path, self._batches, self._pages, segment, source, facts, member)
