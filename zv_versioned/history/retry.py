"""Trying again on a tip that moved: as often as is allowed, with growing random waits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from ..errors import ConflictError

if TYPE_CHECKING:
    from ..repository import Repository

T = TypeVar("T")

_FIRST_WAIT, _LONGEST_WAIT = 0.002, 0.5


def _waits() -> Iterator[float]:
    """Seconds to wait before each further try: decorrelated jitter.

    Source: M. Brooker, Exponential Backoff And Jitter, 2015.
    """
    wait = _FIRST_WAIT
    while True:
        wait = min(_LONGEST_WAIT, random.uniform(_FIRST_WAIT, 3 * wait))
        yield wait


def until_published(repository: Repository, branch: str, describe: str, once: Callable[[], T]) -> T:
    """Call `once` with the repository's lock, anew where the branch moves meanwhile.

    Parameters
    ----------
    repository : Repository
        Its ``retries`` says how often.
    branch : str
    describe : str
        What is done, such as ``merge 'try' into 'main'``.
    once : callable
        Publishes on the branch's tip as it finds it.

    Raises
    ------
    ConflictError
        What `once` raises where it is not that the branch moved; or that it moved
        too often.
    """
    for wait in islice(_waits(), repository.retries):
        with repository._backend.mutation(describe):
            try:
                return once()
            except ConflictError as error:
                if error.what != "branch":
                    raise
        time.sleep(wait)
    raise ConflictError(
        f"cannot {describe}: branch {branch!r} moved {repository.retries} times meanwhile; try "
        "again when fewer write to it. Nothing was changed",
        what="branch",
        where=branch,
    )
