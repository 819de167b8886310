"""The ejected files stand alone: they run as they are, and build into an image that passes the proof."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys

import pytest

from cannery.engines.docker import docker
from cannery.engines.podman import podman
from cannery.errors import CanError, OutputError
from cannery.images.eject import eject
from cannery.oci.references import parse
from cannery.processes import run
from cannery.proofs.nouns import require
from cannery.proofs.prove import ProofOptions, prove

pytestmark = pytest.mark.network


def test_the_classical_files_are_there(ejected) -> None:
    """Every file that the README names is in the folder, and nothing is half filled in."""
    names = {path.relative_to(ejected).as_posix() for path in ejected.rglob("*")}
    named = set(re.findall(r"^\| `([^`]+)` \|", (ejected / "README.md").read_text(), re.MULTILINE))
    assert len(named) == 8
    assert {name.rstrip("/") for name in named} <= names
    for name in ("Dockerfile", "README.md", "score.py", "entrypoint.sh", ".dockerignore"):
        assert re.search(r"@[A-Z]+@", (ejected / name).read_text()) is None


def test_the_dockerfile_does_what_is_good_practice(ejected) -> None:
    """Two stages, requirements before code, the model last, a numbered user, exec forms."""
    text = (ejected / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if line.startswith("FROM")] == [
        "FROM ${BASE} AS builder",
        "FROM ${BASE}",
    ]
    order = [
        "COPY requirements.txt",
        "COPY cannery/",
        "COPY --from=builder /opt/venv",
        "COPY can/",
        "USER 10001:10001",
    ]
    assert [text.index(f"\n{word}") for word in order] == sorted(
        text.index(f"\n{word}") for word in order
    )
    assert 'ENTRYPOINT ["/app/entrypoint.sh"]' in lines
    assert "HEALTHCHECK" in text


def test_every_requirement_is_pinned_with_hashes(ejected) -> None:
    """No line without exact version and hash, and no address of an index."""
    text = (ejected / "requirements.txt").read_text()
    entries = re.findall(
        r"^(\S+)==(\S+) \\\n(?:    --hash=sha256:[0-9a-f]{64}.*\n)+", text, re.MULTILINE
    )
    names = {name for name, _ in entries}
    assert {"numpy", "onnxruntime", "msgspec", "uvicorn"} <= names
    assert text.count("==") == len(entries)
    assert "://" not in text


def test_the_files_run_as_they_are(ejected) -> None:
    """`score.py` scores a record with the packages that are installed here, from any folder."""
    environment = {key: value for key, value in os.environ.items() if key != "CANNERY_CAN"}
    words = [sys.executable, ejected / "score.py", "smoke"]
    done = run(words, env=environment, timeout=60)
    assert done.ok, done.complaint
    assert set(json.loads(done.stdout)) == {"label", "churn_probability"}


def test_the_scoring_module_can_be_imported(ejected, can) -> None:
    """`predict` takes records with their keys in any order and answers as recorded."""
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import score;"
        "print(json.dumps(score.predict(json.loads(sys.argv[2]))))"
    )
    canary = can.canary()
    backwards = [dict(reversed(record.items())) for record in canary.records]
    words = [sys.executable, "-c", program, ejected, json.dumps(backwards)]
    done = run(words, timeout=60)
    assert done.ok, done.complaint
    answers = json.loads(done.stdout)
    assert [a["label"] for a in answers] == [o["label"] for o in canary.outputs]


def test_a_folder_that_was_not_ejected_stays(can, tmp_path) -> None:
    """Force replaces what was ejected, and nothing else."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match="was not ejected"):
        eject(can.folder, tmp_path / "work", force=True)
    assert (tmp_path / "work" / "thesis.tex").read_text() == "years"


def test_a_damaged_can_is_not_ejected(can, tmp_path) -> None:
    """The can is checked before anything is written."""
    with pytest.raises(CanError):
        eject(tmp_path / "none.can", tmp_path / "out")
    assert not (tmp_path / "out").exists()


LEGACY = {"DOCKER_BUILDKIT": "0"}


def docker_builder() -> list[str]:
    """Build with the client that `docker` is, its legacy builder where it is told to."""
    return ["docker", "build"]


def buildkit() -> list[str]:
    """Build with a Docker client that has BuildKit: in itself until version 22, then beside it as buildx."""
    folders = os.get_exec_path()
    clients = [client for folder in folders if (client := shutil.which("docker", path=folder))]
    for client in clients:
        version = run([client, "version", "--format", "{{.Client.Version}}"]).stdout.decode()
        if int(version.partition(".")[0]) < 23 or run([client, "buildx", "version"]).ok:
            return [client, "build"]
    raise AssertionError("no Docker client here has BuildKit")


def podman_builder() -> list[str]:
    """Build with Podman, as this machine needs it."""
    program = podman().find()
    limits = program.create
    isolation = ("--isolation", "chroot", "--layers=false")
    return [*program.words, "build", "--format", "docker", *isolation, *limits]


def buildah() -> list[str]:
    """Build with buildah, into the store that Podman has too."""
    limits = podman().find().create
    return ["buildah", "build", "--format", "docker", "--isolation", "chroot", *limits]


BUILDS = [
    pytest.param(docker, docker_builder, LEGACY, marks=pytest.mark.docker, id="docker"),
    pytest.param(
        docker, buildkit, {"DOCKER_BUILDKIT": "1"}, marks=pytest.mark.docker, id="buildkit"
    ),
    pytest.param(podman, podman_builder, {}, marks=pytest.mark.podman, id="podman"),
    pytest.param(podman, buildah, {}, marks=pytest.mark.buildah, id="buildah"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "builder", "extra"), BUILDS)
def test_the_files_build_and_pass_the_proof(ejected, base, can, engine, builder, extra) -> None:
    """Built on a base given by argument, without network, the image does all that ours does."""
    engine = engine()
    bottom, top = parse("cannery-test/base:v1"), parse("cannery-test/ejected:v1")
    said = ""
    engine.load(base, bottom)
    host = "docker.io/" if engine.name == "podman" else ""
    arguments = ["--build-arg", f"BASE={host}{bottom}", "--build-arg", "PIP_NO_INDEX=1"]
    try:
        built = run(
            [*builder(), *arguments, "--tag", str(top), ejected],
            env={**os.environ, **extra},
            timeout=300,
        )
        said = built.stdout.decode()
        assert built.ok, built.complaint
        options = ProofOptions(shell=True)
        proof = prove(engine, str(top), can.canary(), can.manifest, options, digest=can.digest)
        require(proof)
        labels = engine.settings(str(top)).labels
        assert labels["dev.cannery.can.digest"] == can.digest
    finally:
        engine.remove_image(str(top))
        engine.remove_image(str(bottom))
        # The legacy builder keeps what it made on the way.
        for step in reversed(re.findall(r"^ ---> ([0-9a-f]{12})$", said, re.MULTILINE)):
            engine.remove_image(step)
