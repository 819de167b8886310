"""Texts cut into the terms that a graph counts, as scikit-learn's vectorizers cut them."""

from __future__ import annotations

import re
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
    return lambda text: cut(_prepared(text, terms))


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
