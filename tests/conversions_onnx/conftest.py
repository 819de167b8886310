"""The churn data, for the tests of conversion to ONNX."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import cannery

CHURN = Path(cannery.__file__).parent / "demo" / "data" / "churn.parquet"


@pytest.fixture(scope="session")
def churn() -> pd.DataFrame:
    """1,500 rows of the churn data, without rows in which a value is missing."""
    frame = pd.read_parquet(CHURN).dropna().sample(1500, random_state=0, ignore_index=True)
    return frame.astype({"contract": object, "payment_method": object, "churn": object})
