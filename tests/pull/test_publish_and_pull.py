"""From a published can to a serving folder, over a real tracking server."""

import json
import logging
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from registries import running_registry

from cannery.attestations.models import sign_can
from cannery.attestations.signatures import pem_of
from cannery.cans.open import Can, open_can
from cannery.cans.vouchers import signature_place
from cannery.errors import CanError, SignatureError, SourceError, UnreachableError, UsageError
from cannery.serving.keys import KEY
from cannery.serving.pull import fetch, remember
from cannery.sources.fetch import fetch as fetch_source
from cannery.sources.publish import publish


@pytest.fixture(autouse=True)
def _quiet_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy stands between the tests and this machine."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def _env(server: SimpleNamespace, **more: str) -> Mapping[str, str]:
    return {"MLFLOW_TRACKING_URI": server.uri, **more}


@pytest.fixture
def published(server: SimpleNamespace, can: Can) -> SimpleNamespace:
    """The can, published for the champion."""
    done = publish(can.folder, "models:/churn@champion", tracking_uri=server.uri)
    return SimpleNamespace(uri=done.uri, digest=done.digest, model=done.model, can=can)


def _stored(server: SimpleNamespace, published: SimpleNamespace, name: str) -> Path:
    """Return where the server keeps a file of the published can."""
    return server.artifacts / published.uri.removeprefix("mlflow-artifacts:/") / name


def test_a_model_is_fetched_over_http(server: SimpleNamespace, tmp_path: Path) -> None:
    """The host side reads the same server: alias, version, run and files."""
    source = fetch_source("models:/churn@champion", staging=tmp_path, tracking_uri=server.uri)
    assert (source.format, source.origin.version, source.origin.stage) == (
        "pickle",
        "1",
        "Production",
    )
    assert (source.origin.run_id, source.origin.model_id) == (server.run_id, server.model_id)


@pytest.mark.parametrize("which", ["@champion", "/1", "/Production"])
def test_what_was_published_is_pulled_by_every_name(
    server: SimpleNamespace, published: SimpleNamespace, tmp_path: Path, which: str
) -> None:
    """Alias, version and stage lead to the same can, to the last byte."""
    pulled = fetch(f"models:/churn{which}", tmp_path / "cache", _env(server))
    assert published.model == "models:/churn/1"
    assert pulled == open_can(pulled.folder)
    assert pulled.digest == published.digest == published.can.digest
    assert pulled.folder.name == published.digest.removeprefix("sha256:")


def test_a_run_a_logged_model_and_an_address_are_pulled_too(
    server: SimpleNamespace, can: Can, tmp_path: Path
) -> None:
    """Whatever carries the tags can be named; the address in them can be given directly."""
    for uri in (f"runs:/{server.run_id}/model", f"models:/{server.model_id}"):
        done = publish(can.folder, uri, tracking_uri=server.uri)
        assert fetch(uri, tmp_path / "cache", _env(server)).digest == can.digest
    assert fetch(done.uri, tmp_path / "other", _env(server)).digest == can.digest


def test_a_version_without_a_can_says_how_to_publish_one(
    server: SimpleNamespace, tmp_path: Path
) -> None:
    """A registered model alone can't be served: its pickle is never opened here."""
    with pytest.raises(SourceError, match="no can was published for 'models:/churn/2'") as caught:
        fetch("models:/churn/latest", tmp_path, _env(server))
    assert caught.value.hint == "cannery publish CAN models:/churn/2"


@pytest.mark.parametrize("which", ["@nobody", "/99", "/Staging", ""])
def test_what_does_not_exist_is_told(server: SimpleNamespace, tmp_path: Path, which: str) -> None:
    """A wrong alias, version or stage is no reason to serve something else."""
    with pytest.raises(SourceError, match="churn") as caught:
        fetch(f"models:/churn{which}", tmp_path, _env(server))
    assert not isinstance(caught.value, UnreachableError)


def test_a_changed_model_file_is_refused(
    server: SimpleNamespace, published: SimpleNamespace, tmp_path: Path
) -> None:
    """Whoever can write to the store can't make a service load something else."""
    stored = _stored(server, published, "model.onnx")
    original = stored.read_bytes()
    try:
        stored.write_bytes(original[:-1] + b"x")
        with pytest.raises(CanError, match="not the file that was published"):
            fetch("models:/churn@champion", tmp_path / "cache", _env(server))
    finally:
        stored.write_bytes(original)
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_can_under_the_same_address_is_refused(
    server: SimpleNamespace, published: SimpleNamespace, tmp_path: Path
) -> None:
    """The tag names the digest: a consistent can that is another one does not pass either."""
    stored = _stored(server, published, "can.json")
    original = stored.read_bytes()
    document = json.loads(original) | {"version": "666"}
    try:
        stored.write_text(json.dumps(document))
        with pytest.raises(CanError, match=f"but {published.digest} was published"):
            fetch("models:/churn@champion", tmp_path / "cache", _env(server))
    finally:
        stored.write_bytes(original)


def test_a_dead_server_is_survived_with_the_last_good_can(
    forward: Callable, published: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A restart serves what was served before, and says so; with nothing cached it fails at once."""
    with forward() as port:
        env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        before = fetch("models:/churn@champion", tmp_path / "cache", env)
    with pytest.raises(UnreachableError):  # nobody has said yet that it is a good one
        fetch("models:/churn@champion", tmp_path / "cache", env)
    remember("models:/churn@champion", before, tmp_path / "cache", env)
    with caplog.at_level(logging.WARNING):
        assert fetch("models:/churn@champion", tmp_path / "cache", env) == before
    assert "serving the can that 'models:/churn@champion' last led to" in caplog.text
    with pytest.raises(UnreachableError, match="does not answer: Connection refused"):
        fetch("models:/churn@champion", tmp_path / "empty", env)


def test_a_damaged_cache_is_no_last_good_can(
    forward: Callable, published: SimpleNamespace, tmp_path: Path
) -> None:
    """What is cached is verified like everything else: pulled again while it can be, refused after."""
    with forward() as port:
        env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        pulled = fetch("models:/churn@champion", tmp_path, env)
        (pulled.folder / "model.onnx").write_bytes(b"rot")
        assert fetch("models:/churn@champion", tmp_path, env).digest == published.digest
        remember("models:/churn@champion", pulled, tmp_path, env)
        (pulled.folder / "model.onnx").write_bytes(b"rot")
    with pytest.raises(UnreachableError):
        fetch("models:/churn@champion", tmp_path, env)


def test_another_server_has_another_last_good_can(
    forward: Callable, published: SimpleNamespace, tmp_path: Path
) -> None:
    """What staging's champion was must not become production's."""
    with forward() as port:
        env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        pulled = fetch("models:/churn@champion", tmp_path, env)
        remember("models:/churn@champion", pulled, tmp_path, env)
    with pytest.raises(UnreachableError):
        fetch("models:/churn@champion", tmp_path, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})


@pytest.mark.parametrize("uri", [None, "sqlite:///mlflow.db", "http://"])
def test_pulling_needs_a_server(tmp_path: Path, uri: str | None) -> None:
    """A store in a file can't be reached from a container."""
    env = {} if uri is None else {"MLFLOW_TRACKING_URI": uri}
    with pytest.raises(SourceError, match="MLFLOW_TRACKING_URI"):
        fetch("models:/churn@champion", tmp_path, env)


def test_something_else_on_that_port_is_told(server: SimpleNamespace, tmp_path: Path) -> None:
    """A web page is not a tracking server."""
    env = {"MLFLOW_TRACKING_URI": f"{server.uri}/nowhere"}
    with pytest.raises(SourceError, match=r"is it a tracking server|does not answer with JSON"):
        fetch("models:/churn@champion", tmp_path, env)


def test_paths_and_file_addresses_are_opened_where_they_lie(can: Can, tmp_path: Path) -> None:
    """A mounted can needs no server and no cache."""
    assert fetch(str(can.folder), tmp_path / "c", {}) == can
    assert fetch(can.folder.as_uri(), tmp_path / "c", {}) == can
    assert not (tmp_path / "c").exists()


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    """A model file in place of a can is refused by name."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(CanError, match="never opened here"):
        fetch(str(path), tmp_path / "c", {})


@pytest.mark.parametrize(
    "uri", ["s3://bucket/can", "oci://", "oci://host", "oci://host/UPPER", "nowhere/at/all"]
)
def test_an_address_that_cannot_be_meant_is_refused(tmp_path: Path, uri: str) -> None:
    """It fails before anything is asked."""
    with pytest.raises((SourceError, CanError)):
        fetch(uri, tmp_path, {})


@pytest.mark.registry
def test_a_can_in_a_registry_is_pulled_by_tag_digest_and_model(
    server: SimpleNamespace, can: Can, tmp_path: Path
) -> None:
    """Published to an OCI registry, the tracking server's tag leads there; the registry alone will do too."""
    with running_registry(tmp_path / "registry") as host:
        place = f"oci://{host}/models/churn"
        done = publish(can.folder, "models:/churn/2", to=f"{place}:v2", tracking_uri=server.uri)
        names = (f"{place}:v2", done.uri, "models:/churn/2")
        pulled = [fetch(n, tmp_path / str(i), _env(server)) for i, n in enumerate(names)]
        assert {one.digest for one in pulled} == {can.digest}
        with pytest.raises(SourceError, match="no such can"):
            fetch(f"{place}:v3", tmp_path / "x", {})
        remember(f"{place}:v2", pulled[0], tmp_path / "0", {})
        allowed = _env(server, PULL_FROM=f"oci://other.example oci://{host}/models")
        assert fetch("models:/churn/2", tmp_path / "y", allowed)
        elsewhere = _env(server, PULL_FROM=f"oci://{host}/model")
        with pytest.raises(SourceError, match="where PULL_FROM does not lead"):
            fetch("models:/churn/2", tmp_path / "z", elsewhere)
    assert fetch(f"{place}:v2", tmp_path / "0", {}) == pulled[0]
    with pytest.raises(UnreachableError):
        fetch(f"{place}:v2", tmp_path / "empty", {})


def test_publishing_says_what_cannot_be_meant(
    server: SimpleNamespace, can: Can, tmp_path: Path
) -> None:
    """A wrong destination, a folder that is no can and a model that isn't there are told apart."""
    with pytest.raises(UsageError, match="can't publish to 's3://x'"):
        publish(can.folder, "models:/churn/1", to="s3://x", tracking_uri=server.uri)
    with pytest.raises(CanError):
        publish(tmp_path, "models:/churn/1", tracking_uri=server.uri)
    with pytest.raises(SourceError, match="no alias 'x'"):
        publish(can.folder, "models:/churn@x", tracking_uri=server.uri)
    with pytest.raises(UnreachableError):
        publish(can.folder, "models:/churn/1", tracking_uri="http://127.0.0.1:9")


def test_a_published_can_brings_its_signature(
    server: SimpleNamespace, can: Can, tmp_path: Path
) -> None:
    """Behind the tracking server; what was pulled without a key is not taken from the cache with one."""
    mine, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    trusted = {KEY: pem_of(mine.public_key()).decode()}
    env = {"MLFLOW_TRACKING_URI": server.uri}
    cache, model = tmp_path / "cache", "models:/churn@champion"
    publish(can.folder, model, tracking_uri=server.uri)
    remember(model, fetch(model, cache, env), cache, env)
    with pytest.raises(SignatureError, match="nobody signed the can"):
        fetch(model, cache, env | trusted)
    signature_place(can.folder).write_bytes(sign_can(can, mine))
    publish(can.folder, model, tracking_uri=server.uri)
    assert fetch(model, cache, env | trusted).digest == can.digest
    with pytest.raises(SignatureError, match="not signed by this key"):
        fetch(model, cache, env | {KEY: pem_of(other.public_key()).decode()})
