"""What a comparison of two snapshots tells: levels, and what differs in each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._words import counted
from ..geometry import html_table
from ..result import stage_name
from .diff_groups import GroupDiff


@dataclass(frozen=True)
class AttributeDiff:
    """An attribute that differs.

    Parameters
    ----------
    path : str
        Family and name, such as ``vertex_attributes/confidence``.
    change : str
        ``"added"``, ``"dropped"``, ``"retyped"`` or ``"written"``.
    values : int
        Values in the batches, of both snapshots, where the contents differ.
    batches : int
    differing : int or None
        Values that really differ; None where they were not compared.
    largest : float or None
        The largest difference between two numbers.
    """

    path: str
    change: str
    values: int
    batches: int
    differing: int | None = None
    largest: float | None = None


@dataclass(frozen=True)
class LevelDiff:
    """A level that differs, or is in one of two snapshots alone.

    Parameters
    ----------
    dataset : str
    level : int
    vertices, objects, links, batches, stored_bytes : (int, int)
        Before and after.
    bounds : tuple
        Smallest and largest coordinates of the batches, before and after.
    batches_added, batches_removed : int
    objects_added, objects_removed, objects_changed : ndarray of int64
        Ids. Changed are those that have other batches than before.
    attributes : list of AttributeDiff
    groups : list of GroupDiff
        Groups that were added, removed, or have other members than before.
    metadata : dict
        Keys of the dataset's metadata that differ, each with (before, after).
    moved : dict or None
        Of the changed objects with as many vertices as before: how many, and the
        largest and the root mean square distance of their vertices; where values
        were compared.
    """

    dataset: str
    level: int
    vertices: tuple[int, int]
    objects: tuple[int, int]
    links: tuple[int, int]
    batches: tuple[int, int]
    stored_bytes: tuple[int, int]
    bounds: tuple[Any, Any]
    batches_added: int
    batches_removed: int
    objects_added: np.ndarray
    objects_removed: np.ndarray
    objects_changed: np.ndarray
    attributes: list[AttributeDiff] = field(default_factory=list)
    groups: list[GroupDiff] = field(default_factory=list)
    metadata: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    moved: dict[str, float] | None = None

    @property
    def name(self) -> str:
        """The dataset, and the level where it is not 0."""
        return stage_name(self.dataset, self.level)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; of objects their number, and the first thousand ids."""
        ids = {"added": self.objects_added, "removed": self.objects_removed,
               "changed": self.objects_changed}  # fmt: skip
        return {
            "dataset": self.dataset,
            "level": self.level,
            **{
                name: list(getattr(self, name))
                for name in ("vertices", "objects", "links", "batches", "stored_bytes", "bounds")
            },
            "batches_added": self.batches_added,
            "batches_removed": self.batches_removed,
            **{f"objects_{what}": len(found) for what, found in ids.items()},
            "object_ids": {what: found[:1000].tolist() for what, found in ids.items()},
            "attributes": [vars(attribute) for attribute in self.attributes],
            "groups": [group.to_dict() for group in self.groups],
            "metadata": {key: list(pair) for key, pair in self.metadata.items()},
            "moved": self.moved,
        }

    def told(self) -> str:
        """The difference in a line."""
        parts = [f"{self.vertices[0]:,} → {counted(self.vertices[1], 'vertex', 'vertices')}"]
        counts = (
            ("+", self.objects_added, "object", "objects"),
            ("-", self.objects_removed, "object", "objects"),
            ("~", self.objects_changed, "object changed", "objects changed"),
        )
        parts += [f"{sign}{counted(len(ids), *what)}" for sign, ids, *what in counts if len(ids)]
        for a in self.attributes:
            told = f"{a.path} {a.change} ({counted(a.values, 'value')})"
            if a.differing is not None:
                told += f", {a.differing:,} differ"
                told += "" if a.largest is None else f" by {a.largest:g} at most"
            parts.append(told)
        if self.moved:
            parts.append(f"vertices moved by {self.moved['largest']:g} at most")
        parts += [group.told() for group in self.groups]
        parts += [f"metadata {key!r} changed" for key in self.metadata]
        return ", ".join(parts)


class Diff(list[LevelDiff]):
    """What differs between two snapshots: a list of levels, empty where nothing does.

    Attributes
    ----------
    a, b : str
        The snapshots.
    """

    def __init__(self, a: str, b: str, levels: list[LevelDiff]) -> None:
        super().__init__(levels)
        self.a = a
        self.b = b

    def __repr__(self) -> str:
        head = f"<Diff {self.a} → {self.b}"
        if not self:
            return f"{head}: nothing differs>"
        return "\n".join([head + ":", *(f"  {one.name!r}: {one.told()}" for one in self)]) + ">"

    def _repr_html_(self) -> str:
        rows = [("from", self.a), ("to", self.b)]
        rows += [(f"dataset {one.name!r}", one.told()) for one in self]
        return html_table("Diff", rows if self else [*rows, ("", "nothing differs")])

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {"a": self.a, "b": self.b, "levels": [one.to_dict() for one in self]}

    def to_pandas(self) -> Any:
        """A row for each level: a pandas.DataFrame.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        import pandas as pd

        rows = []
        for one in self:
            document = one.to_dict()
            row = {"dataset": one.dataset, "level": one.level}
            for name in ("vertices", "objects", "links", "batches", "stored_bytes"):
                row |= dict(zip((f"{name}_a", f"{name}_b"), document[name], strict=True))
            row |= {k: v for k, v in document.items() if k.startswith(("batches_", "objects_"))}
            row["attributes"] = ", ".join(a.path for a in one.attributes)
            row["groups"] = ", ".join(group.name for group in one.groups)
            rows.append(row)
        return pd.DataFrame(rows)
