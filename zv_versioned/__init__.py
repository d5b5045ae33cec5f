"""zv_versioned: a transactional, versioned store for large vector geometry."""

from .errors import (
    ArrayError,
    ConflictError,
    IntegrityError,
    MetadataError,
    MissingExtraError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    ViolationError,
    ZVError,
)
from .geometry import Geometry
from .history.log import CommitInfo, CommitLog
from .level import Level
from .maintenance.compact import Compaction
from .maintenance.expire import Expiry
from .maintenance.gc import Collection
from .maintenance.lease import Lease
from .maintenance.report import Finding, FsckReport
from .maintenance.stats import LevelStats, Stats, StorageStats
from .objects import Batch
from .repository import Repository
from .result import CommitResult
from .transaction import Transaction
from .view import Dataset, View
from .writer import ZVWriter

__version__ = "0.1.0"

__all__ = [
    "ArrayError",
    "Batch",
    "Collection",
    "CommitInfo",
    "CommitLog",
    "CommitResult",
    "Compaction",
    "ConflictError",
    "Dataset",
    "Expiry",
    "Finding",
    "FsckReport",
    "Geometry",
    "IntegrityError",
    "Lease",
    "Level",
    "LevelStats",
    "MetadataError",
    "MissingExtraError",
    "NotFoundError",
    "ReadOnlyError",
    "Repository",
    "Stats",
    "StorageError",
    "StorageStats",
    "Transaction",
    "View",
    "ViolationError",
    "ZVError",
    "ZVWriter",
]
