"""The image's config: what starts, as whom, and how its health is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cannery.images.contents import CONTENTS, Contents
from cannery.images.plan import Plan
from cannery.images.recipe import CAN, LIBRARIES, PYTHON, USER
from cannery.oci.descriptors import Image, Layer
from cannery.oci.documents import Config, decode
from cannery.serving.pickles import VARIABLE

_SECOND = 1_000_000_000
PORT = 8080
GRPC_PORT = 8081


def config_of(plan: Plan, layers: list[tuple[Layer, Contents]], base: Image | None = None) -> bytes:
    """Return the config document (OCI image-spec, with Docker's `Healthcheck`), the same bytes every time.

    `base` is the image whose layers come first, where it is one.
    """
    below = len(base.layers) if base else 0
    document: dict[str, Any] = {
        "architecture": plan.architecture,
        **({"variant": "v8"} if plan.architecture == "arm64" else {}),
        "os": "linux",
        "created": plan.lock.created,
        "config": _process(plan, _environment(base)),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer, _ in layers]},
        "history": [
            *_history_of_base(base),
            *(_history(plan, layer, contents) for layer, contents in layers[below:]),
        ],
        CONTENTS: [contents for _, contents in layers],
    }
    return msgspec.json.encode(document)


def _process(plan: Plan, given: Mapping[str, str]) -> dict[str, Any]:
    python = python_of(plan)
    # -S: all packages stand in one folder, so the search for others is left out, which starts faster;
    # -s and -P: neither a user's packages nor the working folder are ever imported.
    return {
        "User": f"{USER}:{USER}",
        "ExposedPorts": {f"{port}/tcp": {} for port in _ports(plan)},
        "Env": [f"{k}={v}" for k, v in {**environment_of(plan), **given}.items()],
        "Entrypoint": [python, "-S", "-s", "-P", "-m", "cannery.serving"],
        "Cmd": ["serve"],
        "WorkingDir": "/",
        "StopSignal": "SIGTERM",
        "Labels": dict(sorted(plan.labels.items())),
        "Healthcheck": {
            "Test": ["CMD", python, "-I", "-S", f"/{LIBRARIES}/cannery/serving/probe.py"],
            "Interval": 10 * _SECOND,
            "Timeout": 3 * _SECOND,
            "StartPeriod": 5 * _SECOND,
            "Retries": 3,
        },
    }


def _ports(plan: Plan) -> list[int]:
    return [PORT, GRPC_PORT] if "grpc" in plan.lock.extras else [PORT]


def python_of(plan: Plan) -> str:
    """Return the path of the interpreter in the image."""
    image = plan.lock.platforms[plan.architecture].image
    return image.python if image else f"/usr/bin/python{PYTHON}"


def _environment(base: Image | None) -> dict[str, str]:
    """Return what a base says of where its programs and libraries are; all else of its environment is its own."""
    if base is None:
        return {}
    words = decode(base.config, Config, "the config of the base").config.environment or ()
    given = dict(word.partition("=")[::2] for word in words)
    return {name: given[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in given}


def _history_of_base(base: Image | None) -> list[dict[str, Any]]:
    document: dict[str, Any] = msgspec.json.decode(base.config) if base else {}
    history: list[dict[str, Any]] = document.get("history") or []
    made = [step for step in history if not step.get("empty_layer")]
    if base is None or len(made) == len(base.layers):
        return history
    return [{"created_by": "base"} for _ in base.layers]


def environment_of(plan: Plan) -> dict[str, str]:
    """Return the environment of the process in the image."""
    environment = {
        "PATH": "/usr/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"/{LIBRARIES}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    if "grpc" in plan.lock.extras:
        environment["GRPC_PORT"] = str(GRPC_PORT)
    if plan.mode == "bake":
        environment["CANNERY_CAN"] = f"/{CAN}"
    if plan.manifest is not None and plan.manifest.runtime == "pickle":
        # Only a policy that lists this digest lets a pickle become a can: see serving/pickles.py.
        environment[VARIABLE] = plan.manifest.files[plan.manifest.model].digest
    return environment


def _history(plan: Plan, layer: Layer, contents: Contents) -> dict[str, Any]:
    return {
        "created": plan.lock.created,
        "created_by": f"cannery: {layer.name}",
        "comment": ", ".join(f"{p.name} {p.version}" for p in contents.packages),
    }
