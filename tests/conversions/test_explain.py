"""Why a model does not become ONNX: the steps in the way, and the first that differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, StandardScaler

from cannery.conversions.nouns import Differences, Parity
from cannery.conversions.onnx.obstacles import obstacles
from cannery.conversions.options import ConvertOptions
from cannery.conversions.parity import remedy
from cannery.errors import ParityError, UsageError
from cannery.explanations import explain
from cannery.line import pack
from cannery.packs import PackOptions
from cannery.reports.explanations import explanation_text
from cannery.signatures import Feature

FEATURES = (
    Feature(name="a", type="double"),
    Feature(name="b", type="double"),
    Feature(name="s", type="string"),
)


class Odd(StandardScaler):
    """A step that Cannery does not know."""


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return two numbers and a text."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.lognormal(size=(200, 2)), columns=["a", "b"])
    return rows.assign(s=random.choice(list("xyz"), 200).astype(object))


def pipeline(frame: pd.DataFrame, scaler: Any, model: Any) -> Pipeline:
    """Return a fitted pipeline whose scaler is one part of its first step."""
    parts = [("scale", scaler, ["a", "b"]), ("texts", OneHotEncoder(), ["s"])]
    steps = [("columns", ColumnTransformer(parts)), ("model", model)]
    return Pipeline(steps).fit(frame, frame["a"] > frame["b"])


def test_every_step_in_the_way_is_named(frame: pd.DataFrame) -> None:
    """Each part is tried alone, so that a second obstacle is not hidden behind the first."""
    trees = lightgbm.LGBMClassifier(n_estimators=2, pred_early_stop=True, n_jobs=1, verbose=-1)
    found = list(obstacles(pipeline(frame, Odd(), trees), FEATURES))
    assert [one.step for one in found] == ["columns__scale", "model"]
    assert found[0].type.endswith("test_explain.Odd")
    assert "no exact conversion" in found[0].reason
    assert found[1].reason == "its parameter 'pred_early_stop' changes what it answers"


def test_what_converts_has_no_obstacle(frame: pd.DataFrame) -> None:
    """Nothing is yielded."""
    assert not list(obstacles(pipeline(frame, StandardScaler(), LogisticRegression()), FEATURES))


def test_an_explanation_says_what_pack_would_take(frame: pd.DataFrame) -> None:
    """ONNX fails with the reason and the remedy, and skops is equal."""
    trees = lightgbm.LGBMClassifier(n_estimators=2, pred_early_stop=True, n_jobs=1, verbose=-1)
    found = explain(pipeline(frame, StandardScaler(), trees), sample=frame)
    assert not found.converts
    assert [(t.runtime, t.outcome) for t in found.trials] == [("onnx", "fails"), ("skops", "equal")]
    assert ", under Python 3." in found.trials[1].reason
    text = explanation_text(found)
    assert "step     model (lightgbm.sklearn.LGBMClassifier): its parameter" in text
    assert text.endswith("so       pack takes skops")


def test_the_first_step_that_differs_is_named(frame: pd.DataFrame) -> None:
    """With no tolerance at all, the last digits of a power transform are a difference."""
    model = pipeline(frame, PowerTransformer(), LogisticRegression())
    found = explain(model, sample=frame, options=PackOptions(tolerance=0.0))
    assert found.trials[0].outcome == "differs"
    assert found.trials[0].reason.endswith("first in the step 'columns__scale'")
    assert found.trials[0].hint is not None
    assert "--tolerance" in found.trials[0].hint
    text = explanation_text(found)
    assert "furthest off is {" in text
    assert "differs: differs" not in text


@pytest.mark.parametrize(
    ("kind", "apart", "flipped", "words"),
    [
        ("sample", 3e-5, 0, "--tolerance 0.0001"),
        ("extreme", 0.5, 1, "only numbers far outside"),
        ("threshold", 0.5, 1, "no tolerance covers it"),
        ("sample", np.inf, 0, "no tolerance covers it"),
    ],
    ids=["small", "extreme", "flip", "not finite"],
)
def test_the_remedy_fits_what_failed(kind: Any, apart: float, flipped: int, words: str) -> None:
    """A tolerance where one would do; never one for labels that change."""
    one = Differences(kind=kind, rows=9, maximum=apart, percentile999=apart, flips=flipped)
    parity = Parity(runtime="onnx", tolerance=1e-6, differences=(one,))
    assert words in remedy(parity)


def test_a_refusal_shows_the_row_that_is_furthest_off(frame: pd.DataFrame, tmp_path: Path) -> None:
    """What failed, where, in which step, by which row, and what would make it pass."""
    model = pipeline(frame, PowerTransformer(), LogisticRegression())
    options = PackOptions(tolerance=0.0, runtime="onnx")
    with pytest.raises(ParityError, match="first in the step 'columns__scale'") as caught:
        pack(model, output=tmp_path / "can", sample=frame, options=options)
    assert "furthest off is {" in str(caught.value.hint)
    assert "--tolerance" in str(caught.value.hint)


@pytest.mark.parametrize("tolerance", [-1.0, np.nan, np.inf])
def test_a_tolerance_is_a_number_from_0_on(tolerance: float) -> None:
    """Whoever gives it, on the command line, in the settings or in Python."""
    with pytest.raises(UsageError, match="the tolerance is") as caught:
        ConvertOptions(tolerance=tolerance)
    assert "[parity]" in str(caught.value.hint)
