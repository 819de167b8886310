"""Vectorizers of texts, alone, in pipelines, and beside other columns."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from suite_data import texts

from cannery.conversions.onnx.convert import convert
from cannery.errors import ConversionError
from cannery.serving.scorer import onnx_scorer
from cannery.signatures import NULL_STRING, Batch, Feature, Signature

FRAME = texts()
TEXT = (Feature(name="text", type="string"),)
ODD = [
    "",
    " ",
    "GOOD good g\u00f6\u00f6d",
    "nothing known here",
    "caf\u00e9 cafe\u0301 \u0130",
    "good\0bad",
    "good " * 500,
]


def answers(model, batch, features, tensors):
    """Convert a model and score a batch as the service does."""
    data, feeds = convert(model, features, "model")
    scorer = onnx_scorer(data, Signature(features=features, outputs=()), feeds, outputs=tensors)
    return scorer.score(batch)


def of_texts(rows):
    """Return texts as a batch."""
    return Batch(
        numbers=np.empty((len(rows), 0)), strings=np.array([[r] for r in rows], dtype=object)
    )


VECTORIZERS = [
    CountVectorizer(),
    CountVectorizer(binary=True, ngram_range=(1, 2), min_df=3),
    CountVectorizer(analyzer="char_wb", ngram_range=(2, 3), strip_accents="ascii"),
    TfidfVectorizer(),
    TfidfVectorizer(sublinear_tf=True, stop_words="english", norm="l1"),
    TfidfVectorizer(analyzer="char", ngram_range=(1, 3), max_features=300, smooth_idf=False),
    TfidfVectorizer(use_idf=False, norm=None, lowercase=False),
    make_pipeline(CountVectorizer(), TfidfTransformer()),
    HashingVectorizer(n_features=32),
    HashingVectorizer(n_features=7, norm="l1", alternate_sign=False, ngram_range=(1, 2)),
    HashingVectorizer(n_features=50, norm=None, binary=True, analyzer="char_wb"),
    make_pipeline(HashingVectorizer(n_features=64, stop_words=["good"]), TfidfTransformer()),
    FeatureUnion(
        [("w", TfidfVectorizer()), ("c", CountVectorizer(analyzer="char", ngram_range=(2, 2)))]
    ),
]


@pytest.mark.parametrize("vectorizer", VECTORIZERS, ids=lambda v: " ".join(str(v).split())[:60])
def test_a_vectorizer_counts_and_weighs_alike(vectorizer):
    """On texts of the training, and on odd ones."""
    rows = [*FRAME["text"].head(40), *ODD]
    vectorizer.fit(FRAME["text"])
    found = answers(vectorizer, of_texts(rows), TEXT, ("columns",))["columns"]
    np.testing.assert_allclose(found, vectorizer.transform(rows).toarray(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    "last", [LogisticRegression(), ComplementNB(), DecisionTreeClassifier(max_depth=4)], ids=str
)
def test_a_classifier_of_texts_answers_alike(last):
    """Wide rows are scored in pieces."""
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), last)
    model.fit(FRAME["text"], FRAME["liked"])
    rows = [*FRAME["text"], *ODD] * 2
    found = answers(model, of_texts(rows), TEXT, ("label", "probabilities"))
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows), atol=1e-12)
    assert (found["label"] == model.predict(rows)).all()


def test_texts_stand_beside_numbers_and_categories():
    """Two texts, cut in two ways, a number and a category."""
    frame = FRAME.assign(other=FRAME["text"].str.upper())
    columns = ColumnTransformer(
        [
            ("text", TfidfVectorizer(ngram_range=(1, 2)), "text"),
            (
                "other",
                CountVectorizer(analyzer="char", ngram_range=(1, 2), lowercase=False),
                "other",
            ),
            ("stars", StandardScaler(), ["stars"]),
            ("shop", OneHotEncoder(handle_unknown="ignore"), ["shop"]),
        ]
    )
    names = ["text", "stars", "shop", "other"]
    model = make_pipeline(columns, LogisticRegression()).fit(frame[names], frame["liked"])
    features = tuple(Feature(name=n, type="long" if n == "stars" else "string") for n in names)
    batch = Batch(
        numbers=frame[["stars"]].to_numpy(float),
        strings=frame[["text", "shop", "other"]]
        .astype(object)
        .fillna(NULL_STRING)
        .to_numpy(object),
    )
    found = answers(model, batch, features, ("probabilities",))["probabilities"]
    np.testing.assert_allclose(found, model.predict_proba(frame[names]), atol=1e-12)


def shout(text):
    """Return a text in capitals."""
    return text.upper()


REFUSED = [
    (CountVectorizer(tokenizer=str.split, token_pattern=None), "'tokenizer'"),
    (CountVectorizer(preprocessor=shout), "'preprocessor'"),
    (CountVectorizer(analyzer=str.split), "'analyzer'"),
    (CountVectorizer(token_pattern=r"(?:\w\w)+"), "known form"),
    (CountVectorizer(input="file"), "'input'"),
]


@pytest.mark.parametrize(("vectorizer", "reason"), REFUSED, ids=[r for _, r in REFUSED])
def test_what_would_be_cut_otherwise_is_refused(vectorizer, reason):
    """Functions of one's own, and patterns that could take for ever."""
    usual = CountVectorizer().fit(FRAME["text"])
    vectorizer.vocabulary_ = usual.vocabulary_
    with pytest.raises(ConversionError, match=reason):
        convert(vectorizer, TEXT, "model")


def test_a_vocabulary_that_is_too_wide_is_refused():
    """A dense row of it would be too long."""
    wide = CountVectorizer(vocabulary=[f"w{i}" for i in range(20_001)]).fit(["w1"])
    with pytest.raises(ConversionError, match="more than 20000 terms"):
        convert(wide, TEXT, "model")


def test_too_many_buckets_are_refused():
    """As many as it has unless told otherwise."""
    with pytest.raises(ConversionError, match="more than 20000 terms") as caught:
        convert(HashingVectorizer(), TEXT, "model")
    assert caught.value.hint == "set n_features"


def test_the_same_vectorizer_gives_the_same_bytes():
    """The terms come in the order of the vocabulary, not of its dictionary."""
    model = TfidfVectorizer(stop_words="english").fit(FRAME["text"])
    first = convert(model, TEXT, "model")
    model.vocabulary_ = dict(reversed(model.vocabulary_.items()))
    assert convert(model, TEXT, "model") == first


ALLOCATED = {
    "by batches": LatentDirichletAllocation(4, max_iter=3, random_state=0),
    "online": LatentDirichletAllocation(
        3, learning_method="online", doc_topic_prior=0.2, max_iter=2, random_state=0
    ),
    "few turns": LatentDirichletAllocation(5, max_doc_update_iter=2, max_iter=2, random_state=0),
}


@pytest.mark.parametrize("topics", ALLOCATED.values(), ids=ALLOCATED)
def test_topics_are_shared_alike(topics):
    """Each document stops by itself, whatever stands beside it; one without a known word at once."""
    model = make_pipeline(CountVectorizer(), topics).fit(FRAME["text"])
    rows = [*FRAME["text"].head(60), *ODD]
    found = answers(model, of_texts(rows), TEXT, ("columns",))["columns"]
    np.testing.assert_allclose(found, model.transform(rows), rtol=1e-12, atol=1e-14)
    alone = [answers(model, of_texts([row]), TEXT, ("columns",))["columns"][0] for row in ODD]
    np.testing.assert_allclose(found[-len(ODD) :], alone, rtol=1e-12)


def test_topics_of_more_turns_than_a_loop_may_have_are_refused():
    """The audit of graphs lets none run for so long."""
    topics = LatentDirichletAllocation(2, max_doc_update_iter=300, max_iter=1, random_state=0)
    model = make_pipeline(CountVectorizer(), topics).fit(FRAME["text"])
    with pytest.raises(ConversionError, match="goes 300 times through"):
        convert(model, TEXT, "model")
