"""Models of an older generation of the libraries, saved by that generation, pass the audit of today."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from audit_sources import make_source

from cannery.audits.audit import audit
from cannery.isolation.environments import prepare
from cannery.sources.source import Format

SUPPORT = Path(__file__).parents[1] / "support"

GENERATION = (
    ("1.3.2", "1.26.4", "2.1.4") if sys.version_info < (3, 13) else ("1.6.1", "2.1.3", "2.2.3")
)
"""scikit-learn, numpy and pandas: the oldest for which this Python has wheels."""

MODELS = (
    "AdaBoostClassifier", "BaggingRegressor", "BayesianRidge", "ColumnTransformer",
    "DecisionTreeClassifier", "ElasticNetCV", "ExtraTreesRegressor", "FunctionTransformer",
    "GaussianNB", "GaussianProcessClassifier", "GradientBoostingClassifier",
    "GradientBoostingRegressor", "GridSearchCV", "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor", "IsolationForest", "IsotonicRegression",
    "KBinsDiscretizer", "KMeans", "KNeighborsClassifier", "LinearDiscriminantAnalysis",
    "LogisticRegression", "MLPClassifier", "OneHotEncoder", "OrdinalEncoder", "PCA", "Pipeline",
    "PoissonRegressor", "RandomForestClassifier", "SGDClassifier", "SVC", "SimpleImputer",
    "StackingClassifier", "StandardScaler", "TfidfVectorizer", "VotingClassifier", "columns",
)  # fmt: skip

FORMATS: dict[str, Format] = {".pickle": "pickle", ".joblib": "joblib", ".skops": "skops"}


@pytest.mark.slow
@pytest.mark.network
def test_models_of_an_older_generation_are_safe(tmp_path: Path) -> None:
    """Every form of some forty estimators, fitted and saved by the libraries of their time."""
    scikit, numpy, pandas = GENERATION
    wanted = (f"numpy=={numpy}", f"pandas=={pandas}", f"scikit-learn=={scikit}")
    environment = prepare((*wanted, "cloudpickle", "joblib", "skops"))
    subprocess.run(
        [environment.python.path, "-I", "-c", _RUN, SUPPORT, tmp_path / "corpus", *MODELS],
        env=os.environ | {"CORPUS_PACKAGES": str(environment.folder / "packages")},
        check=True,
    )
    files = sorted(f for f in (tmp_path / "corpus").iterdir() if f.suffix in FORMATS)
    assert len({f.name.partition(".")[0] for f in files}) == len(MODELS)
    (tmp_path / "audited").mkdir()
    for file in files:
        source = make_source(
            tmp_path / "audited", {file.name: file.read_bytes()}, file.name, FORMATS[file.suffix]
        )
        found = audit(source)
        assert (file.name, found.verdict, found.findings) == (file.name, "safe", ())
        assert found.versions.get("scikit-learn", scikit) == scikit


_RUN = """
import os, sys
sys.path[:0] = [sys.argv[1], os.environ["CORPUS_PACKAGES"]]
import corpus
corpus.main(*sys.argv[2:])
"""
