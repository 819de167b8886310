"""Headers of array files: what numpy reads is what is measured, and what numpy does not write is refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest

from cannery.audits.npy import BadArrayError, read_header, read_numbers

KINDS: tuple[Any, ...] = (
    "<f8", ">f8", "<f4", "|b1", "<i2", "|u1", "<c16", "<U3", "|S5", "<m8[ns]", "<M8[D]", "|V3",
    [("left", "<i8"), ("deep", "<f8", (2,))], [("a", [("b", "<i4"), ("c", "|u1")])],
    {"names": ["x"], "formats": ["<f4"], "offsets": [4], "itemsize": 16},
)  # fmt: skip


def saved(array: np.ndarray[Any, Any], version: tuple[int, int] | None = None) -> bytes:
    """Return an array file as numpy writes it."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


def headed(text: str, items: bytes = b"") -> bytes:
    """Return a file of this header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + items


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)], ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_array_is_read_as_numpy_reads_it(kind: Any, version: tuple[int, int]) -> None:
    """Type, shape and items are those of the array, in the order of memory."""
    for shape in ((), (0,), (5,), (2, 3)):
        array = np.zeros(shape, np.dtype(kind))
        array.reshape(-1).view("u1")[:] = np.arange(array.nbytes) % 2
        found = read_numbers(saved(array, version))
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert b"".join(block.tobytes() for block in found.blocks()) == array.tobytes()


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }",
        "{ 'shape': (3,), 'fortran_order': False, 'descr': '<f8'}   \n",
        "{'descr':'<f8','fortran_order':0,'shape':(3,)}",
    ],
)
def test_a_header_may_be_written_in_any_way_that_numpy_reads(text: str) -> None:
    """Other writers order and space the same three keys differently."""
    header = read_header(headed(text, bytes(24)))
    assert (header.shape, header.items.dtype, header.end - header.start) == (
        (3,),
        np.dtype("f8"),
        24,
    )


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3 4), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (), 'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f8', 'a': 1, 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': [('a', '<f8'), ('a', '<f8')], 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), } + {}",
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 99999999999), }",
    ],
    ids=range(9),
)
def test_a_header_that_numpy_does_not_write_is_refused(text: str) -> None:
    """Whether it looks like one of numpy's at first or not."""
    with pytest.raises(BadArrayError):
        read_header(headed(text, bytes(24)))
