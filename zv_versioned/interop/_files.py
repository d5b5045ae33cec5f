"""Files that are read and files that are made."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..errors import ArrayError, MetadataError, NotFoundError, ZVError

__all__ = ["Paths", "files_of", "given_ids", "ids_of", "made", "number_of", "reading"]

Paths: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
_GLOB = re.compile(r"[*?[]")


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Order of names as people have it: 2.swc before 10.swc."""
    words = re.split(r"(\d+)", path.name)
    return [(0, int(word)) if word.isdigit() else (1, word) for word in words if word]


def files_of(source: Paths, suffixes: Sequence[str]) -> list[Path]:
    """The files that a source names, in natural order within each folder.

    Parameters
    ----------
    source : path, or sequence of paths
        Files; folders, of which all files with a fitting suffix are meant; or
        patterns with ``*``.
    suffixes : sequence of str
        In lower case, such as ``".csv"``.

    Raises
    ------
    NotFoundError
        If a file is not there, or a folder has no such file.
    """
    given = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not given:
        raise MetadataError("no file is given")
    found: list[Path] = []
    for one in given:
        path = Path(os.path.expanduser(os.fspath(one)))
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.is_file() and _fits(p, suffixes)]
            if not inside:
                raise NotFoundError(f"the folder {path} has no files {', '.join(suffixes)}")
            found += sorted(inside, key=_natural)
        elif path.is_file():
            found.append(path)
        elif _GLOB.search(path.name) and path.parent.is_dir():
            hidden = path.name.startswith(".")
            matching = [p for p in path.parent.glob(path.name) if p.is_file()]
            matching = [p for p in matching if hidden or not p.name.startswith(".")]
            if not matching:
                raise NotFoundError(f"no file fits {path}")
            found += sorted(matching, key=_natural)
        else:
            raise NotFoundError(f"there is no file {path}")
    twice = {path for path in found if found.count(path) > 1} if len(found) < 1000 else set()
    if twice or len(set(found)) < len(found):
        raise MetadataError(f"a file is given twice: {next(iter(twice), 'see the list')}")
    return found


def _fits(path: Path, suffixes: Sequence[str]) -> bool:
    name = path.name.lower()
    return not name.startswith(".") and any(name.endswith(suffix) for suffix in suffixes)


def number_of(path: Path) -> int | None:
    """The object id that a file's name is; None where it is no number that can be one."""
    stem = path.name.split(".")[0]
    if not (stem.isascii() and stem.isdigit()):
        return None
    number = int(stem)
    return number if number <= np.iinfo(np.int64).max else None


def ids_of(paths: Sequence[Path]) -> tuple[list[int], bool]:
    """Ids of objects that are a file each, and whether they are only counted.

    The numbers that the files are called where all are, and all differ; else 0, 1,
    and so on, to be counted on from the largest id.
    """
    numbers = [number_of(path) for path in paths]
    named = [number for number in numbers if number is not None]
    if len(set(named)) == len(paths):
        return named, False
    return list(range(len(paths))), True


def given_ids(
    paths: Sequence[Path], object_ids: Sequence[int] | Mapping[str, int] | None
) -> tuple[list[int], bool]:
    """Ids of objects that are a file each, as given, else as :func:`ids_of` has them.

    Raises
    ------
    MetadataError
        If they are not one a file, or a file has none.
    """
    if object_ids is None:
        return ids_of(paths)
    if isinstance(object_ids, Mapping):
        lacking = [p for p in paths if p.name not in object_ids and p.stem not in object_ids]
        if lacking:
            raise MetadataError(f"object_ids has no id for {lacking[0].name!r}")
        return [object_ids.get(p.name, object_ids.get(p.stem, 0)) for p in paths], False
    if len(object_ids) != len(paths):
        raise MetadataError(f"{len(object_ids)} object_ids are given for {len(paths)} files")
    return [int(number) for number in object_ids], False


@contextmanager
def reading(path: Path, format: str) -> Iterator[None]:
    """Around calls of the library that reads a format: say which file it cannot read, and why.

    Raises
    ------
    ArrayError
        In place of whatever the library raises.
    """
    try:
        yield
    except (ZVError, MemoryError):
        raise
    except Exception as error:
        # What a library raises where a file is cut short or something else differs from one to
        # the next, and from version to version.
        said = " ".join(str(error).split()) or type(error).__name__
        raise ArrayError(
            f"{path} cannot be read as {format}; is it cut short, or of another format? ({said})"
        ) from error


@contextmanager
def made(target: str | os.PathLike[str], *, overwrite: bool, folder: bool) -> Iterator[Path]:
    """Make a file, or a folder of files, whole or not at all.

    What is written goes to a name of its own beside the target, and takes the
    target's place once the block is left; after an exception nothing stays.

    Parameters
    ----------
    target : path
    overwrite : bool
        Whether it may be there already.
    folder : bool

    Raises
    ------
    MetadataError
        If it is there already and must not be, or is a folder where a file is
        meant.
    NotFoundError
        If there is no folder to make it in.
    """
    path = Path(os.path.abspath(os.path.expanduser(os.fspath(target))))
    if not path.parent.is_dir():
        raise NotFoundError(f"there is no folder {path.parent} to write {path.name} to")
    if path.exists():
        if path.is_dir() and not folder:
            raise MetadataError(f"{path} is a folder; name a file")
        if not overwrite and not (folder and path.is_dir() and not any(path.iterdir())):
            raise MetadataError(f"{path} is there already; name another, or say overwrite=True")
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        if folder:
            beside.mkdir()
        yield beside
        _replace(beside, path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        else:
            beside.unlink(missing_ok=True)


def _replace(beside: Path, path: Path) -> None:
    """Put what was made in its place; a folder that is there steps aside first."""
    if not path.is_dir():
        os.replace(beside, path)
        return
    old = beside.with_suffix(".old")
    os.replace(path, old)
    os.replace(beside, path)
    shutil.rmtree(old)
