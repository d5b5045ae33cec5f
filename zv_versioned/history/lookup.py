"""Rows of a result, looked up on the side that they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..format.table import BatchTable
from .merge_rows import Report, Rows, Three
from .rows import Details, Groups, Ids, Side
from .runs import Runs


@dataclass(frozen=True)
class Lookup:
    """The three sides of a level, the rows of the result, and what tables do not say."""

    three: Three
    rows: Rows
    report: Report
    details: Details

    @property
    def level(self) -> int:
        """The number of the level."""
        return self.report.level or 0

    def table(self, side: Side) -> BatchTable:
        """The table of a side."""
        return {"base": self.three.base, "ours": self.three.ours, "theirs": self.three.theirs}[
            side
        ].table

    def of(self, side: Side) -> np.ndarray:
        """For each row of the result, the row of a side; -1 where it has no such batch."""
        return {"base": self.rows.base, "ours": self.rows.ours, "theirs": self.rows.theirs}[side]

    def ids(self, side: Side, rows: np.ndarray) -> list[Ids]:
        """The ids of some batches of a side."""
        if len(rows) == 0:
            return []
        return self.details.ids(side, self.report.dataset, self.level, rows.tolist())

    def begun(self, side: Side, rows: np.ndarray, owners: np.ndarray) -> Runs:
        """The ids of the objects that begin in some batches of a side, with an owner for each."""
        table = self.table(side)
        simple = table.plain[rows]
        runs = Runs(table.id_min[rows[simple]], table.id_max[rows[simple]], owners[simple])
        rest = zip(owners[~simple].tolist(), self.ids(side, rows[~simple]), strict=True)
        return Runs.joined([runs, *(Runs.of(ids[new], owner) for owner, (ids, new) in rest)])

    def removed(self, side: Side, row: int) -> np.ndarray:
        """The removed objects of a batch of a side, as rows."""
        return self.details.removed(side, self.report.dataset, self.level, int(row))

    def groups(self, side: Side) -> Groups:
        """The groups of a side."""
        return self.details.groups(side, self.report.dataset, self.level)
