"""Bytes on one side, numpy arrays on the other, and nothing else.

Nothing here knows of icechunk, of snapshots or of files. `cells` frames and
compresses one cell, `shards` lays cells side by side, `copied` many small ones at
once, `columns` keeps named columns in one payload, `batches` says what a batch
consists of, `table` what a level consists of, `metadata` and `arrays` write the
documents of groups and arrays, `axes` names the axes, and `fragments` and
`manifests` speak the Zarr Vectors encodings of the same facts.
"""
