"""Frameworks that bring a model into a registry by their own builds: BentoML and MLflow.

Both serve the can's graph through `peers.py`, which goes into their images.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Container
from pathlib import Path

from images_base import DOCKER, PYTHON, call, version
from images_peers import Peer, Service, Work, beside, has_buildkit
from serving import installed

MODEL = Path(__file__).with_name("peers.py")


def packages() -> list[tuple[str, ...]]:
    """Return what each of them installs in its image."""
    served = ("numpy", "onnxruntime", "uv")
    build = (version("pip"), version("setuptools"), version("wheel"))
    wanted = [(version("mlflow"), "gunicorn[gevent]", *build, *served)]
    if python := installed("bentoml"):
        bento = "from importlib.metadata import version; print('bentoml==' + version('bentoml'))"
        wanted.append((call(python, "-c", bento).strip(), *served))
    return wanted


def frameworks(scratch: Path, where: str, base: str, sizes: Container[int]) -> list[Peer]:
    """Return BentoML and MLflow on one base, as far as they are here."""
    programs = scratch / "programs"
    programs.mkdir(exist_ok=True)
    if not (programs / "docker").exists():
        (programs / "docker").symlink_to(shutil.which(DOCKER) or DOCKER)
    environment = {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DOCKER_BUILDKIT": str(int(has_buildkit(scratch))),
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
    }
    found = [mlflow(base, f"{where}/mlflow", environment, sizes)]
    if python := installed("bentoml"):
        found.insert(0, bentoml(base, f"{where}/bentoml", environment, sizes, python))
    return found


_SERVICE = '''\
"""One model."""

import os
from pathlib import Path

import bentoml

CODE = {code!r}
image = bentoml.images.Image(
    base_image={base!r}, distro="", python_version={python!r}, lock_python_packages=False
).python_packages("numpy", "onnxruntime")


@bentoml.service(image=image)
class Bench:
    def __init__(self) -> None:
        os.environ["CANNERY_CAN"] = str(Path(__file__).parent / "can")
        from peers import Model

        self.model = Model()

    @bentoml.api
    def predict(self, records: list[dict[str, float | int | str]]) -> list[float]:
        return self.model.score(records)
'''


def bentoml(
    base: str, repository: str, environment: dict[str, str], sizes: Container[int], python: Path
) -> Peer:
    """Return BentoML: a bento, and an image of it; packages unlocked, and the model among the sources, are fastest."""
    program = python.with_name("bentoml")

    def write(work: Work) -> None:
        folder = beside(work, "bentoml")
        shutil.copy(MODEL, folder)
        service = _SERVICE.format(code=work.code, base=base, python=PYTHON)
        (folder / "service.py").write_text(service)
        options = "service: service:Bench\nname: bench\ninclude: [service.py, peers.py, can]\n"
        (folder / "bentofile.yaml").write_text(options)

    def deliver(work: Work, image: str) -> None:
        said = call(program, "build", "-o", "tag", cwd=work.folder / "bentoml", **environment)
        bento = said.strip().rpartition("__tag__:")[2]
        call(program, "containerize", bento, "-t", image, **environment)
        call(DOCKER, "push", "-q", image)

    return Peer(
        name="bentoml build, containerize and push",
        repository=repository,
        write=write,
        deliver=deliver,
        sizes=sizes,
        service=Service(
            port=3000, body=lambda records: {"records": records}, answer=lambda said: said[0]
        ),
    )


_SCORE = '''\
"""One model."""

import os

CODE = {code!r}


class Scorer:
    def __init__(self, path):
        os.environ["CANNERY_CAN"] = path
        from peers import Model

        self.model = Model()

    def predict(self, frame):
        return self.model.score(frame.to_dict("records"))


def _load_pyfunc(path):
    return Scorer(path)
'''
_SAVE = """\
import sys
from mlflow.pyfunc import save_model

folder, can = sys.argv[1:]
packages, code = ["numpy", "onnxruntime"], ["score.py", "peers.py"]
save_model(folder, loader_module="score", data_path=can, code_paths=code, pip_requirements=packages)
"""
_BUILD = """\
import sys
from mlflow.models import build_docker

folder, image, base = sys.argv[1:]
build_docker(folder, image, env_manager="local", base_image=base)
"""


def mlflow(base: str, repository: str, environment: dict[str, str], sizes: Container[int]) -> Peer:
    """Return MLflow: what `mlflow models build-docker` calls, which takes another base in Python alone.

    There is no nginx on that base, so its server listens to all by itself.
    """

    def write(work: Work) -> None:
        folder = work.folder / "mlflow"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(MODEL, folder)
        (folder / "score.py").write_text(_SCORE.format(code=work.code))
        can = work.folder / "can"
        call(sys.executable, "-c", _SAVE, folder / "model", can, cwd=folder, **environment)

    def deliver(work: Work, image: str) -> None:
        folder = work.folder / "mlflow"
        call(sys.executable, "-c", _BUILD, "model", image, base, cwd=folder, **environment)
        call(DOCKER, "push", "-q", image)

    return Peer(
        name="mlflow models build-docker and push",
        repository=repository,
        write=write,
        deliver=deliver,
        sizes=sizes,
        service=Service(
            port=8000,
            path="/invocations",
            body=lambda records: {"dataframe_records": records},
            answer=lambda said: said["predictions"][0],
            options=("-e", "DISABLE_NGINX=true", "-e", "UVICORN_HOST=0.0.0.0"),
        ),
    )
