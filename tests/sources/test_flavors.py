"""Which file of an MLflow folder is the model: as each flavor names it."""

from __future__ import annotations

import pytest

from cannery.errors import SourceError
from cannery.sources.mlmodel import model_file


@pytest.mark.parametrize(
    ("flavor", "spec", "name"),
    [
        ("sklearn", {"pickled_model": "model.pkl"}, "model.pkl"),
        ("onnx", {"data": "model.onnx"}, "model.onnx"),
        ("xgboost", {"data": "model.ubj", "model_class": "xgboost.core.Booster"}, "model.ubj"),
        ("lightgbm", {"data": "model.lgb"}, "model.lgb"),
        ("catboost", {"data": "model.cb", "model_type": "CatBoostClassifier"}, "model.cb"),
    ],
)
def test_a_flavor_names_its_file(flavor: str, spec: dict[str, str], name: str) -> None:
    """The python_function beside it, which names a loader, does not matter."""
    generic = {"loader_module": f"mlflow.{flavor}", "data": "elsewhere"}
    document = {"flavors": {"python_function": generic, flavor: spec}}
    assert model_file(document) == name


def test_a_flavor_that_is_not_known_is_told_with_those_that_are() -> None:
    """The hint lists what to log it with."""
    with pytest.raises(SourceError, match="spark") as caught:
        model_file({"flavors": {"spark": {}, "python_function": {}}})
    assert "xgboost" in str(caught.value.hint)
