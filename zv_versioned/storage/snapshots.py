"""Snapshots: what is known of them, how they are read, and how they go."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import icechunk as ic

from ..errors import IntegrityError, MetadataError, NotFoundError, StorageError
from . import damage
from .chunks import attach, chunks_of
from .lineage import ROOT_ID, descents
from .presence import last_expiry, record_expiry
from .refs import Refs, SnapshotInfo
from .trailer import parted
from .translate import translated


class Snapshots(Refs):
    """A repository's snapshots."""

    def snapshot(self, snapshot_id: str) -> SnapshotInfo:
        """Return what is known of a snapshot; NotFoundError if there is none."""
        return next(self.ancestry(snapshot_id))

    def require(self, snapshot_id: str) -> SnapshotInfo:
        """As :meth:`snapshot`, and not from memory: it may have been collected meanwhile.

        Raises
        ------
        NotFoundError
            If it is not there any more.
        """
        known = self.snapshot(snapshot_id)
        if self.folder is not None and not (self.folder / "snapshots" / known.id).exists():
            if self._is_needed(known.id):
                wrong = damage.Damage(self.folder, f"snapshots/{known.id} is missing", missing=True)
                raise wrong.error(self.location)
            raise NotFoundError(
                f"snapshot {snapshot_id} of {self.location} is not there any more: it has expired, "
                "and was collected"
            )
        return known

    def ancestry(self, snapshot_id: str) -> Iterator[SnapshotInfo]:
        """Return a snapshot and its ancestors, newest first.

        Raises
        ------
        NotFoundError
            At once, if there is no such snapshot.
        """
        self.check_process()
        self._notice_expiry()
        # For an absent one, icechunk 1's lookup_snapshot reports a failure of the storage.
        with self._finding_snapshot(snapshot_id):
            iterator = iter(self._repository.ancestry(snapshot_id=snapshot_id))
            first = next(iterator)
        return self._infos(first, iterator)

    def _infos(self, info: Any, iterator: Iterator[Any]) -> Iterator[SnapshotInfo]:
        while info is not None:
            message, metadata = parted(info.message)
            metadata = {**info.metadata, **metadata}
            known = SnapshotInfo(info.id, info.parent_id, message, info.written_at, metadata)
            if info.parent_id == ROOT_ID:
                descent = descents(self).get(info.id)
                if descent is not None and descent.parents[0] != ROOT_ID:
                    yield replace(known, parent_id=descent.parents[0], descent=descent)
                    yield from self.ancestry(descent.parents[0])
                    return
                known = replace(known, descent=descent)
            yield known
            self.check_process()
            try:
                with translated(self.location):
                    info = next(iterator, None)
            except (IntegrityError, NotFoundError, StorageError) as error:
                # icechunk 1 remembers a parent that has expired since, and was collected.
                again = self._reread(info.id)
                if again.parent_id == info.parent_id:
                    self._say_damage(info.parent_id, error, known=True)
                    raise
                yield from self.ancestry(again.parent_id or ROOT_ID)
                return

    def _say_damage(self, snapshot_id: str | None, error: Exception, *, known: bool) -> None:
        """Raise what is wrong with the file of a snapshot that icechunk failed at, if anything is.

        Parameters
        ----------
        snapshot_id : str or None
        error : Exception
            Of icechunk's, which does not name it.
        known : bool
            Whether another leads to it, so that its file has to be there.
        """
        if self.folder is not None and snapshot_id is not None:
            wrong = damage.of_snapshot(self.folder, snapshot_id, known=known)
            if wrong is not None:
                raise wrong.error(self.location) from error

    def _is_needed(self, snapshot_id: str) -> bool:
        """Whether a ref leads to a snapshot, which may be missing itself."""
        tips = self._tips()
        if snapshot_id in tips:
            return True
        for tip in tips:
            with suppress(IntegrityError, NotFoundError):
                if any(info.parent_id == snapshot_id for info in self.ancestry(tip)):
                    return True
        return False

    def _reread(self, snapshot_id: str) -> Any:
        """What is stored of a snapshot now, not what is remembered."""
        with self._finding_snapshot(snapshot_id):
            self._repository = self._reopened()
            return next(iter(self._repository.ancestry(snapshot_id=snapshot_id)))

    def _notice_expiry(self) -> None:
        """Let nothing be remembered that somebody else has let expire: icechunk 1 would."""
        if self.folder is not None and (latest := last_expiry(self.folder)) != self._expiry:
            self._repository, self._expiry = self._reopened(), latest

    def read_store(self, snapshot_id: str) -> ic.IcechunkStore:
        """Return a read-only zarr store of a snapshot; NotFoundError if there is none."""
        self.check_process()
        self._notice_expiry()
        with self._finding_snapshot(snapshot_id):
            return self._repository.readonly_session(snapshot_id=snapshot_id).store

    def view_store(self, snapshot_id: str) -> ic.IcechunkStore:
        """As :meth:`read_store`, for many reads: local chunks are read directly."""
        store = self.read_store(snapshot_id)
        if self.folder is not None:
            attach(store, self.folder, snapshot_id)
        return store

    def base_store(self, session: ic.Session) -> ic.IcechunkStore:
        """As :meth:`view_store`, of what a session began at, whatever was written to it since.

        On a disk all that is read of it lies in files, so that no other session is needed.
        """
        self.check_process()
        if self.folder is not None:
            store = session.store
            attach(store, self.folder, session.snapshot_id)
            with suppress(IntegrityError, OSError):  # to be met, and told of, by who reads it
                if chunks_of(store) is not None:
                    return store
        return self.view_store(session.snapshot_id)

    def expire(self, older_than: datetime) -> set[str]:
        """Let icechunk forget snapshots older than a moment, but for tips; returns their ids.

        The first that is kept of a line then descends from the first snapshot: see
        :mod:`.lineage`.
        """
        self.check_process()
        with self.mutation("expire snapshots"):
            before = self._snapshot_files()
            try:
                with translated(self.location):
                    gone = set(self._repository.expire_snapshots(older_than))
            finally:
                self._seal_edited(before)
            if self.folder is not None:
                record_expiry(self.folder)
        self._repository = self._reopened()
        return gone

    def _seal_edited(self, before: Mapping[str, tuple[int, int]]) -> None:
        """Seal the snapshots whose files icechunk 1 wrote anew: those that get another parent.

        Also where it failed at one of them; what cannot be read keeps its seal, and is damaged.
        """
        if self.ledger is None or self.folder is None:
            return
        after = self._snapshot_files()
        edited = [path for path, at in sorted(after.items()) if before.get(path) != at]
        names = {path: path.removeprefix("snapshots/") for path in edited}
        folder = self.folder
        whole = [p for p in edited if damage.of_snapshot(folder, names[p], known=True) is None]
        self.ledger.add(whole)
        for path in whole:  # as old as what they lead to, for collections
            time = before.get(path, after[path])[0]
            os.utime(self.folder / path, ns=(time, time))

    def _snapshot_files(self) -> dict[str, tuple[int, int]]:
        if self.folder is None:
            return {}
        with os.scandir(self.folder / "snapshots") as entries:
            stats = [(f"snapshots/{entry.name}", entry.stat()) for entry in entries]
        return {path: (at.st_mtime_ns, at.st_ino) for path, at in stats}

    def collect(self, older_than: datetime, *, dry_run: bool) -> tuple[dict[str, int], int]:
        """Let icechunk remove what no ref leads to and what is older than a moment.

        Returns
        -------
        (dict of str to int, int)
            How many files of each kind, and bytes in all.

        Raises
        ------
        StorageError
            If some could not be removed.
        """
        self.check_process()
        with self.mutation("collect garbage"), translated(self.location):
            # icechunk 1 does not tell of what it could not remove.
            done: Any = self._repository.garbage_collect(older_than, dry_run=dry_run)
            if self.folder is not None and not dry_run:
                record_expiry(self.folder)
        if getattr(done, "objects_failed_to_delete", 0):
            raise StorageError(
                f"{done.objects_failed_to_delete:,} files of {self.location} that nothing needs "
                f"could not be removed: {'; '.join(map(str, done.delete_errors[:3]))}. The others "
                "were; do it again"
            )
        found = {
            "chunks": done.chunks_deleted,
            "manifests": done.manifests_deleted,
            "snapshots": done.snapshots_deleted,
            "transactions": done.transaction_logs_deleted,
        }
        return found, int(done.bytes_deleted)

    def stored_chunks(self) -> int:
        """Bytes of all chunks that any snapshot refers to, whoever it belongs to."""
        self.check_process()
        with translated(self.location):
            return int(self._repository.chunk_storage_stats().native_bytes)

    @contextmanager
    def _finding_snapshot(self, snapshot_id: str) -> Iterator[None]:
        if not isinstance(snapshot_id, str):
            raise MetadataError(f"a snapshot id must be a string, not {snapshot_id!r}")
        try:
            with translated(self.location):
                yield
        except (IntegrityError, NotFoundError, StorageError) as error:
            if self.folder is not None and re.fullmatch(r"[0-9A-Z]{20}", snapshot_id):
                there = (self.folder / "snapshots" / snapshot_id).exists()
                known = not there and self._is_needed(snapshot_id)
                self._say_damage(snapshot_id, error, known=known)
            if not isinstance(error, NotFoundError):
                raise
            raise NotFoundError(
                f"there is no snapshot {snapshot_id!r} in {self.location}; the log of a branch "
                "lists those there are"
            ) from error
