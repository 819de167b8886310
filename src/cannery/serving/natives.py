"""What compiled code follows without looking: indices inside a fitted estimator, checked before it is asked.

Libraries check the type and the size of what a file brings, and trust it to point somewhere. Objects are
known by the names of their classes, so that nothing is imported for models that have none of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIMPLE = (str, bytes, bytearray, int, float, complex, type(None), np.generic)
_TREE = "sklearn.tree._tree.Tree"
_CODE = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)


def native_problem(thing: Any) -> str | None:
    """Return which object of `thing`, at any depth, points outside of itself; None when all hold."""
    for part in _parts(thing):
        try:
            problem = _problem(part)
        except (
            AttributeError,
            IndexError,
            KeyError,
            TypeError,
            ValueError,
            OverflowError,
        ) as error:
            problem = f"is not whole: {error}"
        if problem:
            return f"an object of '{_class(part)}' {problem}"
    return None


def _parts(thing: Any) -> Iterator[Any]:
    """Yield everything that is not a plain value, each once."""
    seen: dict[int, Any] = {}  # keeps what it saw, lest an id be used again
    waiting = [thing]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (*_SIMPLE, *_CODE)) or id(part) in seen:
            continue
        seen[id(part)] = part
        yield part
        waiting.extend(_inside(part))


def _inside(part: Any) -> Iterator[Any]:
    if isinstance(part, dict):
        yield from part.values()
    if isinstance(part, list | tuple | set | frozenset | deque):
        yield from part
    elif isinstance(part, np.ndarray) and part.dtype.hasobject:
        yield from part.ravel().tolist()
    elif hasattr(part, "func") and hasattr(part, "keywords"):
        yield from (part.func, part.args, part.keywords)
    yield from getattr(part, "__dict__", {}).values()


def _class(part: Any) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _problem(part: Any) -> str | None:
    name = _class(part)
    for prefix, check in _CHECKS:
        if name.startswith(prefix) and (problem := check(part)):
            return problem
    own = getattr(part, "__dict__", {})
    tree, width = own.get("tree_"), own.get("n_features_in_", own.get("n_features_"))
    if _class(tree) == _TREE and width != _width(tree):
        return "takes other columns than its tree"
    return None


def _width(tree: Any) -> int:
    return int(tree.n_features)


def _tree(tree: Any) -> str | None:
    left, right = tree.children_left, tree.children_right
    inner = left != -1
    if not len(left) or not _descends(left[inner], right[inner], np.flatnonzero(inner), len(left)):
        return "has a node whose child does not exist, or is no child"
    return _beyond(tree.feature[inner], tree.n_features)


def _descends(left: NDArray[Any], right: NDArray[Any], at: NDArray[Any], count: int) -> bool:
    """Whether both children stand behind their parent, and in the tree: then no walk goes in circles."""
    return all(bool(np.all((side > at) & (side < count))) for side in (left, right))


def _beyond(features: NDArray[Any], width: int) -> str | None:
    if len(features) and (features.min() < 0 or features.max() >= width):
        return f"looks at a column beyond its {width}"
    return None


def _trees_together(ensemble: Any) -> str | None:
    """Forests and boosted trees look at the columns once, for the first tree."""
    members = np.ravel(np.asarray(getattr(ensemble, "estimators_", ()), object))
    trees = [getattr(member, "tree_", None) for member in members]
    if len({_width(tree) for tree in trees if tree is not None}) > 1:
        return "has trees of different columns"
    return None


def _isolation(forest: Any) -> str | None:
    chosen = getattr(forest, "estimators_features_", ())
    for tree, columns in zip(getattr(forest, "estimators_", ()), chosen, strict=True):
        if len(columns) != _width(tree.tree_):
            return "has a tree of other columns than are chosen for it"
    return None


def _histograms(model: Any) -> str | None:
    for predictor in (p for stage in getattr(model, "_predictors", ()) for p in stage):
        nodes = predictor.nodes
        inner = nodes["is_leaf"] == 0
        at, some = np.flatnonzero(inner), nodes[inner]
        left, right = some["left"].astype(np.int64), some["right"].astype(np.int64)
        if not len(nodes) or not _descends(left, right, at, len(nodes)):
            return "has a node whose child does not exist, or is no child"
        if problem := _beyond(some["feature_idx"].astype(np.int64), model.n_features_in_):
            return problem
        sets = (
            some[some["is_categorical"] != 0] if "is_categorical" in nodes.dtype.names else some[:0]
        )
        if len(sets):
            known = np.asarray(model._bin_mapper.is_categorical_, bool)
            rows = len(predictor.raw_left_cat_bitsets)
            if len(known) != model.n_features_in_ or not known[sets["feature_idx"]].all():
                return "splits a number by categories"
            if sets["bitset_idx"].max() >= rows:
                return "has a node whose categories do not exist"
    return None


def _neighbours(tree: Any) -> str | None:
    data, index, nodes, bounds, _, _, count = tree.__getstate__()[:7]
    rows = len(data)
    first, last = nodes["idx_start"], nodes["idx_end"]
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    if len(index) != rows or (rows and (index.min() < 0 or index.max() >= rows)):
        return "names rows that it has not"
    if not 0 < count == len(nodes) == bounds.shape[1] or bounds.shape[2] != data.shape[1]:
        return "has another number of nodes than it says"
    if np.any((first < 0) | (first > last) | (last > rows)) or np.any(2 * inner + 2 >= count):
        return "has a node that leads out of it"
    return None


def _sparse(matrix: Any) -> str | None:
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)  # raises ValueError
    elif hasattr(matrix, "row") and len(matrix.row):
        sides = ((matrix.row, matrix.shape[0]), (matrix.col, matrix.shape[1]))
        if len(matrix.row) != len(matrix.col) or len(matrix.row) != len(matrix.data):
            return "has lists of different lengths"
        if any(side.min() < 0 or side.max() >= size for side, size in sides):
            return "has an element outside of its shape"
    return None


_POSITIONS = {"MT19937": ("pos", 624), "Philox": ("buffer_pos", 4)}


def _random(source: Any) -> str | None:
    state = source.get_state(legacy=False) if hasattr(source, "get_state") else None
    state = state or getattr(source, "bit_generator", source).state
    key, limit = _POSITIONS.get(state["bit_generator"], ("", 0))
    place = state.get(key, state["state"].get(key, 0))
    return None if 0 <= place <= limit else "stands at a place that it has not"


_CHECKS: tuple[tuple[str, Callable[[Any], str | None]], ...] = (
    ("numpy.random._", _random),
    ("numpy.random.mtrand.RandomState", _random),
    ("scipy.sparse.", _sparse),
    ("sklearn.ensemble._forest.", _trees_together),
    ("sklearn.ensemble._gb.", _trees_together),
    ("sklearn.ensemble._hist_gradient_boosting.gradient_boosting.", _histograms),
    ("sklearn.ensemble._iforest.", _isolation),
    ("sklearn.ensemble.forest.", _trees_together),
    ("sklearn.ensemble.gradient_boosting.", _trees_together),
    ("sklearn.ensemble.iforest.", _isolation),
    ("sklearn.neighbors._ball_tree.", _neighbours),
    ("sklearn.neighbors._kd_tree.", _neighbours),
    (_TREE, _tree),
)
"""Where a class begins → what must hold for its objects."""
