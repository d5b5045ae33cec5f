"""What a check of a repository found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from .._words import counted
from ..errors import IntegrityError
from ..geometry import html_table

DAMAGED = "damaged"
MISSING = "missing"
INCONSISTENT = "inconsistent"
UNSEALED = "unsealed"
UNUSED = "unused"
FOREIGN = "foreign"
STRANDED = "stranded"
UNKNOWN = "unknown"
NOTES = frozenset({UNSEALED, UNUSED, FOREIGN, STRANDED, UNKNOWN})
"""Kinds that are no fault: nothing that anybody reads is wrong."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and of how much."""

_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Parameters
    ----------
    kind : str
        ``"damaged"`` (bytes are not those that were written), ``"missing"`` (what
        is needed is not there), ``"inconsistent"`` (what is there disagrees); and
        some that are no faults: ``"unsealed"``, ``"unused"``, ``"foreign"``; and,
        where damage hides what is needed, ``"unknown"`` in place of ``"unused"``, and
        ``"stranded"``, snapshots that are whole and that no ref leads to.
    place : str
        A file of the repository, or a snapshot, level and batch.
    what : str
        In words.
    remedy : str
        What to do.
    """

    kind: str
    place: str
    what: str
    remedy: str

    @property
    def is_fault(self) -> bool:
        """Whether anything is wrong, rather than worth a note."""
        return self.kind not in NOTES

    def __str__(self) -> str:
        return f"{self.kind}: {self.place}: {self.what}. {self.remedy}"


@dataclass
class FsckReport:
    """What a check found: nothing, one hopes.

    Parameters
    ----------
    location : str
    findings : list of Finding
    files, bytes_read : int
        Stored files that were looked at, on a local disk; and bytes read in all.
    snapshots, batches, vertices : int
        Whose contents were compared with what is said of them.
    data_read : str
        ``"all"``, ``"none"``, or a part such as ``"1/10"``.
    repaired : list of str
        What was put right.
    """

    location: str
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    bytes_read: int = 0
    snapshots: int = 0
    batches: int = 0
    vertices: int = 0
    data_read: str = "all"
    repaired: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        """The findings that mean that something is wrong."""
        return [finding for finding in self.findings if finding.is_fault]

    @property
    def notes(self) -> list[Finding]:
        """The findings that are no faults."""
        return [finding for finding in self.findings if not finding.is_fault]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def raise_for_faults(self) -> None:
        """Raise :class:`IntegrityError` where anything is wrong; it names the first faults."""
        if not self.ok:
            raise IntegrityError(
                f"{self.location}: {counted(len(self.faults), 'fault')}: "
                + "; ".join(map(str, self.faults[:3]))
            )

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add findings."""
        self.findings.extend(findings)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON keeps it."""
        return {**asdict(self), "ok": self.ok}

    def summary(self) -> list[tuple[str, str]]:
        """What was looked at, and what was found in all: names and values."""
        kinds = Counter(finding.kind for finding in self.findings)
        found = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items()) or "nothing wrong"
        return [
            ("found", found),
            ("files", f"{self.files:,}"),
            ("read", f"{self.bytes_read / 1e6:,.1f} MB, data: {self.data_read}"),
            ("snapshots", f"{self.snapshots:,}"),
            ("batches", f"{self.batches:,} with {counted(self.vertices, 'vertex', 'vertices')}"),
            *(("repaired", what) for what in self.repaired),
        ]

    def __repr__(self) -> str:
        state = "ok" if self.ok else counted(len(self.faults), "fault")
        lines = [f"<FsckReport {self.location}: {state}>"]
        lines += [f"  {name}: {value}" for name, value in self.summary()]
        lines += [f"  {finding}" for finding in self.findings[:_SHOWN]]
        if len(self.findings) > _SHOWN:
            lines.append(f"  and {len(self.findings) - _SHOWN:,} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = self.summary()
        rows += [(f.kind, f"{f.place}: {f.what}. {f.remedy}") for f in self.findings[:_SHOWN]]
        if len(self.findings) > _SHOWN:
            rows.append(("", f"and {len(self.findings) - _SHOWN:,} more"))
        found = "nothing wrong" if self.ok else counted(len(self.faults), "fault")
        return html_table(f"Check: {found}", rows)
