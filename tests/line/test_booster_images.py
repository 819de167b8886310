"""Boosting libraries along the line: audited, opened with their own library, converted or served as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from originals import churn_frame
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from cannery.cans.manifest import Runtime
from cannery.cans.open import Can
from cannery.errors import ConversionError
from cannery.line import pack
from cannery.packs import PackOptions
from cannery.serving.schema import render
from cannery.serving.scorer import open_scorer
from cannery.signatures import Batch, Feature

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


def _files(churn: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Write a model of each library into its own file; return them by the file's name."""
    y = (churn["churn"] == "Yes").astype(int)
    rows = xgboost.DMatrix(churn[NUMBERS], y)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, rows, 5)
    estimator = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(churn[NUMBERS], y)
    light = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(churn[NUMBERS], y)
    cat = catboost.CatBoostClassifier(**QUIET).fit(churn[NUMBERS], y)
    booster.save_model(folder / "plain.json")
    estimator.save_model(folder / "estimator.ubj")
    light.booster_.save_model(folder / "light.txt")
    cat.save_model(str(folder / "cat.cbm"))
    return {
        "plain.json": booster.predict(rows),
        "estimator.ubj": estimator.predict_proba(churn[NUMBERS])[:, 1],
        "light.txt": light.predict_proba(churn[NUMBERS])[:, 1],
        "cat.cbm": cat.predict_proba(churn[NUMBERS])[:, 1],
    }


@pytest.mark.parametrize("native", [False, True], ids=["onnx", "native"])
def test_the_file_of_a_library_is_a_model(
    churn: pd.DataFrame, tmp_path: Path, *, native: bool
) -> None:
    """It is audited, opened by its library, and served as ONNX or, where asked, by that library."""
    libraries: dict[str, Runtime] = {
        "plain.json": "xgboost",
        "estimator.ubj": "xgboost",
        "light.txt": "lightgbm",
        "cat.cbm": "catboost",
    }
    for name, wanted in _files(churn, tmp_path).items():
        runtime = libraries[name] if native else None
        can = pack(
            tmp_path / name,
            sample=churn[NUMBERS],
            output=tmp_path / f"{name}.can",
            options=PackOptions(runtime=runtime),
        )
        assert can.manifest.runtime == (runtime or "onnx")
        assert [f.name for f in can.manifest.signature.features] == NUMBERS
        got = [answer["probability_1"] for answer in answers(can, churn)]
        assert np.abs(np.array(got) - wanted).max() < 2e-7


def test_a_library_keeps_the_names_of_classes(churn: pd.DataFrame, tmp_path: Path) -> None:
    """LightGBM's file knows classes by number alone: the can gives them their names back."""
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)
    model.fit(churn[NUMBERS], churn["contract"])
    can = pack(
        model,
        sample=churn[NUMBERS],
        output=tmp_path / "can",
        options=PackOptions(runtime="lightgbm"),
    )
    labels = [answer["label"] for answer in answers(can, churn)]
    assert labels == model.predict(churn[NUMBERS]).tolist()
    assert not any(r.startswith("pandas") for r in can.manifest.requirements)


def test_the_runtime_of_another_library_is_refused(churn: pd.DataFrame, tmp_path: Path) -> None:
    """A file of CatBoost holds no model of LightGBM."""
    model = lightgbm.LGBMRegressor(n_estimators=2, n_jobs=1, verbose=-1)
    model.fit(churn[NUMBERS], churn["tenure"])
    with pytest.raises(ConversionError, match="only a booster of catboost"):
        pack(
            model,
            sample=churn[NUMBERS],
            output=tmp_path / "can",
            options=PackOptions(runtime="catboost"),
        )


@pytest.mark.parametrize("runtime", ["onnx", "lightgbm"])
def test_categories_of_a_frame_reach_the_original(
    churn: pd.DataFrame, tmp_path: Path, runtime: Runtime
) -> None:
    """A record brings a text, and the original gets a column of pandas' dtype, as in its training."""
    columns = [*NUMBERS, *TEXTS]
    framed = churn[columns].astype({"contract": "category"})
    model = lightgbm.LGBMClassifier(n_estimators=9, n_jobs=1, verbose=-1).fit(
        framed, churn["churn"]
    )
    can = pack(model, sample=framed, output=tmp_path / "can", options=PackOptions(runtime=runtime))
    contract = can.manifest.signature.features[-1]
    assert (contract.type, contract.categorical) == ("string", True)
    assert contract.categories == tuple(framed["contract"].cat.categories)
    got = [answer["probability_Yes"] for answer in answers(can, churn)]
    assert np.abs(np.array(got) - model.predict_proba(framed)[:, 1]).max() < 1e-12


def test_categories_are_texts_where_nothing_else_tells(churn: pd.DataFrame, tmp_path: Path) -> None:
    """Without a sample, the model says which columns are texts; the user's table says more."""
    columns = [*NUMBERS, *TEXTS]
    model = catboost.CatBoostClassifier(cat_features=TEXTS, **QUIET)
    model.fit(churn[columns], churn["churn"])
    plain = pack(model, output=tmp_path / "plain").manifest.signature.features
    assert [each.type for each in plain] == ["double", "double", "string"]
    told = (
        Feature(name="tenure", type="long", minimum=0.0, maximum=72.0),
        Feature(name="contract", type="string", categories=("Month-to-month", "Two year")),
    )
    can = pack(model, output=tmp_path / "can", options=PackOptions(features=told))
    tenure, charges, contract = can.manifest.signature.features
    assert (tenure.type, charges.type, contract.type) == ("long", "double", "string")
    assert contract.categories == ("Month-to-month", "Two year")


def test_a_booster_behind_a_step_that_does_not_convert_is_kept_by_skops(
    churn: pd.DataFrame, tmp_path: Path
) -> None:
    """Its native buffer, in a skops file, is read by the audit as anywhere else."""
    steps = [("scale", StandardScaler()), ("model", catboost.CatBoostRegressor(**QUIET))]
    model = Pipeline(steps).fit(churn[NUMBERS], churn["tenure"])
    can = pack(
        model,
        sample=churn[NUMBERS],
        output=tmp_path / "can",
        options=PackOptions(runtime="skops"),
    )
    assert can.manifest.runtime == "skops"
    assert f"catboost=={catboost.__version__}" in can.manifest.requirements
