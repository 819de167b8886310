"""Models of XGBoost as JSON and UBJSON, and in the binary form of the generations before.

https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from cannery.audits.trees.ubjson import read_ubjson
from cannery.audits.trees.walks import (
    BadModelError,
    Indices,
    check_walk,
    hostile,
    integers,
    within,
)
from cannery.audits.trees.xgboost_binary import check_binary
from cannery.sources.windows import Data

_LARGEST = 1 << 31
_CATEGORIES = 1 << 24
_OUTPUTS = 1 << 16
"""Outputs that a model may have with fewer trees than these."""
_PER_NODE = (
    "default_left", "left_children", "loss_changes", "parents", "right_children", "split_conditions",
    "split_indices", "split_type", "sum_hessian",
)  # fmt: skip
_OPTIONAL = frozenset({"split_type", "loss_changes", "sum_hessian"})
"""Lists that the first generations of the form, or trees of vectors, do without."""


def check_xgboost(data: Data) -> None:
    """Raise BadModelError for a file whose numbers would lead XGBoost's own code astray."""
    if data[:1] == b"{":
        check_document(read_document(data))
    else:
        check_binary(data)


def read_document(data: Data) -> dict[str, Any]:
    """Return the document of a model in either of its forms; raises BadModelError."""
    if data[1:2] in (b"i", b"U", b"I", b"l", b"L", b"}"):
        document = read_ubjson(data)
    else:
        try:
            document = json.loads(data[:].rstrip(b"\0"), object_pairs_hook=_object)
        except (ValueError, UnicodeDecodeError) as error:
            raise BadModelError(f"not the JSON that it begins as: {error}") from error
    if not isinstance(document, dict):
        raise BadModelError("the document is no object")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadModelError("an object has one key twice", unsafe=True)
    return found


def check_document(document: Mapping[str, Any]) -> None:
    """Raise BadModelError unless the trees of a document are whole; `Config` beside a model is text."""
    learner = _part(_part(document, "Model") if "Model" in document else document, "learner")
    columns, groups = _sizes(_part(learner, "learner_model_param"))
    booster = _part(learner, "gradient_booster")
    name = booster.get("name")
    if name == "gblinear":
        weights = _list(_part(booster, "model"), "weights")
        if len(weights) != (columns + 1) * groups:
            raise hostile(f"a linear model of {columns} columns has {len(weights)} weights")
        return
    if name not in ("gbtree", "dart"):
        raise BadModelError(f"a booster of the kind {str(name)[:40]!r}")
    model = _part(_part(booster, "gbtree") if name == "dart" else booster, "model")
    trees = _list(model, "trees")
    if name == "dart" and len(_list(booster, "weight_drop")) != len(trees):
        raise hostile("there are not as many weights as trees")
    _check_forest(model, len(trees), groups)
    if groups > max(_OUTPUTS, len(trees)):  # every row would get memory for all of them
        raise hostile(f"{len(trees)} trees for {groups} outputs")
    if "cats" in model:
        _check_names(_part(model, "cats"))
    _check_ids(trees)
    for number, tree in enumerate(trees):
        _check_tree(tree, columns, groups, f"tree {number}")


def _part(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = mapping.get(key)
    if not isinstance(part, Mapping):
        raise BadModelError(f"the document has no '{key}'")
    return part


def _list(mapping: Mapping[str, Any], key: str) -> Any:
    found = mapping.get(key)
    if not isinstance(found, list | np.ndarray):
        raise BadModelError(f"the document has no list '{key}'")
    return found


def _number(mapping: Mapping[str, Any], key: str, default: str = "") -> int:
    """Return a parameter, which the library writes as text."""
    text = str(mapping.get(key, default))
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < _LARGEST):
        raise hostile(f"'{key}' is {text[:40]!r}")
    return int(text)


def _sizes(param: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of columns, and of the outputs that trees and weights are made for."""
    groups = max(_number(param, "num_class", "0"), _number(param, "num_target", "1"), 1)
    return _number(param, "num_feature"), groups


def _check_forest(model: Mapping[str, Any], count: int, groups: int) -> None:
    said = _number(_part(model, "gbtree_model_param"), "num_trees")
    outputs = integers(_list(model, "tree_info"), "'tree_info'")
    if said != count or len(outputs) != count:
        raise hostile(f"{count} trees, where {said} are said and {len(outputs)} have an output")
    within(outputs, 0, groups, "the output of a tree")
    if "iteration_indptr" in model:
        starts = integers(_list(model, "iteration_indptr"), "'iteration_indptr'")
        whole = len(starts) and starts[0] == 0 and starts[-1] == count
        if not whole or np.any(np.diff(starts) < 0):
            raise hostile("the rounds do not begin and end with the trees")


def _check_names(cats: Mapping[str, Any]) -> None:
    """Judge the names of categories, which later generations keep beside the trees."""
    total = 0
    for column in _list(cats, "enc"):
        if not isinstance(column, Mapping):
            raise BadModelError("the names of categories are no object")
        length = len(_list(column, "values"))
        if "offsets" not in column:  # numbers, each by itself
            total += length
            continue
        offsets = integers(_list(column, "offsets"), "the names of categories")
        total += max(len(offsets) - 1, 0)
        if len(offsets) and (offsets[0] != 0 or np.any(np.diff(offsets) < 0)):
            raise hostile("the names of categories do not stand one behind the other")
        within(offsets, 0, length + 1, "the end of a name of a category")
    starts = integers(_list(cats, "feature_segments"), "'feature_segments'")
    order = integers(_list(cats, "sorted_idx"), "'sorted_idx'")
    within(starts, 0, total + 1, "the start of a column's categories")
    if len(order) > total or np.any(np.diff(starts) < 0):
        raise hostile("the order of categories is not that of their names")
    within(order, 0, max(total, 1), "the place of a category")


def _check_ids(trees: Any) -> None:
    """Check that every tree has a place of its own: at one without a tree nothing would stand."""
    for number, tree in enumerate(trees):
        if not isinstance(tree, Mapping):
            raise BadModelError(f"tree {number} is no object")
    if not np.array_equal(np.sort([_number(tree, "id") for tree in trees]), np.arange(len(trees))):
        raise hostile("two trees say that they are one")


def _check_tree(tree: Mapping[str, Any], columns: int, groups: int, what: str) -> None:
    param = _part(tree, "tree_param")
    nodes, width = _number(param, "num_nodes"), max(_number(param, "size_leaf_vector", "1"), 1)
    if not nodes or width not in (1, groups):
        raise hostile(f"{what} has {nodes} nodes, and vectors of {width} for {groups} outputs")
    for key in _PER_NODE:
        if (key in tree or key not in _OPTIONAL) and len(_list(tree, key)) != nodes:
            raise hostile(f"{what} has {nodes} nodes and {len(_list(tree, key))} of '{key}'")
    leaves = _list(tree, "leaf_weights") if "leaf_weights" in tree else None
    if leaves is None and len(_list(tree, "base_weights")) != nodes * width:
        raise hostile(f"{what} does not have as many weights as nodes")
    left, right = (integers(_list(tree, f"{s}_children"), what) for s in ("left", "right"))
    inner = left != -1
    if leaves is not None:  # of vectors: a leaf has its place among them there
        if len(leaves) != int(np.sum(~inner)) * width:
            raise hostile(f"{what} does not have as many weights as leaves")
        within(right[~inner], 0, int(np.sum(~inner)), f"the place of a leaf in {what}")
    elif np.any(inner != (right != -1)):
        raise hostile(f"{what} has a node with one child")
    check_walk(np.concatenate([left[inner], right[inner]]), nodes, what)
    # The root has none; each other node is looked up at its parent when the tree is read.
    within(integers(_list(tree, "parents"), what)[1:], 0, nodes, f"the parent of a node in {what}")
    features = integers(_list(tree, "split_indices"), what)[inner]
    within(features, 0, columns, f"the feature of a node in {what}")
    if "split_type" in tree:
        kinds = integers(_list(tree, "split_type"), what)
        within(kinds, 0, 2, f"the kind of a split in {what}")
        _check_categories(tree, np.flatnonzero(inner & (kinds == 1)), what)


def _check_categories(tree: Mapping[str, Any], splits: Indices, what: str) -> None:
    names = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
    values, nodes, starts, sizes = (integers(_list(tree, name), what) for name in names)
    if not len(nodes) == len(starts) == len(sizes) or not np.array_equal(np.sort(nodes), splits):
        raise hostile(f"{what} has other splits by category than lists for them")
    within(values, 0, _CATEGORIES, f"a category in {what}")
    within(starts, 0, len(values) + 1, f"the start of a list of categories in {what}")
    within(sizes, 0, len(values) + 1, f"the length of a list of categories in {what}")
    within(starts + sizes, 0, len(values) + 1, f"the end of a list of categories in {what}")
