"""Texts cut into the terms that a graph counts, as scikit-learn's vectorizers cut them."""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cannery.cans.manifest import Terms

Cut = Callable[[str], list[str]]

_ATOM = r"(?:\\[wWdDsS]|\[\^?(?:\\[wWdDsS.\-]|[^\[\]\\])+\]|[A-Za-z0-9_'@#&-])"
_MANY = r"(?:[+*]|\{\d{1,2},\d{0,3}\})?"
_SAFE = re.compile(
    rf"(?:\(\?u\))?(?:\\b(?:{_ATOM})*{_ATOM}{_MANY}\\b|(?:{_ATOM})*(?:{_ATOM}{_MANY}|\\w[+*]\\b))"
)
"""Patterns that take time in proportion to the text: repetition at the end alone, and no groups."""
_BLANKS = re.compile(r"\s\s+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORD = 0xFFFFFFFF
STRANGE = "\ufdd0"
"""Stands for what no UTF-8 can hold; no vocabulary has it."""


def is_safe(pattern: str) -> bool:
    """Tell whether a token pattern is of the few forms that can't be made to take for ever."""
    return _SAFE.fullmatch(pattern) is not None


def cutter(terms: Terms) -> Cut:
    """Return the function that cuts a text into its terms, in their order.

    Raises ValueError for a pattern that is not safe.
    """
    if not is_safe(terms.pattern):
        raise ValueError(f"the token pattern {terms.pattern!r} is not of a known form")
    find, stop = re.compile(terms.pattern).findall, frozenset(terms.stop)

    def words(text: str) -> list[str]:
        found = [word for word in find(text) if word not in stop]
        return list(_runs(found, terms.low, terms.high, " "))

    def characters(text: str) -> list[str]:
        return list(_runs(_BLANKS.sub(" ", text), terms.low, terms.high, ""))

    def inside(text: str) -> list[str]:
        found = [f" {word} " for word in text.split()]
        return [term for word in found for term in _within(word, terms.low, terms.high)]

    cut = {"word": words, "char": characters, "char_wb": inside}[terms.analyzer]
    if terms.buckets:
        return lambda text: [bucket(t, terms.buckets) for t in cut(_prepared(text, terms))]
    return lambda text: cut(_prepared(text, terms))


def bucket(term: str, buckets: int) -> str:
    """Return the bucket of a term, as scikit-learn hashes it; with a minus where the hash is below 0."""
    number = _murmur(term.encode())
    return f"-{-number % buckets}" if number < 0 else str(number % buckets)


def _murmur(data: bytes) -> int:
    """Return MurmurHash3 (x86, 32 bits, seed 0) as a signed number: A. Appleby, smhasher."""
    whole, hashed = len(data) & ~3, 0
    for (block,) in struct.iter_unpack("<I", data[:whole]):
        hashed = _turned(hashed ^ _scrambled(block), 13) * 5 + 0xE6546B64 & _WORD
    hashed ^= _scrambled(int.from_bytes(data[whole:], "little")) ^ len(data)
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & _WORD
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & _WORD
    hashed ^= hashed >> 16
    return hashed - (hashed >> 31 << 32)


def _scrambled(block: int) -> int:
    return _turned(block * 0xCC9E2D51 & _WORD, 15) * 0x1B873593 & _WORD


def _turned(word: int, bits: int) -> int:
    return (word << bits | word >> (32 - bits)) & _WORD


def _prepared(text: str, terms: Terms) -> str:
    if terms.lowercase:
        text = text.lower()
    if text.isascii():
        return text
    text = _SURROGATE.sub(STRANGE, text)
    if terms.accents is None:
        return text
    apart = unicodedata.normalize("NFKD", text)
    if terms.accents == "ascii":
        return apart.encode("ascii", "ignore").decode()
    return "".join(c for c in apart if not unicodedata.combining(c))


def _runs(items: Sequence[str], low: int, high: int, joint: str) -> Iterator[str]:
    """Yield all runs of `low` to `high` items, joined."""
    for size in range(low, min(high, len(items)) + 1):
        for start in range(len(items) - size + 1):
            yield items[start] if size == 1 else joint.join(items[start : start + size])


def _within(word: str, low: int, high: int) -> Iterator[str]:
    """Yield the runs of characters of a padded word; one that is shorter than a run is taken once."""
    for size in range(low, high + 1):
        for start in range(max(len(word) - size, 0) + 1):
            yield word[start : start + size]
        if len(word) <= size:
            return


def cut_all(cut: Cut, texts: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the terms of each text as a row, filled up with empty strings."""
    rows = [cut(text) for text in texts.tolist()]
    table = np.full((len(rows), max(map(len, rows), default=0)), "", dtype=object)
    for row, found in zip(table, rows, strict=True):
        row[: len(found)] = found
    return table
