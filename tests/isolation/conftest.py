"""Fixtures for the tests of isolation."""

from typing import Any

import pandas as pd
import pytest
from originals import churn_frame, churn_pipeline, environment_of_tests

from cannery.isolation.environments import Environment


@pytest.fixture(scope="session")
def environment() -> Environment:
    """Return the environment that fits the libraries of these tests, from the user's cache."""
    return environment_of_tests()


@pytest.fixture(scope="session")
def churn() -> pd.DataFrame:
    """Return the churn data."""
    return churn_frame()


@pytest.fixture(scope="session")
def pipeline(churn: pd.DataFrame) -> Any:
    """Return the churn classifier, with fewer trees."""
    from sklearn.ensemble import GradientBoostingClassifier

    return churn_pipeline(churn, GradientBoostingClassifier(n_estimators=30, random_state=0))
