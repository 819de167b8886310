"""Fitted estimators whose indices lead nowhere: compiled code would follow them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import MT19937, Generator, Philox, RandomState
from scipy import sparse
from sklearn.cluster import Birch, BisectingKMeans, KMeans
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfVectorizer,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import (
    BallTree,
    KernelDensity,
    KNeighborsClassifier,
    KNeighborsTransformer,
    LocalOutlierFactor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MultiLabelBinarizer,
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection
from sklearn.svm import SVC, SVR, OneClassSVM
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

ROWS = np.random.default_rng(0).random((60, 4))
ROWS[:, 0] = np.arange(60) % 5
LABELS = np.arange(60) % 3
ODD = ROWS[:, 0] % 2
"""Labels that follow the categories of the first column."""
FAR = 1 << 30


class Told:
    """An object that pickles as a call with a state, whatever that state is."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], state: Any) -> None:
        self.told = (function, arguments, state)

    def __reduce__(self) -> Any:
        """Return what the pickle will call."""
        return self.told


def bent_tree(field: str, value: int) -> Any:
    """Return a pipeline with a tree whose first node says `value`."""
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier()).fit(ROWS, LABELS)
    tree = model[-1].tree_
    state = tree.__getstate__()
    state["nodes"][field][0] = value
    tree.__setstate__(state)
    return model


def told_tree(change: Callable[[dict[str, Any], list[Any]], None]) -> Any:
    """Return a classifier whose tree opens with a changed state, or changed arguments."""
    model = DecisionTreeClassifier().fit(ROWS, LABELS)
    _, arguments, state = model.tree_.__reduce__()
    arguments, state = list(arguments), {**state, "nodes": state["nodes"].copy()}
    change(state, arguments)
    model.tree_ = Told(Tree, tuple(arguments), state)
    return model


def other_columns() -> Any:
    """Return a tree that takes fewer columns than it looks at."""
    model = DecisionTreeClassifier().fit(ROWS, LABELS)
    model.n_features_in_ = 1
    return model


def wider_tree(kind: type, **options: Any) -> Any:
    """Return an ensemble with one tree of another width."""
    model = kind(**options).fit(ROWS, LABELS)
    wide = kind(**options).fit(np.hstack([ROWS, ROWS]), LABELS)
    np.ravel(np.asarray(model.estimators_, object))[-1].__dict__.update(
        np.ravel(np.asarray(wide.estimators_, object))[-1].__dict__
    )
    return model


def changed(model: Any, **attributes: Any) -> Any:
    """Return a fitted model with other attributes."""
    model.__dict__.update(attributes)
    return model


def bent_histogram(field: str, **options: Any) -> Any:
    """Return boosted trees of which one node leads astray."""
    model = HistGradientBoostingClassifier(max_iter=2, **options).fit(ROWS, ODD)
    nodes = model._predictors[0][0].nodes.copy()
    at = np.flatnonzero(nodes["is_categorical"])[0] if field == "bitset_idx" else 0
    nodes[field][at] = FAR
    model._predictors[0][0].nodes = nodes
    return model


def narrow_sets() -> Any:
    """Return boosted trees whose sets of categories are too short."""
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(ROWS, ODD)
    one = model._predictors[0][0]
    one.raw_left_cat_bitsets = one.raw_left_cat_bitsets[:, :1].copy()
    return model


def losing_columns() -> Any:
    """Return boosted trees behind a step that drops a column."""
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(ROWS, ODD)
    chosen = model._preprocessor._transformer_to_input_indices
    chosen["numerical"] = chosen["numerical"][:1]
    return model


def neighbours(**options: Any) -> Any:
    """Return a fitted classifier with a tree."""
    return KNeighborsClassifier(leaf_size=5, **options).fit(ROWS, LABELS)


def bent_neighbours(change: Callable[[list[Any]], None], algorithm: str = "kd_tree") -> Any:
    """Return a tree of neighbours with another state."""
    model = neighbours(algorithm=algorithm)
    function, arguments, state = model._tree.__reduce__()
    parts = [v.copy() if isinstance(v, np.ndarray) else v for v in state]
    change(parts)
    tree = function(*arguments)
    tree.__setstate__(tuple(parts))
    model._tree = tree
    return model


def setting(part: int, value: Any, field: str | None = None) -> Callable[[list[Any]], None]:
    """Return what puts a value into the first item of a part, or in place of it."""

    def change(parts: list[Any]) -> None:
        if isinstance(parts[part], np.ndarray) and not isinstance(value, np.ndarray):
            (parts[part][field] if field else parts[part])[0] = value
        else:
            parts[part] = value

    return change


def metric_of(columns: int) -> Any:
    """Return a ball tree with a metric of so many columns."""
    other = BallTree(np.random.default_rng(1).random((9, columns)), metric="mahalanobis",
                     V=np.eye(columns))  # fmt: skip
    return other.__getstate__()[11]


def machine(kind: Any = SVC, **attributes: Any) -> Any:
    """Return support vectors with other attributes."""
    return changed(kind().fit(ROWS, LABELS), **attributes)


def bent_matrix(kind: Any, **parts: Any) -> Any:
    """Return a matrix that would read or write behind its end when it is turned."""
    matrix = kind(np.eye(5))
    for name, value in parts.items():
        getattr(matrix, name)[...] = value
    return {"weights": [matrix]}


def bent_source(kind: type, key: str) -> Any:
    """Return a source of randomness that reads far behind its numbers."""
    bits = kind(0)
    state = bits.state
    (state if key in state else state["state"])[key] = FAR
    bits.state = state
    return bits


def bent_lists() -> Any:
    """Return a matrix of lists with a column that it has not."""
    matrix = sparse.lil_matrix(np.eye(3))
    matrix.rows[1] = [FAR]
    return [matrix]


def bent_words(kind: Any, words: Any) -> Any:
    """Return a vocabulary with a column behind the last."""
    model = kind().fit(words)
    model.vocabulary_[next(iter(model.vocabulary_))] = FAR
    return model


def bent_labels() -> Any:
    """Return a binarizer with a label for a column behind the last."""
    model = MultiLabelBinarizer().fit([("a",), ("b",)])
    model._cached_dict = {"a": FAR, "b": 1}
    return model


def bent_boosting(**options: Any) -> Any:
    """Return stages with more trees than a row has scores."""
    model = GradientBoostingClassifier(n_estimators=2, **options).fit(ROWS, LABELS % 2)
    model.estimators_ = np.hstack([model.estimators_] * 3)
    return model


def bent_prior() -> Any:
    """Return stages of three trees over a prior of two classes."""
    model = GradientBoostingClassifier(n_estimators=2).fit(ROWS, LABELS)
    model.init_.class_prior_ = model.init_.class_prior_[:2]
    return model


def told_scores(**attributes: Any) -> Any:
    """Return stages of three trees whose loss, or whose start, says that there is one score."""
    start = attributes.pop("init", None)
    model = GradientBoostingClassifier(n_estimators=2, init=start).fit(ROWS, LABELS)
    changed(model._loss if "is_multiclass" in attributes else model.init_, **attributes)
    return model


def bent_columns(**options: Any) -> Any:
    """Return an encoder with fewer columns than categories."""
    model = OneHotEncoder(**options).fit(ROWS.round(1))
    model._n_features_outs = [1, 1, 1, 1]
    return model


def bent_spline() -> Any:
    """Return splines with too few coefficients."""
    model = SplineTransformer().fit(ROWS)
    spline = model.bsplines_[0]
    spline.__dict__.update({k: v[:1] for k, v in spline.__dict__.items() if k in ("c", "_c")})
    return model


BENT: dict[str, Callable[[], Any]] = {
    "left child": lambda: bent_tree("left_child", FAR),
    "negative child": lambda: bent_tree("left_child", -7),
    "circle": lambda: bent_tree("right_child", 0),
    "shared child": lambda: bent_tree("right_child", 1),
    "feature": lambda: bent_tree("feature", FAR),
    "columns": other_columns,
    "forest": lambda: wider_tree(RandomForestClassifier, n_estimators=3),
    "forest's columns": lambda: changed(
        RandomForestClassifier(n_estimators=3).fit(ROWS, LABELS), n_features_in_=1
    ),
    "boosting": lambda: wider_tree(GradientBoostingClassifier, n_estimators=3),
    "stages": bent_boosting,
    "stages from zero": lambda: bent_boosting(init="zero"),
    "stages over a prior": bent_prior,
    "scores of a loss": lambda: told_scores(is_multiclass=False),
    "scores of a start": lambda: told_scores(n_classes_=1),
    "scores of a model": lambda: told_scores(init=LogisticRegression(), coef_=np.zeros((1, 4))),
    "classes of a bag": lambda: changed(
        BaggingClassifier(n_estimators=2).fit(ROWS, LABELS), n_classes_=FAR
    ),
    "classes of boosting": lambda: changed(
        AdaBoostClassifier(n_estimators=2).fit(ROWS, LABELS), n_classes_=np.int64(FAR)
    ),
    "classes of each target": lambda: changed(
        RandomForestClassifier(n_estimators=2).fit(ROWS, np.column_stack([LABELS, LABELS])),
        n_classes_=[3, FAR],
    ),
    "targets of a tree": lambda: changed(
        DecisionTreeClassifier().fit(ROWS, LABELS), n_outputs_=FAR
    ),
    "names of columns": lambda: changed(GaussianRandomProjection(2).fit(ROWS), _n_features_out=FAR),
    "powers": lambda: changed(PolynomialFeatures().fit(ROWS), _max_degree=FAR),
    "isolation": lambda: wider_tree(IsolationForest, n_estimators=3),
    "histogram child": lambda: bent_histogram("left"),
    "histogram feature": lambda: bent_histogram("feature_idx"),
    "histogram set": lambda: bent_histogram("bitset_idx", categorical_features=[0]),
    "histogram sets": narrow_sets,
    "histogram columns": losing_columns,
    "neighbours' rows": lambda: bent_neighbours(setting(1, FAR)),
    "neighbours' nodes": lambda: bent_neighbours(setting(2, FAR, "idx_end")),
    "neighbours' leaf": lambda: bent_neighbours(lambda s: s[2]["is_leaf"].fill(0)),
    "neighbours' count": lambda: bent_neighbours(setting(6, 500)),
    "neighbours' bounds": lambda: bent_neighbours(setting(3, np.zeros((2, 1, 4)))),
    "neighbours' weights": lambda: bent_neighbours(setting(12, np.ones(1)), "ball_tree"),
    "neighbours' metric": lambda: bent_neighbours(setting(11, metric_of(2)), "ball_tree"),
    "neighbours' label": lambda: changed(neighbours(), _y=np.full(60, FAR)),
    "neighbours' labels": lambda: changed(neighbours(), _y=LABELS[:3]),
    "kept rows": lambda: changed(neighbours(algorithm="brute"), _fit_X=ROWS[:, :1].copy()),
    "outliers' rows": lambda: changed(
        LocalOutlierFactor(novelty=True).fit(ROWS), _fit_X=ROWS[:4].copy()
    ),
    "support vectors": lambda: machine(support_=np.full(60, FAR, np.int32)),
    "support sizes": lambda: machine(_n_support=np.array([30, 30, FAR], np.int32)),
    "support classes": lambda: machine(_n_support=np.zeros(900, np.int32)),
    "support weights": lambda: machine(_dual_coef_=np.zeros((1, 2))),
    "support intercepts": lambda: machine(_intercept_=np.zeros(1)),
    "support chances": lambda: machine(_probA=np.zeros(1), _probB=np.zeros(1)),
    "support shape": lambda: machine(support_vectors_=np.zeros((60, 1))),
    "support of a regression": lambda: machine(SVR, _dual_coef_=np.zeros((1, 1))),
    "support of one class": lambda: machine(OneClassSVM, support_=np.full(9, -1, np.int32)),
    "support of another kind": lambda: machine(SVR, _impl="c_svc"),
    "threads of centres": lambda: changed(KMeans(3).fit(ROWS), _n_threads=-1),
    "no columns of words": lambda: HashingVectorizer(n_features=4).set_params(n_features=0),
    "no columns of names": lambda: FeatureHasher(n_features=4).set_params(n_features=0),
    "centres": lambda: changed(KMeans(3).fit(ROWS), cluster_centers_=np.zeros((3, 1))),
    "norms of centres": lambda: changed(Birch().fit(ROWS), _subcluster_norms=np.zeros(1)),
    "labels": bent_labels,
    "kept rows of a graph": lambda: changed(
        KNeighborsTransformer(algorithm="brute").fit(ROWS), _fit_X=ROWS[:, :1].copy()
    ),
    "centres' tree": lambda: changed(
        BisectingKMeans(3).fit(ROWS), cluster_centers_=np.zeros((3, 9))
    ),
    "spline": bent_spline,
    "sparse columns": lambda: bent_matrix(sparse.csr_matrix, indices=FAR),
    "sparse rows": lambda: bent_matrix(sparse.csc_array, indptr=FAR),
    "sparse steps": lambda: bent_matrix(sparse.csr_array, indptr=[0, 4, 1, 4, 1, 5]),
    "sparse pairs": lambda: bent_matrix(sparse.coo_matrix, row=-1),
    "sparse blocks": lambda: bent_matrix(sparse.bsr_matrix, indices=FAR),
    "sparse lists": bent_lists,
    "words": lambda: bent_words(CountVectorizer, ["one two", "three"]),
    "rare words": lambda: bent_words(TfidfVectorizer, ["one two", "three"]),
    "named words": lambda: bent_words(DictVectorizer, [{"a": 1, "b": 2}]),
    "one-hot columns": bent_columns,
    "one-hot groups": lambda: bent_columns(min_frequency=3),
    "mersenne twister": lambda: [bent_source(MT19937, "pos")],
    "philox": lambda: (Generator(bent_source(Philox, "buffer_pos")),),
    "random state": lambda: {"random_state": RandomState(bent_source(MT19937, "pos"))},
}
"""What is wrong → what makes a model with that, which libraries open without complaint."""

TOLD: dict[str, Callable[[], Any]] = {
    "nodes that are not there": lambda: told_tree(lambda s, a: s.update(node_count=FAR)),
    "more outputs than classes": lambda: told_tree(lambda s, a: a.__setitem__(2, FAR)),
    "no classes": lambda: told_tree(lambda s, a: a.__setitem__(1, np.array([0]))),
    "values of another shape": lambda: told_tree(lambda s, a: s.update(values=np.zeros((1, 1, 1)))),
    "deeper than told": lambda: told_tree(lambda s, a: s.update(max_depth=0)),
    "fields of another order": lambda: told_tree(
        lambda s, a: s.update(nodes=s["nodes"][list(s["nodes"].dtype.names[::-1])])
    ),
    "neighbours without a state": lambda: [
        Told(
            type(neighbours()._tree).__reduce__(neighbours()._tree)[0],
            (type(neighbours()._tree),),
            None,
        )
    ],
    "a tree without a state": lambda: told_tree(lambda s, a: s.clear()),
}
"""What is wrong → what makes a model that some versions refuse to open, each in another way."""

HONEST: tuple[Any, ...] = (
    make_pipeline(StandardScaler(), DecisionTreeClassifier()),
    RandomForestClassifier(n_estimators=3),
    GradientBoostingClassifier(n_estimators=3, random_state=RandomState(3)),
    GradientBoostingClassifier(n_estimators=3, init="zero"),
    IsolationForest(n_estimators=3, max_features=0.5),
    HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]),
    KNeighborsClassifier(algorithm="ball_tree", leaf_size=5),
    KNeighborsClassifier(algorithm="brute", metric="manhattan"),
    KNeighborsClassifier(metric="seuclidean", metric_params={"V": np.ones(4)}),
    KernelDensity(),
    LocalOutlierFactor(novelty=True),
    SVC(),
    SVC(kernel="linear"),
    SVR(),
    OneClassSVM(),
    KMeans(3),
    BisectingKMeans(3),
    Birch(),
    KNeighborsTransformer(),
    GradientBoostingClassifier(n_estimators=2, init=LogisticRegression()),
    SplineTransformer(extrapolation="periodic"),
    OneHotEncoder(min_frequency=0.3, drop="first"),
    OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist"),
    OneHotEncoder(drop="if_binary"),
)
"""Models, not yet fitted, of the kinds that have something to follow."""
