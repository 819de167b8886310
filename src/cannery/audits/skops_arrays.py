"""Arrays and sparse matrices of skops files, which stand in members of their own."""

from __future__ import annotations

import functools

import numpy as np

from cannery.audits import natives
from cannery.audits.archives import Archive
from cannery.audits.ledger import Ledger
from cannery.audits.npy import BadArrayError, read_numbers
from cannery.audits.skops_texts import OddNodeError
from cannery.audits.values import Array, Dict, List, Made, Name, Tuple, Value

_MATRICES = frozenset({"bsr", "coo", "csc", "csr", "dia"})
"""Formats that scipy writes into archives."""


_KEYS = frozenset(f"builtins.{kind}" for kind in ("bool", "bytes", "float", "int", "str"))


@functools.lru_cache(maxsize=256)
def is_scalar(name: str) -> bool:
    """Return whether a name is that of a scalar type of numpy."""
    kind = getattr(np, name.removeprefix("numpy."), None) if name.startswith("numpy.") else None
    return isinstance(kind, type) and issubclass(kind, np.generic) and kind is not np.object_


def is_key(name: str) -> bool:
    """Return whether a name is that of a type of which keys of dictionaries are."""
    return name in _KEYS or is_scalar(name)


def stored(archive: Archive, member: str, ledger: Ledger) -> Value:
    """Return the numbers in an array file; None where it is refused."""
    try:
        return read_numbers(archive.read(member, ledger.limits.decompressed))
    except BadArrayError as error:
        ledger.find("hostile-array", "unsafe", f"member '{member[:80]}' {error}")
        return None


def flat(items: tuple[Value, ...], sizes: tuple[Value, ...], ledger: Ledger) -> tuple[Value, ...]:
    """Return the objects of nested lists, which must have the shape that is told."""
    for size in sizes[1:]:
        if not all(isinstance(item, List) and item.count == size for item in items):
            message = "an array of objects does not have the shape that it tells"
            ledger.find("hostile-array", "unsafe", message)
            return ()
        items = tuple(inner for item in items for inner in item.items)
    return items


def matrix(inside: Archive, ledger: Ledger) -> Made:
    """Return what scipy makes of its own archive, whatever class a node names."""
    state = Dict()
    for part in inside.members:
        array = Array(None)
        array.content = stored(inside, part, ledger)
        state.items[part.removesuffix(".npy")] = array
    kind, sizes = (natives.listed(state.items.get(part)) for part in ("format", "shape"))
    text = str(kind[0], "ascii", "replace") if kind and isinstance(kind[0], bytes) else ""
    if text not in _MATRICES:
        raise OddNodeError(f"a sparse matrix of format {text[:20]!r}")
    module, cls = f"scipy.sparse._{text}", f"{text}_matrix"
    made = Made(Name(module, cls, -1, ledger.listing.find(module, cls)))
    state.items["_shape"] = Tuple(tuple(sizes))
    state.count = len(state.items)
    made.state = state
    ledger.made(made, -1)
    return made
