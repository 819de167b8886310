"""A model file that is read once: what is hashed, told, audited and opened are the same bytes."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from io import FileIO
from pathlib import Path

from cannery.blobs import CHUNK, Blob, digest_bytes, digest_stream
from cannery.errors import SourceError

_SMALL = 1 << 26
"""Bytes of the largest file that is held in memory."""
_ROOM = "a large file is copied before it is audited: let TMPDIR name a folder with room for it"


def hold(path: Path, small: int = _SMALL) -> Blob:
    """Return the file at `path` with its bytes; raises SourceError when it can't be read.

    One of up to `small` bytes is read into memory. A larger one is copied within the kernel into a file
    without a name, hashed there and mapped: who writes to the file, or cuts it, changes no byte of that.
    """
    try:
        with FileIO(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > small:
                return _mapped(path, stream)
            data = stream.read(size + 1)
            if len(data) != size:  # it grows or shrinks meanwhile
                data += stream.readall()
    except OSError as error:
        hint = _ROOM if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        raise SourceError(f"can't read '{path}': {error.strerror}", hint=hint) from error
    return Blob(path=path, digest=digest_bytes(data), size=len(data), data=data)


def _mapped(path: Path, stream: FileIO) -> Blob:
    with tempfile.TemporaryFile() as copy:
        try:
            while os.copy_file_range(stream.fileno(), copy.fileno(), CHUNK << 6):
                pass
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
                raise
            stream.seek(0)
            shutil.copyfileobj(stream, copy, CHUNK)
            copy.flush()
        copy.seek(0)
        digest = digest_stream(copy)
        empty = not os.fstat(copy.fileno()).st_size  # it was cut meanwhile
        data = b"" if empty else mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)
    return Blob(path=path, digest=digest, size=len(data), data=data)
