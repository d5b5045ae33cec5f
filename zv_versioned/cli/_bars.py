"""A bar on stderr for what takes long; nothing where stderr is no terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..interop import Progress as Told
from ._settings import Settings

__all__ = ["bar"]

_WORDS = {
    "scan": "Looking through",
    "import": "Importing",
    "export": "Exporting",
    "copy": "Copying",
    "publish": "Publishing",
}


class _Bar:
    """Shows what it is told."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, unit="", visible=False)
        self._phase = ""

    def __call__(self, told: Told) -> None:
        words = _WORDS.get(told.phase, told.phase)
        if told.phase != self._phase:
            self._phase = told.phase
            self._progress.reset(self._task, total=told.total, description=words, visible=True)
        self._progress.update(
            self._task, completed=told.done, total=told.total, unit=told.unit, description=words
        )


class _Interrupts:
    """Ctrl-C, until something is being published: then it is too late, and waits."""

    def __init__(self) -> None:
        self._before: object = None

    def hold(self) -> None:
        """Let what is being published be published."""
        if self._before is None and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._wait)

    def _wait(self, number: int, frame: FrameType | None) -> None:
        """Do nothing: it is a matter of moments, and what was published must be told."""

    def release(self) -> None:
        """Let Ctrl-C do what it did before."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]
            self._before = None


@contextmanager
def bar(settings: Settings) -> Iterator[Callable[[Told], None]]:
    """A callable for the `progress` of what takes long, shown as long as the block lasts."""
    console = Console(stderr=True)
    shown = console.is_terminal and not settings.quiet
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(),
    )
    interrupts = _Interrupts()
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        show = _Bar(progress)

        def told(what: Told) -> None:
            if what.phase == "publish":
                interrupts.hold()
            else:  # it lost the race, and begins anew
                interrupts.release()
            show(what)

        try:
            yield told
        finally:
            interrupts.release()
