"""What is asked of an import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from .. import _checks
from ..spatial.boxes import parse_expected_vertices
from ._progress import Report, silent

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class ImportOptions(TypedDict, total=False):
    """The keyword arguments that all imports have in common.

    Attributes
    ----------
    branch : str
        Where the commit goes; "main" where left out.
    message, author : str
        Of the commit; the message says what was imported where left out.
    metadata : mapping
        Facts of your own for the commit, JSON.
    append : bool
        Add to a dataset that is there. Else it is created, and must not be.
    kind : str
        The kind of geometry of a new dataset, where a format leaves a choice:
        "polyline" in place of "streamline", "graph" in place of "skeleton".
    bounds : (lo, hi)
        Of a new dataset. Left out, files that do not say theirs are looked through
        first.
    chunk_shape : sequence of float
        Edges of a cell of a new dataset. Left out, what `expected_vertices` says.
    expected_vertices : int
        In place of `chunk_shape`: how many vertices the new dataset will have, about; see
        :meth:`Transaction.create_dataset`. Left out, those that are counted where the
        files are looked through, and 8 cells an axis otherwise and at least.
    dtype : dtype-like
        Of the coordinates; says that rounding to it is meant. Left out, that of
        the files; it must then fit the dataset exactly.
    unit : str
        Of the axes of a new dataset, such as "nanometer"; takes the place of what
        the files say.
    out_of_bounds : {"raise", "expand"}
        What to do with vertices outside the bounds of the dataset.
    extend : bool
        With `append`: objects that are there may go on.
    progress : callable
        Called with a :class:`Progress` again and again.
    """

    branch: str
    message: str | None
    author: str | None
    metadata: Mapping[str, Any] | None
    append: bool
    kind: str | None
    bounds: tuple[Sequence[float], Sequence[float]] | None
    chunk_shape: Sequence[float] | None
    expected_vertices: int | None
    dtype: DTypeLike | None
    unit: str | None
    out_of_bounds: str
    extend: bool
    progress: Report | None


@dataclass(frozen=True)
class Into:
    """What :class:`ImportOptions` say, checked for names."""

    branch: str = "main"
    message: str | None = None
    author: str | None = None
    metadata: Mapping[str, Any] | None = None
    append: bool = False
    kind: str | None = None
    bounds: tuple[Sequence[float], Sequence[float]] | None = None
    chunk_shape: Sequence[float] | None = None
    expected_vertices: int | None = None
    dtype: Any = None
    unit: str | None = None
    out_of_bounds: str = "raise"
    extend: bool = False
    progress: Report | None = None

    def __post_init__(self) -> None:
        _checks.flag(self.append, "append")
        _checks.flag(self.extend, "extend")
        parse_expected_vertices(self.expected_vertices, self.chunk_shape)

    @property
    def own_cells(self) -> bool:
        """Whether nothing is said of how large a cell is."""
        return self.chunk_shape is None and self.expected_vertices is None

    @property
    def report(self) -> Report:
        """Where progress goes."""
        return self.progress or silent
