"""Types of numbers, and keyword arguments with which a model calls a listed function on its rows: sizes, workers, patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import prod

from cannery.audits.ledger import Ledger
from cannery.audits.patterns import doubt
from cannery.audits.values import Array, Dict, DType, List, Opaque, Tuple, Value

HOLDERS = ("inv_kw_args", "kw_args")
"""Attributes that hold keyword arguments."""
WORKERS = (
    "n_jobs", "n_threads", "nthread", "nthreads", "num_thread", "num_threads", "thread_count",
)  # fmt: skip
MOST_WORKERS = 1 << 12
"""Threads or processes that may be started for a row."""

_SIZES = frozenset(
    {
        "M", "N", "bins", "deg", "k", "m", "max_iter", "minlength", "n", "n_clusters", "n_components", "n_init",
        "n_iter", "n_oversamples", "n_quantiles", "n_trials", "ndim", "num", "padding", "s", "shape", "size",
        "width",
    }
)  # fmt: skip
"""Say how much the listed functions make, or how often they do it."""
_LARGEST = 1 << 26
_WIDE = re.compile(r"\d{5}|[()]")
"""What stands in a text that tells a type whose items are long, or are arrays themselves."""
_WIDEST = 1 << 16
"""Bytes of an item."""
_PATTERNS = frozenset({"regex", "to_replace"})
"""Texts that pandas compiles."""

Refuse = Callable[[str, str], None]


def judge(ledger: Ledger, owner: str, keywords: dict[str, Value], refuse: Refuse) -> None:
    """Judge what an object of class `owner` hands to its function."""
    for key in _SIZES.intersection(keywords):
        value = keywords[key]
        sizes = value.items if isinstance(value, Tuple | List) else (value,)
        if prod(max(abs(_number(size)), 1) for size in sizes) > _LARGEST:
            message = f"'{owner}' would make more than {_LARGEST} numbers of a row ('{key}')"
            refuse("hostile-state", message)
    for key in _PATTERNS.intersection(keywords):
        for text in _texts(keywords[key], 3):
            doubt(ledger, owner, text)
    workers(owner, keywords, refuse)
    width(owner, keywords, refuse)


def width(owner: str, items: dict[str, Value], refuse: Refuse) -> None:
    """Judge the type of the numbers that are made of a row: each of them may be told to take a gigabyte."""
    if "dtype" in items and _is_wide(items["dtype"], 4):
        refuse("hostile-state", f"'{owner}' would make items of more than {_WIDEST} bytes")


def _is_wide(told: Value, depth: int) -> bool:
    """Return whether a type may take more; some functions take a list of types, and use the first that fits."""
    if isinstance(told, str):
        return bool(_WIDE.search(told))
    if isinstance(told, Tuple | List):
        return depth == 0 or any(_is_wide(part, depth - 1) for part in told.items)
    wide = told.itemsize if isinstance(told, DType) else _number(told)
    return isinstance(told, Opaque) or wide > _WIDEST


def workers(owner: str, items: dict[str, Value], refuse: Refuse) -> None:
    """Judge how many threads or processes would be started."""
    for key in WORKERS:
        if key in items and _number(items[key]) > MOST_WORKERS:
            refuse("hostile-state", f"'{owner}' would start more than {MOST_WORKERS} workers")


def _number(value: Value) -> int:
    """Return an integer of Python or numpy, 0 for anything else."""
    if type(value) is Array and type(value.content) is bytes and not value.shape:
        return int.from_bytes(value.content, "little", signed=True)
    return value if type(value) is int else 0


def _texts(value: Value, depth: int) -> Iterator[str]:
    """Yield the texts in a value, in nested containers too."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Dict):
        for part in (*value.items, *value.items.values(), *value.rest):
            yield from _texts(part, depth - 1)
    elif depth and isinstance(value, List | Tuple):
        for part in value.items:
            yield from _texts(part, depth - 1)
