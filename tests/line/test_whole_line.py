"""From a registered model to a healthy container, and everything a team does with it afterwards."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pandas as pd
import pytest
from projects import CUSTOMER, LINE, Project, wait_for

from cannery.blobs import canonical_json
from cannery.cans.open import open_can
from cannery.engines.asking import free_port
from cannery.processes import run

pytestmark = pytest.mark.docker


def docker(*words: str | Path) -> str:
    """Run docker and return what it printed; it must succeed."""
    done = run(["docker", *words], timeout=120)
    assert done.ok, done.complaint
    return done.stdout.decode().strip()


@contextmanager
def container(*words: str, image: str) -> Iterator[str]:
    """Run an image in Docker, published on a loopback port; yield its id."""
    name = docker("run", "--detach", "--read-only", "--tmpfs", "/tmp", *words, image)
    try:
        yield name
    finally:
        docker("rm", "--force", name)


@contextmanager
def served(*words: str, image: str) -> Iterator[httpx.Client]:
    """Run an image on the host's network and wait until it answers."""
    port = free_port()
    options = ("--network", "host", "--env", f"PORT={port}", "--env", "HOST=127.0.0.1", *words)
    with (
        container(*options, image=image),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        wait_for(f"http://127.0.0.1:{port}/health", 60)
        yield client


def original(project: Project) -> Any:
    """Return the trained pipeline itself, of version 1; our own file, so it may be opened here."""
    newest = sorted(
        (project.folder / "artifacts").rglob("model.pkl"), key=lambda p: p.stat().st_mtime
    )
    return pickle.loads(newest[0].read_bytes())


def test_the_image_answers_what_the_original_answers(project, first) -> None:
    """The customer of the lesson gets the original's probability, under the name that was asked for."""
    expected = original(project).predict_proba(pd.DataFrame([CUSTOMER]))[0, 1]
    with served(image=f"{LINE}:v1") as client:
        answer = client.post("/predict", json=CUSTOMER)
    assert answer.status_code == 200
    assert answer.json() == {"churn_probability": pytest.approx(expected, abs=1e-9)}


def test_docker_says_that_it_is_healthy(first) -> None:
    """The image's own health check passes in Docker's eyes."""
    with container(image=f"{LINE}:v1") as name:
        end = time.monotonic() + 40
        while docker("inspect", "--format", "{{.State.Health.Status}}", name) != "healthy":
            assert time.monotonic() < end
            time.sleep(0.5)
        assert "(healthy)" in docker("ps", "--filter", f"id={name}", "--format", "{{.Status}}")


def test_the_image_says_which_model_it_is(first) -> None:
    """Labels, version and can agree on model, version, run and source."""
    labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", f"{LINE}:v1"))
    assert labels["dev.cannery.model.name"] == "churn-classifier"
    assert labels["dev.cannery.source"] == "models:/churn-classifier/1"
    assert labels["dev.cannery.can.digest"] == first["can"]["digest"]
    assert labels["dev.cannery.model.run"] == first["can"]["source"]["run_id"]
    assert labels["dev.cannery.model.stage"] == "Production"
    assert labels["dev.cannery.model.aliases"] == "champion"
    with served(image=f"{LINE}:v1") as client:
        version = client.get("/version").json()
    assert version["digest"] == first["can"]["digest"]
    assert version["source"]["resolved"] == "models:/churn-classifier/1"


def test_the_image_smokes(first) -> None:
    """The image's command `smoke` prints the canary's answer."""
    answer = json.loads(docker("run", "--rm", "--network", "none", f"{LINE}:v1", "smoke"))
    assert 0.0 <= answer["churn_probability"] <= 1.0


def test_building_again_gives_the_same_digest(project, first, can) -> None:
    """The same can and the same lock make the same image."""
    again = project.build(can, "-t", f"{LINE}:v1")
    assert again["digest"] == first["digest"]


def test_a_second_version_changes_one_layer(project, first, can, tmp_path) -> None:
    """Another can is one other layer and another digest; both tags run."""
    manifest = open_can(can).manifest
    other = tmp_path / "v2.can"
    shutil.copytree(can, other)
    (other / "can.json").write_bytes(canonical_json(msgspec.structs.replace(manifest, version="2")))
    second = project.build(other, "-t", f"{LINE}:v2")
    ours = [layer["digest"] for layer in second["layers"]]
    theirs = [layer["digest"] for layer in first["layers"]]
    assert ours[:-1] == theirs[:-1]
    assert ours[-1] != theirs[-1]
    docker("rmi", "--force", f"{LINE}:v2")


def test_an_image_that_fails_its_canary_gets_no_tag(project, first, can, tmp_path) -> None:
    """Where the answers are not the recorded ones there is no image, and exit code 1 says so."""
    wrong = tmp_path / "wrong.can"
    shutil.copytree(can, wrong)
    canary = json.loads((wrong / "canary.json").read_text())
    canary["outputs"][0]["churn_probability"] = 0.999
    data = canonical_json(canary)
    (wrong / "canary.json").write_bytes(data)
    reseal(wrong, "canary.json")
    done = project.cannery("build", wrong, "-t", f"{LINE}:wrong")
    assert done.status == 1
    assert "canary" in done.complaint
    assert docker("images", "--quiet", f"{LINE}:wrong") == ""


def reseal(folder: Path, name: str) -> None:
    """Make `can.json` agree with a file that was changed."""
    from cannery.blobs import Blob
    from cannery.cans.manifest import File, read_manifest

    manifest = read_manifest((folder / "can.json").read_bytes())
    blob = Blob.of(folder / name)
    files = {**manifest.files, name: File(digest=blob.digest, size=blob.size)}
    (folder / "can.json").write_bytes(
        canonical_json(msgspec.structs.replace(manifest, files=files))
    )


@pytest.mark.registry
def test_an_image_is_pushed_to_a_registry(project, first, can, registry) -> None:
    """The registry has the image under its tag, with the digest that was built."""
    tag = f"{registry}/team/churn:v1"
    built = project.build(can, "-t", tag, "--to", "registry")
    assert built["digest"] == first["digest"]
    done = run(["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{tag}"], timeout=60)
    assert done.ok, done.complaint
    assert json.loads(done.stdout)["config"]["digest"] == first["id"]
    verified = project.cannery("verify", tag, "--engine", "sandbox", "--attest", "--json")
    assert verified.ok, verified.complaint
    assert "Vertex AI" in {check["name"] for check in json.loads(verified.stdout)["checks"]}
    attached = json.loads(project.cannery("inspect", tag, "--json").stdout)["image"]["attached"]
    assert attached.count("https://cannery.dev/attestations/proof/v1") == 2


def test_archive_and_layout_are_written_together(project, first, can, tmp_path) -> None:
    """One build can go to several places; `docker load` takes the archive."""
    archive, layout = tmp_path / "churn.tar", tmp_path / "churn.oci"
    project.build(can, "-t", f"{LINE}:file", "--to", f"archive:{archive}", "--to", f"oci:{layout}")
    assert f"{LINE}:file" in docker("load", "--input", archive)
    assert (layout / "index.json").is_file()
    docker("rmi", "--force", f"{LINE}:file")


@pytest.mark.registry
@pytest.mark.parametrize("to", ["artifacts", "registry"])
def test_the_model_can_be_pulled_at_start(
    project, first, can, tracking, remote, registry, to
) -> None:
    """An image without a model serves what `publish` put behind a real tracking server or registry."""
    project.build(can, "-t", f"{LINE}:pull", "--mode", "pull")
    where = "artifacts" if to == "artifacts" else f"oci://{registry}/cans/churn"
    done = project.cannery("publish", can, remote, "--to", where, MLFLOW_TRACKING_URI=tracking)
    assert done.ok, done.complaint
    env = ("--env", f"MLFLOW_TRACKING_URI={tracking}", "--env", f"MODEL_URI={remote}")
    with served(*env, image=f"{LINE}:pull") as client:
        assert client.get("/version").json()["digest"] == first["can"]["digest"]
        assert client.post("/predict", json=CUSTOMER).status_code == 200


def test_pulling_fails_at_once_where_no_server_answers(project, first, can) -> None:
    """A dead tracking server is one clear line and exit status 2, within seconds."""
    project.build(can, "-t", f"{LINE}:pull", "--mode", "pull")
    words = [
        "run",
        "--rm",
        "--network",
        "host",
        "--env",
        "MODEL_URI=models:/churn-classifier@champion",
    ]
    began = time.monotonic()
    done = run(
        ["docker", *words, "--env", "MLFLOW_TRACKING_URI=http://127.0.0.1:9", f"{LINE}:pull"],
        timeout=60,
    )
    assert done.status == 2
    assert "127.0.0.1:9" in done.complaint
    assert "Traceback" not in done.complaint
    assert time.monotonic() - began < 20


def test_a_can_is_mounted_read_only(project, first, can) -> None:
    """The image of pull mode serves a can from a volume."""
    project.build(can, "-t", f"{LINE}:pull", "--mode", "pull")
    with served("--volume", f"{can}:/opt/cannery/can:ro", image=f"{LINE}:pull") as client:
        assert client.get("/health").status_code == 200


def test_an_estimator_is_served_by_skops(project, tmp_path) -> None:
    """With --runtime skops the estimator itself runs in the image, and answers alike."""
    built = project.build("models:/churn-classifier/1", "-t", f"{LINE}:skops", "--runtime", "skops")
    assert built["can"]["runtime"] == "skops"
    expected = original(project).predict_proba(pd.DataFrame([CUSTOMER]))[0, 1]
    with served(image=f"{LINE}:skops") as client:
        answer = client.post("/predict", json=CUSTOMER).json()
    assert answer == {"churn_probability": pytest.approx(expected, abs=1e-12)}
    docker("rmi", "--force", f"{LINE}:skops")
