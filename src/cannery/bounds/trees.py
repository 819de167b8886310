"""Decision trees and their ensembles: nodes, children, columns, values, depth."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cannery.bounds.things import (
    BLOCK,
    BrokenThingError,
    Numbers,
    Objects,
    Thing,
    attributes,
    integer,
    numbers,
    whole,
    width,
)

TREE = "sklearn.tree._tree.Tree"
HOLDERS = "sklearn.tree._classes."
"""Where the names of estimators around one tree begin."""
PREDICTOR = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
_NODES = (
    ("left_child", "i"), ("right_child", "i"), ("feature", "i"), ("threshold", "f"), ("impurity", "f"),
    ("n_node_samples", "i"), ("weighted_n_node_samples", "f"),
)  # fmt: skip
_MISSING = ("missing_go_to_left", "u")
"""A field of scikit-learn 1.3 and later."""
Places = NDArray[np.int64]
_LARGEST = 1 << 31
_BITSET = 8
"""Words of a set of 256 categories."""


class Grown(NamedTuple):
    """A tree whose parts have the shapes that they should have."""

    nodes: Numbers
    columns: int
    deepest: int


def tree(thing: Thing) -> str | None:
    """Judge the nodes and values of one tree."""
    return _branches([_grown(thing)])


def all_sound(things: Iterable[Thing]) -> bool:
    """Return whether these trees are all sound, many at a time; raises BrokenThingError."""
    groups = _grouped((grown, grown.nodes) for grown in map(_grown, things))
    return all(_branches(group) is None for group in groups)


def all_rooted(things: Iterable[Thing]) -> bool:
    """Return whether these trees of histogram-based boosting are all sound, many at a time."""
    groups = _grouped((nodes, nodes) for nodes in map(_planted, things))
    return all(_descending(group) is None for group in groups)


Item = TypeVar("Item")


def _grouped(items: Iterable[tuple[Item, Numbers]]) -> Iterator[list[Item]]:
    """Yield items whose nodes are of one type, as many as fit into a block together."""
    group: list[Item] = []
    size, dtype = 0, None
    for item, nodes in items:
        width = nodes.shape[0] * nodes.dtype.itemsize
        if group and (size + width > BLOCK or (nodes.dtype is not dtype and nodes.dtype != dtype)):
            yield group
            group, size = [], 0
        group.append(item)
        size, dtype = size + width, nodes.dtype
    if group:
        yield group


def _grown(thing: Thing) -> Grown:
    state, arguments = attributes(thing), thing.arguments
    if len(arguments) != 3:
        raise BrokenThingError("was not made as trees are")
    columns, outputs = integer(arguments[0]), integer(arguments[2])
    classes = numbers(arguments[1], 1)
    if not 0 < outputs < _LARGEST or classes.shape != (outputs,):
        raise BrokenThingError("has another number of outputs than it says")
    counts = whole(classes).tolist()
    if min(counts) < 1 or max(counts) >= _LARGEST:
        raise BrokenThingError("has another number of outputs than it says")
    nodes, values = numbers(state["nodes"], 1, "V"), numbers(state["values"], 3, "f")
    if not _written(nodes.dtype):
        raise BrokenThingError("has nodes that scikit-learn does not write")
    count = nodes.shape[0]
    if count != integer(state["node_count"]) or not count:
        raise BrokenThingError("has another number of nodes than it says")
    if values.shape != (count, outputs, max(counts)):
        raise BrokenThingError("has values of another shape than its outputs")
    return Grown(nodes, columns, integer(state["max_depth"]))


@functools.lru_cache(maxsize=16)
def _written(nodes: np.dtype[Any]) -> bool:
    names = nodes.names or ()
    kinds = tuple((name, nodes[name].kind) for name in names)
    return kinds in (_NODES, (*_NODES, _MISSING))


def _branches(group: Sequence[Grown]) -> str | None:
    """Judge the nodes of trees."""
    fields = _columns([grown.nodes for grown in group], *_WALKED)
    counts = [grown.nodes.shape[0] for grown in group]
    columns, deepest = [grown.columns for grown in group], [grown.deepest for grown in group]
    return _walks(fields, *(np.array(own, dtype=np.int64) for own in (counts, columns, deepest)))


_WALKED = ("left_child", "right_child", "feature")


def all_walkable(nodes: NDArray[Any], counts: Places, columns: Places, deepest: Places) -> bool:
    """Return whether the nodes of trees, one tree behind the other, are all sound."""
    fields = tuple(nodes[field].astype(np.int64) for field in _WALKED)
    return _walks(fields, counts, columns, deepest) is None


def _walks(
    fields: tuple[NDArray[Any], ...], counts: Places, columns: Places, deepest: Places
) -> str | None:
    """Judge the nodes of trees, which stand one tree behind the other as if they were one."""
    ends: Places = np.cumsum(counts)
    first = ends - counts
    root, end = np.repeat(first, counts), np.repeat(ends, counts)
    left, right, at = fields
    inner = np.flatnonzero(left != -1)
    children = np.concatenate((left[inner] + root[inner], right[inner] + root[inner]))
    parents = np.concatenate((inner, inner))
    if not bool(np.all((children > parents) & (children < end[parents]))):
        return _ASTRAY
    if not bool(np.all((at[inner] >= 0) & (at[inner] < np.repeat(columns, counts)[inner]))):
        return f"looks at a column beyond its {columns[0]}"
    if len(children) and np.bincount(children).max() > 1:
        return "has nodes that share a child"
    above = root.copy()
    above[children] = parents
    deep = np.maximum.reduceat(_depths(above, root), first)
    return None if bool(np.all(deep <= deepest)) else "is deeper than it says"


_ASTRAY = "has a node whose child does not exist, or is no child"


def _columns(trees: Sequence[Numbers], *fields: str) -> tuple[NDArray[Any], ...]:
    blocks: Iterable[NDArray[Any]] = (block for nodes in trees for block in nodes.blocks())
    if len(trees) > 1:  # a group, which is as long as a block at most
        whole = b"".join([block.tobytes() for block in blocks])
        blocks = [np.frombuffer(whole, trees[0].dtype)]
    parts = [[block[field].astype(np.int64) for field in fields] for block in blocks]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _depths(parents: NDArray[np.int64], root: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the length of the way from every node to its root, where every parent stands before its child."""
    steps: NDArray[np.int64] = (np.arange(len(root)) != root).astype(np.int64)
    while not np.array_equal(parents, root):
        steps = steps + steps[parents]
        parents = parents[parents]
    return steps


def _beyond(features: NDArray[Any], columns: int) -> str | None:
    if len(features) and (features.min() < 0 or features.max() >= columns):
        return f"looks at a column beyond its {columns}"
    return None


def holder(thing: Thing) -> str | None:
    """Judge an estimator around one tree: it checks the columns for it."""
    inner = attributes(thing).get("tree_")
    if inner is None:
        return None
    return None if width(thing) == _columns_of(inner) else "takes other columns than its tree"


def _columns_of(inner: Any) -> int:
    if not isinstance(inner, Thing) or inner.name != TREE or not inner.arguments:
        raise BrokenThingError("has a tree that is none")
    return integer(inner.arguments[0])


def _members(thing: Thing) -> Iterator[Any]:
    members = attributes(thing).get("estimators_", ())
    yield from members.items if isinstance(members, Objects) else members


def _trees(thing: Thing) -> list[int]:
    """Return the columns of every tree of an ensemble."""
    return [
        member.columns
        if isinstance(member, Thing) and member.columns is not None
        else _columns_of(attributes(member).get("tree_"))
        for member in _members(thing)
    ]


def forest(thing: Thing) -> str | None:
    """Judge a forest: it checks the columns once, for all of its trees."""
    return None if set(_trees(thing)) <= {width(thing)} else "has trees of different columns"


def isolation(thing: Thing) -> str | None:
    """Judge an isolation forest, in which every tree has columns of its own."""
    trees = _trees(thing)
    chosen = attributes(thing).get("estimators_features_", ())
    if len(chosen) != len(trees):
        return "has another number of trees than of choices of columns"
    for columns, own in zip(trees, chosen, strict=True):
        if numbers(own, 1).shape != (columns,):
            return "has a tree of other columns than are chosen for it"
    return None


def stages(thing: Thing) -> str | None:
    """Judge boosted trees: every stage adds to as many scores as a row has."""
    state = attributes(thing)
    members = state.get("estimators_")
    if members is None:
        return None
    if not isinstance(members, Objects) or len(members.shape) != 2:
        return "has stages that are no table of trees"
    return forest(thing) or _scores(state, members.shape[1])


_SEVERAL = ("HalfMultinomialLoss", "MultinomialDeviance")


def _scores(state: Mapping[str, Any], trees: int) -> str | None:
    loss, init = state.get("_loss", state.get("loss_")), state.get("init_")
    several = isinstance(loss, Thing) and loss.name.endswith(_SEVERAL) and _is_plain(loss)
    if init == "zero":
        known = state.get("n_trees_per_iteration_")
        if known is None and isinstance(loss, Thing):
            known = attributes(loss).get("K")
        scores = integer(known)
    elif several and isinstance(init, Thing):
        scores = _classes(attributes(init))
    else:
        scores = 1
    return None if scores == trees else f"adds {trees} trees to {scores} scores"


def _is_plain(loss: Thing) -> bool:
    """Return whether a loss has the number of scores of its class."""
    return attributes(loss).get("is_multiclass", True) is True


def _classes(state: Mapping[str, Any]) -> int:
    """Return how many probabilities a classifier answers, -1 where its parts differ on that."""
    parts = (state.get(name) for name in ("class_prior_", "classes_", "coef_"))
    sizes = {part.shape[0] for part in parts if isinstance(part, Numbers) and part.shape}
    if "n_classes_" in state:
        sizes.add(integer(state["n_classes_"]))
    return sizes.pop() if len(sizes) == 1 else -1


# Histogram-based boosting


def predictor(thing: Thing) -> str | None:
    """Judge one tree of histogram-based boosting."""
    return _descending([_planted(thing)])


def _planted(thing: Thing) -> Numbers:
    """Return the nodes of a tree whose sets of categories have the size that they should have."""
    state = attributes(thing)
    for name in ("raw_left_cat_bitsets", "binned_left_cat_bitsets"):
        sets = state.get(name)
        if sets is not None and numbers(sets, 2).shape[1] != _BITSET:
            raise BrokenThingError("has sets of categories of another size")
    return numbers(state["nodes"], 1, "V")


def _descending(group: Sequence[Numbers]) -> str | None:
    """Judge trees in which both children of a node stand behind it: then no walk goes in circles."""
    counts = np.array([nodes.shape[0] for nodes in group], dtype=np.int64)
    if not counts.all():
        return _ASTRAY
    ends: NDArray[np.int64] = np.cumsum(counts)
    leaf, left, right = _columns(group, "is_leaf", "left", "right")
    at = np.flatnonzero(leaf == 0)
    first, end = np.repeat(ends - counts, counts)[at], np.repeat(ends, counts)[at]
    for side in (left[at] + first, right[at] + first):
        if not bool(np.all((side > at) & (side < end))):
            return _ASTRAY
    return None


def _inner(group: Sequence[Numbers]) -> tuple[NDArray[Any], ...]:
    """Return of the inner nodes: number of the tree, column; whether it asks for a category, and its set."""
    fields: tuple[str, ...] = ("is_leaf", "feature_idx")
    if set(group[0].dtype.names or ()) >= {"is_categorical", "bitset_idx"}:
        fields += ("is_categorical", "bitset_idx")
    leaf, *columns = _columns(group, *fields)
    owner = np.repeat(np.arange(len(group)), [nodes.shape[0] for nodes in group])
    at = np.flatnonzero(leaf == 0)
    return tuple(column[at] for column in (owner, *columns))


def histograms(thing: Thing) -> str | None:
    """Judge a model of histogram-based boosting: columns, and sets of categories."""
    state = attributes(thing)
    columns = width(thing)
    predictors = [one for stage in state.get("_predictors", ()) for one in stage]
    if predictors and columns is None:
        return "does not say how many columns it takes"
    known: NDArray[np.bool_] | None = None
    parts = [attributes(one) for one in predictors]
    grown = ((part, numbers(part["nodes"], 1, "V")) for part in parts)
    for group in _grouped(grown):
        owner, features, *sets = _inner([numbers(part["nodes"], 1, "V") for part in group])
        if problem := _beyond(features, columns or 0):
            return problem
        if not sets or not sets[0].any():
            continue
        known = _categorical(state, columns or 0) if known is None else known
        asking = sets[0] != 0
        if not known[features[asking]].all():
            return "splits a number by categories"
        rows = [numbers(part["raw_left_cat_bitsets"], 2).shape[0] for part in group]
        if bool(np.any(sets[1][asking] >= np.array(rows)[owner[asking]])):
            return "has a node whose categories do not exist"
    return _remapped(state, columns) if predictors else None


def _categorical(state: Mapping[str, Any], columns: int) -> NDArray[np.bool_]:
    mask = numbers(attributes(state["_bin_mapper"])["is_categorical_"], 1, "bu")
    if mask.shape != (columns,):
        raise BrokenThingError("has categories for other columns")
    return whole(mask).astype(bool)


_KEEPS = ("sklearn.preprocessing._encoders.OrdinalEncoder", "FunctionTransformer")


def _remapped(state: Mapping[str, Any], columns: int | None) -> str | None:
    """Judge what puts the categories in front (since scikit-learn 1.4): no column may get lost."""
    before = state.get("_preprocessor")
    if before is None:
        return None
    inside = attributes(before)
    chosen = inside["_transformer_to_input_indices"]
    kept = 0
    for name, step, *_ in inside["transformers_"]:
        if isinstance(step, Thing) and step.name.endswith(_KEEPS) and isinstance(chosen, Mapping):
            kept += len(chosen[name]) if isinstance(chosen[name], Sequence) else 0
            function = attributes(step).get("func")
            if function is not None and not _checks(function):
                return "has a step in front that may drop columns"
    return None if kept == columns else "drops columns that its trees look at"


def _checks(function: Any) -> bool:
    """Whether a function is scikit-learn's check of arrays, with or without arguments bound."""
    name = getattr(function, "name", "")
    return bool(str(name).endswith("sklearn.utils.validation.check_array"))
