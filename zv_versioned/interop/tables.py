"""Levels as tables: pandas, Arrow, and through Arrow whatever else reads it.

Three tables make up a level: its *vertices*, a row each, with the object and the
attributes; its *links* (edges or faces), by the numbers of their vertices; and its
*objects*, by id. Arrow has coordinates as a list of fixed length, pandas a column an
axis. What a table was read from stands in the schema's metadata under
``zv_versioned``, or in ``DataFrame.attrs``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _checks
from .._sets import is_in
from ..errors import ArrayError, MetadataError
from ..format.metadata import LINK_ATTRIBUTES, OBJECT_ATTRIBUTES, VERTEX_ATTRIBUTES, AttributeMeta
from ..reading import query
from ..reading.gather import gather
from ..reading.stream import stream
from ..writing.values import shown_dtype
from ._extras import need
from ._provenance import provenance

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from ..geometry import Geometry
    from ..level import Level

WHAT = ("vertices", "links", "objects")
METADATA_KEY = b"zv_versioned"

Columns = dict[str, np.ndarray]
"""Values by column: (N,), or (N, C) for a column of lists."""


# ---- what the columns are ----------------------------------------------------


def _check_what(what: object, level: Level) -> None:
    if what not in WHAT:
        raise ArrayError(f"what must be one of {', '.join(map(repr, WHAT))}, got {what!r}")
    if what == "links" and level._dataset.kind == "point_cloud":
        raise MetadataError(f"{level!r} is of points and has no links")


def attributes_of(level: Level, what: str, asked: query.Names) -> list[AttributeMeta]:
    """The attributes that a table has columns for."""
    family = {
        "vertices": VERTEX_ATTRIBUTES,
        "links": LINK_ATTRIBUTES,
        "objects": OBJECT_ATTRIBUTES,
    }[what]
    names = query.names(level._reader, asked, family)
    known = level._reader.state.facts.family(family)
    return [known[name] for name in names]


def column_names(attributes: Sequence[AttributeMeta], taken: Sequence[str]) -> list[str]:
    """The column of each attribute: its name, with ``attribute_`` in front where that is taken."""
    names: list[str] = []
    for attribute in attributes:
        name = attribute.name
        while name in taken or name in names:
            name = f"attribute_{name}"
        names.append(name)
    return names


def _shown(values: np.ndarray, attribute: AttributeMeta) -> np.ndarray:
    dtype = shown_dtype(attribute)
    return values if values.dtype == dtype else values.astype(dtype)


def vertex_columns(
    found: Geometry, attributes: Sequence[AttributeMeta], level: Level, first_part: int
) -> Columns:
    """The columns of some vertices; the parts of lines count on from `first_part`."""
    columns = {"vertex_id": found.vertex_ids, "object_id": found.object_ids}
    if found.parts is not None:
        counts = np.diff(found.parts)
        columns["part"] = np.repeat(np.arange(first_part, first_part + len(counts)), counts)
    columns["position"] = found.positions
    return _with(columns, attributes, found.attributes, _taken(level))


def _taken(level: Level) -> list[str]:
    """Columns of vertices that are not attributes, in pandas or in Arrow."""
    axes = [axis["name"] for axis in level._dataset.axes]
    return ["vertex_id", "object_id", "part", "position", *axes]


def _with(
    columns: Columns,
    attributes: Sequence[AttributeMeta],
    values: dict[str, np.ndarray],
    taken: Sequence[str],
) -> Columns:
    shown = column_names(attributes, taken)
    for name, attribute in zip(shown, attributes, strict=True):
        columns[name] = _shown(values[attribute.name], attribute)
    return columns


def _link_columns(found: Geometry, attributes: Sequence[AttributeMeta]) -> Columns:
    links = found.edges if found.faces is None else found.faces
    assert links is not None
    ends = found.vertex_ids[links]
    names = ("source", "target") if found.faces is None else ("a", "b", "c")
    columns = {name: ends[:, at] for at, name in enumerate(names)}
    return _with(columns, attributes, found.link_attributes, names)


def _object_columns(
    level: Level, attributes: Sequence[AttributeMeta], filters: query.Filters
) -> Columns:
    others = [name for name, value in filters.items() if name != "objects" and value is not None]
    if others:
        raise ArrayError(
            f"of objects only objects= can be chosen, not {', '.join(others)}; which objects have "
            "vertices there, level.read(…).object_ids says"
        )
    ids = level.object_ids()
    values = {a.name: level.object_attribute(a.name) for a in attributes}
    asked = filters.get("objects")
    if asked is not None:
        wanted = query.object_ids(level._reader, asked)
        rows = np.flatnonzero(is_in(ids, wanted))
        ids, values = ids[rows], {name: column[rows] for name, column in values.items()}
    return _with({"object_id": ids}, attributes, values, ("object_id",))


def columns_of(level: Level, what: str, attributes: query.Names, filters: query.Filters) -> Columns:
    """The columns of one table of a level, read at once."""
    _check_what(what, level)
    chosen = attributes_of(level, what, attributes)
    if what == "objects":
        return _object_columns(level, chosen, filters)
    names = [attribute.name for attribute in chosen]
    of_links = what == "links"
    request = query.parse(
        level._reader,
        attributes=() if of_links else names,
        link_attributes=names if of_links else (),
        linked=of_links,
        **filters,
    )
    found = gather(level._reader, request.plan, request.query, whole=request.whole)
    if of_links:
        return _link_columns(found, chosen)
    return vertex_columns(found, chosen, level, 0)


# ---- pandas ------------------------------------------------------------------


def to_pandas(
    level: Level, what: str, attributes: query.Names, filters: query.Filters
) -> pandas.DataFrame:
    """A table as a DataFrame; see :meth:`Level.to_pandas`."""
    pandas = need("pandas", "pandas", "to_pandas()")
    return frame(level, columns_of(level, what, attributes, filters), pandas)


def frame(level: Level, columns: Columns, pandas: Any) -> pandas.DataFrame:
    """Columns as a DataFrame: the first one is its index, unless they are links."""
    flat: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        if values.ndim == 1:
            flat[name] = values
        elif name == "position":
            axes = [axis["name"] for axis in level._dataset.axes]
            flat.update({axis: values[:, at] for at, axis in enumerate(axes)})
        else:
            flat.update({f"{name}_{at}": values[:, at] for at in range(values.shape[1])})
    index = next((name for name in ("vertex_id", "object_id") if name in flat), None)
    rows = None if index is None else pandas.Index(flat.pop(index), name=index)
    # An array of objects without a single text in it would become a column of another type.
    text = pandas.Series(np.array(["text"], object)).dtype
    of_texts = {n: pandas.Series(v, rows, text) for n, v in flat.items() if v.dtype == object}
    made = pandas.DataFrame({**flat, **of_texts}, index=rows, copy=False)
    made.attrs = provenance(level)
    return made


# ---- Arrow -------------------------------------------------------------------


def _arrow() -> Any:
    return need("pyarrow", "arrow", "Arrow tables")


def to_arrow(
    level: Level, what: str, attributes: query.Names, filters: query.Filters
) -> pyarrow.Table:
    """A table as Arrow's; see :meth:`Level.to_arrow`."""
    arrow = _arrow()
    columns = columns_of(level, what, attributes, filters)
    schema = arrow_schema(level, columns)
    return arrow.Table.from_batches([_record_batch(columns, schema)])


def to_arrow_batches(
    level: Level, attributes: query.Names, rows: int | None, filters: query.Filters
) -> pyarrow.RecordBatchReader:
    """The vertices as a stream of record batches; see :meth:`Level.to_arrow_batches`."""
    arrow = _arrow()
    if rows is not None and not (_checks.is_whole(rows) and rows >= 1):
        raise ArrayError(f"rows must be a whole number from 1 up, got {rows!r}")
    chosen = attributes_of(level, "vertices", attributes)
    names = [attribute.name for attribute in chosen]
    reader = level._reader
    request = query.parse(reader, attributes=names, linked=False, **filters)
    nothing = gather(reader, [], request.query, whole=True)
    schema = arrow_schema(level, vertex_columns(nothing, chosen, level, 0))

    def batches() -> Iterator[Any]:
        parts = 0
        for found in stream(reader, request):
            batch = _record_batch(vertex_columns(found, chosen, level, parts), schema)
            parts += 0 if found.parts is None else len(found.parts) - 1
            step = len(batch) if rows is None else rows
            yield from (batch.slice(at, step) for at in range(0, len(batch), step))

    return arrow.RecordBatchReader.from_batches(schema, batches())


def arrow_schema(level: Level, columns: Columns) -> pyarrow.Schema:
    """The schema of a table, with what it was read from."""
    arrow = _arrow()
    facts = provenance(level)
    facts.update(axes=level._dataset.axes, metadata=level._dataset.metadata)
    fields = [arrow.field(name, _arrow_type(values, arrow)) for name, values in columns.items()]
    return arrow.schema(fields, {METADATA_KEY: json.dumps(facts).encode()})


def _arrow_type(values: np.ndarray, arrow: Any) -> Any:
    plain = arrow.large_string() if values.dtype == object else arrow.from_numpy_dtype(values.dtype)
    return plain if values.ndim == 1 else arrow.list_(plain, values.shape[1])


def _record_batch(columns: Columns, schema: Any) -> Any:
    arrow = _arrow()
    arrays = []
    for field, values in zip(schema, columns.values(), strict=True):
        if values.ndim == 1:
            arrays.append(arrow.array(values, field.type))
        else:
            flat = arrow.array(values.reshape(-1), field.type.value_type)
            arrays.append(arrow.FixedSizeListArray.from_arrays(flat, type=field.type))
    return arrow.record_batch(arrays, schema=schema)
