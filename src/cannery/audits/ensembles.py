"""Tree ensembles in a graph: every index points at something, and no walk goes round in circles.

The runtime follows these indices in native code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

_LARGEST = 1 << 62


def ensemble_problem(operator: str, attributes: Mapping[str, Any], width: int | None) -> str | None:
    """Return what is wrong with a tree ensemble's indices, None when they hold.

    `width` is the number of input columns where that is known.
    """
    try:
        if operator == "TreeEnsemble":
            return _new_problem(attributes, width)
        return _old_problem(operator, attributes, width)
    except (TypeError, ValueError, OverflowError):
        return "a tree ensemble has attributes of the wrong type"


def _integers(attributes: Mapping[str, Any], name: str) -> Indices:
    return np.asarray(attributes.get(name, []), dtype=np.int64).reshape(-1)


def _feature_problem(features: Indices, width: int | None) -> str | None:
    if len(features) and (features.min() < 0 or (width is not None and features.max() >= width)):
        worst = int(features.max()) if features.min() >= 0 else int(features.min())
        return f"a tree looks at feature {worst} of {width if width is not None else 'few'}"
    return None


def _new_problem(attributes: Mapping[str, Any], width: int | None) -> str | None:
    features = _integers(attributes, "nodes_featureids")
    count = len(features)
    leaves = _integers(attributes, "leaf_targetids")
    roots = _integers(attributes, "tree_roots")
    targets = int(attributes.get("n_targets", 0))
    children = []
    for side in ("true", "false"):
        ids = _integers(attributes, f"nodes_{side}nodeids")
        is_leaf = _integers(attributes, f"nodes_{side}leafs")
        if len(ids) != count or len(is_leaf) != count or np.any((is_leaf < 0) | (is_leaf > 1)):
            return "a tree ensemble has lists of different lengths"
        bound = np.where(is_leaf == 1, len(leaves), count)
        if np.any((ids < 0) | (ids >= bound)):
            return "a node of a tree has a child that does not exist"
        children.append(ids[is_leaf == 0])
    if len(roots) == 0 or np.any((roots < 0) | (roots >= count)):
        return "a tree has a root that does not exist"
    if np.any((leaves < 0) | (leaves >= targets)):
        return "a leaf of a tree votes for a target that does not exist"
    for name in ("nodes_splits", "nodes_modes"):
        if attributes.get(f"{name}.elements") != count:
            return "a tree ensemble has lists of different lengths"
    if attributes.get("leaf_weights.elements") != len(leaves):
        return "a tree ensemble has lists of different lengths"
    # A root of several trees costs the runtime the square of their number.
    parents = np.bincount(np.concatenate([*children, roots]), minlength=count)
    if np.any(parents > 1):
        return "a tree goes round in circles, or shares nodes"
    return _feature_problem(features, width)


_LISTS = ("nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids")


def _old_problem(operator: str, attributes: Mapping[str, Any], width: int | None) -> str | None:
    trees = _integers(attributes, "nodes_treeids")
    nodes, features, yes, no = (_integers(attributes, name) for name in _LISTS)
    modes = attributes.get("nodes_modes", [])
    count = len(trees)
    values = attributes.get("nodes_values") or []
    number = len(values) if values else attributes.get("nodes_values_as_tensor.elements")
    if not count or {len(nodes), len(features), len(yes), len(no), len(modes), number} != {count}:
        return "a tree ensemble has lists of different lengths"
    if min(trees.min(), nodes.min()) < 0 or trees.max() >= _LARGEST // (int(nodes.max()) + 1):
        return "a tree has impossible node ids"
    keys = trees * (int(nodes.max()) + 1) + nodes
    order = np.argsort(keys, kind="stable")
    if np.any(np.diff(keys[order]) == 0):
        return "two nodes of a tree have one id"
    branch = np.array([mode != b"LEAF" for mode in modes])
    children = []
    for side in (yes, no):
        wanted = trees[branch] * (int(nodes.max()) + 1) + side[branch]
        found = np.clip(np.searchsorted(keys[order], wanted), 0, count - 1)
        if np.any(keys[order][found] != wanted) or np.any(side[branch] > nodes.max()):
            return "a node of a tree has a child that does not exist"
        children.append(order[found])
    parents = np.bincount(np.concatenate(children), minlength=count)
    distinct, first = np.unique(trees, return_index=True)
    if np.any(parents > 1) or np.any(parents[first] > 0) or np.sum(parents == 0) != len(distinct):
        return "a tree goes round in circles, or shares nodes"
    return _feature_problem(features[branch], width) or _votes_problem(
        operator, attributes, set(zip(trees.tolist(), nodes.tolist(), strict=True))
    )


def _votes_problem(
    operator: str, attributes: Mapping[str, Any], known: set[tuple[int, int]]
) -> str | None:
    kind = "class" if operator == "TreeEnsembleClassifier" else "target"
    ids = _integers(attributes, f"{kind}_ids")
    trees = _integers(attributes, f"{kind}_treeids")
    nodes = _integers(attributes, f"{kind}_nodeids")
    weights = attributes.get(f"{kind}_weights") or []
    number = len(weights) if weights else attributes.get(f"{kind}_weights_as_tensor.elements")
    if {len(trees), len(nodes), number} != {len(ids)}:
        return "a tree ensemble has lists of different lengths"
    if kind == "class":
        names = ("classlabels_int64s", "classlabels_strings")
        targets = max(len(attributes.get(name) or []) for name in names)
    else:
        targets = int(attributes.get("n_targets", 1))
    if np.any((ids < 0) | (ids >= max(targets, 1))):
        return "a leaf of a tree votes for a target that does not exist"
    if not set(zip(trees.tolist(), nodes.tolist(), strict=True)) <= known:
        return "a vote belongs to a leaf that does not exist"
    return None
