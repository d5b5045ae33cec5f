"""Writing a source into a repository: one transaction, all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArrayError, MetadataError
from ..format.metadata import GRAPHS, KINDS, LINES, MESHES
from ..spatial.boxes import Box
from ..spatial.grid import expected
from ..writing.append import Given, append_lines, append_links, append_points
from ._into import Into
from ._pieces import Piece, Scan, Source, scan
from ._progress import Progress

if TYPE_CHECKING:
    from ..repository import Repository
    from ..transaction import Transaction
    from ..writer import ZVWriter
    from ..writing.stage import LevelStage

__all__ = [
    "Added",
    "ImportResult",
    "add_groups",
    "add_levels",
    "append",
    "begin",
    "first_free",
    "import_source",
    "new_bounds",
    "nothing_there",
    "refuse_empty",
    "result",
    "target",
]


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Parameters
    ----------
    format, dataset, kind, branch, snapshot_id : str
    files : int
    created : bool
        Whether the dataset was created.
    batches, vertices, links, objects : int
        What was added.
    """

    format: str
    dataset: str
    kind: str
    branch: str
    snapshot_id: str
    files: int
    created: bool
    batches: int
    vertices: int
    links: int
    objects: int


@dataclass
class Added:
    """What was added so far."""

    batches: int = 0
    vertices: int = 0
    links: int = 0
    objects: int = 0

    def take(self, told: Mapping[str, Any]) -> None:
        """Count one append."""
        self.batches += bool(told["vertices_added"])
        self.vertices += told["vertices_added"]
        self.links += told.get("links_added", 0)
        self.objects += told["new_objects"]


def import_source(repo: Repository, source: Source, dataset: str, into: Into) -> ImportResult:
    """Write all of a source into a dataset, as one commit.

    Parameters
    ----------
    repo : Repository
    source : Source
    dataset : str
    into : Into

    Raises
    ------
    ArrayError, MetadataError, NotFoundError
        If the files or the options do not fit. Nothing is committed.
    ConflictError
        If somebody else has committed to the branch meanwhile; nothing is
        committed.
    """
    box, counted = (None, None) if into.append else new_bounds(source, into)
    added = Added()
    with begin(repo, source, dataset, into) as tx:
        kind = target(tx, source, dataset, into, box, counted)
        first, done = first_free(tx, dataset), 0
        into.report(Progress("import", 0, source.total, source.unit))
        counts = []
        for part in source.parts:
            before = added.vertices
            for piece in part():
                with tx._staging(dataset, 0) as stage:
                    told = append(stage, piece, into, first)
                added.take(told)
                done += piece.weight
                into.report(Progress("import", done, source.total, source.unit))
            counts.append(added.vertices - before)
        refuse_empty(source, counts, into)
        add_groups(tx.writer(dataset), source, first)
        add_levels(tx, source, dataset, into, done)
        into.report(Progress("publish", done, source.total, source.unit))
    return result(tx, source, dataset, kind, into, added)


def begin(repo: Repository, source: Source, dataset: str, into: Into) -> Transaction:
    """The transaction of an import."""
    message = into.message
    if message is None:
        verb = "append" if into.append else "import"
        what = source.files[0] if len(source.files) == 1 else f"{len(source.files):,} files"
        message = f"{verb} {what} ({source.format}) into {dataset or 'the root dataset'}"
    return repo.transaction(
        into.branch, message=message, author=into.author, metadata=into.metadata
    )


def target(
    tx: Transaction,
    source: Source,
    dataset: str,
    into: Into,
    box: Box | None,
    counted: int | None = None,
) -> str:
    """Create the dataset, or find it there; returns its kind.

    Parameters
    ----------
    box : Box or None
        Of a new one.
    counted : int, optional
        The vertices of the source, where they have been counted.
    """
    if box is None:
        meta = tx._meta(dataset)
        if meta.ndim != source.ndim:
            raise MetadataError(
                f"dataset {dataset!r} has {meta.ndim} axes, and {source.files[0]} has {source.ndim}"
            )
        if _family(meta.kind) != _family(source.kind):
            raise _other_kind(source, meta.kind)
        if into.kind not in (None, meta.kind):
            raise MetadataError(f"dataset {dataset!r} is of kind {meta.kind!r}, not {into.kind!r}")
        _refuse_texts(tx, source, dataset)
        return meta.kind
    kind = into.kind or source.kind
    if _family(kind) != _family(source.kind):
        raise _other_kind(source, kind)
    tx.create_dataset(
        dataset,
        kind=kind,
        bounds=(box.lo.tolist(), box.hi.tolist()),
        chunk_shape=source.chunk_shape if into.own_cells else into.chunk_shape,
        expected_vertices=(
            expected(source.ndim, counted)
            if into.own_cells and source.chunk_shape is None
            else into.expected_vertices
        ),
        vertex_dtype=source.dtype if into.dtype is None else into.dtype,
        axes=_axes(source, into.unit),
        metadata=source.metadata,
    )
    return kind


def _refuse_texts(tx: Transaction, source: Source, dataset: str) -> None:
    """Refuse texts for an attribute of numbers, saying where the first one is."""
    with tx._staging(dataset, 0) as stage:
        known = stage.facts.attributes
    for name, where in source.texts.items():
        if name in known and not known[name].logical and known[name].dtype.kind in "iuf":
            raise ArrayError(
                f"{where}, which is no number, and the attribute {name!r} of dataset {dataset!r} "
                f"is {known[name].dtype.name}; correct the file, nothing was imported"
            )


def _other_kind(source: Source, kind: str) -> MetadataError:
    if kind not in KINDS:
        return MetadataError(f"kind {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    return MetadataError(
        f"{source.files[0]} ({source.format}) holds what a dataset of kind {source.kind!r} has, "
        f"and one of kind {kind!r} cannot take it; import it into another dataset"
    )


def _family(kind: str) -> str:
    for family in (LINES, GRAPHS, MESHES):
        if kind in family:
            return family[-1]
    return kind


def _axes(source: Source, unit: str | None) -> list[dict[str, str]] | None:
    axes = source.axes
    if unit is None:
        return axes
    if axes is None:
        names = ["t", "x", "y", "z"] if source.ndim == 4 else ["x", "y", "z"][: source.ndim]
        axes = [{"name": n, "type": "time" if n == "t" else "space"} for n in names]
    return [{**axis, "unit": unit} if axis.get("type") == "space" else axis for axis in axes]


def new_bounds(source: Source, into: Into) -> tuple[Box, int | None]:
    """The bounds of a new dataset: given, known, or looked for; and its vertices where counted.

    Raises
    ------
    ArrayError
        If nothing is there to have bounds.
    """
    if into.bounds is not None:
        lo, hi = (np.asarray(side, np.float64) for side in into.bounds)
        return Box(lo, hi), source.vertices
    if source.bounds is not None:
        return source.bounds, source.vertices
    done = 0

    def seen(piece: Piece) -> None:
        nonlocal done
        done += piece.weight
        into.report(Progress("scan", done, source.total, source.unit))

    found = Scan(None, 0, 0)
    for part in source.parts:
        found |= scan(part, seen)
    if found.box is None:
        raise nothing_there(source)
    return found.box, found.vertices


def nothing_there(source: Source) -> ArrayError:
    """The error for files without a vertex, of which no bounds can be had."""
    what = source.files[0] if len(source.files) == 1 else f"the {len(source.files):,} files"
    return ArrayError(
        f"{what}: no vertex is in it, so a new dataset would have no bounds. Give bounds= to "
        "create an empty one, or leave the file out"
    )


def refuse_empty(source: Source, counts: Sequence[int], into: Into) -> None:
    """Refuse a file without a vertex among others, or where one is to be appended.

    Parameters
    ----------
    source : Source
    counts : sequence of int
        Vertices of each of its parts.
    into : Into

    Raises
    ------
    ArrayError
    """
    files = source.files
    empty: Sequence[str] = ()
    if into.append and not any(counts):
        empty = files
    elif len(counts) == len(files) > 1:
        empty = [file for file, count in zip(files, counts, strict=True) if not count]
    if empty:
        more = f", nor in {len(empty) - 1:,} more" if len(empty) > 1 else ""
        raise ArrayError(
            f"{empty[0]}: no vertex is in it{more}; is it whole? Leave it out where it is meant to "
            "be empty"
        )


def add_levels(tx: Transaction, source: Source, dataset: str, into: Into, done: int) -> None:
    """Make the coarser levels that the source has.

    Parameters
    ----------
    done : int
        Of the source's weight.
    """
    if into.append and source.coarser:
        raise MetadataError(
            f"{source.files[0]} has several levels, and only level 0 can be added to a dataset "
            "that is there; give levels=[0]"
        )
    for coarser in source.coarser:
        tx.create_level(
            dataset,
            coarser.level,
            chunk_shape=coarser.chunk_shape if into.own_cells else None,
            coarsened_from=coarser.coarsened_from,
            method=coarser.method,
        )
        for part in coarser.parts:
            for piece in part():
                with tx._staging(dataset, coarser.level) as stage:
                    append(stage, piece, into, 0)
                done += piece.weight
                into.report(Progress("import", done, source.total, source.unit))


def first_free(tx: Transaction, dataset: str) -> int:
    """The first object id that is larger than all that were ever used."""
    with tx._staging(dataset, 0) as stage:
        return stage.facts.max_object_id + 1


def append(stage: LevelStage, piece: Piece, into: Into, first: int) -> dict[str, Any]:
    """Append one piece; an error says which it is.

    Parameters
    ----------
    stage : LevelStage
        Of a dataset of the family of kinds that the piece is of.
    piece : Piece
    into : Into
    first : int
        Where the ids begin that are only counted.
    """
    given = Given(
        object_ids=np.asarray(piece.object_ids) + first if piece.counted else piece.object_ids,
        dtype=into.dtype,
        attributes=piece.attributes,
        link_attributes=piece.link_attributes or None,
        object_attributes=piece.object_attributes or None,
        out_of_bounds=into.out_of_bounds,
        extend=into.extend,
    )
    kind, positions = stage.meta.kind, piece.positions
    try:
        if kind in LINES:
            return append_lines(stage, positions, piece.offsets, None, given)
        if kind in (*GRAPHS, *MESHES):
            width = stage.meta.link_width
            links = np.zeros((0, width), np.int64) if piece.links is None else piece.links
            return append_links(stage, positions, links, width, None, given)
        return append_points(stage, positions, given)
    except ArrayError as error:
        raise ArrayError(f"{piece.name}: {error}") from error


def add_groups(writer: ZVWriter, source: Source, first: int) -> None:
    """Name the groups of objects that the source has.

    Parameters
    ----------
    first : int
        Where the ids begin that are only counted.
    """
    for name, members in source.groups.items():
        writer.add_group_sync(name, members + first if source.counted_groups else members)


def result(
    tx: Transaction, source: Source, dataset: str, kind: str, into: Into, added: Added
) -> ImportResult:
    """What was done, once it is committed."""
    assert tx.result is not None
    return ImportResult(
        format=source.format,
        dataset=dataset,
        kind=kind,
        branch=into.branch,
        snapshot_id=tx.result.snapshot_id,
        files=len(source.files),
        created=not into.append,
        batches=added.batches,
        vertices=added.vertices,
        links=added.links,
        objects=added.objects,
    )
