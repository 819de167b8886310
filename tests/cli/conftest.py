"""A project as a user has it: a pickled model, a sample, and the command."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import cannery.demo
from cannery.processes import Finished, run

DATA = Path(cannery.demo.__file__).parent / "data" / "churn.parquet"
NUMBERS = ["tenure", "monthly_charges", "total_charges", "num_services"]
WORDS = ["contract", "payment_method"]

Command = Callable[..., Finished]


@pytest.fixture(scope="session")
def churn() -> pd.DataFrame:
    """Return the real customers."""
    frame = pd.read_parquet(DATA)
    frame["total_charges"] = frame["total_charges"].fillna(0.0)
    return frame


@pytest.fixture(scope="session")
def classifier(churn: pd.DataFrame) -> Pipeline:
    """Return a fitted churn classifier of few trees."""
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), NUMBERS),
            ("words", OneHotEncoder(handle_unknown="ignore"), WORDS),
        ]
    )
    model = GradientBoostingClassifier(n_estimators=15, random_state=0)
    return Pipeline([("columns", columns), ("model", model)]).fit(
        churn[NUMBERS + WORDS], churn["churn"]
    )


@pytest.fixture(scope="session")
def kit(
    tmp_path_factory: pytest.TempPathFactory, classifier: Pipeline, churn: pd.DataFrame
) -> Path:
    """Return a folder with a model, a sample and settings, never written to by tests."""
    folder = tmp_path_factory.mktemp("kit")
    (folder / "churn.pkl").write_bytes(pickle.dumps(classifier))
    churn.head(300).to_parquet(folder / "sample.parquet", index=False)
    (folder / "cannery.toml").write_text('[outputs]\nchurn_probability = { class = "Yes" }\n')
    return folder


@pytest.fixture
def project(kit: Path, tmp_path: Path) -> Path:
    """Return an own copy of the kit."""
    for file in kit.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture(scope="session")
def cannery_in() -> Callable[[Path], Command]:
    """Return what gives the command `cannery`, run in a folder."""

    def at(folder: Path) -> Command:
        def command(*words: str | Path, stdin: bytes | None = None, **env: str) -> Finished:
            return run(
                [sys.executable, "-m", "cannery", *words],
                cwd=folder,
                env={**os.environ, **env},
                stdin=stdin,
                timeout=240,
            )

        return command

    return at


@pytest.fixture
def cannery(cannery_in: Callable[[Path], Command], project: Path) -> Command:
    """Return the command, run in the project."""
    return cannery_in(project)


@pytest.fixture(scope="session")
def can(
    kit: Path, cannery_in: Callable[[Path], Command], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the can that `cannery pack` makes of the kit."""
    folder = tmp_path_factory.mktemp("cans") / "churn.can"
    done = cannery_in(kit)("pack", "churn.pkl", "--sample", "sample.parquet", "-o", folder)
    assert done.ok, done.complaint
    return folder
