"""What the common converters get wrong without a word, beside ours: where theirs differs, ours doesn't."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from conversion_peer import distance, feeds, register, session
from lightgbm import LGBMClassifier
from onnx_comparison import as_frame, compare, expected, features_of, hugging, load, tree_thresholds
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from cannery.conversions.onnx.convert import convert
from cannery.serving.scorer import onnx_scorer
from cannery.signatures import Batch, Signature

X, Y = make_classification(400, 5, n_informative=4, n_redundant=0, random_state=0)
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
KINDS = np.random.default_rng(1).integers(0, 12, 400)
WORDS = np.array(["red", "green", "blue", "grey", "pink"], dtype=object)[
    np.minimum(KINDS // 2, 4 - (KINDS == 11))
]
TEXTS = np.array(
    [
        " ".join(np.random.default_rng(i).choice(["late", "bill", "refund", "please"], 6))
        for i in range(100)
    ],
    dtype=object,
)
MIXED = as_frame(X).assign(word=WORDS)
UNSEEN = MIXED.assign(word="violet")


def _encoded(**options):
    encoder = make_column_transformer((OneHotEncoder(**options), ["word"]), remainder="passthrough")
    return make_pipeline(encoder, LogisticRegression(max_iter=500)).fit(MIXED, Y ^ (KINDS % 3 == 0))


def _categorical():
    x = np.column_stack([KINDS, X[:, :2]]).astype(float)
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features=[0])
    return model.fit(x, Y ^ (KINDS % 3 == 0)), as_frame(x)


def _scaled(model):
    piped = make_pipeline(StandardScaler(), model).fit(X, Y)
    if isinstance(model, XGBClassifier):
        splits = [(int(c), float(t)) for c, t in _splits(model)]
    else:
        splits = tree_thresholds(model)
    rows = hugging(piped[0].transform(X), splits)
    return piped, as_frame(piped[0].inverse_transform(rows))


def _splits(model):
    told = model.get_booster().trees_to_dataframe().dropna(subset="Split")
    return zip(told["Feature"].str[1:].astype(int), told["Split"], strict=True)


def _texts(**options):
    vectorizer = TfidfVectorizer(**options)
    return make_pipeline(vectorizer, LogisticRegression()).fit(TEXTS, Y[:100])


def _bent(model, x=X):
    return lambda: (model.fit(x, Y), as_frame(x))


FOREST = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}
SCALED = [GradientBoostingClassifier(n_estimators=20), XGBClassifier(n_estimators=20, n_jobs=1)]
DIFFERS = {
    "direction of missing values": _bent(
        DecisionTreeClassifier(max_depth=6, random_state=0), HOLES
    ),
    "threshold": _bent(TunedThresholdClassifierCV(LogisticRegression(), cv=3)),
    "two classes of a discriminant analysis": _bent(LinearDiscriminantAnalysis()),
    "isotonic calibration": _bent(CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=3)),
    "forest of LightGBM": _bent(LGBMClassifier(**FOREST, n_jobs=1, verbose=-1)),
    "indicators": _bent(
        make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression()), HOLES
    ),
    "boosting behind a scaler": lambda: _scaled(SCALED[0]),
    "XGBoost behind a scaler": lambda: _scaled(SCALED[1]),
}
"""What converts there and answers otherwise."""
FAILS = {
    "categories of histogram boosting": _categorical,
    "infrequent categories": lambda: (
        _encoded(min_frequency=0.2, handle_unknown="infrequent_if_exist"),
        MIXED,
    ),
    "the first dropped, and another unseen": lambda: (
        _encoded(drop="first", handle_unknown="infrequent_if_exist"),
        UNSEEN,
    ),
}
"""What does not convert there, or not run, with the versions of today."""


def _theirs(model, frame, want):
    """Return how far the common converter's graph is from the original; raises what it raises."""
    strings = [f.name for f in features_of(frame) if f.type == "string"]
    asked = {"model": model, "features": [(f.name, f.type) for f in features_of(frame)]}
    numbers, texts = frame.drop(columns=strings), frame[strings]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = session(asked)
        given = feeds(opened, asked, numbers.to_numpy(float), texts.to_numpy(object))
        return distance(opened.run(None, given), want)


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    onnxruntime.set_default_logger_severity(4)
    register()
    yield
    onnxruntime.set_default_logger_severity(2)


def _exact(model, frame):
    """Return what the original answers, after comparing our graph with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of categories that were never seen
        want = expected(model, frame if hasattr(model, "feature_names_in_") else frame.to_numpy())
    compare(load(model, frame)(frame), want, 1e-7)
    return want


@pytest.mark.parametrize("make", DIFFERS.values(), ids=DIFFERS)
def test_theirs_answers_otherwise(make):
    """Theirs converts without a word and is off, ours is equal."""
    model, frame = make()
    assert _theirs(model, frame, _exact(model, frame)) > 1e-3


@pytest.mark.parametrize("make", FAILS.values(), ids=FAILS)
def test_theirs_gives_up(make):
    """Theirs can't be made or run, ours is equal."""
    model, frame = make()
    want = _exact(model, frame)
    with pytest.raises(Exception, match=r"node|Infrequent|Unknown Category"):
        _theirs(model, frame, want)


@pytest.mark.parametrize(
    "options",
    [{"sublinear_tf": True}, {"stop_words": ["late"], "ngram_range": (1, 2)}],
    ids=str,
)
def test_weights_of_texts(options):
    """Logarithms of counts, and words that are left out."""
    model = _texts(**options)
    frame = pd.DataFrame({"text": TEXTS})
    batch = Batch(numbers=np.empty((100, 0)), strings=TEXTS.reshape(-1, 1))
    want = expected(model, TEXTS)
    data, inputs = convert(model, features_of(frame), "model")
    signature = Signature(features=features_of(frame), outputs=())
    scorer = onnx_scorer(data, signature, inputs, outputs=("label", "probabilities"))
    compare(scorer.score(batch), want, 1e-12)
    assert _theirs(model, frame, want) > 1e-3
