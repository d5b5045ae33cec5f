"""A dataset of a snapshot as a Zarr Vectors 0.9 store.

What zv_versioned stores and what Zarr Vectors wants are the same facts, but
not always in the same place. The store that :attr:`Dataset.store` gives makes
the Zarr Vectors form when it is asked for: `_store` answers for keys, `_loader`
reads what many readers ask for at once in few calls, `_level` says which arrays
a level has, and each kind of array has a module of its own.

Source: Zarr Vectors 0.9; the Zarr v3 core specification.
"""

from ._store import ZarrVectorsStore

__all__ = ["ZarrVectorsStore"]
