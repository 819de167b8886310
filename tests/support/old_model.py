"""Fit the churn pipeline and log it as an MLflow folder, with the libraries of another generation.

A program of its own: `OLD_PACKAGES=… python -I old_model.py FOLDER`, on the Python of that generation.
"""

import json
import os
import pickle
import platform
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, os.environ["OLD_PACKAGES"])

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

MLMODEL = """flavors:
  sklearn:
    pickled_model: model.pkl
    serialization_format: cloudpickle
saved_input_example_info:
  artifact_path: input_example.json
  type: dataframe
"""


def rows(count: int) -> pd.DataFrame:
    """Return rows of customers."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "tenure": random.integers(0, 72, count),
            "charges": np.where(random.random(count) < 0.1, np.nan, random.normal(60, 20, count)),
            "contract": random.choice(["month", "year"], count),
        }
    )


def main(folder: Path) -> None:
    """Write the folder."""
    table = rows(300)
    leaves = np.where(table["tenure"] + 10 * (table["contract"] == "year") < 30, "Yes", "No")
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore")
    columns = [("numbers", numbers, ["tenure", "charges"]), ("texts", texts, ["contract"])]
    model = Pipeline(
        [
            ("columns", ColumnTransformer(columns)),
            ("model", GradientBoostingClassifier(n_estimators=20, random_state=0)),
        ]
    )
    model.fit(table, leaves)
    (folder / "MLmodel").write_text(MLMODEL)
    (folder / "model.pkl").write_bytes(pickle.dumps(model, protocol=4))
    (folder / "python_env.yaml").write_text(f"python: {platform.python_version()}\n")
    names = ("scikit-learn", "numpy", "pandas", "scipy")
    pins = [f"{name}=={version(name)}\n" for name in names]
    (folder / "requirements.txt").write_text("".join(pins))
    example = table.astype(object).where(table.notna(), None)
    split = {"columns": list(table.columns), "data": example.values.tolist()}
    (folder / "input_example.json").write_text(json.dumps(split))
    asked = table.iloc[:5]
    told = [row[1] for row in model.predict_proba(asked).tolist()]
    records = json.loads(asked.to_json(orient="records"))
    (folder.parent / "answers.json").write_text(json.dumps([records, told]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
