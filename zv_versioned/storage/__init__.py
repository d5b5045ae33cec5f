"""Where a repository lives, and the one place that knows icechunk's versions.

`location` understands paths and URLs, `config` has icechunk's settings,
`translate` makes its exceptions ours, `lock` guards a local filesystem,
`address` is what another process needs, and `backend` is the repository as the
rest of the package sees it: snapshot ids, sessions and stores.
"""

from .address import Address
from .backend import Backend, SnapshotInfo, snapshot_of
from .location import Location
from .translate import translated

__all__ = ["Address", "Backend", "Location", "SnapshotInfo", "snapshot_of", "translated"]
