"""A commit's metadata as the last line of its message.

icechunk 2 keeps message and metadata of every snapshot in one file, and each
commit decodes and writes all of them again. A message is copied; metadata is
decoded value by value and checked several times over, which after two thousand
commits costs each further one as much as the rest of that file (design note
005). So it lies behind the message, as trailers do in git, and nobody above the
storage sees it there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MARK = "\n\nmetadata: "


def joined(message: str, metadata: Mapping[str, Any]) -> str:
    """A message with metadata (JSON) behind it."""
    if not metadata and MARK not in message:
        return message
    return f"{message}{MARK}{json.dumps(metadata, separators=(',', ':'), ensure_ascii=False)}"


def parted(text: str) -> tuple[str, dict[str, Any]]:
    """The message and the metadata that :func:`joined` put together.

    A message that it did not make, such as that of a commit made with icechunk
    alone, comes back as it is.
    """
    message, mark, tail = text.rpartition(MARK)
    if mark:
        try:
            metadata = json.loads(tail)
        except ValueError:
            return text, {}
        if isinstance(metadata, dict):
            return message, metadata
    return text, {}
