"""Train the churn classifier on real data and register it with MLflow, as a data scientist would.

As a script: `python -m cannery.demo.train --work FOLDER [--version 1|2] [--json]`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
import warnings
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NAME = "churn-classifier"
ALIAS = "champion"
STAGE = "Production"
DATA = Path(__file__).parent / "data" / "churn.parquet"

NUMBERS = ["tenure", "monthly_charges", "total_charges", "num_services"]
WORDS = ["contract", "payment_method"]
TARGET = "churn"

SETTINGS: dict[int, dict[str, Any]] = {
    1: {},
    2: {"n_estimators": 150, "max_depth": 2},
}
"""Hyperparameters of the two versions that the demo trains."""

_LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "cloudpickle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A version in the registry, and how good it is on the hold-out."""

    uri: str
    """`models:/churn-classifier@champion`."""
    tracking_uri: str
    name: str
    version: str
    run_id: str
    model_id: str
    metrics: dict[str, float]
    """`auc`, `accuracy` and `log_loss` on the hold-out."""
    rows: int
    """Customers that it was trained on."""
    holdout: int
    """Customers that it was tried on."""
    sample: str
    """A Parquet file with the rows it was trained on, for `cannery pack --sample`."""
    seconds: float


def load(path: Path = DATA) -> tuple[pd.DataFrame, pd.Series]:
    """Return features and target; `total_charges` is missing only for customers of no month yet."""
    frame = pd.read_parquet(path)
    frame["total_charges"] = frame["total_charges"].fillna(0.0)
    return frame[NUMBERS + WORDS], frame[TARGET]


def pipeline(version: int = 1) -> Pipeline:
    """Return the unfitted pipeline of a version."""
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), NUMBERS),
            ("words", OneHotEncoder(handle_unknown="ignore"), WORDS),
        ]
    )
    booster = GradientBoostingClassifier(random_state=42, **SETTINGS[version])
    return Pipeline([("columns", columns), ("classifier", booster)])


def fit(
    version: int = 1, data: Path = DATA
) -> tuple[Pipeline, pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Fit a version; return it, the rows it saw, a stratified hold-out of 20 %, and its metrics there."""
    features, target = load(data)
    seen, held, target_seen, target_held = train_test_split(
        features, target, test_size=0.2, stratify=target, random_state=42
    )
    model = pipeline(version).fit(seen, target_seen)
    leaving = model.predict_proba(held)[:, list(model.classes_).index("Yes")]
    metrics = {
        "auc": float(roc_auc_score(target_held == "Yes", leaving)),
        "accuracy": float(accuracy_score(target_held, model.predict(held))),
        "log_loss": float(log_loss(target_held == "Yes", leaving)),
    }
    return model, seen, held, metrics


def train(version: int, work: Path, data: Path = DATA) -> Trained:
    """Train a version, log it to the store in `work` and make it champion; can be run again."""
    began = time.perf_counter()
    model, seen, held, metrics = fit(version, data)
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    sample = work / "sample.parquet"
    seen.to_parquet(sample, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_id, model_id, tracking_uri, number = _log(model, seen, metrics, version, work)
    return Trained(
        uri=f"models:/{NAME}@{ALIAS}",
        tracking_uri=tracking_uri,
        name=NAME,
        version=number,
        run_id=run_id,
        model_id=model_id,
        metrics=metrics,
        rows=len(seen),
        holdout=len(held),
        sample=str(sample),
        seconds=time.perf_counter() - began,
    )


def _log(
    model: Pipeline, seen: pd.DataFrame, metrics: dict[str, float], version: int, work: Path
) -> tuple[str, str, str, str]:
    """Log and register; return run, model id, store and version."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import mlflow  # slow: after the settings that it reads at import

    for name in ("mlflow", "mlflow.store", "mlflow.sklearn", "mlflow.models", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    tracking_uri = f"sqlite:///{work / 'mlflow.db'}"
    mlflow.set_tracking_uri(tracking_uri)
    client = mlflow.MlflowClient()
    known = client.get_experiment_by_name("churn")
    experiment = (
        known.experiment_id
        if known
        else client.create_experiment("churn", artifact_location=(work / "artifacts").as_uri())
    )
    with mlflow.start_run(experiment_id=experiment, run_name=f"churn-v{version}") as run:
        mlflow.log_params(model["classifier"].get_params())
        mlflow.log_metrics(metrics)
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=mlflow.models.infer_signature(seen, model.predict(seen.head())),
            input_example=seen.head(5),
            # what most registries hold; skops, MLflow's new default, asks for reviewed types first
            serialization_format="cloudpickle",
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in _LIBRARIES],
        )
    number = _register(client, info, run.info.run_id)
    return run.info.run_id, info.model_id, tracking_uri, number


def _register(client: Any, info: Any, run_id: str) -> str:
    """Register the logged model, make it champion and put it into production; return its version."""
    if not client.search_registered_models(f"name='{NAME}'"):
        client.create_registered_model(NAME)
    version = client.create_model_version(
        NAME, source=info.model_uri, run_id=run_id, model_id=info.model_id
    )
    number = str(version.version)
    client.set_registered_model_alias(NAME, ALIAS, number)
    client.transition_model_version_stage(NAME, number, STAGE, archive_existing_versions=True)
    return number


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description="Train and register the churn classifier.")
    parser.add_argument("--version", type=int, choices=sorted(SETTINGS), default=1)
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / "work")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args()
    trained = train(given.version, given.work, given.data)
    if given.json:
        print(json.dumps(asdict(trained), indent=2))  # noqa: T201
        return
    auc, accuracy, loss = (trained.metrics[name] for name in ("auc", "accuracy", "log_loss"))
    print(  # noqa: T201
        f"{trained.name} version {trained.version}: AUC {auc:.3f},"
        f" accuracy {accuracy:.3f}, log loss {loss:.3f}"
    )


if __name__ == "__main__":
    main()
