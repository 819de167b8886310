"""Boosting libraries along the line: audited, opened with their own library, converted or served as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd
import pytest
from originals import churn_frame

from cannery.cans.open import Can
from cannery.line import pack
from cannery.serving.schema import render
from cannery.serving.scorer import open_scorer
from cannery.signatures import Batch

NUMBERS = ["tenure", "monthly_charges"]
TEXTS = ["contract"]
QUIET = {"iterations": 20, "verbose": 0, "thread_count": 1, "allow_writing_files": False}


@pytest.fixture(scope="module")
def churn() -> pd.DataFrame:
    """Return some rows of the churn data, texts as objects."""
    return churn_frame().head(400).astype({"contract": object, "payment_method": object})


def answers(can: Can, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what a can answers to the rows of a frame."""
    signature = can.manifest.signature
    batch = Batch(
        numbers=frame[[f.name for f in signature.numbers]].to_numpy(np.float64),
        strings=frame[[f.name for f in signature.strings]].to_numpy(object),
    )
    return render(open_scorer(can).score(batch), signature)


def test_catboost_converts_and_keeps_its_classes(churn: pd.DataFrame, tmp_path: Path) -> None:
    """An estimator with three classes becomes ONNX, with columns and classes by name."""
    model = catboost.CatBoostClassifier(**QUIET).fit(churn[NUMBERS], churn["contract"])
    can = pack(model, sample=churn[NUMBERS], output=tmp_path / "can")
    assert can.manifest.runtime == "onnx"
    assert [f.name for f in can.manifest.signature.features] == NUMBERS
    labels = [answer["label"] for answer in answers(can, churn)]
    assert labels == model.predict(churn[NUMBERS])[:, 0].tolist()


def test_catboost_with_categories_runs_as_it_is(churn: pd.DataFrame, tmp_path: Path) -> None:
    """What can't be converted is served by its own library, which the can names with its version."""
    columns = NUMBERS + TEXTS
    model = catboost.CatBoostClassifier(cat_features=TEXTS, **QUIET)
    model.fit(churn[columns], churn["payment_method"])
    can = pack(model, sample=churn[columns], output=tmp_path / "can")
    assert can.manifest.runtime != "onnx"
    assert f"catboost=={catboost.__version__}" in can.manifest.requirements
    labels = [answer["label"] for answer in answers(can, churn)]
    assert labels == model.predict(churn[columns])[:, 0].tolist()
