"""Fixtures for the tests of conversion; models and clearances are made as in the tests of isolation."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "isolation"))

from originals import churn_frame, churn_pipeline


@pytest.fixture(scope="session")
def churn() -> pd.DataFrame:
    """Return the churn data."""
    return churn_frame()


@pytest.fixture(scope="session")
def pipeline(churn: pd.DataFrame) -> Any:
    """Return the churn classifier, with fewer trees."""
    from sklearn.ensemble import GradientBoostingClassifier

    return churn_pipeline(churn, GradientBoostingClassifier(n_estimators=30, random_state=0))


@pytest.fixture(scope="session")
def numbers() -> np.ndarray:
    """Return 200 rows of three numbers."""
    return np.random.default_rng(0).normal(size=(200, 3))
