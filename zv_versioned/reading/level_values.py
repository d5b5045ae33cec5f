"""Values of attributes, links and faces of a whole level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._twins import twin
from ..errors import MetadataError
from ..format.metadata import (
    LINES,
    LINK_ATTRIBUTES,
    OBJECT_ATTRIBUTES,
    VERTEX_ATTRIBUTES,
    AttributeMeta,
)
from . import query
from .gather_lines import level_line_links
from .links import level_links_of, link_values
from .values import check_missing, object_values, refuse_missing

if TYPE_CHECKING:
    from ..level import Level


class LevelValues:
    """What each vertex, object and link of a level has; mixed into :class:`Level`."""

    def attribute(self: Level, name: str, *, missing: str = "fill") -> np.ndarray:  # type: ignore[misc]
        """Values of an attribute for all vertices, in the order of the level.

        Parameters
        ----------
        name : str
        missing : {"fill", "raise"}
            Where a batch has no values: NaN, NaT, the smallest signed or the largest
            unsigned integer, False, or None; or an error.

        Returns
        -------
        ndarray, shape (vertex_count,) or (vertex_count, C)
            Text as objects: str, or None where it is missing.

        Raises
        ------
        NotFoundError
            If there is no such attribute.
        ArrayError
            With ``missing="raise"``, where values are missing.
        """
        live = self._reader.state.table.live_vertices
        attribute = self._asked(name, VERTEX_ATTRIBUTES, missing, live, "vertices")
        return self._reader.attribute_of(attribute, self._reader.plan())

    def object_attribute(self: Level, name: str, *, missing: str = "fill") -> np.ndarray:  # type: ignore[misc]
        """Values of an attribute for all objects, in the order of :meth:`object_ids`.

        Parameters
        ----------
        name : str
        missing : {"fill", "raise"}
            As in :meth:`attribute`.

        Returns
        -------
        ndarray, shape (num_objects,) or (num_objects, C)

        Raises
        ------
        NotFoundError
            If there is no such attribute.
        ArrayError
            With ``missing="raise"``, where values are missing.
        """
        live = self._reader.state.table.live_new_objects
        attribute = self._asked(name, OBJECT_ATTRIBUTES, missing, live, "objects")
        return object_values(self._reader, attribute)

    def link_attribute(self: Level, name: str, *, missing: str = "fill") -> np.ndarray:  # type: ignore[misc]
        """Values of an attribute for all links, in link order: by batch, cell, fragment, row.

        Of a line each vertex but its last has a link, to the next one. The links of a
        mesh are its faces.

        Parameters
        ----------
        name : str
        missing : {"fill", "raise"}
            As in :meth:`attribute`.

        Returns
        -------
        ndarray, shape (link_count,) or (link_count, C)

        Raises
        ------
        NotFoundError
            If there is no such attribute.
        ArrayError
            With ``missing="raise"``, where values are missing.
        """
        return self._link_values(name, missing, "links")

    def face_attribute(self: Level, name: str, *, missing: str = "fill") -> np.ndarray:  # type: ignore[misc]
        """Values of an attribute for all faces, in the order of the level's faces.

        Parameters
        ----------
        name : str
        missing : {"fill", "raise"}
            As in :meth:`attribute`. Of an attribute that was written for the faces
            inside cells alone, those across cells always read as missing.

        Returns
        -------
        ndarray, shape (face count,) or (face count, C)

        Raises
        ------
        NotFoundError
            If there is no such attribute.
        ArrayError
            With ``missing="raise"``, where values are missing.
        """
        return self._link_values(name, missing, "faces")

    def _link_values(self: Level, name: str, missing: str, of: str) -> np.ndarray:  # type: ignore[misc]
        live = self._reader.state.table.live_links
        return link_values(self._reader, self._asked(name, LINK_ATTRIBUTES, missing, live, of))

    def _asked(  # type: ignore[misc]
        self: Level, name: str, family: str, missing: str, live: np.ndarray, of: str
    ) -> AttributeMeta:
        """An attribute that is there, with a value for whatever is `live` where that is asked."""
        strict = check_missing(missing)
        attribute = query.known(self._reader, name, family)
        if strict:
            refuse_missing(self._reader, attribute, live, of)
        return attribute

    def links(self: Level) -> np.ndarray:  # type: ignore[misc]
        """All links as pairs of vertices of the level, or, of a mesh, its faces.

        Returns
        -------
        ndarray of int64, shape (link_count, 2) or (link_count, 3)
            Numbers of vertices, in the order of :meth:`positions`; in link order:
            by batch, cell, fragment of the smallest vertex (of lines: of the
            earlier one), and as they were given. Points have none.
        """
        if self._dataset.kind in LINES:
            return level_line_links(self._reader)
        if self._reader.meta.link_width == 0:
            return np.zeros((0, 2), np.int64)
        return level_links_of(self._reader, self._reader.plan())[0]

    def faces(self: Level) -> np.ndarray:  # type: ignore[misc]
        """All faces of a mesh as triples of vertices, in link order: :meth:`links`.

        Raises
        ------
        MetadataError
            If the dataset is no mesh.
        """
        if self._reader.meta.link_width != 3:
            raise MetadataError(
                f"{self!r} is of kind {self._dataset.kind!r} and has no faces; see links()"
            )
        return self.links()

    # -- the same, awaited ---------------------------------------------------

    aattribute = twin(attribute)
    aobject_attribute = twin(object_attribute)
    alink_attribute = twin(link_attribute)
    aface_attribute = twin(face_attribute)
    alinks = twin(links)
    afaces = twin(faces)
