"""Putting right what can be put right without guessing: seals, and counts.

What a table or a level counts can be counted again from the indexes, which have
checksums; a seal can be made anew of a file that can be read. Nothing else is
touched: damaged data comes back from a copy alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .. import _paths, _store
from .._words import counted
from ..errors import ZVError
from ..format.table import BatchTable
from ..reading.links import live_links
from ..reading.removed import removals_of, removed_rows
from ..storage.seals import Ledger, Sealed, seal_of
from .indexes import read_whole
from .inventory import Inventory

if TYPE_CHECKING:
    from ..reading.reader import LevelReader
    from ..repository import Repository


def repair_seals(ledger: Ledger, inventory: Inventory) -> list[str]:
    """Seal files that were not, and write the seals anew where lines of them are damaged.

    A file whose seal does not fit keeps it: it is damaged, and stays known as such.
    The repository's lock must be held.
    """
    sealed = inventory.sealed
    done: list[str] = []
    fresh = sorted(set(inventory.unsealed) - inventory.unreadable.keys())
    if inventory.set_back:
        fresh.append("repo")
    seals = dict(sealed.seals)
    for path in fresh:
        seals[path] = seal_of((ledger.folder / path).read_bytes())
    for path in inventory.below("overwritten/"):
        # The states of `repo` are known by lines that go; from now on by their files.
        if path not in inventory.unreadable:
            seals.setdefault(path, seal_of((ledger.folder / path).read_bytes()))
    if not (fresh or sealed.damaged or sealed.torn):
        return done
    ledger.rewrite(Sealed(seals))
    if fresh:
        done.append(f"sealed {counted(len(fresh), 'file')}")
    if sealed.damaged or sealed.torn:
        done.append("the seals were written anew")
    return done


def repair_counts(repository: Repository) -> list[str]:
    """Correct what tables and levels count, in a commit on each branch that needs one."""
    done = []
    for branch in repository.list_branches():
        with repository.transaction(branch, message="fsck: counts corrected") as tx:
            view = repository.view(branch)
            for name in view.datasets:
                for number in view[name].levels:
                    with tx._staging(name, number) as stage:
                        table = stage.table()
                        right = recounted(stage.reader())
                        facts = replace(
                            stage.facts,
                            vertex_count=int(right.live_vertices.sum()),
                            num_objects=int(right.live_new_objects.sum()),
                            link_count=int(right.live_links.sum()),
                            max_object_id=max(
                                stage.facts.max_object_id, int(right.id_max.max(initial=-1))
                            ),
                        )
                        if not right.same_as(table) or facts != stage.facts:
                            stage.replaced(right)
                            stage.facts = facts
                            stage.changes["counts_corrected"] = 1
                            where = f"level {number} of dataset {name!r} on branch {branch!r}"
                            done.append(f"the counts of {where} were corrected")
    return done


def recounted(reader: LevelReader) -> BatchTable:
    """The table of a level with everything counted again that the indexes tell.

    Batches whose index cannot be read stay as they are.
    """
    table = reader.state.table
    scalars = {name: column.copy() for name, column in table.scalars.items()}
    for row, found in _counted(reader):
        for name, value in found.items():
            scalars[name][row] = value
    for name in ("n_removed_vertices", "n_removed_objects", "n_removed_links"):
        scalars[name][:] = 0
    right = table.with_columns(scalars, {})
    state = replace(reader.state, table=right)
    again = type(reader)(reader.store, reader.meta, state, reader.parts)
    rows = list(range(len(right)))
    removed = removed_rows(again, rows)
    removals = removals_of(again, removed)
    lossy = sorted(removed)
    masks = live_links(again, lossy, removals) if lossy else {}
    for row, (_, is_new) in zip(lossy, again.ids(lossy), strict=True):
        scalars["n_removed_vertices"][row] = removals[row].total[-1]
        scalars["n_removed_objects"][row] = is_new[removed[row]].sum()
        scalars["n_removed_links"][row] = (~masks[row]).sum() if row in masks else 0
    return table.with_columns(scalars, {})


def _counted(reader: LevelReader) -> Iterator[tuple[int, dict[str, int]]]:
    path = _paths.join(reader.state.path, "batches", "index")
    for row, slot in enumerate(np.asarray(reader.state.table.slot).tolist()):
        try:
            (raw,) = _store.get_many(reader.store, [(_paths.shard_key(path, slot, (0,)), 0, -1)])
            yield row, read_whole(raw).scalars()
        except ZVError:
            continue  # the report says so, and what cannot be read cannot be counted
