"""MLflow's addresses, against a real SQLite store and a file store."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cannery.blobs import digest_file
from cannery.errors import SourceError, UnreachableError
from cannery.processes import run
from cannery.sources.fetch import fetch
from cannery.sources.mlflow import parse_address

FILE_STORE = """
import sys, mlflow
from sklearn.dummy import DummyClassifier
mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run():
    mlflow.sklearn.log_model(
        DummyClassifier().fit([[0], [1]], [0, 1]), name="model", serialization_format="pickle",
        registered_model_name="dummy", pip_requirements=["scikit-learn"])
"""


def _refused(uri: str, tracking: str, folder: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(uri, staging=folder, tracking_uri=tracking)
    return caught.value


@pytest.mark.parametrize("which", ["@champion", "/1", "/Production", "/production", "/latest"])
def test_a_moving_name_becomes_a_version(
    registry: SimpleNamespace, tmp_path: Path, which: str
) -> None:
    """However a version is named: version, stage, aliases, run, model and metrics are recorded."""
    uri = f"models:/{registry.name}{which}"
    origin = fetch(uri, staging=tmp_path, tracking_uri=registry.tracking_uri).origin
    assert (origin.given, origin.resolved) == (uri, f"models:/{registry.name}/1")
    assert (origin.version, origin.stage, origin.aliases) == ("1", "Production", ("champion",))
    assert (origin.run_id, origin.model_id) == (registry.run_id, registry.model_id)
    assert origin.metrics["auc"] == pytest.approx(registry.metrics["auc"])


def test_the_same_model_by_run_and_by_id(registry: SimpleNamespace, tmp_path: Path) -> None:
    """A run's path and a logged model's id lead to the same bytes."""
    uris = (f"models:/{registry.model_id}", f"runs:/{registry.run_id}/model")
    sources = [fetch(u, staging=tmp_path, tracking_uri=registry.tracking_uri) for u in uris]
    assert sources[0].blob.digest == sources[1].blob.digest
    assert sources[0].origin.run_id == sources[1].origin.run_id == registry.run_id


def test_the_store_is_left_as_it_was(registry: SimpleNamespace, tmp_path: Path) -> None:
    """MLflow writes into a local store when it is asked for a model: it is given a copy to write into."""

    def picture() -> dict[str, str]:
        return {
            str(p): digest_file(p)
            for p in sorted((registry.work / "artifacts").rglob("*"))
            if p.is_file()
        }

    before = picture()
    source = fetch(
        f"models:/{registry.name}/1", staging=tmp_path, tracking_uri=registry.tracking_uri
    )
    assert picture() == before
    assert source.blob.path.is_relative_to(tmp_path)
    assert [f.name for f in source.features or ()][:2] == ["tenure", "monthly_charges"]


@pytest.mark.parametrize(
    ("uri", "part", "hint"),
    [
        ("models:/{name}@challenger", "no alias 'challenger'", "models:/{name}@champion"),
        ("models:/{name}/99", "no version 99", "models:/{name}/1"),
        ("models:/{name}/Staging", "no version in stage 'Staging'", "models:/{name}/Production"),
        ("models:/{name}/newest", "neither a version nor a stage", "models:/{name}/1"),
        ("models:/{name}", "names a model, but no version", "models:/{name}@champion"),
        ("models:/nobody@champion", "no registered model 'nobody'", "{name}"),
        ("models:/m-00000000000000000000000000000000", "no logged model", ""),
        ("runs:/0123456789abcdef0123456789abcdef/model", "no run", ""),
        ("runs:/{run}/nothing", "has no model 'nothing'", "runs:/{run}/model"),
    ],
)
def test_what_does_not_exist_says_what_does(
    registry: SimpleNamespace, tmp_path: Path, uri: str, part: str, hint: str
) -> None:
    """The hint lists the aliases, stages and versions that there are."""
    words = {"name": registry.name, "run": registry.run_id}
    error = _refused(uri.format(**words), registry.tracking_uri, tmp_path)
    assert part.format(**words) in error.message
    assert hint.format(**words) in (error.hint or "")


def test_a_file_store_is_read_too(tmp_path: Path) -> None:
    """The older store, a folder, needs no setting of its own."""
    store = (tmp_path / "mlruns").as_uri()
    env = {
        "PATH": "/usr/bin:/bin",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    logged = run([sys.executable, "-W", "ignore", "-c", FILE_STORE, store], env=env, cwd=tmp_path)
    assert logged.ok, logged.complaint
    source = fetch("models:/dummy/1", staging=tmp_path / "staging", tracking_uri=store)
    assert (source.format, source.origin.version) == ("pickle", "1")


@pytest.mark.parametrize("store", ["sqlite:///{}/gone.db", "{}/gone", "file://{}/gone"])
def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, store: str) -> None:
    """MLflow would make an empty one and find nothing in it."""
    error = _refused("models:/x/1", store.format(tmp_path), tmp_path)
    assert "no MLflow store" in error.message
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_down_is_told_at_once(tmp_path: Path) -> None:
    """No retries over minutes: nobody listens on that port."""
    error = _refused("models:/x@champion", "http://user:secret@127.0.0.1:9", tmp_path)
    assert isinstance(error, UnreachableError)
    assert "secret" not in error.message


@pytest.mark.parametrize(
    "uri",
    [
        "models:/",
        "models:/a/b/c",
        "models:/a@",
        "models:/@b",
        "runs:/x",
        "runs:/x/../y",
        "models:/a@b@c",
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(uri: str) -> None:
    """Mistyped addresses never reach a store."""
    with pytest.raises(SourceError, match="no address of a model"):
        parse_address(uri)
