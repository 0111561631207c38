"""Room for what a verification remembers of every entry: memory first, then a temporary file without a name."""

from tempfile import SpooledTemporaryFile
from typing import IO


def spool(limit: int) -> IO[bytes]:
    """Return an empty file; what is more than *limit* bytes goes to the folder that ``TMPDIR`` names.

    Raises (while it is written):
        OSError: There is no room.
    """
    return SpooledTemporaryFile(limit)
