"""Fixtures for the tests of conversion; models and clearances are made as in the tests of isolation."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
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
