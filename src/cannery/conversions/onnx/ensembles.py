"""Estimators that let others decide: votes, stacks and bags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.answers import (
    by_highest,
    first_highest,
    mean,
    stand,
)
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, join, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter, qualified_name
from cannery.conversions.onnx.forests import emit_mean
from cannery.conversions.onnx.layouts import Tree
from cannery.conversions.onnx.maps import as_numbers
from cannery.conversions.onnx.results import Classified, Predicted, width_of
from cannery.conversions.onnx.trees import fractions, tree_of

_TREES = ("DecisionTree", "ExtraTree")


def total_of(graph: Graph, wires: list[str]) -> str:
    """Add in order, as scikit-learn does."""
    total = wires[0]
    for wire in wires[1:]:
        total = graph.node("Add", [total, wire])
    return total


def _average(graph: Graph, wires: list[str], weights: Any) -> str:
    """Return numpy's average of equal shapes."""
    if weights is None:
        return mean(graph, total_of(graph, wires), len(wires))
    scaled = [
        graph.node("Mul", [wire, graph.constant(float(w))])
        for wire, w in zip(wires, weights, strict=True)
    ]
    return mean(graph, total_of(graph, scaled), float(np.sum(weights)))


def _voting_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph = emitter.graph
    names = [name for name, member in estimator.estimators if not isinstance(member, str)]
    members = [
        emitter.at(name).classify(member, block)
        for name, member in zip(names, estimator.estimators_, strict=True)
    ]
    if estimator.voting == "soft":
        wires = [_probabilities(emitter, estimator, m) for m in members]
        return by_highest(
            graph, estimator.classes_, _average(graph, wires, estimator._weights_not_none)
        )
    every = graph.constant(np.arange(len(estimator.classes_)).reshape(1, -1))
    weights = estimator._weights_not_none or [1] * len(members)
    votes = []
    for member, weight in zip(members, weights, strict=True):
        chosen = graph.node(
            "Gather", [graph.constant(member.classes.astype(np.int64)), member.index]
        )
        vote = as_numbers(graph, graph.node("Equal", [stand(graph, chosen), every]))
        votes.append(graph.node("Mul", [vote, graph.constant(float(weight))]))
    return Classified(
        classes=estimator.classes_, index=first_highest(graph, total_of(graph, votes))
    )


def _probabilities(emitter: Emitter, estimator: Any, member: Classified) -> str:
    if member.probabilities is None:
        raise emitter.refuse(estimator, "one of its members has no probabilities")
    return member.probabilities


def _voting_regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    members = [
        emitter.at(str(i)).regress(member, block).value
        for i, member in enumerate(estimator.estimators_)
    ]
    return Predicted(value=_average(emitter.graph, members, estimator._weights_not_none))


def _stack(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Return what the final estimator of a stack sees."""
    parts = []
    for i, (member, method) in enumerate(
        zip(estimator.estimators_, _methods(estimator), strict=True)
    ):
        result = emitter.at(str(i)).emit(member, block)
        parts.append(_seen(emitter, estimator, result, method))
    if estimator.passthrough:
        parts.append(block.numeric())
    return join(parts)


def _methods(estimator: Any) -> list[str]:
    return [m for m in estimator.stack_method_ if m is not None]


def _seen(emitter: Emitter, estimator: Any, result: Any, method: str) -> Block:
    graph = emitter.graph
    match result, method:
        case Predicted(), "predict":
            return of_wire(graph, result.value, result.columns)
        case Classified(), "predict_proba" if result.probabilities is not None:
            width = len(result.classes)
            whole = of_wire(graph, result.probabilities, width)
            return whole.take([1]) if width == 2 else whole
        case Classified(), "decision_function" if result.scores is not None:
            return of_wire(graph, result.scores, width_of(result))
        case Classified(), "predict" if np.asarray(result.classes).dtype.kind in "iub":
            values = graph.constant(np.asarray(result.classes, dtype=float))
            return of_wire(graph, stand(graph, graph.node("Gather", [values, result.index])), 1)
        case _:
            raise emitter.refuse(estimator, f"it stacks the '{method}' of one of its members")


def _stacking_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    stacked = _stack(emitter, estimator, block)
    final = emitter.at("final_estimator_").classify(estimator.final_estimator_, stacked)
    return replace(final, classes=estimator.classes_[np.asarray(final.classes, dtype=np.int64)])


def _stacking_regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    stacked = _stack(emitter, estimator, block)
    return emitter.at("final_estimator_").regress(estimator.final_estimator_, stacked)


def is_tree(member: Any) -> bool:
    """Tell whether a member is a tree of scikit-learn's, whose arrays can be taken as they are."""
    return qualified_name(type(member)).startswith(tuple(f"sklearn.tree.{t}" for t in _TREES))


def _members(estimator: Any) -> list[tuple[Any, NDArray[Any]]]:
    """Return the members and the columns that each sees."""
    bare = map(_bare, estimator.estimators_)
    return list(zip(bare, estimator.estimators_features_, strict=True))


def _bare(member: Any) -> Any:
    """Return what is behind samplers, which are for training alone."""
    *before, last = [step for _, step in getattr(member, "steps", [("", member)])]
    return last if all(hasattr(step, "fit_resample") for step in before) else member


def _bagged(estimator: Any, values: list[NDArray[np.float64]]) -> list[Tree]:
    """Return bagged trees, each of which sees columns of its own."""
    trees: list[Tree] = []
    for (member, chosen), leaves in zip(_members(estimator), values, strict=True):
        tree = tree_of(member.tree_, leaves)
        trees.append(replace(tree, feature=np.asarray(chosen)[tree.feature]))
    return trees


def _bagging_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, count = emitter.graph, len(estimator.classes_)
    members = _members(estimator)
    if all(is_tree(m) for m, _ in members):
        values = [
            _spread(fractions(m.tree_, len(m.classes_)), m.classes_, count) for m, _ in members
        ]
        shares = emit_mean(graph, block, _bagged(estimator, values))
    else:
        parts = []
        for i, (member, chosen) in enumerate(members):
            result = emitter.at(str(i)).classify(member, block.take(chosen.tolist()))
            parts.append(_share(emitter, estimator, member, result))
        shares = mean(graph, total_of(graph, parts), len(members))
    return by_highest(graph, estimator.classes_, shares)


def _share(emitter: Emitter, estimator: Any, member: Any, result: Classified) -> str:
    """Return what a bagged member adds: its probabilities, or without these its vote."""
    graph, count = emitter.graph, len(estimator.classes_)
    places = np.eye(count)[np.asarray(result.classes, dtype=np.int64)]
    if not hasattr(member, "predict_proba"):
        return graph.node("Gather", [graph.constant(places), result.index])
    made = _probabilities(emitter, estimator, result)
    if len(result.classes) == count:
        return made
    return graph.node("MatMul", [made, graph.constant(places)])


def _spread(values: NDArray[np.float64], seen: Any, count: int) -> NDArray[np.float64]:
    """Place the columns of the classes that a member has seen among all classes."""
    whole = np.zeros((len(values), count))
    whole[:, np.asarray(seen, dtype=np.int64)] = values
    return whole


def _bagging_regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    graph = emitter.graph
    members = _members(estimator)
    if all(is_tree(m) and m.n_outputs_ == 1 for m, _ in members):
        trees = _bagged(estimator, [m.tree_.value[:, :, 0] for m, _ in members])
        return Predicted(value=emit_mean(graph, block, trees))
    parts = [
        emitter.at(str(i)).regress(member, block.take(chosen.tolist()))
        for i, (member, chosen) in enumerate(members)
    ]
    total = total_of(graph, [p.value for p in parts])
    return replace(parts[0], value=mean(graph, total, len(members)))


_SKLEARN = "sklearn.ensemble."

TABLE: dict[str, Emit] = {
    _SKLEARN + "VotingClassifier": _voting_classifier,
    _SKLEARN + "VotingRegressor": _voting_regressor,
    _SKLEARN + "StackingClassifier": _stacking_classifier,
    _SKLEARN + "StackingRegressor": _stacking_regressor,
    "imblearn.ensemble._bagging.BalancedBaggingClassifier": _bagging_classifier,
    "imblearn.ensemble._easy_ensemble.EasyEnsembleClassifier": _bagging_classifier,
    _SKLEARN + "BaggingClassifier": _bagging_classifier,
    _SKLEARN + "BaggingRegressor": _bagging_regressor,
}
