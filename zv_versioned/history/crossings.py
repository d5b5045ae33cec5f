"""Where a compaction of one side meets what the other side did with the same batches.

A compaction puts one batch in the place of several and says which
(:mod:`.._lineage`). A merge takes its batch where the other side left the old
ones alone; whatever else was done to them cannot be carried into a batch of
another order, and what was compacted on both sides would be there twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..format.table import LINEAGE
from .index import Uuid
from .merge_rows import Report, Three
from .rows import Details, Side

_SIDES: tuple[Side, Side, Side] = ("base", "ours", "theirs")


@dataclass(frozen=True)
class _Holders:
    """Who has what of a side: by each batch that it ever was, the batch that it is now."""

    now: Mapping[Uuid, Uuid]
    made: Mapping[Uuid, frozenset[Uuid]]


def refuse_crossings(three: Three, report: Report, details: Details) -> None:
    """Report a conflict for each set of batches that one side compacted and the other changed."""
    made = [_made(table.content(LINEAGE)) for table in three.tables]
    if not any(len(rows) for rows in made):
        return
    uuids = [
        {bytes(u) for u in table.uuid[rows]} for table, rows in zip(three.tables, made, strict=True)
    ]
    common = uuids[0] & uuids[1] & uuids[2]
    if all(names <= common for names in uuids):
        return
    holders = [
        _holders(three, number, rows, common, report, details) for number, rows in enumerate(made)
    ]
    for together in _components(holders):
        _check(three, report, holders, together)


def _made(content: np.ndarray) -> np.ndarray:
    return np.flatnonzero(content != 0)


def _holders(
    three: Three,
    number: int,
    made: np.ndarray,
    common: set[Uuid],
    report: Report,
    details: Details,
) -> _Holders:
    table = three.tables[number]
    now = {bytes(uuid): bytes(uuid) for uuid in table.uuid}
    sets: dict[Uuid, frozenset[Uuid]] = {}
    for row in made.tolist():
        uuid = bytes(table.uuid[row])
        if uuid in common:
            continue
        sources = details.lineage(_SIDES[number], report.dataset, report.level or 0, row)
        sets[uuid] = frozenset(sources)
        now.update(dict.fromkeys(sources, uuid))
    return _Holders(now, sets)


def _components(holders: Iterable[_Holders]) -> list[set[Uuid]]:
    """Batches that have to be looked at together, since one batch was made of them."""
    sets: list[set[Uuid]] = []
    where: dict[Uuid, int] = {}
    for side in holders:
        for uuid, sources in side.made.items():
            group = {uuid, *sources}
            for other in sorted({where[u] for u in group if u in where}):
                group |= sets[other]
                sets[other] = set()
            where.update(dict.fromkeys(group, len(sets)))
            sets.append(group)
    return [group for group in sets if group]


def _check(three: Three, report: Report, holders: list[_Holders], together: set[Uuid]) -> None:
    base, ours, theirs = (
        {uuid: side.now[uuid] for uuid in together if uuid in side.now} for side in holders
    )
    if ours == theirs:
        return
    if ours == base and not _changed(three, 1, set(ours.values())):
        return
    if theirs == base and not _changed(three, 2, set(theirs.values())):
        return
    made = [u for side in (1, 2) for u in sorted(set(holders[side].made) & together)]
    made = made or sorted(set(holders[0].made) & together)
    report.conflict(
        "compaction", _origin(three, made), _reason(holders, together), batches=(*made,)
    )


def _changed(three: Three, side: int, uuids: set[Uuid]) -> bool:
    """Whether a side wrote to some batches that it has from the base."""
    before, now = three.tables[0], three.tables[side]
    rows = {bytes(uuid): row for row, uuid in enumerate(before.uuid)}
    at = [(rows[bytes(u)], r) for r, u in enumerate(now.uuid) if bytes(u) in uuids]
    if not at:
        return False
    a, b = np.array(at).T
    names = before.contents.keys() | now.contents.keys()
    return any((before.content(n)[a] != now.content(n)[b]).any() for n in names)


def _origin(three: Three, made: list[Uuid]) -> str:
    """The transaction of the compaction that made the first of some batches."""
    for table in (three.tables[1], three.tables[2], three.tables[0]):
        for row, uuid in enumerate(table.uuid):
            if bytes(uuid) in made:
                return f"{int(table.origin[row]):016x}"
    return ""


def _reason(holders: list[_Holders], together: set[Uuid]) -> str:
    _, ours, theirs = (bool(set(side.made) & together) for side in holders)
    if ours and theirs:
        return "both sides compacted the same batches, each its own way"
    if ours or theirs:
        one, other = ("this", "the other") if ours else ("the other", "this")
        return f"{one} side compacted batches that {other} side has changed or taken back"
    return "a compaction was undone on one side, and its batches were changed on the other"
