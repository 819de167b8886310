"""Models of LightGBM, a text of one line per list.

https://github.com/microsoft/LightGBM/blob/master/src/boosting/gbdt_model_text.cpp
"""

from __future__ import annotations

import itertools
import re

import numpy as np

from cannery.audits.trees.walks import (
    BadModelError,
    Indices,
    check_walk,
    hostile,
    integers,
    within,
)
from cannery.sources.windows import Data

_LARGEST = 1 << 31
_CATEGORICAL = 1
"""The bit of a decision type that says that the threshold is the number of a list of categories."""
_MISSING = 3
"""The kinds of missing value, in the bits from the third on."""
_MOST_OUTPUTS = 10_000
_INTEGER = re.compile(rb"-?\d{1,18}")
_REAL = re.compile(rb"-?(\d{1,400}(\.\d{0,400})?([eE][+-]?\d{1,4})?|inf|nan)")
_PER_LEAF = (b"leaf_weight", b"leaf_count")
_PER_SPLIT = (b"split_gain", b"threshold", b"internal_value", b"internal_weight", b"internal_count")

Fields = dict[bytes, bytes]


def check_lightgbm(data: Data) -> None:
    """Raise BadModelError for a file whose numbers would lead LightGBM's own code astray."""
    text = data[:]
    start = text.find(b"\nTree=") + 1
    header = _fields(text[: start or len(text)])
    columns = _number(header, b"max_feature_idx") + 1
    outputs = _number(header, b"num_tree_per_iteration")
    if not 1 <= outputs <= _MOST_OUTPUTS:
        raise hostile(f"{outputs} trees in a round")
    _check_classes(header, outputs)
    for key in (b"feature_names", b"feature_infos"):
        if key in header and len(header[key].split(b" ")) != columns:
            raise hostile(f"'{key.decode()}' does not have one for each of {columns} columns")
    blocks = _blocks(text, start, header)
    if len(blocks) % outputs:
        raise hostile(f"{len(blocks)} trees in rounds of {outputs}")
    for number, block in enumerate(blocks):
        fields = _fields(_lines(block))
        if fields.get(b"Tree") != b"%d" % number:
            raise hostile(f"tree {number} is not where its size says")
        _check_tree(fields, columns, f"tree {number}")


def _check_classes(header: Fields, outputs: int) -> None:
    """Check that whatever turns scores into answers has as many of them as there are."""
    told = [header.get(b"num_class", b"")]
    for word in header.get(b"objective", b"").split():
        key, mark, value = word.partition(b":")
        if key == b"num_class" and mark:
            told.append(value)
    if set(told) != {b"%d" % outputs}:
        raise hostile(f"{outputs} trees in a round for {_shown(b' and '.join(told))} classes")


def _shown(value: bytes) -> str:
    return value[:40].decode("utf-8", "replace")


def _lines(block: bytes) -> bytes:
    """Return the lines of a tree, which end with the first that is empty; after it nothing may come."""
    lines, _, rest = block.partition(b"\n\n")
    if rest.strip() or any(b"=" not in line for line in lines.splitlines()):
        raise hostile("a tree has lines that are no lists, or lists behind its end")
    return lines


def _fields(block: bytes) -> Fields:
    """Return the lines of a block by their keys; of two alike the library takes the last."""
    found: Fields = {}
    for line in block.splitlines():
        key, mark, value = line.partition(b"=")
        if mark and key in found:
            raise hostile(f"'{_shown(key)}' is given twice")
        if mark:
            found[key] = value
    return found


def _blocks(text: bytes, start: int, header: Fields) -> list[bytes]:
    """Return the text of each tree; the library jumps by the sizes that the header gives."""
    end = text.find(b"\nend of trees", max(start - 1, 0)) + 1
    if not end or (b"\nparameters:" in text[end:] and b"\nend of parameters" not in text[end:]):
        raise BadModelError("the model has no end: was it cut short?")
    if b"tree_sizes" not in header:  # the first versions
        marks = [found.start() for found in re.finditer(rb"^Tree=", text[:end], re.MULTILINE)]
        return [text[a:b] for a, b in itertools.pairwise([*marks, end])]
    sizes = _list(header, b"tree_sizes", "the sizes of trees")
    if not len(sizes):
        return []
    within(sizes, 1, _LARGEST, "the size of a tree")
    if not start or start + int(sizes.sum()) != end:
        raise hostile("the trees do not have the sizes that are said")
    ends = start + np.cumsum(sizes)
    return [text[stop - size : stop] for stop, size in zip(ends, sizes, strict=True)]


def _number(fields: Fields, key: bytes) -> int:
    value = fields.get(key, b"")
    if not value.isdigit() or len(value) > 10 or int(value) >= _LARGEST:
        raise hostile(f"'{key.decode()}' is {_shown(value)!r}")
    return int(value)


def _list(fields: Fields, key: bytes, what: str) -> Indices:
    words = fields.get(key, b"").split()
    if not all(map(_INTEGER.fullmatch, words)):  # C would read "1_0" as 1
        raise BadModelError(f"{what}: '{key.decode()}' is no list of integers")
    return integers([int(word) for word in words], what)


def _check_tree(fields: Fields, columns: int, what: str) -> None:
    leaves = _number(fields, b"num_leaves")
    categories = _number(fields, b"num_cat")
    if not leaves:
        raise hostile(f"{what} has no leaves")
    _check_reals(fields, b"leaf_value", leaves, what)
    linear = fields.get(b"is_linear", b"0") != b"0"
    if leaves == 1 and not linear:
        return  # of which the library reads no more
    for keys, count in ((_PER_LEAF, leaves), (_PER_SPLIT, leaves - 1), ((b"shrinkage",), 1)):
        for key in fields.keys() & set(keys):
            _check_reals(fields, key, count, what)
    if linear:
        _check_linear(fields, leaves, columns, what)
    if leaves == 1:
        return
    inner = leaves - 1
    split, kinds, left, right = (
        _list(fields, key, what)
        for key in (b"split_feature", b"decision_type", b"left_child", b"right_child")
    )
    thresholds = fields.get(b"threshold", b"").split()
    # The first versions have no kinds.
    lengths = {len(split), len(left), len(right), len(thresholds), len(kinds) or inner}
    if lengths != {inner}:
        raise hostile(f"{what} has {leaves} leaves and lists of {sorted(lengths)}")
    within(split, 0, columns, f"the feature of a node in {what}")
    within(kinds, 0, (_MISSING << 2), f"the kind of a split in {what}")
    children = np.concatenate([left, right])
    check_walk(children[children >= 0], inner, what)
    if not np.array_equal(np.sort(~children[children < 0]), np.arange(leaves)):
        raise hostile(f"{what} does not come to each of its {leaves} leaves once")
    _check_categories(fields, categories, kinds, thresholds, what)


def _check_reals(fields: Fields, key: bytes, count: int, what: str) -> None:
    """Check a list of numbers: at one that can't be read the library ends the process."""
    words = fields.get(key, b"").split()
    if len(words) != count or not all(map(_REAL.fullmatch, words)):
        raise hostile(f"{what} does not have {count} numbers as '{key.decode()}'")


def _check_linear(fields: Fields, leaves: int, columns: int, what: str) -> None:
    counts = _list(fields, b"num_features", what)
    features = _list(fields, b"leaf_features", what)
    within(counts, 0, columns + 1, f"the number of columns of a leaf in {what}")
    within(features, 0, columns, f"the feature of a leaf in {what}")
    _check_reals(fields, b"leaf_const", leaves, what)
    _check_reals(fields, b"leaf_coeff", int(counts.sum()), what)
    if len(counts) != leaves or len(features) != counts.sum():
        raise hostile(f"{what} does not have as many factors as its leaves have columns")


def _check_categories(
    fields: Fields, categories: int, kinds: Indices, thresholds: list[bytes], what: str
) -> None:
    chosen = [t for t, kind in zip(thresholds, kinds, strict=False) if kind & _CATEGORICAL]
    if any(not word.isdigit() or len(word) > 10 for word in chosen):
        raise hostile(f"{what} has a split by category without a list")
    within(integers([int(word) for word in chosen], what), 0, categories, f"a list in {what}")
    bounds = _list(fields, b"cat_boundaries", what)
    bits = len(fields.get(b"cat_threshold", b"").split())
    if categories and (len(bounds) != categories + 1 or bounds[0] or bounds[-1] != bits):
        raise hostile(f"{what} does not have {categories} lists of categories")
    if np.any(np.diff(bounds) < 0):
        raise hostile(f"the lists of categories in {what} do not stand one behind the other")
