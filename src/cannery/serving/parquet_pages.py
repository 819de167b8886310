"""What the pages of a Parquet file unpack to, by their own headers: the footer is only somebody's word.

Arrow makes room for what a page's header says, and unpacks no byte more; it tells nobody what that is.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

from cannery.errors import MalformedError

PAGES = 10_000
"""Of one file."""
HEAD = 64 << 10
"""Bytes of a page's header."""
ENCODINGS = frozenset((0, 2, 3, 4, 5, 6, 8, 9))
"""Under which what a page unpacks to bounds its values; prefixes of former values (7) repeat what is long."""

_DEEP = 16
_COLUMN = (0, -4, -1, 3)
_LISTS: dict[tuple[int, ...], int] = {
    **{(0, name): 12 for name in (2, 4, 5, 7)},
    **{(0, -4, name): 12 for name in (1, 4)},
    **{(*_COLUMN, name): of for name, of in ((2, 5), (3, 8), (8, 12), (13, 12))},
    **{(*_COLUMN, *names): of for names, of in (((16, 2), 6), ((16, 3), 6), ((17, 2), 5))},
}
"""Every list of a footer, by the numbers of the fields that lead there (of a list negative) → type of its items."""
_LONG = frozenset([(0, -4, 3), *((*_COLUMN, name) for name in (5, 7, 9, 11))])
"""Numbers that are read here: Arrow passes over those of another type."""
_DATA, _INDEX, _DICTIONARY, _DATA_2 = 5, 6, 7, 8
"""Fields of a page's header that hold the one for its kind."""
_ENCODED = {_DATA: 2, _DICTIONARY: 2, _DATA_2: 4}
_HEADS = {0: _DATA, 1: _INDEX, 2: _DICTIONARY, 3: _DATA_2}
"""Type of a page → where its own header lies."""


def unpacked_size(body: bytes) -> int:
    """Return the bytes to which all pages unpack.

    Raises MalformedError for a page of which nobody can tell, or that has more values than its rows.
    """
    size = count = 0
    for rows, column in _columns(body):
        at, first = column[9], column.get(11, 0)
        if not 0 <= rows == column[5] or not 0 <= first <= len(body):
            raise _odd("the values of a column are not those of its rows")
        if 0 < first < at:  # the page of its dictionary
            at = first
        end = at + column[7]
        if not 0 <= at <= end <= len(body):
            raise _odd("a column lies outside the file")
        while at < end:
            count += 1
            if count > PAGES:
                raise _odd(f"it has more than {PAGES} pages")
            at, unpacked = _page(body, at, rows)
            size += unpacked
    return size


def _columns(body: bytes) -> list[tuple[int, dict[int, Any]]]:
    """Return rows and metadata of the columns of each group; of a group without rows no page is read.

    Arrow is not asked: where a number is odd, its answer in Python ends the process.
    """
    start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    try:
        if start < 0:
            raise IndexError(start)
        footer, _ = _struct(body[start:-8], 0, (0,))
        found = [(g[3], chunk[3]) for g in footer[4] for chunk in g[1] if g[3]]
        _ = [column[name] + rows for rows, column in found for name in (5, 7, 9)]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise _odd("its footer can't be read") from error
    return found


def _page(body: bytes, at: int, rows: int) -> tuple[int, int]:
    """Return where the next page begins, and the bytes to which this one unpacks."""
    try:
        head, length = _struct(body[at : at + HEAD], 0, ())
        kind, unpacked, packed = (_natural(head[i]) for i in (1, 2, 3))
        own = head.get(_HEADS.get(kind, 0), {})
        if kind in (0, 2, 3):
            values, encoding = _natural(own[1]), own[_ENCODED[_HEADS[kind]]]
            # A dictionary may hold words that no row has, but each takes some bytes.
            if values > (max(rows, unpacked) if kind == 2 else rows) or encoding not in ENCODINGS:
                raise _odd("a page holds other values than its column")
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise _odd("a page has no header") from error
    return at + length + packed, unpacked


def _odd(what: str) -> MalformedError:
    return MalformedError(f"the body is not Parquet: {what}")


def _natural(value: Any) -> int:
    """Return a number of 31 bits; other readers would cut it to that."""
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(value)
    return value


def _struct(data: bytes, at: int, path: tuple[int, ...]) -> tuple[dict[int, Any], int]:
    """Return the fields of a structure by number, and where it ends; texts are left out."""
    fields: dict[int, Any] = {}
    name = 0
    while byte := data[at]:
        at += 1
        if byte >> 4:
            name += byte >> 4
        else:
            name, at = _number(data, at)
        if name in fields or not 0 < name < 1 << 15:
            raise ValueError(name)
        kind = byte & 15
        if kind in (1, 2):  # a truth is in its own type
            fields[name] = kind == 1
        else:
            fields[name], at = _value(data, at, kind, (*path, name))
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, path: tuple[int, ...]) -> tuple[Any, int]:
    """Return a value of this type, and where it ends."""
    if len(path) > _DEEP or (path in _LONG and kind != 6):
        raise ValueError(path)
    match kind:
        case 3:
            return None, at + 1
        case 4 | 5 | 6:
            return _number(data, at)
        case 7:
            return None, at + 8
        case 8:
            length, at = _varint(data, at)
            return None, at + length
        case 9:
            count, of, at = data[at] >> 4, data[at] & 15, at + 1
            if count == 15:
                count, at = _varint(data, at)
            if _LISTS.get(path) != of:  # Arrow would read them as what they ought to be
                raise ValueError(path)
            found = []
            for _ in range(count):
                item, at = _value(data, at, of, (*path[:-1], -path[-1]))
                found.append(item)
            return found, at
        case 12:
            return _struct(data, at, path)
    raise ValueError(kind)  # sets and maps are nowhere in it


def _number(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError(at)
