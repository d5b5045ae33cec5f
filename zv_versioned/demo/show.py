"""The demo's story, printed: readable in 80 columns and without colours."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .branches import CORRECTION, NEW, PAPER, Event, Sequel
from .data import NANOMETRES_PER_VOXEL
from .picture import Picture, draw
from .story import DATASET, LATERAL_HORN, MESHES, TAG, Append, Measurement, Story, Version

__all__ = ["show"]

_PICTURE_COLUMNS = 26
_INDENT = 4
_BAD = "bold red"
_GOOD = "green"
# Names to put beside what the picture shows, and where they begin (x, z), in nanometres.
_REGIONS = (
    ("calyx", 72_000, 76_000),
    ("lateral horn", 66_000, 131_000),
    ("antennal lobe", 12_000, 203_000),
)


def show(
    story: Story, console: Console, *, sequel: Sequel | None = None, kept: bool = True
) -> None:
    """Print `story` and how it went on.

    `kept` says whether the repository is still there to be opened.
    """
    console.print()
    console.print(Text("Real neurons, one mistake, and the way back", style="bold"))
    total = story.main_at_end
    _say(
        console,
        f"{total.neurons} olfactory neurons of a fly (hemibrain connectome): {total.synapses:,} "
        "synapses, skeletons and meshes, three datasets under the same ids.",
    )

    _step(console, 1, "Append neuron after neuron, each one commit over all three datasets")
    _table(console, _appends(story.appends))

    pinned = story.pinned
    _step(console, 2, "Pin a view, tag it, and measure")
    _code(console, 'view = repo.view("main")', f"pinned to {_short(pinned.snapshot_id)}, for ever")
    _code(console, f'repo.create_tag("{TAG}", at="main")')
    low, high = (np.array(corner) // 1000 for corner in LATERAL_HORN)
    extent = " x ".join(str(side) for side in high - low)
    _say(
        console,
        f"In the lateral horn, a box of {extent} micrometres: {pinned.in_box:,} of "
        f"{pinned.synapses:,} synapses ({_percent(pinned.share)}), {pinned.outputs_in_box:,} of "
        f"them outputs, mean confidence {pinned.mean_confidence:.4f}, on {pinned.cable:,.0f} "
        "micrometres of cable.",
    )

    bad = story.bad
    _step(console, 3, f"A bad append: neuron {bad.neuron} comes in voxels, not nanometres")
    _say(
        console,
        f"Its coordinates are {NANOMETRES_PER_VOXEL} times too small and still within bounds, so "
        "nothing stops it. A look from the front shows it, top left:",
    )
    _pictures(console, story)
    _table(console, _comparison([("view", pinned), ("main", story.main_after_bad)]))
    _say(
        console,
        f"{bad.synapses:,} more synapses, and "
        f"{_many(story.main_after_bad.in_box - pinned.in_box)} of them in the lateral horn.",
    )

    _step(console, 4, "Take it back, append it rightly, and ask the pinned view again")
    _code(console, f'repo.reset_branch("main", to="{_short(pinned.snapshot_id)}")')
    _say(
        console,
        "Nothing is rewritten: the branch points to another snapshot. All the while the view "
        "gave the same answer, from the same bytes:",
    )
    asked = [
        ("view", "at first", pinned),
        ("view", "after the bad append", story.pinned_after_bad),
        ("main", "after the reset", story.main_after_reset),
        ("view", "at the end", story.pinned_at_end),
        ("main", "at the end", story.main_at_end),
    ]
    _table(console, _answers(asked))

    _step(console, 5, "The history of main")
    _table(console, _history(story.history, story.taken_back))

    if sequel is not None:
        _go_on(console, sequel)

    if kept:
        _step(console, 6 if sequel is None else 8, "Open it yourself")
        console.print(Text(f"   The repository is {story.location}"), soft_wrap=True)
        _code(console, "import zv_versioned as zvv")
        _code(console, f"repo = zvv.Repository.open({story.location!r})")
        _code(console, f'level = repo.view(tag="{TAG}")["{DATASET}"][0]')
        _code(console, f"part = level.read(bbox={LATERAL_HORN})")
        neuron = story.appends[0].neuron
        _code(console, f'mesh = repo.view("main")["{MESHES}"][0].objects[{neuron}]')
        _code(console, f'mistake = repo.view(snapshot_id="{bad.snapshot_id}")', "still readable")
    console.print()


def _go_on(console: Console, sequel: Sequel) -> None:
    _step(console, 6, "Two branches, and what each of them did on main")
    _code(console, f'repo.merge("{CORRECTION}", into="main")')
    _code(console, f'repo.merge("{NEW}", into="main")')
    _code(console, f'repo.revert("{_short(sequel.bad)}")', "three commits back")
    _table(console, _events(sequel.events, sequel.bad))
    lost = sequel.before_revert.synapses - sequel.paper.synapses
    _say(
        console,
        f"One branch has other confidences, one has more synapses, and main has both. (These "
        f"corrections and synapses are made up; the neurons are not.) The revert took {lost:,} "
        "synapses back, from under what came later, and nothing was rewritten.",
    )

    _step(console, 7, "A tag for the paper, and an analysis that is pinned to it")
    _code(console, f'repo.create_tag("{PAPER}", at="main")')
    asked = [
        (PAPER, "when it was tagged", sequel.paper),
        ("main", "after one more append", sequel.main_at_end),
        (PAPER, "after that append", sequel.paper_at_end),
    ]
    _table(console, _answers(asked))


def _events(events: list[Event], bad: str) -> Table:
    table = _new_table(
        ("branch", "left"),
        ("commit", "left"),
        ("", "left"),
        ("synapses", "right"),
        ("conf.", "right"),
    )
    for event in events:
        table.add_row(
            event.branch,
            Text(_short(event.snapshot_id), style=_BAD if event.snapshot_id == bad else ""),
            event.what,
            f"{event.synapses:,}",
            f"{event.mean_confidence:.3f}",
        )
    return table


# ---- the pieces ------------------------------------------------------------


def _step(console: Console, number: int, title: str) -> None:
    console.print()
    console.print(Text.assemble((f"{number}", "bold cyan"), "  ", (title, "bold")))


def _say(console: Console, text: str) -> None:
    for line in wrap(text, console.width - _INDENT):
        console.print(Text(" " * (_INDENT - 1) + line))


def _code(console: Console, code: str, comment: str = "") -> None:
    line = Text(" " * (_INDENT + 1)).append(code, style="cyan")
    if comment:
        line.append(f"  # {comment}", style="dim")
    console.print(line, soft_wrap=True)


def _table(console: Console, table: Table) -> None:
    console.print(Padding(table, (0, 0, 0, _INDENT - 2), expand=False))


def _new_table(*columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=True)
    for header, side in columns:
        table.add_column(header, justify="right" if side == "right" else "left", no_wrap=True)
    return table


def _appends(appends: list[Append]) -> Table:
    table = _new_table(
        ("commit", "left"),
        ("neuron", "right"),
        ("synapses", "right"),
        ("nodes", "right"),
        ("faces", "right"),
        ("time", "right"),
    )
    for append in appends:
        table.add_row(
            _short(append.snapshot_id),
            str(append.neuron),
            f"{append.synapses:,}",
            f"{append.nodes:,}",
            f"{append.faces:,}",
            f"{append.seconds * 1000:.0f} ms",
        )
    return table


def _comparison(sides: list[tuple[str, Measurement]]) -> Table:
    table = _new_table(
        ("", "left"),
        ("commit", "left"),
        ("neurons", "right"),
        ("synapses", "right"),
        ("in the lateral horn", "right"),
    )
    first = sides[0][1]
    for name, now in sides:
        style = "" if now.share == first.share else _BAD
        table.add_row(
            name,
            _short(now.snapshot_id),
            str(now.neurons),
            f"{now.synapses:,}",
            Text(f"{now.in_box:,}  {_percent(now.share)}", style=style),
        )
    return table


def _answers(asked: list[tuple[str, str, Measurement]]) -> Table:
    table = _new_table(
        ("asked", "left"),
        ("when", "left"),
        ("commit", "left"),
        ("synapses", "right"),
        ("share", "right"),
        ("sha-256", "left"),
    )
    first = asked[0][2]
    for name, when, now in asked:
        style = _GOOD if now == first else ""
        table.add_row(
            name,
            when,
            Text(_short(now.snapshot_id), style=style),
            f"{now.synapses:,}",
            Text(_percent(now.share), style=style),
            Text(now.digest[:8], style=style),
        )
    return table


def _history(history: list[Version], taken_back: Version) -> Table:
    table = _new_table(
        ("commit", "left"),
        ("message", "left"),
        ("neurons", "right"),
        ("synapses", "right"),
        ("", "left"),
    )
    for version in history:
        if version.neurons is None or version.synapses is None:
            continue
        table.add_row(
            _short(version.snapshot_id),
            version.message,
            str(version.neurons),
            f"{version.synapses:,}",
        )
    table.add_section()
    table.add_row(
        _short(taken_back.snapshot_id),
        taken_back.message,
        str(taken_back.neurons),
        f"{taken_back.synapses:,}",
        "taken back",
        style="dim",
    )
    return table


def _pictures(console: Console, story: Story) -> None:
    """Synapses and skeletons before and after, side by side: x across, z down."""
    size = (float(story.bounds[1][0]), float(story.bounds[1][2]))
    ascii_only = console.options.ascii_only
    before, after = (
        draw(points[:, [0, 2]], size, columns=_PICTURE_COLUMNS, ascii_only=ascii_only)
        for points in (story.positions_before, story.positions_after_bad)
    )
    left, right = (_lines(picture) for picture in (before, after))
    for label, x, z in _REGIONS:
        _write(left, label, x / size[0] * _PICTURE_COLUMNS, z / size[1] * len(left), "dim")
    fresh = (after.counts > 0) & (before.counts == 0)
    for row, column in np.argwhere(fresh):
        right[row].stylize(_BAD, int(column), int(column) + 1)
    if fresh.any():
        # Beside the middle of what is new: how many there are.
        rows, columns = np.nonzero(fresh)
        label = f"<- {story.bad.synapses:,} synapses"
        _write(right, label, int(columns.max()) + 2, float(np.median(rows)), _BAD)

    console.print()
    headings = [f"{name:<{_PICTURE_COLUMNS}}" for name in ("the pinned view", "main")]
    _row(console, *(Text(heading, style="dim") for heading in headings))
    for pair in zip(left, right, strict=True):
        _row(console, *pair)


def _row(console: Console, left: Text, right: Text) -> None:
    line = Text(" " * (_INDENT + 1)).append_text(left).append(" " * 6).append_text(right)
    line.rstrip()
    console.print(line, no_wrap=True)


def _lines(picture: Picture) -> list[Text]:
    return [Text(row) for row in picture.rows]


def _write(lines: list[Text], label: str, column: float, row: float, style: str) -> None:
    """Put `label` into the picture, if there is room for it and nothing behind it."""
    line, start = lines[min(int(row), len(lines) - 1)], int(column)
    end = start + len(label)
    if end <= len(line) and not line.plain[start:end].strip():
        line.plain = line.plain[:start] + label + line.plain[end:]
        line.stylize(style, start, end)


def _many(number: int) -> str:
    return "not one" if number == 0 else f"{number:,}"


def _short(snapshot_id: str) -> str:
    return snapshot_id[:8]


def _percent(share: float) -> str:
    return f"{share:.1%}"
