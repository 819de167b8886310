"""An estimator runs under the Python of its image, which need not be the one it was compared under."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from cannery.builds import tell_python
from cannery.cans.manifest import Runtime
from cannery.images.lock import Lock
from cannery.line import pack
from cannery.packs import PackOptions
from cannery.progress import Event


@pytest.mark.parametrize(
    ("runtime", "python", "told"),
    [("skops", "3.99", True), ("skops", None, False), ("onnx", "3.99", False)],
    ids=["another", "the same", "no Python in it"],
)
def test_a_build_tells_that_an_estimator_meets_another_python(
    tmp_path: Path, runtime: Runtime, python: str | None, told: bool
) -> None:
    """By both versions; a graph does not care."""
    frame = pd.DataFrame({"x": np.arange(40.0)})
    model = LinearRegression().fit(frame, frame["x"] * 2)
    can = pack(model, output=tmp_path / "m.can", sample=frame, options=PackOptions(runtime=runtime))
    lock = Lock(
        created="", runtime=runtime, python=python or platform.python_version(), platforms={}
    )
    events: list[Event] = []
    tell_python(can, lock, events.append)
    assert [e.state for e in events] == (["start", "end"] if told else [])
    if told:
        assert f"under Python {platform.python_version()} and will run under 3.99" in events[1].text
