"""Counting what a repository holds, by branch, dataset and attribute, and what could be saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _paths, _state, _store
from .._words import counted
from ..errors import IntegrityError, MetadataError
from ..geometry import html_table
from ..history.graph import History
from . import policy
from .gc import cutoff_of, needed_chunks
from .inventory import Inventory
from .rescue import hiding
from .unused import needed_manifests, unused

if TYPE_CHECKING:
    from ..repository import Repository


@dataclass(frozen=True)
class LevelStats:
    """What a level holds, as of a ref.

    Parameters
    ----------
    ref, dataset : str
    level : int
    kind : str
        Of geometry.
    vertices, objects, links : int
        Without removed ones.
    batches : int
    batches_after_compaction : int
        What :meth:`Repository.compact` would leave.
    cells : int
        Cells that have something, over all batches.
    bytes : int
        Of all of its chunks and documents, compressed.
    arrays : dict of str to int
        The same by array, such as ``vertices`` or ``vertex_attributes/confidence``.
    """

    ref: str
    dataset: str
    level: int
    kind: str
    vertices: int
    objects: int
    links: int
    batches: int
    batches_after_compaction: int
    cells: int
    bytes: int
    arrays: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class StorageStats:
    """What the files of a repository are for.

    Parameters
    ----------
    chunks : int
        Bytes of the chunks that any snapshot needs.
    unused : int
        Bytes that nothing needs: what :meth:`Repository.gc` removes. On an object store,
        of those that are old enough.
    history : int or None
        Bytes that only snapshots need which no branch or tag stands at: what an
        :meth:`~Repository.expire` of all of them would let go. None on an object store.
    total : int or None
        Bytes of all files. None on an object store, which does not say.
    """

    chunks: int
    unused: int
    history: int | None = None
    total: int | None = None

    @property
    def live(self) -> int | None:
        """Bytes that what branches and tags stand at needs."""
        if self.total is None or self.history is None:
            return None
        return self.total - self.unused - self.history

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {**asdict(self), "live": self.live}


@dataclass(frozen=True)
class Stats:
    """What :meth:`Repository.stats` counted.

    Parameters
    ----------
    location : str
    levels : tuple of LevelStats
        By ref, dataset and level.
    storage : StorageStats or None
        None where it was not asked for.
    """

    location: str
    levels: tuple[LevelStats, ...]
    storage: StorageStats | None

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        storage = None if self.storage is None else self.storage.to_dict()
        levels = [level.to_dict() for level in self.levels]
        return {"location": self.location, "levels": levels, "storage": storage}

    def to_pandas(self) -> Any:
        """A row for each array of each level: a pandas.DataFrame."""
        import pandas as pd

        rows = [
            {**level.to_dict(), "array": array, "array_bytes": size}
            for level in self.levels
            for array, size in level.arrays.items()
        ]
        return pd.DataFrame(rows).drop(columns="arrays", errors="ignore")

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("location", self.location)]
        for level in self.levels:
            name = f"{level.ref}: {level.dataset!r}, level {level.level}"
            told = (
                f"{counted(level.vertices, 'vertex', 'vertices')}, "
                f"{counted(level.objects, 'object')}, {counted(level.batches, 'batch', 'batches')} "
                f"({level.batches_after_compaction:,} once compacted), "
                f"{counted(level.cells, 'cell')}, {level.bytes:,} bytes"
            )
            facts.append((name, told))
        if self.storage is not None:
            facts += [(name, f"{n:,} bytes") for name, n in storage_facts(self.storage)]
        return facts

    def __repr__(self) -> str:
        return "<Stats: " + ", ".join(f"{k} {v}" for k, v in self._facts()) + ">"

    def _repr_html_(self) -> str:
        return html_table("Stats", self._facts())


def storage_facts(storage: StorageStats) -> list[tuple[str, int]]:
    """What is known of the files, in words."""
    known = (
        ("all files", storage.total),
        ("needed by branches and tags", storage.live),
        ("needed by older snapshots alone", storage.history),
        ("needed by nothing", storage.unused),
        ("chunks of all snapshots", storage.chunks),
    )
    return [(name, size) for name, size in known if size is not None]


def stats(repository: Repository, refs: str | Sequence[str] | None, storage: bool) -> Stats:
    """Count; see :meth:`Repository.stats`."""
    given: Any = repository.list_branches() if refs is None else refs
    chosen = [given] if isinstance(given, str) else given
    if not isinstance(chosen, Iterable) or not all(isinstance(ref, str) for ref in chosen):
        raise MetadataError(f"refs are texts, got {refs!r}")
    levels = tuple(level for ref in chosen for level in _levels(repository, ref))
    return Stats(repository.location, levels, _storage(repository) if storage else None)


def commits_of(repository: Repository, snapshot_id: str) -> tuple[int, str | None]:
    """How many commits led to a snapshot, itself included, as far as they can be read.

    Returns
    -------
    (int, str or None)
        Their number, and what is damaged before them; None where they are all.
    """
    number = 0
    try:
        for _ in History(repository._backend).walk(snapshot_id):
            number += 1
    except IntegrityError as error:
        return number, str(error)
    return number, None


def _levels(repository: Repository, ref: str) -> list[LevelStats]:
    store = repository._backend.view_store(repository.resolve(ref))
    found = []
    for name in _state.dataset_names(_state.root_attributes(store)):
        meta = _state.load_dataset(store, name)
        for number in meta.levels:
            state = _state.load_level(store, meta, number)
            arrays = _arrays(store, state.path)
            table, facts = state.table, state.facts
            merged = policy.groups(meta, facts, table, policy.TARGET_VERTICES, None)
            fewer = sum(len(group) - 1 for group in merged)
            found.append(
                LevelStats(
                    ref=ref,
                    dataset=name,
                    level=number,
                    kind=meta.kind,
                    vertices=facts.vertex_count,
                    objects=facts.num_objects,
                    links=facts.link_count,
                    batches=len(table),
                    batches_after_compaction=len(table) - fewer,
                    cells=int(table.n_cells.sum()),
                    bytes=sum(arrays.values()),
                    arrays=arrays,
                )
            )
    return found


def _arrays(store: Any, level: str) -> dict[str, int]:
    """Bytes of what lies in a level, attributes one by one."""
    names: list[str] = []
    for child in _store.children(store, level):
        if child.endswith("_attributes"):
            inner = _store.children(store, _paths.join(level, child))
            names += [f"{child}/{name}" for name in inner]
        else:
            names.append(child)
    sizes = _store.sizes(store, [_paths.join(level, name) for name in names])
    return dict(sorted(zip(names, sizes, strict=True)))


def _storage(repository: Repository) -> StorageStats:
    backend = repository._backend
    if backend.folder is None:
        chunks, cutoff = backend.stored_chunks(), cutoff_of(backend, None, datetime.now(UTC))
        return StorageStats(chunks, backend.collect(cutoff, dry_run=True)[1])
    gone, old, total = _of_folder(backend.folder)
    return StorageStats(backend.stored_chunks(), gone, old, total)


def _of_folder(folder: Path) -> tuple[int, int, int]:
    """Bytes that nothing needs, that only older snapshots need, and of all files.

    Raises
    ------
    IntegrityError
        If what leads to files is damaged, so that it cannot be known.
    """
    inventory = Inventory.of(folder, earlier_states=False)
    in_use = inventory.reachable()
    tips = in_use & set(inventory.tips().values())

    def without(snapshots: set[str]) -> set[str]:
        """What nobody needs, were there only these snapshots."""
        needed = needed_chunks(inventory, needed_manifests(inventory, snapshots))
        return {path for _, path in unused(inventory, snapshots, needed).paths()}

    nobody, history = without(in_use), without(tips)
    hidden = hiding(inventory, in_use)  # the manifests have been read now
    if hidden:
        raise IntegrityError(
            f"what the files of {folder} are for cannot be known: {', '.join(hidden[:3])} cannot "
            "be read, and what only that leads to would count as unused. repo.fsck() says more; "
            "what datasets hold can be counted without the files"
        )
    sizes = inventory.sizes
    gone = sum(sizes.get(path, 0) for path in nobody)
    old = sum(sizes.get(path, 0) for path in history - nobody)
    return gone, old, sum(sizes.values())
