"""Other formats and tools, a module each.

Files come in and go out through :func:`import_file` and :func:`export_file`,
which choose the format by the name of the file, or through the functions of one
format, which know more options. Each import is one transaction: all of it, or
nothing.
"""

from ._export import ExportOptions, ExportResult
from ._formats import FORMATS, FileInfo, Format, export_file, import_file, scan_file
from ._import import ImportResult
from ._into import ImportOptions
from ._progress import Progress
from .csv import export_csv, import_csv
from .distributed import import_distributed
from .geojson import export_geojson, import_geojson
from .las import export_las, import_las
from .meshes import export_meshes, import_meshes
from .parquet import export_parquet, import_parquet
from .streamlines import export_streamlines, import_streamlines
from .swc import export_swc, import_swc
from .zarr_vectors_export import export_zarr_vectors
from .zarr_vectors_import import import_zarr_vectors

__all__ = [
    "FORMATS",
    "ExportOptions",
    "ExportResult",
    "FileInfo",
    "Format",
    "ImportOptions",
    "ImportResult",
    "Progress",
    "export_csv",
    "export_file",
    "export_geojson",
    "export_las",
    "export_meshes",
    "export_parquet",
    "export_streamlines",
    "export_swc",
    "export_zarr_vectors",
    "import_csv",
    "import_distributed",
    "import_file",
    "import_geojson",
    "import_las",
    "import_meshes",
    "import_parquet",
    "import_streamlines",
    "import_swc",
    "import_zarr_vectors",
    "scan_file",
]
