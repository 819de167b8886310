"""The last runtime: the pickle itself, within a boundary that whoever runs it has declared.

A pickle is a program. It is opened here only if its digest stands in the environment of the process: the
builder of an image writes it there, out of a policy that lists it, and a can that is pulled can't.
"""

from __future__ import annotations

import io
import os
from typing import Any

from cannery.blobs import digest_bytes
from cannery.errors import CanError

VARIABLE = "CANNERY_PICKLES"
"""Digests that may be opened, with blanks between them."""


def declared() -> frozenset[str]:
    """Return the digests that the environment of this process declares."""
    return frozenset(os.environ.get(VARIABLE, "").split())


def open_pickle(data: bytes, allowed: frozenset[str]) -> Any:
    """Return the object in a pickle or joblib file; raises CanError for one that was not declared."""
    digest = digest_bytes(data)
    if digest not in allowed:
        raise CanError(
            f"the can holds a pickle, {digest}, which no boundary lists here",
            hint=f"where it is trusted to run: {VARIABLE}={digest}",
        )
    try:
        import joblib  # whose loader takes plain pickles too

        return joblib.load(io.BytesIO(data))
    except Exception as error:  # whatever a program raises
        brief = str(error).partition("\n")[0][:300]
        raise CanError(f"the pickle can't be opened: {type(error).__name__}: {brief}") from error
