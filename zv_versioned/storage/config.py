"""icechunk's settings, as measured to be good (docs/design), for both of its major versions."""

from __future__ import annotations

import os

import icechunk as ic

from .location import Place

_SPLIT_EVERY = 256
_RANGES_AT_ONCE = 64

# The first two warn of what the lock takes care of; the third advises a setting that icechunk's
# own local storage cannot have (a filesystem stores no metadata with an object).
if "ICECHUNK_LOG" not in os.environ:
    ic.set_logs_filter(
        "warn,icechunk::storage::object_store=error,"
        "icechunk_arrow_object_store=error,icechunk_storage::readback=error"
    )


def repository_config(place: Place, storage: ic.Storage | None) -> ic.RepositoryConfig:
    """Return our settings, with those that go with `storage` unless they are to be stored."""
    manifest = ic.ManifestConfig(
        preload=ic.ManifestPreloadConfig(max_total_refs=0),
        # The first axis is that of batches, or of buckets of them. By their names, icechunk would
        # compile patterns again and again: a tenth of the processor's time of a commit.
        splitting=ic.ManifestSplittingConfig.from_dict(
            {
                ic.ManifestSplitCondition.AnyArray(): {
                    ic.ManifestSplitDimCondition.Axis(0): _SPLIT_EVERY
                }
            }
        ),
    )
    # Each commit compresses the list of all snapshots anew. At level 3, the default, one that comes
    # after a thousand others takes a fifth longer, and the list is not smaller.
    config = ic.RepositoryConfig(
        inline_chunk_threshold_bytes=512,
        # Ten, the default, make of the ranges of one box several round trips.
        get_partial_values_concurrency=_RANGES_AT_ONCE,
        compression=ic.CompressionConfig(level=1),
        manifest=manifest,
    )
    # icechunk 1 has neither.
    for owner, name, value in (
        (manifest, "max_concurrent_manifest_fetches_during_commit", 16),
        (config, "num_updates_per_repo_info_file", 100),
    ):
        if hasattr(type(owner), name):
            setattr(owner, name, value)
    config.manifest = manifest
    if storage is not None and not place.location.startswith("memory://"):
        settings = storage.default_settings()
        if place.folder is not None:
            # Otherwise a local read is cut into five.
            settings.concurrency = ic.StorageConcurrencySettings(
                max_concurrent_requests_for_object=1, ideal_concurrent_request_size=1 << 40
            )
        else:
            # A local repository that was copied here brings settings along that lose commits here.
            settings.unsafe_use_conditional_create = True
            settings.unsafe_use_conditional_update = True
            settings.unsafe_use_metadata = True
        config.storage = settings
    return config
