"""The bytes of a model on their way into a worker: memory that both see, and nobody can change any more."""

from __future__ import annotations

import fcntl
import mmap
import os
from io import FileIO

from cannery.audits.contents import pieces
from cannery.audits.opcodes import Data
from cannery.errors import IsolationError

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def handed(data: Data) -> FileIO:
    """Return sealed memory that holds `data`; raises IsolationError when there is no room for it."""
    memory = FileIO(os.memfd_create("model", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC), "r+")
    try:
        for piece in pieces(data, 0, len(data)):
            memory.write(piece)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        memory.close()
        raise IsolationError(f"the model can't be handed to a worker: {error.strerror}") from error
    return memory


def taken(descriptor: int) -> mmap.mmap:
    """Return what was handed over, mapped: it is copied nowhere; the descriptor is closed."""
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
