"""Numbers of things, in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, one: str, many: str = "") -> str:
    """So many of something, in words.

    Parameters
    ----------
    number : int
    one : str
        What one is called.
    many : str
        The plural, where it is not made with s.

    Examples
    --------
    >>> counted(1, "file"), counted(2000, "file"), counted(2, "batch", "batches")
    ('1 file', '2,000 files', '2 batches')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
