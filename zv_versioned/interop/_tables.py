"""What formats of tables have in common: which column is what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _checks
from ..errors import MetadataError, NotFoundError
from ..format.metadata import POINTS
from ._files import number_of

if TYPE_CHECKING:
    from ..level import Level

__all__ = ["OBJECT_ID", "Mapped", "map_columns", "no_columns", "one_id", "points_only"]

OBJECT_ID = "object_id"
_AXES = "xyz"


@dataclass(frozen=True)
class Mapped:
    """Which column is what.

    Parameters
    ----------
    positions : tuple of str
    object_id : str or None
    attributes : dict of str to str
        Names of attributes, by column.
    """

    positions: tuple[str, ...]
    object_id: str | None
    attributes: dict[str, str]

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        ids = [] if self.object_id is None else [self.object_id]
        return list(dict.fromkeys([*self.positions, *ids, *self.attributes]))


def map_columns(
    columns: Sequence[str],
    where: str,
    *,
    positions: Sequence[str] | None,
    object_id: str | None,
    attributes: Sequence[str] | Mapping[str, str] | None,
) -> Mapped:
    """Find out which column is what; see :func:`import_csv`.

    Raises
    ------
    NotFoundError
        If a column is not there.
    MetadataError
        If no column can be taken for coordinates, or what is asked for is not
        possible.
    """
    if positions is None:
        names = {name.lower(): name for name in reversed(columns)}
        positions = [names[axis] for axis in _AXES if axis in names]
        if not positions or positions[0].lower() != "x":
            raise MetadataError(
                f"{where} has no columns x, y, z; say which are the coordinates: it has "
                f"{', '.join(map(repr, columns))}"
            )
    if isinstance(positions, str) or not 1 <= len(positions) <= 4:
        raise MetadataError(f"positions are the names of 1 to 4 columns, got {positions!r}")
    if object_id is None and OBJECT_ID in columns:
        object_id = OBJECT_ID
    taken = [*positions, *([] if object_id is None else [object_id])]
    if attributes is None:
        attributes = [name for name in columns if name not in taken]
    if isinstance(attributes, str):
        raise MetadataError(f"attributes are names in a list, or a mapping; got {attributes!r}")
    named = dict(attributes) if isinstance(attributes, Mapping) else {a: a for a in attributes}
    lacking = [name for name in [*taken, *named] if name not in columns]
    if lacking:
        raise no_columns(where, lacking, columns)
    if len(set(named.values())) < len(named):
        raise MetadataError(f"two columns cannot become one attribute: {named}")
    return Mapped(tuple(positions), object_id, named)


def no_columns(where: str, lacking: Sequence[str], there: Sequence[str]) -> NotFoundError:
    """The error for columns that are not there."""
    return NotFoundError(
        f"{where} has no column {', '.join(map(repr, lacking))}; it has: "
        f"{', '.join(map(repr, there))}"
    )


def one_id(objects: str | int | None, path: Path) -> int | None:
    """The object id that all points of a file have; None where they have their own.

    Raises
    ------
    MetadataError
        If `objects` is none of the words that are known, or a file's name is no
        number.
    """
    if objects is None or objects == "each":
        return None
    if objects == "file":
        number = number_of(path)
        if number is None:
            raise MetadataError(
                f"objects='file' takes ids from the names of files, and {path.name!r} is no number"
            )
        return number
    if isinstance(objects, int) and not isinstance(objects, bool):
        return objects
    raise MetadataError(f'objects must be "each", "file" or an object id, got {objects!r}')


def points_only(level: Level, format: str, vertices_only: bool) -> None:
    """Refuse to lose links unless that is meant.

    Raises
    ------
    MetadataError
    """
    _checks.flags(vertices_only=vertices_only)
    kind = level._dataset.kind
    if kind not in POINTS and not vertices_only:
        raise MetadataError(
            f"dataset {level._dataset.name!r} is of kind {kind!r}, and {format} files hold points "
            "alone: its links would be lost. Say vertices_only=True to write its vertices, or "
            "export to another format"
        )
