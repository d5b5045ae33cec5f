"""Where a repository lives, and the one place that knows icechunk's versions.

`location` understands paths and URLs, `config` has icechunk's settings,
`translate` makes its exceptions ours, `lock` guards a local filesystem,
`address` is what another process needs, and `backend` is the repository as the
rest of the package sees it: sessions and commits, on top of `snapshots`, these of
`refs`, and these of `handle`, what every change goes through.
"""

from .address import Address
from .backend import Backend, snapshot_of
from .location import Location
from .refs import SnapshotInfo
from .translate import translated

__all__ = ["Address", "Backend", "Location", "SnapshotInfo", "snapshot_of", "translated"]
