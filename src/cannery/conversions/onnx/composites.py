"""Estimators made of estimators: pipelines, column transformers, searches, and what holds another."""

from __future__ import annotations

from typing import Any

from cannery.conversions.onnx.columns import Block, join
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import Arithmetic
from cannery.conversions.onnx.results import Result


def _is_passthrough(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _is_drop(step: Any) -> bool:
    return isinstance(step, str) and step == "drop"


def _pipeline(emitter: Emitter, estimator: Any, block: Block) -> Result:
    *transformers, (last, final) = estimator.steps
    for name, step in transformers:
        if not (
            _is_passthrough(step) or hasattr(step, "fit_resample")
        ):  # which is for training alone
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


def _held(attribute: str) -> Emit:
    """Return what emits an estimator that only hands on to the one it holds there."""

    def emit(emitter: Emitter, estimator: Any, block: Block) -> Result:
        return emitter.at(attribute).emit(getattr(estimator, attribute), block)

    return emit


_SEARCHES = (
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "RandomizedSearchCV",
)

TABLE: dict[str, Emit] = {
    "imblearn.pipeline.Pipeline": _pipeline,
    "sklearn.pipeline.Pipeline": _pipeline,
    "sklearn.pipeline.FeatureUnion": _union,
    "sklearn.compose.ColumnTransformer": _column_transformer,
    "sklearn.frozen.FrozenEstimator": _held("estimator"),
    "sklearn.linear_model.RANSACRegressor": _held("estimator_"),
    "sklearn.semi_supervised.SelfTrainingClassifier": _held("estimator_"),
    **{f"sklearn.model_selection.{name}": _search for name in _SEARCHES},
}
