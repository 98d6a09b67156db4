"""Pictures that lie in something else than files of their own: tar shards, Parquet and Arrow tables, data sets.

Every function lists what is there and reads no picture; what it gives goes wherever a folder goes. A folder, a shard
and a table named by its path need none of them: :func:`vizkit.folders.find` knows them by their suffixes.
"""

from ..reading import Reference
from .data import dataset
from .tables import SUFFIXES as TABLES
from .tables import table
from .tars import SUFFIX as TAR
from .tars import tar

READERS = {TAR: tar, **dict.fromkeys(TABLES, table)}
"""What lists a file that holds many pictures, by its suffix."""
SHARDS = tuple(READERS)

__all__ = ["READERS", "SHARDS", "Reference", "dataset", "table", "tar"]
