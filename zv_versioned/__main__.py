"""``python -m zv_versioned`` is ``zv-versioned``."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
