"""Models made by the tests, and a `Cleared` that says what a test wants."""

import io
import os
import pickle
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from cannery.audits.findings import Audit, Reached, Verdict
from cannery.audits.policy import Cleared, Policy, clear
from cannery.blobs import Blob
from cannery.isolation.environments import Environment, environment_for
from cannery.sources.source import Format, Origin, Source

CHURN = Path(__file__).parents[2] / "src" / "cannery" / "demo" / "data" / "churn.parquet"
NUMBERS = ["tenure", "monthly_charges", "total_charges", "num_services"]
TEXTS = ["contract", "payment_method"]
VERSIONS = {name: version(name) for name in ("scikit-learn", "numpy", "pandas", "scipy")}
"""The libraries with which these tests fit their models."""


class _Listing(pickle.Unpickler):
    """Collects the names that a pickle made by these tests reaches."""

    names: set[str]

    def find_class(self, module: str, name: str) -> Any:
        self.names.add(f"{module}.{name}")
        return super().find_class(module, name)


def names_in(data: bytes) -> set[str]:
    """Return every name in a pickle that the test itself has made."""
    listing = _Listing(io.BytesIO(data))
    listing.names = set()
    listing.load()
    return listing.names


def cleared_file(
    path: Path,
    names: set[str],
    *,
    kind: Format = "pickle",
    verdict: Verdict = "safe",
    **source: Any,
) -> Cleared:
    """Return a file that passes, with exactly these names: true to the file or not."""
    blob = Blob.of(path)
    origin = Origin(given=str(path), resolved=str(path), name=path.stem)
    audit = Audit(
        format=kind,
        digest=blob.digest,
        size=blob.size,
        verdict=verdict,
        names=tuple(Reached(name=n, role="class", listed=True) for n in sorted(names)),
        findings=(),
        versions=VERSIONS,
    )
    found = Source(origin=origin, format=kind, main=path.name, files={path.name: blob}, **source)
    return clear(found, audit, Policy())


def cleared_pickle(
    path: Path, thing: Any, *, without: str | None = None, protocol: int = 5, **source: Any
) -> Cleared:
    """Pickle a thing to `path` and return it cleared, but for one name."""
    data = pickle.dumps(thing, protocol=protocol)
    path.write_bytes(data)
    return cleared_file(path, names_in(data) - {without}, **source)


def environment_of_tests() -> Environment:
    """Return an environment with the versions with which the tests fit their models."""
    nothing = Path(os.devnull)
    source = Source(
        origin=Origin(given="", resolved=""),
        format="pickle",
        main="",
        files={"": Blob(path=nothing, digest="", size=0)},
    )
    audit = Audit(
        format="pickle", digest="", size=0, verdict="safe", names=(), findings=(), versions=VERSIONS
    )
    return environment_for(source, audit)


def churn_frame() -> pd.DataFrame:
    """Return the churn data without its few incomplete rows."""
    return pd.read_parquet(CHURN).dropna()


def churn_pipeline(churn: pd.DataFrame, model: Any) -> Any:
    """Return a pipeline that scales the numbers, encodes the texts and ends in `model`, fitted."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), NUMBERS),
            ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
        ]
    )
    pipeline = Pipeline([("columns", columns), ("model", model)])
    return pipeline.fit(churn[NUMBERS + TEXTS], churn["churn"])
