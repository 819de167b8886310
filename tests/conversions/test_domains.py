"""Numbers that the original refuses, the service refuses by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from churn_cans import Caller
from originals import cleared_pickle
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PowerTransformer,
    SplineTransformer,
)

from cannery.conversions.domains import with_domains
from cannery.errors import ConversionError, SchemaError
from cannery.line import pack
from cannery.serving.server import application
from cannery.serving.service import open_service
from cannery.serving.settings import Settings
from cannery.signatures import Batch, Feature, Raw
from cannery.tables.batches import to_batch

FEATURES = (
    Feature(name="a", type="double", minimum=0.5, maximum=9.0),
    Feature(name="b", type="double"),
    Feature(name="n", type="long"),
)
ROWS = Batch(
    numbers=np.array([[1.0, 2.0, 3.0], [2.5, -1.0, 7.0], [8.0, 0.25, 1.0], [4.0, 3.0, 2.0]]),
    strings=np.empty((4, 0), dtype=object),
)


def refusing(bad: Callable[[np.ndarray], Any]) -> Callable[[Batch, Any], Raw]:
    """Return a model that refuses a batch in which any row is bad."""

    def ask(batch: Batch, _: tuple[Feature, ...]) -> Raw:
        with np.errstate(over="ignore"):
            refused = np.any(bad(batch.numbers))
        if refused:
            raise ConversionError("no")
        return {"prediction": np.zeros(len(batch))}

    return ask


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (lambda x: x[:, 0] <= 0, ("above 0", "", "")),
        (lambda x: x[:, 0] < 0, ("at least 0", "", "")),
        (lambda x: x[:, 0] <= -1, ("above -1", "", "")),
        (lambda x: x[:, 2] < 0, ("", "", "at least 0")),
        (lambda x: x[:, 2] < 1, ("", "", "at least 1")),
        (lambda x: (x[:, 0] < 0.375) | (x[:, 0] > 9.5), ("from 0.375 to 9.5", "", "")),
        (lambda x: x[:, 2] > 12, ("", "", "at most 12")),
        (lambda x: abs(x[:, :2]) > 3.4e38, ("from -1e+38 to 1e+38",) * 2 + ("",)),
        (lambda x: x[:, 0] + x[:, 1] < -5, ("", "", "")),
        (lambda x: x[:, 0] > 1e200, ("from -1e+38 to 1e+38",) * 2 + ("",)),
        (lambda x: np.abs(x).max(axis=1) > 5e5, ("from -100000 to 100000",) * 3),
        (lambda x: np.abs(x).max(axis=1) > 50, ("from -50 to 50", "", "")),
        (lambda x: np.abs(x[:, 0]) / 1e302 > 1 / np.maximum(1, np.abs(x[:, 1])), ("from -1e+38 to 1e+38",) * 2 + ("",)),
        (lambda x: np.abs(x[:, 0] + x[:, 1]) > 1.5e38, ("from -1e+30 to 1e+30",) * 2 + ("",)),
        (lambda x: x[:, 0] != x[:, 0], ("", "", "")),
    ],
    ids=["log", "root", "log1p", "counts", "whole log", "knots", "steps", "float32", "two columns",
         "huge", "drowned", "near", "products", "sums", "none"],
)  # fmt: skip
def test_a_bound_is_found_by_asking(
    bad: Callable[[np.ndarray], Any], told: tuple[str, ...]
) -> None:
    """To the last digit; where another column has a say, there is none."""
    learned, refused = with_domains(refusing(bad), ROWS, FEATURES)
    assert tuple(f.range for f in learned) == told
    assert len(refused) == sum(bool(word) for word in told)


def test_an_answer_that_is_not_finite_is_a_refusal() -> None:
    """The logarithm of 0 is answered by numpy, and can't be served."""

    def ask(batch: Batch, _: tuple[Feature, ...]) -> Raw:
        with np.errstate(all="ignore"):
            return {"prediction": np.log(batch.numbers[:, 0])}

    learned, _ = with_domains(ask, ROWS, FEATURES)
    assert learned[0].range == "above 0"


MODELS: dict[str, tuple[Any, str]] = {
    "log": (make_pipeline(FunctionTransformer(np.log), LogisticRegression()), "above 0"),
    "log1p": (make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), "above -1"),
    "box-cox": (make_pipeline(PowerTransformer(method="box-cox"), LogisticRegression()), "above 0"),
    "knots": (
        make_pipeline(SplineTransformer(extrapolation="error"), LogisticRegression()),
        "from",
    ),
    "root": (make_pipeline(FunctionTransformer(np.sqrt), LogisticRegression()), "at least 0"),
    "forest": (RandomForestClassifier(3, random_state=0), "from -1e+38"),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_service_refuses_what_the_original_refuses(tmp_path: Path, name: str) -> None:
    """By JSON and by tables, with the field and the bound; what is just within is answered."""
    model, told = MODELS[name]
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.gamma(2.0, size=(200, 2)), columns=["x", "y"])
    model.fit(frame, (frame["x"] > frame["y"]).astype(int))
    cleared_pickle(tmp_path / "m.pkl", model)
    can = pack(str(tmp_path / "m.pkl"), output=tmp_path / "can", sample=frame)
    first = can.manifest.signature.features[0]
    assert first.range.startswith(told)
    assert (
        f"a number in 'x' that is not {first.range}"
        in json.loads(can.read("parity.json"))["refused"]
    )
    least = first.least
    assert least is not None
    service = open_service(can.folder)
    call = Caller(application(service, Settings()))
    good = {**service.canary.records[0], "x": least}
    assert call("POST", "/predict", json=good).status_code == 200
    bad = {**good, "x": math.nextafter(least, -math.inf)}
    refusal = call("POST", "/predict", json=bad)
    assert refusal.status_code == 422
    (issue,) = refusal.json()["error"]["issues"]
    assert (issue["path"], issue["expected"]) == ("x", f"a number {first.range}")
    schema = call("GET", "/schema").json()["$defs"]["record"]["properties"]["x"]
    assert schema.keys() & {"minimum", "exclusiveMinimum"}
    with pytest.raises(SchemaError, match=r"row 1, column 'x': expected a number"):
        to_batch(pa.Table.from_pylist([bad]), can.manifest.signature)
    assert len(to_batch(pa.Table.from_pylist([good]), can.manifest.signature)) == 1


def test_what_is_not_known_of_columns_is_asked_for(tmp_path: Path) -> None:
    """Without a sample, a model that refuses every row that is made up: the error shows the table to fill in."""
    texts = np.array([["Yes"], ["No"]])
    model = make_pipeline(FunctionTransformer(np.char.lower), OneHotEncoder()).fit(texts)
    with pytest.raises(SchemaError, match="too little is known") as caught:
        pack(model, output=tmp_path / "can")
    assert str(caught.value.hint).endswith('[features]\nx0 = "double"')
