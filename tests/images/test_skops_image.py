"""An image that runs scikit-learn itself."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from image_runs import run_in
from layers import tar_of

from cannery.images.compose import compose
from cannery.images.lock import LockRequest, resolve
from cannery.images.plan import Plan
from cannery.images.store import Store


@pytest.mark.bubblewrap
@pytest.mark.network
@pytest.mark.slow
def test_scikit_learn_runs_inside(user_store: Store, tmp_path: Path) -> None:
    """With the versions of training, and without ONNX Runtime, a pipeline fits and predicts."""
    names = ("numpy", "pandas", "scikit-learn", "skops")
    requirements = tuple(f"{name}=={version(name)}" for name in names)
    lock = resolve(LockRequest(runtime="skops", requirements=requirements), user_store)
    image = compose(Plan(lock=lock, mode="pull"), user_store)
    assert [layer.name for layer in image.layers][2:4] == ["numpy", "libraries"]
    for layer in image.layers:
        with tar_of(layer) as tar:
            tar.extractall(tmp_path, filter="fully_trusted")
    done = run_in(
        tmp_path,
        image,
        *("/usr/bin/python3.13", "-S", "-s", "-P", "-c"),
        "import numpy, pandas, skops.io, importlib.util\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler\n"
        "from sklearn.ensemble import GradientBoostingClassifier\n"
        "rows = pandas.DataFrame({'x': range(50)})\n"
        "model = make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=5))\n"
        "print(model.fit(rows, rows.x > 20).predict(rows.iloc[[40]]))\n"
        "assert importlib.util.find_spec('onnxruntime') is None",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[ True]\n"
