"""Vectorizers of texts: the service cuts a text into terms, the graph counts and weighs them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from cannery.cans.manifest import Terms
from cannery.conversions.onnx.builder import STRINGS
from cannery.conversions.onnx.columns import Block, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import Above
from cannery.conversions.onnx.scalers import normalised
from cannery.serving.texts import STRANGE, is_safe

_WIDEST = 20_000
"""Terms that a graph counts; each row becomes a dense row of so many doubles."""


def _counted(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit the counts of the vocabulary's terms, or whether they occur."""
    graph, terms = emitter.graph, _terms(emitter, estimator, len(estimator.vocabulary_))
    vocabulary = sorted(estimator.vocabulary_, key=estimator.vocabulary_.__getitem__)
    places = [int(estimator.vocabulary_[term]) for term in vocabulary]
    if places != list(range(len(places))) or any(STRANGE in term for term in vocabulary):
        raise emitter.refuse(estimator, "its vocabulary is not a numbered list of plain terms")
    counted = of_wire(
        graph, _counts(emitter, estimator, block, terms, vocabulary), len(places), sparse=True
    )
    if not estimator.binary:
        return counted
    return Block(tuple(c.then(Above(0.0)) for c in counted.columns), sparse=True)


def _hashed(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit how many terms fall into each bucket, or by alternating sign how many more."""
    graph, count, signed = emitter.graph, int(estimator.n_features), estimator.alternate_sign
    if np.dtype(estimator.dtype) != np.float64:
        raise emitter.refuse(estimator, f"its dtype is {estimator.dtype}", "leave 'dtype' out")
    terms = _terms(emitter, estimator, count)
    names = [str(i) for i in range(count)]
    vocabulary = [*names, *(f"-{name}" for name in names)]
    both = _counts(emitter, estimator, block, terms, vocabulary)
    above, below = graph.nodes("Split", [both], 2, axis=1, num_outputs=2)
    x = graph.node("Sub" if signed and not estimator.binary else "Add", [above, below])
    if estimator.binary:
        x = graph.node("Sign", [x])
    if estimator.norm is not None:
        x = normalised(graph, x, estimator.norm)
    # Where terms of both signs meet, the original holds a zero that is not left out.
    return of_wire(graph, x, count, sparse=not signed)


def _counts(
    emitter: Emitter, estimator: Any, block: Block, terms: Terms, vocabulary: list[str]
) -> str:
    """Return how often each term of the vocabulary occurs, double [N, terms]."""
    graph = emitter.graph
    (column,) = block.columns if len(block) == 1 else (None,)
    if column is None or column.wire != STRINGS or column.feature is None or column.null:
        raise emitter.refuse(estimator, "it takes no single column of texts as they are given")
    counts = graph.node(
        "TfIdfVectorizer",
        [graph.terms(column.feature, terms)],
        max_gram_length=1,
        min_gram_length=1,
        max_skip_count=0,
        mode="TF",
        ngram_counts=[0],
        ngram_indexes=np.arange(len(vocabulary), dtype=np.int64),
        pool_strings=vocabulary,
    )
    return graph.node("Cast", [counts], to=TensorProto.DOUBLE)


def _terms(emitter: Emitter, estimator: Any, count: int) -> Terms:
    """Return how it cuts; raises ConversionError where that is left to functions of its own."""
    own = [n for n in ("preprocessor", "tokenizer") if getattr(estimator, n) is not None]
    if callable(estimator.analyzer) or callable(estimator.strip_accents):
        own.append("analyzer" if callable(estimator.analyzer) else "strip_accents")
    if own or estimator.input != "content":
        raise emitter.refuse(estimator, f"its '{(own or ['input'])[0]}' is not the usual one")
    hashed = not hasattr(estimator, "vocabulary_")
    if count > _WIDEST:
        hint = "set n_features" if hashed else "set max_features or min_df"
        raise emitter.refuse(estimator, f"it counts more than {_WIDEST} terms", hint)
    words = estimator.analyzer == "word"
    if words and not is_safe(estimator.token_pattern):
        raise emitter.refuse(
            estimator, f"its token pattern {estimator.token_pattern!r} is not of a known form"
        )
    low, high = estimator.ngram_range
    return Terms(
        analyzer=estimator.analyzer,
        low=int(low),
        high=int(high),
        width=2 * count if hashed else count,
        buckets=count if hashed else 0,
        **({"pattern": estimator.token_pattern} if words else {}),
        lowercase=bool(estimator.lowercase),
        accents=estimator.strip_accents,
        stop=tuple(sorted(estimator.get_stop_words() or ())) if words else (),
    )


def _weighed(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit the weights of counts: logarithms, frequencies in documents, norms."""
    graph, x = emitter.graph, materialise(emitter.graph, block)
    if estimator.sublinear_tf:
        one = graph.constant(1.0)
        empty = graph.node("Equal", [x, graph.constant(0.0)])
        grown = graph.node("Log", [graph.node("Where", [empty, one, x])])
        zero = graph.constant(0.0)
        x = graph.node("Where", [empty, zero, graph.node("Add", [grown, one])])
    if estimator.use_idf:
        weights = np.reshape(np.asarray(estimator.idf_, dtype=float), (1, -1))
        x = graph.node("Mul", [x, graph.constant(weights)])
    if estimator.norm is not None:
        x = normalised(graph, x, estimator.norm)
    return of_wire(graph, x, len(block), sparse=True)


def _tfidf(emitter: Emitter, estimator: Any, block: Block) -> Block:
    return _weighed(emitter, estimator._tfidf, _counted(emitter, estimator, block))


TABLE: dict[str, Emit] = {
    "sklearn.feature_extraction.text.CountVectorizer": _counted,
    "sklearn.feature_extraction.text.HashingVectorizer": _hashed,
    "sklearn.feature_extraction.text.TfidfTransformer": _weighed,
    "sklearn.feature_extraction.text.TfidfVectorizer": _tfidf,
}
