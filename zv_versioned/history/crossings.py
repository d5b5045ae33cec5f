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

from ..format.table import INDEX, LINEAGE, REMOVED
from .index import Uuid
from .merge_rows import Report, Three
from .rows import Details, Side

_SIDES: tuple[Side, Side, Side] = ("base", "ours", "theirs")
_REVERT = "revert that compaction, {}, where it was made, do this, and compact again"
_AGAIN = "do that compaction, {{}}, again on {} (a cherry-pick), and then this"


@dataclass(frozen=True)
class _Holders:
    """Who has what of a side: by each batch that it ever was, the batch that it is now."""

    now: Mapping[Uuid, Uuid]
    made: Mapping[Uuid, frozenset[Uuid]]


def refuse_crossings(three: Three, report: Report, details: Details) -> bool:
    """Report a conflict for each set of batches that one side compacted and the other changed.

    Returns
    -------
    bool
        Whether there are any.
    """
    made = [_made(table.content(LINEAGE)) for table in three.tables]
    if not any(len(rows) for rows in made):
        return False
    uuids = [
        {bytes(u) for u in table.uuid[rows]} for table, rows in zip(three.tables, made, strict=True)
    ]
    common = uuids[0] & uuids[1] & uuids[2]
    if all(names <= common for names in uuids):
        return False
    holders = [
        _holders(three, number, rows, common, report, details) for number, rows in enumerate(made)
    ]
    found = [_check(three, report, holders, together) for together in _components(holders)]
    return any(found)


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


def _check(three: Three, report: Report, holders: list[_Holders], together: set[Uuid]) -> bool:
    """Report what two sides did to some batches; returns whether it does not go together."""
    base, ours, theirs = (
        {uuid: side.now[uuid] for uuid in together if uuid in side.now} for side in holders
    )
    if ours == theirs:
        return False
    if ours == base and not _changed(three, "ours", set(ours.values())):
        return False
    if theirs == base and not _changed(three, "theirs", set(theirs.values())):
        return False
    # A side that only still has a batch which the base has did not compact anything.
    of_ours, of_theirs = (
        sorted((side.made.keys() & together) - holders[0].now.keys()) for side in holders[1:]
    )
    names = report.options.names
    remedy = _REVERT
    if of_ours and of_theirs:
        reason = f"{names.both} compacted the same batches, each in its own way"
    elif of_ours or of_theirs:
        side: Side = "theirs" if of_ours else "ours"
        what = _what_it_did(three, side, theirs if of_ours else ours, base)
        other, one = names.pair(side)
        reason = f"{one} compacted batches, and {other} {what}"
    else:
        # Of the batches of a compaction that the base has, one side went back to what was before.
        undone: Side = "ours" if ours != base else "theirs"
        one, other = names.pair(undone)
        what = _what_it_did(three, "theirs" if undone == "ours" else "ours", base, base)
        reason = f"{one} undid a compaction, and {other} {what}"
        remedy = _AGAIN.format(one)
    made = of_ours + of_theirs or sorted(holders[0].made.keys() & together)
    report.conflict("compaction", _origin(three, made), reason, batches=(*made,), _remedy=remedy)
    return True


def _changed(three: Three, side: Side, uuids: set[Uuid]) -> list[str]:
    """The arrays in which a side wrote to some batches that it has from the base."""
    before, now = three.tables[0], three.tables[1 if side == "ours" else 2]
    rows = {bytes(uuid): row for row, uuid in enumerate(before.uuid)}
    some = uuids & rows.keys()
    at = [(rows[bytes(u)], r) for r, u in enumerate(now.uuid) if bytes(u) in some]
    if not at:
        return []
    a, b = np.array(at).T
    names = sorted(before.contents.keys() | now.contents.keys())
    return [name for name in names if (before.content(name)[a] != now.content(name)[b]).any()]


def _what_it_did(
    three: Three, side: Side, now: Mapping[Uuid, Uuid], base: Mapping[Uuid, Uuid]
) -> str:
    """What a side did to some batches, in words."""
    arrays = _changed(three, side, set(now.values()))
    did = ["took some of them back" if any(now.get(u) != b for u, b in base.items()) else ""]
    did += ["brings some of them itself" if now.keys() - base.keys() else ""]
    did += ["removed objects in them" if REMOVED in arrays else ""]
    did += ["gave objects in them other ids" if INDEX in arrays else ""]
    values = [repr(name.rpartition("/")[2]) for name in arrays if name not in (REMOVED, INDEX)]
    did += [f"changed values of {', '.join(values)} in them" if values else ""]
    return " and ".join(filter(None, did))


def _origin(three: Three, made: list[Uuid]) -> str:
    """The transaction of the compaction that made the first of some batches."""
    for table in (three.tables[1], three.tables[2], three.tables[0]):
        for row, uuid in enumerate(table.uuid):
            if bytes(uuid) in made:
                return f"{int(table.origin[row]):016x}"
    return ""
