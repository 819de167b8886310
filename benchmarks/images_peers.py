"""Who brings a model into a registry: Cannery, Docker's two builders, buildah, BentoML, MLflow.

Each asks something of its user (a Dockerfile, a service, a saved model), which it writes, and then builds
and pushes by its own command.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from images_base import DOCKER, PYTHON, call, python_base, version
from serving import installed

import cannery
from cannery.cans.manifest import CanManifest
from cannery.errors import CanneryError
from cannery.images.compose import compose
from cannery.images.lock import Lock
from cannery.images.plan import Plan
from cannery.images.store import Store
from cannery.oci.references import parse
from cannery.oci.transfer import push_image

SOURCE = Path(cannery.__file__).parent
FAILURES = (CanneryError, OSError, subprocess.SubprocessError)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be served."""

    folder: Path
    """With the model, in `can/`."""
    manifest: CanManifest
    size: int
    """Of the model, in MB."""
    code: str
    """What the serving code says that it is."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A builder."""

    name: str
    repository: str
    write: Callable[[Work], None]
    """Write what it asks of its user."""
    deliver: Callable[[Work, str], None]
    """Build and push under a name."""
    sizes: Container[int]
    """Of the models that it is tried with, in MB."""

    def image(self, work: Work) -> str:
        """Return the name under which it pushes."""
        return f"{self.repository}:{work.size}"


def ours(lock: Lock, store: Store, repository: str, sizes: Container[int]) -> Peer:
    """Return Cannery; its serving code is a copy of our own."""

    def write(work: Work) -> None:
        copied = work.folder / "cannery"
        shutil.copytree(
            SOURCE, copied, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
        with (copied / "serving" / "__init__.py").open("a") as file:
            file.write(f"\nCODE = {work.code!r}\n")

    def deliver(work: Work, image: str) -> None:
        plan = Plan(lock=lock, can=work.folder / "can", manifest=work.manifest)
        with mock.patch.object(cannery, "__file__", str(work.folder / "cannery" / "__init__.py")):
            push_image(compose(plan, store), parse(image))

    return Peer(name="Cannery", repository=repository, write=write, deliver=deliver, sizes=sizes)


def by_dockerfile(scratch: Path, host: str, sizes: Container[int]) -> Iterator[Peer]:
    """Yield the builders of a Dockerfile that are here; theirs is at its best, with all else in the base."""

    def write(work: Work) -> None:
        folder = _beside(work, "docker")
        (folder / "score.py").write_text(f"CODE = {work.code!r}\n")
        (folder / "Dockerfile").write_text(
            f"FROM {host}/bench/foundation:1\nCOPY can /opt/cannery/can\nCOPY score.py /opt/\n"
        )

    def legacy(work: Work, image: str) -> None:
        call(DOCKER, "build", "-q", "-t", image, ".", cwd=work.folder / "docker")
        call(DOCKER, "push", "-q", image)

    def buildkit(work: Work, image: str) -> None:
        words = (DOCKER, "build", "-q", "-t", image, ".")
        call(*words, cwd=work.folder / "docker", DOCKER_BUILDKIT="1")
        call(DOCKER, "push", "-q", image)

    def buildah(work: Work, image: str) -> None:
        isolation = ("--isolation", "chroot", "--tls-verify=false", "--layers")
        words = ("buildah", "build", "-q", *isolation, "-t", image, ".")
        call(*words, cwd=work.folder / "docker")
        call("buildah", "push", "-q", "--tls-verify=false", image)

    found = {"docker build and push": legacy} if shutil.which(DOCKER) else {}
    if has_buildkit(scratch):
        found["docker build (BuildKit) and push"] = buildkit
    if shutil.which("buildah"):
        found["buildah build and push"] = buildah
    for name, deliver in found.items():
        repository = f"{host}/bench/{deliver.__name__}"
        yield Peer(name=name, repository=repository, write=write, deliver=deliver, sizes=sizes)


def has_buildkit(scratch: Path) -> bool:
    """Whether the docker command builds with BuildKit."""
    (scratch / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    try:
        call(DOCKER, "build", "-q", ".", cwd=scratch, DOCKER_BUILDKIT="1")
    except FAILURES:
        sys.stderr.write(f"'{DOCKER}' has no BuildKit; DOCKER names another\n")
        return False
    return True


def _beside(work: Work, name: str) -> Path:
    """Return a folder with the model in it, for one kind of builder."""
    folder = work.folder / name
    if not folder.exists():
        shutil.copytree(work.folder / "can", folder / "can", copy_function=os.link)
    return folder


@contextlib.contextmanager
def frameworks(scratch: Path, host: str, sizes: Container[int]) -> Iterator[list[Peer]]:
    """Yield BentoML and MLflow on one base, as far as they are here; each finds that base's wheels until the end."""
    python = installed("bentoml")
    programs = scratch / "programs"
    programs.mkdir()
    (programs / "docker").symlink_to(shutil.which(DOCKER) or DOCKER)
    environment = {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DOCKER_BUILDKIT": str(int(has_buildkit(scratch))),
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
    }
    served = ("numpy", "onnxruntime", "uv")
    build = (version("pip"), version("setuptools"), version("wheel"))
    wanted = [(version("mlflow"), "gunicorn[gevent]", *build, *served)]
    if python:
        bento = "from importlib.metadata import version; print('bentoml==' + version('bentoml'))"
        wanted.append((call(python, "-c", bento).strip(), *served))
    with python_base(wanted) as base:
        repository = f"{host}/bench"
        found = [mlflow(base, f"{repository}/mlflow", environment, sizes)]
        if python:
            found.insert(0, bentoml(base, f"{repository}/bentoml", environment, sizes, python))
        yield found


_SERVICE = '''\
"""One model."""

import bentoml

CODE = {code!r}
image = bentoml.images.Image(
    base_image={base!r}, distro="", python_version={python!r}, lock_python_packages=False
).python_packages("numpy", "onnxruntime")


@bentoml.service(image=image)
class Bench:
    def __init__(self) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession("can/model.onnx")

    @bentoml.api
    def predict(self, x: list[float]) -> list[float]:
        return self.session.run(None, {{"x": x}})[0].tolist()
'''


def bentoml(
    base: str, repository: str, environment: dict[str, str], sizes: Container[int], python: Path
) -> Peer:
    """Return BentoML: a bento, and an image of it; packages unlocked, and the model among the sources, are fastest."""
    program = python.with_name("bentoml")

    def write(work: Work) -> None:
        folder = _beside(work, "bentoml")
        service = _SERVICE.format(code=work.code, base=base, python=PYTHON)
        (folder / "service.py").write_text(service)
        options = "service: service:Bench\nname: bench\ninclude: [service.py, can]\n"
        (folder / "bentofile.yaml").write_text(options)

    def deliver(work: Work, image: str) -> None:
        said = call(program, "build", "-o", "tag", cwd=work.folder / "bentoml", **environment)
        bento = said.strip().rpartition("__tag__:")[2]
        call(program, "containerize", bento, "-t", image, **environment)
        call(DOCKER, "push", "-q", image)

    name = "bentoml build, containerize and push"
    return Peer(name=name, repository=repository, write=write, deliver=deliver, sizes=sizes)


_SCORE = '''\
"""One model."""

CODE = {code!r}


def _load_pyfunc(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path)
'''
_SAVE = """\
import sys
from mlflow.pyfunc import save_model

folder, model = sys.argv[1:]
packages = ["numpy", "onnxruntime"]
save_model(folder, loader_module="score", data_path=model, code_paths=["score.py"], pip_requirements=packages)
"""
_BUILD = """\
import sys
from mlflow.models import build_docker

folder, image, base = sys.argv[1:]
build_docker(folder, image, env_manager="local", base_image=base)
"""


def mlflow(base: str, repository: str, environment: dict[str, str], sizes: Container[int]) -> Peer:
    """Return MLflow: what `mlflow models build-docker` calls, which takes another base in Python alone."""

    def write(work: Work) -> None:
        folder = work.folder / "mlflow"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "score.py").write_text(_SCORE.format(code=work.code))
        model = work.folder / "can" / "model.onnx"
        call(sys.executable, "-c", _SAVE, folder / "model", model, cwd=folder, **environment)

    def deliver(work: Work, image: str) -> None:
        folder = work.folder / "mlflow"
        call(sys.executable, "-c", _BUILD, "model", image, base, cwd=folder, **environment)
        call(DOCKER, "push", "-q", image)

    name = "mlflow models build-docker and push"
    return Peer(name=name, repository=repository, write=write, deliver=deliver, sizes=sizes)
