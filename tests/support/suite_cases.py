"""The models of the conversion suite: estimators, transformers, pipelines, boosters, texts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import imblearn.ensemble as balanced
import numpy as np
import pandas as pd
import sklearn.calibration as calibration
import sklearn.cluster as cluster
import sklearn.cross_decomposition as cross
import sklearn.decomposition as decomposition
import sklearn.discriminant_analysis as discriminant
import sklearn.dummy as dummy
import sklearn.ensemble as ensemble
import sklearn.experimental.enable_iterative_imputer  # noqa: F401
import sklearn.feature_selection as selection
import sklearn.gaussian_process as gaussian
import sklearn.impute as impute
import sklearn.kernel_approximation as kernels
import sklearn.kernel_ridge as kernel_ridge
import sklearn.linear_model as linear
import sklearn.mixture as mixture
import sklearn.model_selection as search
import sklearn.multiclass as multiclass
import sklearn.multioutput as multioutput
import sklearn.naive_bayes as bayes
import sklearn.neighbors as neighbors
import sklearn.neural_network as networks
import sklearn.preprocessing as pre
import sklearn.random_projection as random_projection
import sklearn.semi_supervised as semi
import sklearn.svm as svm
import sklearn.tree as tree
import suite_data as data
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline as sampled_pipeline
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from suite import Case
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

Made = tuple[Any, pd.DataFrame]
_LOGISTIC = linear.LogisticRegression(max_iter=500)


_TARGETS = {
    "two": ", two classes",
    "two_numbered": ", two classes",
    "several": ", two targets",
    "three": ", three classes",
    "three_numbered": ", three classes, missing values",
}


def told(model: Any) -> str:
    """Return a model in a few words: its class, and what was set of it."""
    if isinstance(model, list | tuple):
        return f"[{', '.join(told(one) for one in model)}]"
    if not hasattr(model, "get_params") or isinstance(model, type):
        shown = getattr(model, "__name__", str(model))
        return type(model).__name__ if " at 0x" in shown else shown
    if hasattr(model, "steps"):
        return " → ".join(told(step) for _, step in model.steps)
    usual = inspect.signature(type(model)).parameters
    chosen = {
        name: value
        for name, value in model.get_params(deep=False).items()
        if value is not None
        and (name not in usual or value is not usual[name].default)
        and not (
            name in usual
            and type(value) is type(usual[name].default)
            and value == usual[name].default
        )
        and name not in ("random_state", "verbose", "missing", "enable_categorical")
    }
    words = ", ".join(f"{name}={told(value)}" for name, value in chosen.items())
    return type(model).__name__ + (f"({words})" if words else "")


def _fit(model: Any, rows: pd.DataFrame, target: Any) -> Made:
    return (model.fit(rows) if target is None else model.fit(rows, target)), rows


def _named(
    group: str, models: Any, rows: Callable[[], pd.DataFrame], target: Callable[[], Any]
) -> Iterator[Case]:
    for model in models:
        make = functools.partial(_late, model, rows, target)
        name = f"{told(model)}{_TARGETS.get(target.__name__, '')}"
        yield Case(name=name, group=group, make=make)


def _late(model: Any, rows: Callable[[], pd.DataFrame], target: Callable[[], Any]) -> Made:
    return _fit(model, rows(), target())


def nothing() -> None:
    """Return no target."""


def _classifiers() -> Iterator[Any]:
    yield from (linear.LogisticRegression(max_iter=500), linear.LogisticRegressionCV(max_iter=300))
    yield from (linear.RidgeClassifier(), linear.Perceptron(), linear.SGDClassifier())
    yield from (linear.SGDClassifier(loss="log_loss"), linear.SGDClassifier(loss="modified_huber"))
    yield from (svm.LinearSVC(), svm.SVC(), svm.SVC(probability=True, kernel="poly"), svm.NuSVC())
    yield from (bayes.GaussianNB(), bayes.BernoulliNB(binarize=1.0))
    yield from (
        discriminant.LinearDiscriminantAnalysis(),
        discriminant.QuadraticDiscriminantAnalysis(),
    )
    yield discriminant.LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    yield from (
        neighbors.KNeighborsClassifier(),
        neighbors.KNeighborsClassifier(weights="distance"),
    )
    yield from (neighbors.NearestCentroid(), gaussian.GaussianProcessClassifier())
    yield from (tree.DecisionTreeClassifier(), tree.ExtraTreeClassifier(max_depth=6))
    yield from (ensemble.RandomForestClassifier(20), ensemble.ExtraTreesClassifier(20))
    yield from (ensemble.GradientBoostingClassifier(n_estimators=20), ensemble.AdaBoostClassifier())
    yield ensemble.HistGradientBoostingClassifier(max_iter=20)
    yield ensemble.BaggingClassifier(n_estimators=5, max_features=0.7)
    yield ensemble.VotingClassifier(
        [("l", _LOGISTIC), ("t", tree.DecisionTreeClassifier(max_depth=4))]
    )
    yield ensemble.VotingClassifier([("l", _LOGISTIC), ("b", bayes.GaussianNB())], voting="soft")
    yield ensemble.StackingClassifier(
        [("t", tree.DecisionTreeClassifier(max_depth=4)), ("b", bayes.GaussianNB())]
    )
    yield calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=3)
    yield calibration.CalibratedClassifierCV(
        ensemble.RandomForestClassifier(8), method="isotonic", cv=3
    )
    yield from (
        multiclass.OneVsRestClassifier(_LOGISTIC),
        multiclass.OneVsOneClassifier(svm.LinearSVC()),
    )
    yield multiclass.OutputCodeClassifier(_LOGISTIC, random_state=0)
    yield semi.SelfTrainingClassifier(_LOGISTIC)
    yield networks.MLPClassifier((16, 8), max_iter=200, random_state=0)
    yield search.GridSearchCV(tree.DecisionTreeClassifier(), {"max_depth": [2, 5]}, cv=2)
    yield dummy.DummyClassifier()


def _binary() -> Iterator[Any]:
    yield search.TunedThresholdClassifierCV(linear.LogisticRegression(max_iter=500), cv=3)
    yield search.FixedThresholdClassifier(linear.LogisticRegression(max_iter=500), threshold=0.3)


def _regressors() -> Iterator[Any]:
    yield from (
        linear.LinearRegression(),
        linear.Ridge(),
        linear.Lasso(0.1),
        linear.ElasticNet(0.1),
    )
    yield from (linear.BayesianRidge(), linear.ARDRegression(), linear.HuberRegressor(max_iter=500))
    yield from (linear.TheilSenRegressor(), linear.RANSACRegressor(random_state=0), linear.Lars())
    yield from (linear.QuantileRegressor(alpha=0.1), linear.OrthogonalMatchingPursuit())
    yield from (svm.SVR(), svm.NuSVR(kernel="linear"), svm.LinearSVR())
    yield from (neighbors.KNeighborsRegressor(), neighbors.RadiusNeighborsRegressor(30.0))
    yield gaussian.GaussianProcessRegressor(gaussian.kernels.RBF() + gaussian.kernels.WhiteKernel())
    yield from (kernel_ridge.KernelRidge(kernel="rbf"), cross.PLSRegression(2))
    yield from (tree.DecisionTreeRegressor(), ensemble.RandomForestRegressor(20))
    yield from (ensemble.ExtraTreesRegressor(20), ensemble.AdaBoostRegressor(n_estimators=10))
    yield from (
        ensemble.GradientBoostingRegressor(n_estimators=20),
        ensemble.GradientBoostingRegressor(loss="huber", n_estimators=10),
    )
    yield ensemble.HistGradientBoostingRegressor(max_iter=20)
    yield ensemble.BaggingRegressor(linear.Ridge(), n_estimators=5)
    yield ensemble.StackingRegressor(
        [("r", linear.Ridge()), ("t", tree.DecisionTreeRegressor(max_depth=3))]
    )
    yield ensemble.VotingRegressor(
        [("r", linear.Ridge()), ("t", tree.DecisionTreeRegressor(max_depth=3))]
    )
    yield networks.MLPRegressor(hidden_layer_sizes=(16,), max_iter=300, random_state=0)
    yield TransformedTargetRegressor(
        linear.Ridge(), transformer=pre.QuantileTransformer(n_quantiles=50)
    )
    yield TransformedTargetRegressor(linear.Ridge(), transformer=pre.PowerTransformer())
    yield dummy.DummyRegressor(strategy="median")


def _positive_regressors() -> Iterator[Any]:
    yield from (linear.PoissonRegressor(), linear.TweedieRegressor(power=1.5, max_iter=500))
    yield ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=10)
    yield TransformedTargetRegressor(linear.Ridge(), func=np.log1p, inverse_func=np.expm1)


def _several() -> Iterator[Any]:
    yield from (linear.LinearRegression(), tree.DecisionTreeRegressor(max_depth=6))
    yield from (ensemble.RandomForestRegressor(10), neighbors.KNeighborsRegressor())
    yield multioutput.MultiOutputRegressor(ensemble.GradientBoostingRegressor(n_estimators=10))
    yield multioutput.RegressorChain(linear.Ridge())


def _unlabelled() -> Iterator[Any]:
    yield from (
        cluster.KMeans(4, n_init=2, random_state=0),
        cluster.MiniBatchKMeans(4, n_init=2, random_state=0),
    )
    yield from (
        cluster.BisectingKMeans(3, random_state=0),
        cluster.MeanShift(),
        cluster.AffinityPropagation(random_state=0),
        cluster.Birch(n_clusters=3),
    )
    yield from (
        mixture.GaussianMixture(3, random_state=0),
        mixture.BayesianGaussianMixture(n_components=3, random_state=0),
    )
    yield from (ensemble.IsolationForest(n_estimators=20, random_state=0), svm.OneClassSVM(nu=0.1))
    yield neighbors.LocalOutlierFactor(novelty=True)
    yield linear.SGDOneClassSVM(random_state=0)


def _transformers() -> Iterator[Any]:
    yield from (
        pre.StandardScaler(),
        pre.MinMaxScaler(clip=True),
        pre.MaxAbsScaler(),
        pre.RobustScaler(),
    )
    yield from (pre.PowerTransformer(), pre.QuantileTransformer(n_quantiles=60), pre.Normalizer())
    yield pre.QuantileTransformer(n_quantiles=60, output_distribution="normal")
    yield from (pre.Binarizer(threshold=1.0), pre.PolynomialFeatures(3), pre.SplineTransformer())
    yield from (pre.KBinsDiscretizer(), pre.KBinsDiscretizer(encode="ordinal", strategy="uniform"))
    yield from (
        pre.FunctionTransformer(np.abs),
        pre.FunctionTransformer(np.arctan),
        decomposition.PCA(3),
        decomposition.TruncatedSVD(2),
    )
    yield from (decomposition.FastICA(2, random_state=0), decomposition.FactorAnalysis(2))
    yield from (
        decomposition.KernelPCA(2, kernel="rbf"),
        decomposition.SparsePCA(2, random_state=0),
    )
    yield from (
        kernels.Nystroem(n_components=30, random_state=0),
        kernels.RBFSampler(random_state=0),
    )
    yield from (
        random_projection.GaussianRandomProjection(3, random_state=0),
        cluster.FeatureAgglomeration(3),
    )
    yield from (ensemble.RandomTreesEmbedding(5, random_state=0), selection.VarianceThreshold(0.5))


def _filling() -> Iterator[Any]:
    yield from (
        impute.SimpleImputer(add_indicator=True),
        impute.KNNImputer(),
        impute.MissingIndicator(),
    )
    yield impute.IterativeImputer(random_state=0, max_iter=5)
    for last in (_LOGISTIC, ensemble.RandomForestClassifier(10)):
        yield make_pipeline(impute.SimpleImputer(strategy="median", add_indicator=True), last)
    yield make_pipeline(
        impute.IterativeImputer(random_state=0, max_iter=3),
        tree.DecisionTreeClassifier(max_depth=5),
    )
    yield from (
        ensemble.HistGradientBoostingClassifier(max_iter=20),
        tree.DecisionTreeClassifier(max_depth=6),
    )
    yield ensemble.RandomForestClassifier(10)


def _boosters() -> Iterator[Any]:
    common = {"n_estimators": 20, "random_state": 0}
    quiet = {**common, "verbose": -1}
    yield from (XGBClassifier(**common), XGBClassifier(**common, booster="dart", rate_drop=0.2))
    yield from (XGBClassifier(**common, max_depth=10, subsample=0.6), XGBRFClassifier(**common))
    yield from (LGBMClassifier(**quiet), LGBMClassifier(**quiet, boosting_type="dart"))
    yield LGBMClassifier(**quiet, boosting_type="rf", subsample=0.6, subsample_freq=1)
    yield LGBMClassifier(**quiet, num_leaves=64, min_child_samples=3)
    yield make_pipeline(pre.StandardScaler(), XGBClassifier(**common))
    yield make_pipeline(pre.StandardScaler(), LGBMClassifier(**quiet))


def _balanced() -> Iterator[Any]:
    """Yield what samples the rows of training."""
    yield balanced.BalancedRandomForestClassifier(10, random_state=0)
    yield balanced.BalancedBaggingClassifier(n_estimators=5, random_state=0)
    yield balanced.EasyEnsembleClassifier(3, random_state=0)
    yield balanced.RUSBoostClassifier(n_estimators=10, random_state=0)
    yield sampled_pipeline(pre.StandardScaler(), SMOTE(random_state=0), _LOGISTIC)


def _boosting_regressors() -> Iterator[Any]:
    common = {"n_estimators": 20, "random_state": 0}
    quiet = {**common, "verbose": -1}
    yield LGBMRegressor(**quiet, linear_tree=True)
    yield from (XGBRegressor(**common), XGBRegressor(**common, objective="reg:absoluteerror"))
    yield from (LGBMRegressor(**quiet), LGBMRegressor(**quiet, objective="quantile", alpha=0.8))
    yield make_pipeline(pre.QuantileTransformer(n_quantiles=40), XGBRegressor(**common))


def _positive_boosters() -> Iterator[Any]:
    common = {"n_estimators": 20, "random_state": 0}
    yield from (
        XGBRegressor(**common, objective="count:poisson"),
        XGBRegressor(**common, objective="reg:gamma"),
    )
    yield LGBMRegressor(**common, verbose=-1, objective="poisson")
    yield LGBMRegressor(**common, verbose=-1, objective="tweedie")


_NUMBER_STEPS: dict[str, Any] = {
    "standard": pre.StandardScaler(),
    "robust": pre.RobustScaler(),
    "power": pre.PowerTransformer(),
    "quantile": pre.QuantileTransformer(n_quantiles=100),
    "bins": pre.KBinsDiscretizer(4),
    "log": pre.FunctionTransformer(np.log1p),
    "spline": pre.SplineTransformer(4, extrapolation="linear"),
    "interactions": make_pipeline(
        pre.StandardScaler(), pre.PolynomialFeatures(2, interaction_only=True)
    ),
    "components": make_pipeline(pre.StandardScaler(), decomposition.PCA(3)),
}
_TEXT_STEPS: dict[str, Any] = {
    "one-hot": pre.OneHotEncoder(handle_unknown="ignore"),
    "first dropped": pre.OneHotEncoder(drop="first", sparse_output=False),
    "infrequent": pre.OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=300),
    "ordinal": pre.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "target": pre.TargetEncoder(random_state=0),
}
_LAST: dict[str, Callable[[], Any]] = {
    "logistic": lambda: linear.LogisticRegression(max_iter=1000),
    "forest": lambda: ensemble.RandomForestClassifier(12, random_state=0),
    "boosting": lambda: ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0),
    "histograms": lambda: ensemble.HistGradientBoostingClassifier(max_iter=20),
    "machine": lambda: svm.SVC(random_state=0),
    "neighbours": lambda: neighbors.KNeighborsClassifier(9),
    "network": lambda: networks.MLPClassifier((12,), max_iter=60, random_state=0),
    "bayes": lambda: bayes.GaussianNB(),
    "calibrated": lambda: calibration.CalibratedClassifierCV(
        ensemble.RandomForestClassifier(5), cv=2
    ),
    "lightgbm": lambda: LGBMClassifier(n_estimators=20, verbose=-1),
    "xgboost": lambda: XGBClassifier(n_estimators=20),
}
_DENSE = {"histograms", "bayes"}


def _churn_pipeline(numbers: str, texts: str, last: str, *, holes: bool) -> Made:
    frame = data.churn(holes=holes)
    number, text = _NUMBER_STEPS[numbers], _TEXT_STEPS[texts]
    if holes:
        number = make_pipeline(impute.SimpleImputer(strategy="median"), number)
        text = make_pipeline(impute.SimpleImputer(strategy="most_frequent"), text)
    columns = ColumnTransformer(
        [("numbers", number, data.NUMBERS), ("texts", text, data.TEXTS)],
        sparse_threshold=0.0 if last in _DENSE else 0.3,
    )
    model = make_pipeline(columns, _LAST[last]())
    labels = (frame["churn"] == "Yes").astype(int) if last == "xgboost" else frame["churn"]
    return _fit(model, frame[data.NUMBERS + data.TEXTS], labels)


def _churn_cases() -> Iterator[Case]:
    """Yield every way with numbers and with texts, each before several kinds of model."""
    lasts = list(_LAST)
    for i, numbers in enumerate(_NUMBER_STEPS):
        for j in range(5):
            last = lasts[(3 * i + 2 * j) % len(lasts)]
            texts = list(_TEXT_STEPS)[(i + j) % len(_TEXT_STEPS)]
            holes = (i + j) % 3 == 0
            name = f"churn{' with nulls' if holes else ''}: {numbers}, {texts}, {last}"
            make = functools.partial(_churn_pipeline, numbers, texts, last, holes=holes)
            yield Case(name=name, group="pipelines", make=make)


def _other_pipelines() -> Iterator[Any]:
    yield make_pipeline(make_union(pre.StandardScaler(), decomposition.PCA(2)), _LOGISTIC)
    yield make_pipeline(
        selection.SelectKBest(k=3), ensemble.GradientBoostingClassifier(n_estimators=15)
    )
    yield make_pipeline(
        selection.SelectFromModel(ensemble.ExtraTreesClassifier(10)), svm.LinearSVC()
    )
    yield make_pipeline(
        selection.RFE(_LOGISTIC, n_features_to_select=3), pre.StandardScaler(), bayes.GaussianNB()
    )
    yield make_pipeline(discriminant.LinearDiscriminantAnalysis(), neighbors.KNeighborsClassifier())
    yield make_pipeline(cluster.KMeans(5, n_init=1), _LOGISTIC)
    yield make_pipeline(ensemble.RandomTreesEmbedding(10), linear.SGDClassifier(loss="log_loss"))
    yield make_pipeline(pre.MinMaxScaler(), kernels.Nystroem(n_components=20), svm.LinearSVC())
    selected = make_column_selector(dtype_include="number")
    scaled = ColumnTransformer([("n", pre.StandardScaler(), selected)]).set_output(
        transform="pandas"
    )
    yield make_pipeline(scaled, tree.DecisionTreeClassifier(max_depth=5))
    union = FeatureUnion(
        [("s", pre.StandardScaler()), ("k", pre.KBinsDiscretizer(encode="onehot-dense"))]
    )
    yield make_pipeline(union, ensemble.HistGradientBoostingClassifier(max_iter=10))
    yield search.GridSearchCV(
        make_pipeline(pre.StandardScaler(), svm.SVC()), {"svc__C": [0.5, 2]}, cv=2
    )
    yield calibration.CalibratedClassifierCV(make_pipeline(pre.RobustScaler(), svm.SVC()), cv=2)


def _text_case(vectorizer: Any, last: Any) -> Made:
    frame = data.texts()
    model = make_pipeline(vectorizer, last).fit(frame["text"].tolist(), frame["liked"])
    return model, frame[["text"]]


def _mixed_text_case() -> Made:
    frame = data.texts()
    columns = ColumnTransformer(
        [
            ("text", TfidfVectorizer(ngram_range=(1, 2)), "text"),
            ("stars", pre.StandardScaler(), ["stars"]),
            ("shop", pre.OneHotEncoder(handle_unknown="ignore"), ["shop"]),
        ]
    )
    model = make_pipeline(columns, linear.LogisticRegression())
    return _fit(model, frame[["text", "stars", "shop"]], frame["liked"])


def _texts() -> Iterator[Case]:
    vectorizers = [
        CountVectorizer(),
        CountVectorizer(binary=True, ngram_range=(1, 3), min_df=2),
        CountVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=400),
        CountVectorizer(analyzer="char", ngram_range=(1, 2), lowercase=False),
        TfidfVectorizer(),
        TfidfVectorizer(sublinear_tf=True, stop_words="english"),
        TfidfVectorizer(norm="l1", use_idf=False, strip_accents="unicode"),
        HashingVectorizer(n_features=256),
    ]
    lasts = [
        linear.LogisticRegression(),
        bayes.MultinomialNB(),
        ensemble.RandomForestClassifier(10),
    ]
    for i, vectorizer in enumerate(vectorizers):
        last = lasts[i % 3] if i < 7 else lasts[0]
        name = f"{told(vectorizer)} → {type(last).__name__}"
        yield Case(name=name, group="texts", make=functools.partial(_text_case, vectorizer, last))
    topics = make_pipeline(
        CountVectorizer(),
        decomposition.LatentDirichletAllocation(3, max_iter=3, random_state=0),
    )
    last = lasts[0]
    name = f"CountVectorizer → LatentDirichletAllocation → {type(last).__name__}"
    yield Case(name=name, group="texts", make=functools.partial(_text_case, topics, last))
    yield Case(name="text, number and category", group="texts", make=_mixed_text_case)


def cases() -> list[Case]:
    """Return all cases, in the order of the page."""
    found = [
        *_named("classifiers", _classifiers(), data.numbers, data.two),
        *_named("classifiers", _classifiers(), data.numbers, data.three),
        *_named("classifiers", _binary(), data.numbers, data.two),
        *_named("regressors", _regressors(), data.numbers, data.signal),
        *_named("regressors", _positive_regressors(), data.numbers, data.counts),
        *_named("regressors", _several(), data.numbers, data.several),
        *_named("clusters and outliers", _unlabelled(), data.numbers, nothing),
        *_named("transformers", _transformers(), data.numbers, nothing),
        *_named("transformers", _filling(), data.holes, data.two),
        *_named("pipelines", _other_pipelines(), data.numbers, data.two),
        *_churn_cases(),
        *_named("pipelines", _balanced(), data.numbers, data.two),
        *_named("boosters", _boosters(), data.numbers, data.two_numbered),
        *_named("boosters", _boosters(), data.holes, data.three_numbered),
        *_named("boosters", _boosting_regressors(), data.numbers, data.signal),
        *_named("boosters", _positive_boosters(), data.numbers, data.counts_above_zero),
        *_texts(),
    ]
    return [
        Case(name=c.name, group=c.group, make=functools.partial(_seeded, c.make)) for c in found
    ]


def _seeded(make: Callable[[], Made]) -> Made:
    """Fit with the same draws in every run."""
    np.random.seed(0)
    return make()
