"""Estimators made of estimators: pipelines, column transformers, searches, targets that are transformed."""

from __future__ import annotations

from typing import Any

from cannery.conversions.onnx.columns import Block, join, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import FUNCTIONS, Arithmetic, Function
from cannery.conversions.onnx.results import Predicted, Result


def _is_passthrough(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _is_drop(step: Any) -> bool:
    return isinstance(step, str) and step == "drop"


def _pipeline(emitter: Emitter, estimator: Any, block: Block) -> Result:
    *transformers, (last, final) = estimator.steps
    for name, step in transformers:
        if not _is_passthrough(step):
            block = emitter.at(name).transform(step, block)
    return block if _is_passthrough(final) else emitter.at(last).emit(final, block)


def _column_transformer(emitter: Emitter, estimator: Any, block: Block) -> Block:
    parts: list[Block] = []
    for name, step, _ in estimator.transformers_:
        indices = [int(i) for i in estimator._transformer_to_input_indices.get(name, [])]
        if _is_drop(step) or not indices:
            continue
        inputs = _chosen(emitter, estimator, block, indices)
        part = inputs
        if not _is_passthrough(step):
            part = emitter.at(name).transform(step, inputs)
        parts.append(_weighted(part, (estimator.transformer_weights or {}).get(name)))
    sparse = bool(getattr(estimator, "sparse_output_", False))
    return join(parts, sparse=sparse).named(None)


def _chosen(emitter: Emitter, estimator: Any, block: Block, indices: list[int]) -> Block:
    """Return the columns by the names seen at fitting where there are some, else by position."""
    fitted = getattr(estimator, "feature_names_in_", None)
    names = [c.name for c in block.columns]
    if fitted is None or any(n is None for n in names):
        return block.take(indices)
    missing = [fitted[i] for i in indices if fitted[i] not in names]
    if missing:
        raise emitter.refuse(
            estimator,
            f"the column '{missing[0]}' is not among the features",
            "give a sample or a signature with every column that the model was fitted on",
        )
    return block.take([names.index(fitted[i]) for i in indices])


def _weighted(block: Block, weight: float | None) -> Block:
    if weight is None:
        return block
    columns = block.numeric().columns
    return Block(tuple(c.then(Arithmetic("Mul", float(weight))) for c in columns), block.sparse)


def _union(emitter: Emitter, estimator: Any, block: Block) -> Block:
    parts: list[Block] = []
    for name, step in estimator.transformer_list:
        if _is_drop(step):
            continue
        part = block if _is_passthrough(step) else emitter.at(name).transform(step, block)
        parts.append(_weighted(part, (estimator.transformer_weights or {}).get(name)))
    return join(parts, sparse=any(p.sparse for p in parts)).named(None)


def _search(emitter: Emitter, estimator: Any, block: Block) -> Result:
    if not hasattr(estimator, "best_estimator_"):
        raise emitter.refuse(estimator, "it holds no refitted estimator", "fit it with refit=True")
    return emitter.at("best_estimator_").emit(estimator.best_estimator_, block)


def _transformed_target(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    predicted = emitter.at("regressor_").regress(estimator.regressor_, block)
    undo = of_wire(emitter.graph, predicted.value, predicted.columns)
    undone = _inverse(emitter, estimator, undo)
    value = materialise(emitter.graph, undone)
    flat = predicted.columns == 1 and getattr(estimator, "_training_dim", 1) == 1
    return Predicted(value=value, columns=predicted.columns, flat=flat)


def _inverse(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Return the columns after the inverse of the target's transformation."""
    inner = estimator.transformer_
    kind = type(inner).__name__
    if kind == "FunctionTransformer" and type(inner).__module__.startswith("sklearn."):
        return _inverse_function(emitter, inner, block)
    if kind == "StandardScaler" and type(inner).__module__.startswith("sklearn."):
        return _inverse_scaler(inner, block)
    raise emitter.refuse(
        estimator,
        f"the inverse of {kind} is not on the list",
        "give func and inverse_func of numpy's",
    )


def _inverse_scaler(scaler: Any, block: Block) -> Block:
    columns = []
    for i, column in enumerate(block.columns):
        scale = [Arithmetic("Mul", float(scaler.scale_[i]))] if scaler.with_std else []
        mean = [Arithmetic("Add", float(scaler.mean_[i]))] if scaler.with_mean else []
        columns.append(column.then(*scale, *mean))
    return Block(tuple(columns))


def _inverse_function(emitter: Emitter, inner: Any, block: Block) -> Block:
    if inner.inverse_func is None:
        return block
    known = {f: name for name, (f, _, _) in FUNCTIONS.items()}
    name = known.get(inner.inverse_func)
    if name is None or inner.inv_kw_args:
        shown = getattr(inner.inverse_func, "__name__", inner.inverse_func)
        raise emitter.refuse(inner, f"its inverse function {shown!r} is not on the list")
    return Block(tuple(c.then(Function(name)) for c in block.columns))


_SEARCHES = (
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "RandomizedSearchCV",
)

TABLE: dict[str, Emit] = {
    "sklearn.pipeline.Pipeline": _pipeline,
    "sklearn.pipeline.FeatureUnion": _union,
    "sklearn.compose.ColumnTransformer": _column_transformer,
    "sklearn.compose.TransformedTargetRegressor": _transformed_target,
    **{f"sklearn.model_selection.{name}": _search for name in _SEARCHES},
}
