"""What is asked of the vertices in the cells of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..format.metadata import AttributeMeta
from ..spatial.balls import Ball
from ..spatial.boxes import Box
from .reader import LevelReader
from .selection import Selection
from .where import Condition, OfCoordinate


@dataclass(frozen=True)
class Query:
    """What is asked of the cells of a plan.

    Parameters
    ----------
    attributes, links : list of AttributeMeta
        Values to read, of vertices and of links.
    box : Box or None
        A half-open query.
    limit : int or None
        At most so many vertices.
    ball : Ball or None
    where : list of Condition
        All of them have to hold.
    linked : bool
        Whether links are wanted too.
    """

    attributes: list[AttributeMeta]
    links: list[AttributeMeta]
    box: Box | None = None
    limit: int | None = None
    ball: Ball | None = None
    where: list[Condition] = field(default_factory=list)
    linked: bool = True

    @property
    def needed(self) -> list[AttributeMeta]:
        """The attributes whose values are looked at, each once."""
        tested = [c.reads for c in self.where if c.reads is not None]
        return list({a.name: a for a in (*self.attributes, *tested)}.values())

    @property
    def looks_at_positions(self) -> bool:
        """Whether it depends on coordinates which vertices are asked for."""
        coordinates = any(isinstance(c, OfCoordinate) for c in self.where)
        return self.box is not None or self.ball is not None or coordinates

    @property
    def looks_at_vertices(self) -> bool:
        """Whether more than cells and objects has to be looked at."""
        return self.box is not None or self.ball is not None or bool(self.where)

    def narrow(self, mask: np.ndarray, values: WindowValues, positions: np.ndarray) -> None:
        """Clear those of a mask over the vertices of a window that were not asked for."""
        if self.box is not None:
            mask &= self.box.select(positions)
        if self.ball is not None and mask.any():
            mask &= self.ball.select(positions)
        for condition in self.where:
            if mask.any():
                mask &= condition.mask(values, positions)


class WindowValues:
    """Values of attributes in one window, each read once and where it is needed.

    Parameters
    ----------
    reader : LevelReader
    window : sequence of Selection
    known : mapping of str to ndarray, optional
        What has been read already, by name.
    """

    def __init__(
        self,
        reader: LevelReader,
        window: Sequence[Selection],
        known: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.reader = reader
        self.window = window
        self._known = dict(known or {})

    def of(self, attribute: AttributeMeta) -> np.ndarray:
        """The values of one attribute, without those of removed vertices."""
        if attribute.name not in self._known:
            self._known[attribute.name] = self.reader.attribute_of(attribute, self.window)
        return self._known[attribute.name]
