"""Parts for the tests of isolation: models made here, and a `Cleared` that says what a test wants."""

import io
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cannery.audits.findings import Audit, Reached, Verdict
from cannery.audits.policy import Cleared, Policy, clear
from cannery.blobs import Blob
from cannery.isolation.environments import Environment, environment_for
from cannery.sources.source import Format, Origin, Source

CHURN = Path(__file__).parents[2] / "demo" / "data" / "churn.parquet"
NUMBERS = ["tenure", "monthly_charges", "total_charges", "num_services"]
TEXTS = ["contract", "payment_method"]


class _Listing(pickle.Unpickler):
    """Collects the names that a pickle made by these tests reaches."""

    names: set[str]

    def find_class(self, module: str, name: str) -> Any:
        self.names.add(f"{module}.{name}")
        return super().find_class(module, name)


def names_in(data: bytes) -> set[str]:
    """Return every name in a pickle that this test itself has made."""
    listing = _Listing(io.BytesIO(data))
    listing.names = set()
    listing.load()
    return listing.names


def cleared_of(
    path: Path,
    names: set[str],
    *,
    format: Format = "pickle",
    verdict: Verdict = "safe",
    versions: dict[str, str] | None = None,
) -> Cleared:
    """Return a source that passes, with exactly these names: true to the file or not."""
    blob = Blob.of(path)
    origin = Origin(given=str(path), resolved=str(path), name=path.stem)
    source = Source(origin=origin, format=format, main=path.name, files={path.name: blob})
    audit = Audit(
        format=format,
        digest=blob.digest,
        size=blob.size,
        verdict=verdict,
        names=tuple(Reached(name=n, role="class", listed=True) for n in sorted(names)),
        findings=(),
        versions=versions or {},
    )
    return clear(source, audit, Policy())


@pytest.fixture
def cleared(tmp_path: Path) -> Callable[..., Cleared]:
    """Return a maker of cleared pickles from objects."""

    def make(thing: Any, *, without: str | None = None, protocol: int = 5) -> Cleared:
        data = pickle.dumps(thing, protocol=protocol)
        path = tmp_path / "model.pkl"
        path.write_bytes(data)
        return cleared_of(path, names_in(data) - {without})

    return make


@pytest.fixture(scope="session")
def environment() -> Environment:
    """Return the environment that fits the libraries of these tests, from the user's cache."""
    return environment_of_tests()


def environment_of_tests() -> Environment:
    """Return an environment with the versions with which the tests fit their models."""
    from importlib.metadata import version

    names = ("scikit-learn", "numpy", "pandas", "scipy")
    empty = Path(os.devnull)
    source = Source(
        origin=Origin(given="", resolved=""),
        format="pickle",
        main="",
        files={"": Blob(path=empty, digest="", size=0)},
        requirements=tuple(f"{name}=={version(name)}" for name in names),
    )
    audit = Audit(format="pickle", digest="", size=0, verdict="safe", names=(), findings=())
    return environment_for(source, audit)


@pytest.fixture(scope="session")
def churn() -> Iterator[pd.DataFrame]:
    """Return the churn data without its few incomplete rows."""
    yield pd.read_parquet(CHURN).dropna()


@pytest.fixture(scope="session")
def pipeline(churn: pd.DataFrame) -> Any:
    """Return the churn classifier, with fewer trees."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), NUMBERS),
            ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
        ]
    )
    model = Pipeline(
        [("columns", columns), ("model", GradientBoostingClassifier(n_estimators=30, random_state=0))]
    )
    return model.fit(churn[NUMBERS + TEXTS], churn["churn"])
