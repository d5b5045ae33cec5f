"""What every benchmark has: its command line, the run of its parts, the table and the JSON."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from _harness import SIDES, Side, duration, load, number, table


def times(value: float) -> str:
    """A factor as a person reads it."""
    return f"{number(value)} ×"


def short(count: int) -> str:
    """A count as a power of ten."""
    power = len(str(count)) - 1
    return f"{count / 10**power:g}e{power}"


@dataclass
class Row:
    """A line of the table: a value a side, a ratio, a target for it or for our own value."""

    what: str
    values: dict[str, float]
    show: Callable[[float], str] = duration
    against: str = "peer"
    ratio: float | None = None
    ratio_at_least: float | None = None
    ratio_at_most: float | None = None
    ours_at_most: float | None = None

    def __post_init__(self) -> None:
        if self.ratio is None and "ours" in self.values and self.against in self.values:
            self.ratio = self.values[self.against] / self.values["ours"]

    @property
    def target(self) -> str:
        if self.ratio_at_least is not None:
            return f"ratio ≥ {self.ratio_at_least:g} ×"
        if self.ratio_at_most is not None:
            return f"ratio ≤ {self.ratio_at_most:g} ×"
        return "" if self.ours_at_most is None else f"ours ≤ {self.show(self.ours_at_most)}"

    @property
    def reached(self) -> bool | None:
        ours = self.values.get("ours")
        if self.ratio_at_least is not None:
            return None if self.ratio is None else self.ratio >= self.ratio_at_least
        if self.ratio_at_most is not None:
            return None if self.ratio is None else self.ratio <= self.ratio_at_most
        return None if self.ours_at_most is None or ours is None else ours <= self.ours_at_most


def rows_table(rows: Sequence[Row], sides: Mapping[str, Side], missing: Mapping[str, str]) -> str:
    """The rows as a markdown table, a column a side."""
    names = [name for name in SIDES if name in sides or name in missing]
    lines = []
    for row in rows:
        cells = [row.show(row.values[n]) if n in row.values else missing.get(n, "") for n in names]
        ratio = "" if row.ratio is None else times(row.ratio)
        reached = {True: "yes", False: "no", None: ""}[row.reached]
        lines.append([row.what, *cells, ratio, row.target, reached])
    labels = [sides[n].label if n in sides else n for n in names]
    return table(["what", *labels, "ratio", "target", "reached"], lines)


class Bench(Protocol):
    """One run: a method for each part, the rows of the table, the samples behind them."""

    rows: list[Row]
    samples: Any


Make = Callable[[argparse.Namespace, Any, Path], Any]
"""From the options, the sides and a folder: a `Bench`, with the stores that all parts need."""


def parser(
    about: str | None, sides: Sequence[str], parts: Sequence[str]
) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(description=about.splitlines()[0] if about else None)
    made.add_argument("--quick", action="store_true", help="small sizes, few repeats: a smoke test")
    made.add_argument("--json", type=Path, metavar="FILE", help="write rows and samples there, too")
    made.add_argument("--sides", default=",".join(sides), help="which ones, separated by commas")
    made.add_argument("--only", default=",".join(parts), help=f"parts of it: {', '.join(parts)}")
    return made


def run(options: argparse.Namespace, parts: Sequence[str], make: Make) -> None:
    """Run the parts that were asked for, in a temporary folder, and print what was found."""
    sides, missing = load(options.sides.split(","))
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(parts):
        raise SystemExit(
            f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}"
        )
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    began = time.perf_counter()
    try:
        bench: Bench = make(options, sides, folder)
        for part in parts:
            if part in wanted:
                took = time.perf_counter() - began
                print(f"... {part}, after {took:.0f} s", file=sys.stderr, flush=True)
                getattr(bench, part)()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    versions = [side.version() for side in sides.values()] + [f"Python {platform.python_version()}"]
    print(rows_table(bench.rows, sides, missing))
    print("\n" + "; ".join(versions) + ". Ratio: the peer (or the side named) / ours.")
    if options.json:
        rows = [
            {**asdict(r), "show": None, "target": r.target, "reached": r.reached}
            for r in bench.rows
        ]
        report = {"versions": versions, "missing": missing, "rows": rows, "samples": bench.samples}
        options.json.write_text(json.dumps(report, indent=1))
