"""From a fitted scikit-learn estimator to the bytes of an ONNX model that answers the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.cans.manifest import Feed
from cannery.conversions.onnx import (
    bayes,
    boosts,
    catboost,
    clusters,
    composites,
    embeddings,
    encoders,
    ensembles,
    gaussians,
    histograms,
    imputers,
    interpolations,
    kernels,
    lightgbm,
    linear,
    machines,
    multiples,
    neighbors,
    outliers,
    projections,
    propagations,
    scalers,
    simples,
    splines,
    targets,
    texts,
    thresholds,
    topics,
    trees,
    xgboost,
)
from cannery.conversions.onnx.answers import column, concat, flat, stand
from cannery.conversions.onnx.builder import NUMBERS, STRINGS, Graph
from cannery.conversions.onnx.columns import Block, materialise, of_features
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.results import (
    Classified,
    Clustered,
    Outlying,
    Predicted,
    Result,
    Several,
    width_of,
)
from cannery.errors import ConversionError
from cannery.signatures import Feature

TABLE: dict[str, Emit] = {
    **bayes.TABLE,
    **boosts.TABLE,
    **catboost.TABLE,
    **clusters.TABLE,
    **composites.TABLE,
    **embeddings.TABLE,
    **encoders.TABLE,
    **gaussians.TABLE,
    **ensembles.TABLE,
    **histograms.TABLE,
    **imputers.TABLE,
    **interpolations.TABLE,
    **kernels.TABLE,
    **lightgbm.TABLE,
    **linear.TABLE,
    **machines.TABLE,
    **multiples.TABLE,
    **neighbors.TABLE,
    **outliers.TABLE,
    **projections.TABLE,
    **propagations.TABLE,
    **scalers.TABLE,
    **simples.TABLE,
    **splines.TABLE,
    **targets.TABLE,
    **texts.TABLE,
    **thresholds.TABLE,
    **topics.TABLE,
    **trees.TABLE,
    **xgboost.TABLE,
}
"""Every class that converts, by its public name."""

_Output = tuple[str, str, int, int | None]


def convert(
    estimator: Any, features: tuple[Feature, ...], name: str
) -> tuple[bytes, tuple[Feed, ...]]:
    """Emit the fitted `estimator` as a serialised ONNX model, with the features that fill its inputs.

    Inputs: `numbers` (double [N, K], the features that are not strings) and `strings` (string [N, M],
    `NULL_STRING` where missing), each left out when it would be empty, and for every text that is cut
    into terms one of its own. Outputs: a classifier's `label`
    [N] and `probabilities` [N, C] (without these, `scores`), of several labels
    side by side; a regressor's `prediction`, [N] or [N, k];
    a transformer's `columns` [N, k]; a clusterer's `label` [N]; a detector's `label` and `scores` [N]. The same model gives the same bytes.
    Raises ConversionError naming the step that can't be converted exactly.
    """
    if not features:
        raise ConversionError("no features are given", hint="give a sample or a signature")
    numbers = tuple(f.name for f in features if f.type != "string")
    strings = tuple(f.name for f in features if f.type == "string")
    graph = Graph(len(numbers), len(strings))
    result = Emitter(graph=graph, table=TABLE).emit(estimator, of_features(features))
    data = graph.finish(name, _outputs(graph, result))
    feeds = []
    if numbers:
        feeds.append(Feed(input=NUMBERS, dtype="float64", features=numbers))
    if strings:
        feeds.append(Feed(input=STRINGS, dtype="string", features=strings))
    for (feature, terms), wire in graph.texts.items():
        feeds.append(Feed(input=wire, dtype="string", features=(feature,), terms=terms))
    return data, tuple(feeds)


def _outputs(graph: Graph, result: Result) -> tuple[_Output, ...]:
    match result:
        case Classified():
            wire, element = _label(graph, result)
            return (("label", wire, element, None), *_certainty(result))
        case Several():
            return _several(graph, result)
        case Clustered(index=index):
            return (("label", index, TensorProto.INT64, None),)
        case Outlying(inlier=inlier, scores=scores):
            signs = graph.node("Gather", [graph.constant(np.array([-1, 1])), inlier])
            return (
                ("label", signs, TensorProto.INT64, None),
                ("scores", flat(graph, scores), TensorProto.DOUBLE, None),
            )
        case Predicted(value=value, columns=columns, flat=is_flat):
            if is_flat:
                return (("prediction", flat(graph, value), TensorProto.DOUBLE, None),)
            return (("prediction", value, TensorProto.DOUBLE, columns),)
        case Block():
            wire = materialise(graph, result)
            return (("columns", wire, TensorProto.DOUBLE, len(result)),)


def _label(graph: Graph, result: Classified) -> tuple[str, int]:
    """Return the label [N] in the type of the classes: string, boolean, integer or double."""
    classes = np.asarray(result.classes)
    if classes.dtype == object:
        classes = np.array(classes.tolist())
    kinds = {
        "U": (object, TensorProto.STRING),
        "b": (np.bool_, TensorProto.BOOL),
        "i": (np.int64, TensorProto.INT64),
        "u": (np.int64, TensorProto.INT64),
        "f": (np.float64, TensorProto.DOUBLE),
    }
    if classes.dtype.kind not in kinds or classes.ndim != 1:
        raise ConversionError(f"labels of type {classes.dtype} can't be answered")
    kind, element = kinds[classes.dtype.kind]
    values: NDArray[Any] = classes.astype(kind)
    if element == TensorProto.INT64 and np.array_equal(values, np.arange(len(values))):
        return result.index, element
    return graph.node("Gather", [graph.constant(values), result.index]), element


def _several(graph: Graph, result: Several) -> tuple[_Output, ...]:
    """Return the labels side by side, and so their probabilities where every part has some."""
    labels = [_label(graph, part) for part in result.parts]
    if len({element for _, element in labels}) > 1:
        raise ConversionError("its labels are of several types")
    wire = concat(graph, [stand(graph, wire) for wire, _ in labels])
    outputs: list[_Output] = [("label", wire, labels[0][1], len(labels))]
    known = [p.probabilities for p in result.parts if p.probabilities is not None]
    if len(known) == len(labels):
        chosen = [column(graph, wire, 1) for wire in known] if result.indicator else known
        width = len(known) if result.indicator else sum(len(p.classes) for p in result.parts)
        outputs.append(("probabilities", concat(graph, chosen), TensorProto.DOUBLE, width))
    return tuple(outputs)


def _certainty(result: Classified) -> tuple[_Output, ...]:
    count = len(result.classes)
    if result.probabilities is not None:
        return (("probabilities", result.probabilities, TensorProto.DOUBLE, count),)
    if result.scores is not None:
        return (("scores", result.scores, TensorProto.DOUBLE, width_of(result)),)
    return ()
