"""Walks a fitted estimator and hands each part to the function that emits its class."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block
from cannery.conversions.onnx.results import Classified, Predicted, Result
from cannery.errors import ConversionError

Emit = Callable[["Emitter", Any, Block], Result]

_WRAPPERS = frozenset({"pipeline", "compose", "model_selection", "calibration"})
"""Families that only hand their columns on."""
_TAKES_SINGLE = _WRAPPERS | {
    *("tree", "ensemble", "feature_selection", "dummy"),
    *("cannery", "catboost", "lightgbm", "xgboost"),
}
"""Families in which it makes no difference that the original holds its numbers in float32."""

ANOTHER = "take another runtime: --runtime skops"
"""The hint where nothing better is known."""

_INSTEAD = {
    "NMF": "take TruncatedSVD",
    **dict.fromkeys(("Isomap", "LocallyLinearEmbedding"), "take PCA or KernelPCA"),
    **dict.fromkeys(("DictionaryLearning", "MiniBatchDictionaryLearning"), "take PCA or SparsePCA"),
}
"""What is near to a class that does not convert, and does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitter:
    """The graph, the table of classes, and the place in the model where emission stands."""

    graph: Graph
    table: Mapping[str, Emit]
    path: tuple[str, ...] = ()
    to_the_bit: bool = False
    """Whether a curve or a threshold follows, to which the last bit of a float32 probability matters."""

    def at(self, step: str) -> Emitter:
        """Return the emitter for a part of the estimator at hand."""
        return replace(self, path=(*self.path, step))

    def exactly(self) -> Emitter:
        """Return the emitter for a part whose answers steps are laid over."""
        return replace(self, to_the_bit=True)

    def emit(self, estimator: Any, block: Block) -> Result:
        """Add the nodes of a fitted estimator; raises ConversionError where they would not be exact."""
        return self._emit(estimator, block, qualified_name(type(estimator)))

    def _emit(self, estimator: Any, block: Block, name: str) -> Result:
        if name not in self.table:
            instead = _INSTEAD.get(name.rpartition(".")[2])
            raise self.refuse(estimator, "there is no exact conversion for this class", instead)
        try:
            block = _align(block, estimator, wrapper=_is_wrapper(name))
            if block.single and _family(name) not in _TAKES_SINGLE:
                raise self.refuse(
                    estimator, "it computes in float32", "let encoders answer float64"
                )
            result = self.table[name](self, estimator, block)
        except ConversionError as error:
            if error.message.startswith("can't convert"):
                raise
            raise self.refuse(estimator, error.message, error.hint) from error
        except AttributeError as error:
            raise self.refuse(estimator, f"it is not fitted ({error})", "fit it first") from error
        return _named(result, estimator)

    def transform(self, estimator: Any, block: Block) -> Block:
        """Emit a transformer, or a predictor that transforms here (in the table: its class and `.transform`)."""
        name = qualified_name(type(estimator))
        own = f"{name}.transform"
        result = self._emit(estimator, block, own if own in self.table else name)
        if not isinstance(result, Block):
            raise self.refuse(estimator, "a transformer is needed here")
        return result

    def classify(self, estimator: Any, block: Block) -> Classified:
        """Emit a classifier."""
        result = self.emit(estimator, block)
        if not isinstance(result, Classified):
            raise self.refuse(estimator, "a classifier is needed here")
        return result

    def regress(self, estimator: Any, block: Block) -> Predicted:
        """Emit a regressor."""
        result = self.emit(estimator, block)
        if not isinstance(result, Predicted):
            raise self.refuse(estimator, "a regressor is needed here")
        return result

    def refuse(self, estimator: Any, why: str, hint: str | None = None) -> ConversionError:
        """Make the error that names the step and the reason; raised by the caller."""
        step = "__".join(self.path) or "the model"
        return ConversionError(
            f"can't convert '{step}' ({qualified_name(type(estimator))}) exactly: {why}",
            hint=hint or ANOTHER,
        )


def qualified_name(kind: type) -> str:
    """Return the public name of a class, `sklearn.preprocessing.StandardScaler`, if that is this very class."""
    package = ".".join(kind.__module__.split(".")[:2])
    if package.startswith("sklearn."):
        try:
            public = getattr(importlib.import_module(package), kind.__name__, None)
        except ImportError:  # what is experimental is not public until somebody asks for it
            public = vars(sys.modules[kind.__module__]).get(kind.__name__)
        if public is kind:
            return f"{package}.{kind.__name__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def _family(name: str) -> str:
    """Return the module of scikit-learn or imbalanced-learn that a class is of, or the other library."""
    return name.removeprefix("sklearn.").removeprefix("imblearn.").partition(".")[0]


def _is_wrapper(name: str) -> bool:
    kind = name.rpartition(".")[2]
    return _family(name) in _WRAPPERS or kind.startswith(("Voting", "Stacking"))


def _align(block: Block, estimator: Any, *, wrapper: bool) -> Block:
    """Put the columns into the order of fitting, and check that they are as many."""
    names = [c.name for c in block.columns]
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None and all(n is not None for n in names):
        if not set(fitted) <= set(names):
            names = [str(n).replace(" ", "_") for n in names]  # as LightGBM notes them
        if set(fitted) <= set(names):
            return block.take([names.index(n) for n in fitted])
        if wrapper:
            return block  # a column transformer within can do without the columns that it drops
        missing = sorted(set(fitted) - set(names))[0]
        raise ConversionError(f"the column '{missing}' on which it was fitted is not given")
    expected = getattr(estimator, "n_features_in_", 0) or len(block)  # CatBoost forgets its own
    if expected != len(block):
        raise ConversionError(f"it was fitted on {expected} columns but {len(block)} are given")
    return block


def _named(result: Result, estimator: Any) -> Result:
    """Give the columns the names that the original gives them where it answers data frames."""
    config = getattr(estimator, "_sklearn_output_config", {})
    if not isinstance(result, Block) or config.get("transform", "default") == "default":
        return result
    try:
        return result.named([str(n) for n in estimator.get_feature_names_out()])
    except (AttributeError, ValueError):  # a function that keeps its frame has no names to tell
        return result
