"""numpy's arrays, scalars and dtypes in a pickle.

A dtype whose flags or offsets lie about its items makes numpy read bytes of the file as pointers; so
every dtype is recomputed from what it was made with, and every array must have the size that follows.
"""

from __future__ import annotations

import re

from cannery.audits.arguments import Call
from cannery.audits.values import (
    Array,
    Dict,
    DType,
    List,
    Made,
    Name,
    Opaque,
    Tuple,
    Value,
    describe,
    size_of,
)

TYPE = re.compile(r"[<>|=]?([biufcSUVOmM])(\d{0,9})")
_FIXED = {"b": {1}, "i": {1, 2, 4, 8}, "u": {1, 2, 4, 8}, "f": {2, 4, 8, 12, 16}}
_FIXED |= {"c": {8, 16, 24, 32}, "O": {8, 4}, "m": {8}, "M": {8}}
_POINTERS = 0b0111
"""numpy's item flags HASOBJECT, LIST_PICKLE and ITEM_IS_POINTER."""
_LISTED = 0b0011
"""Those of a structure with objects, whose items come as a list."""
_LARGEST = 1 << 50
_DIMENSIONS = 64


def dtype(c: Call) -> Value:
    """Judge `numpy.dtype("f8", False, True)`."""
    match c.items:
        case (str() as text, bool() | 0 | 1, bool() | 0 | 1) if found := TYPE.fullmatch(text):
            kind, digits = found.group(1), found.group(2)
            width = int(digits) if digits else (8 if kind in "mMO" else 0)
            if kind not in _FIXED or width in _FIXED[kind]:
                return DType(c.name, kind, width * 4 if kind == "U" else width)
        case (Name(canonical="numpy.record" | "numpy.rec.record") as cls, False | 0, True | 1):
            c.ledger.use(cls, "class")
            return DType(c.name, "V", -1)  # its size comes with its state
        case (Name() as cls, *_):
            # Others look at attributes of the class.
            c.ledger.use(cls, "reference")
    return c.refuse(f"with {', '.join(map(describe, c.items[:9]))[:200]}")


def texts(c: Call) -> Value:
    """Judge `_convert_to_stringdtype_kwargs(True, nan)`: numpy's texts of any length, and what is missing."""
    match c.items:
        case (bool() | 0 | 1, *missing) if len(missing) < 2 and all(map(_is_text, missing)):
            for item in missing:
                c.ledger.refer(item)
            return DType(c.name, "T", 16)
    return c.refuse(f"with {', '.join(map(describe, c.items[:9]))[:200]}")


def _is_text(value: Value) -> bool:
    """Return whether a value is a text, or stands for one that is missing."""
    if isinstance(value, Name):
        return value.canonical in ("pandas.NA", "pandas._libs.missing.NA")
    if isinstance(value, Opaque):
        return value.type is str
    return value is None or isinstance(value, str | float)


def reconstruct(c: Call) -> Value:
    """Judge `_reconstruct(ndarray, (0,), b"b")`; the array itself comes with its state."""
    if len(c.items) == 3:
        cls, shape, code = c.items
        if type(cls) is Name and type(shape) is Tuple and shape.items == (0,) and code in _BYTE:
            c.ledger.use(cls, "class")
            array = Array(cls)
            c.ledger.made(array, c.offset)
            return array
    return c.refuse("otherwise than numpy does")


_BYTE = (b"b", "b")
"""The type of the empty array that stands until its state is set."""


def masked(c: Call) -> Value:
    """Judge `_mareconstruct(MaskedArray, ndarray, (0,), "b")`."""
    match c.items:
        case (Name() as cls, Name() as base, Tuple(items=(0,)), b"b" | "b"):
            c.ledger.use(cls, "class")
            c.ledger.use(base, "class")
            return Array(cls)
    return c.refuse("otherwise than numpy does")


def scalar(c: Call) -> Value:
    """Judge `scalar(dtype, bytes)`."""
    match c.items:
        case (DType() as kind, data) if not kind.holds and size_of(data) == kind.itemsize:
            return _filled(c, kind, (), data)
    return c.refuse(f"with {', '.join(map(describe, c.items[:9]))[:200]}")


def from_buffer(c: Call) -> Value:
    """Judge `_frombuffer(buffer, dtype, shape, order)`."""
    if len(c.items) == 4:
        buffer, kind, shape, order = c.items
        if type(kind) is DType and type(shape) is Tuple and order in _ORDERS and not kind.holds:
            count = elements(shape)
            if count is not None and size_of(buffer) == count * kind.itemsize:
                return _filled(c, kind, shape.items, buffer)
    return c.refuse("with a buffer that is not the size of the array")


_ORDERS = ("C", "F")


def _filled(c: Call, kind: DType, shape: tuple[int, ...], content: Value) -> Array:
    kind.used = True
    array = Array(c.name)
    array.fill(kind, shape, content)
    return array


def elements(shape: Tuple) -> int | None:
    """Return how many elements an array of this shape has, None for what is no shape."""
    count = 1
    if len(shape.items) > _DIMENSIONS:
        return None
    for size in shape.items:
        if type(size) is not int or size < 0:
            return None
        count *= size
    return count if count < _LARGEST else None


def dtype_problem(made: DType, state: Value) -> str | None:
    """Return what is wrong with a dtype's state, None when it agrees with the dtype."""
    if made.kind == "T":
        return "a dtype of texts gets a state, which numpy does not write"
    if made.used:  # what was measured by it would change under it
        return "a dtype gets its state after it was used"
    match state:
        case Tuple(items=(3 | 4, "<" | ">" | "|" | "=", sub, names, fields, size, align, flags)):
            pass
        case Tuple(
            items=(4, "<" | ">" | "|" | "=", sub, names, fields, size, align, flags, meta)
        ) if made.kind in "mM" and _is_unit(meta):
            pass
        case _:
            return "a dtype gets a state that numpy does not write"
    if not all(isinstance(n, int) for n in (size, align, flags)):
        return "a dtype's size is no number"
    made.order = state.items[1]
    if made.kind == "V":
        return _structure_problem(made, (sub, names, fields, size, flags))
    if sub is not None or names is not None or fields is not None:
        return f"a dtype of kind '{made.kind}' has fields"
    if size != (made.itemsize if made.kind in "SU" else -1):
        return f"a dtype of {made.itemsize} bytes says that it has {size}"
    if bool(flags & _POINTERS) != (made.kind == "O"):
        return "a dtype lies about holding pointers"
    return None


def _is_unit(meta: Value) -> bool:
    match meta:
        case Tuple(
            items=(None | Dict(count=0), Tuple(items=(str() | bytes(), int(), int(), int())))
        ):
            return True
    return meta is None


def _structure_problem(made: DType, parts: tuple[Value, ...]) -> str | None:
    sub, names, fields, size, flags = parts
    if made.itemsize < 0:
        made.itemsize = size if isinstance(size, int) and 0 <= size < _LARGEST else 0
    if size not in (-1, made.itemsize):
        return "a structured dtype has another size"
    problem = _parts_problem(made, (sub, names, fields))
    if problem is None and flags & (_LISTED if made.holds else _POINTERS) != made.holds * _LISTED:
        return "a structured dtype lies about holding pointers"
    return problem


def _parts_problem(made: DType, parts: tuple[Value, ...]) -> str | None:
    sub, names, fields = parts
    if sub is not None:
        match sub:
            case Tuple(items=(DType(holds=False, itemsize=one) as inner, Tuple() as shape)):
                inner.used = True
                if (count := elements(shape)) is not None and count * one == made.itemsize:
                    return None
        return "a dtype of arrays does not have the size of its items"
    if fields is None and names is None:
        return None
    if not isinstance(fields, Dict) or not isinstance(names, Tuple):
        return "a structured dtype has no fields"
    if len(fields.items) != fields.count or set(fields.items) != set(names.items):
        return "a structured dtype names other fields than it has"
    for name in names.items:
        match fields.items[name]:
            case Tuple(items=(DType(itemsize=one) as inner, int() as at)):
                if at >= 0 and at + one <= made.itemsize and inner.kind != "T":
                    made.fields[name] = (inner, at)
                    made.holds |= inner.holds
                    inner.used = True
                    continue
        return f"field {name[:40]!r} of a structured dtype lies outside of it"
    return _overlap(made) if made.holds else None


def _overlap(made: DType) -> str | None:
    """Return what is wrong with fields that share bytes: a number in one would be a pointer in another."""
    end = 0
    for inner, at in sorted(made.fields.values(), key=lambda field: field[1]):
        if at < end:
            return "a structured dtype has fields that lie upon each other"
        end = at + inner.itemsize
    return None


_BYTES = frozenset({bytes, str})
"""What holds the items of an array: text in the protocols of Python 2."""
_ODD = "an array gets a state that numpy does not write"
_TRUTHS = (False, True)


def array_problem(array: Made, state: Value) -> str | None:
    """Fill an array; returns what is wrong with its state, None when its size is that of its data."""
    items = state.items if type(state) is Tuple else ()
    if len(items) not in (5, 7):  # a masked array adds its mask and what fills it
        return _ODD
    version, shape, kind, fortran, data = items[:5]
    if (
        version != 1
        or type(shape) is not Tuple
        or type(kind) is not DType
        or fortran not in _TRUTHS
    ):
        return _ODD
    count = elements(shape)
    if count is None:
        return "an array has an impossible shape"
    kind.used = True
    if isinstance(array, Array):
        array.fill(kind, shape.items, data)
    if kind.holds:
        if isinstance(data, List) and data.count == count:
            if kind.kind == "T" and not all(map(_is_text, data.items)):
                return "an array of texts holds something else"
            return None
        return "an array of objects does not have as many as its shape says"
    size = data.size if type(data) is Opaque else len(data) if type(data) in _BYTES else None
    if size != count * kind.itemsize:
        return f"an array of {count * kind.itemsize} bytes gets {size}"
    return None
