"""The image's config: what starts, as whom, and how its health is asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from cannery.images.contents import CONTENTS, Contents
from cannery.images.plan import Plan
from cannery.images.recipe import CAN, LIBRARIES, PYTHON, USER
from cannery.oci.descriptors import Layer

_PYTHON = f"/usr/bin/python{PYTHON}"
_SECOND = 1_000_000_000
PORT = 8080


def config_of(plan: Plan, layers: list[tuple[Layer, Contents]]) -> bytes:
    """Return the config document (OCI image-spec, with Docker's `Healthcheck`), the same bytes every time."""
    document: dict[str, Any] = {
        "architecture": plan.architecture,
        **({"variant": "v8"} if plan.architecture == "arm64" else {}),
        "os": "linux",
        "created": plan.lock.created,
        "config": _process(plan),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer, _ in layers]},
        "history": [_history(plan, layer, contents) for layer, contents in layers],
        CONTENTS: [contents for _, contents in layers],
    }
    return msgspec.json.encode(document)


def _process(plan: Plan) -> dict[str, Any]:
    # -S: all packages stand in one folder, so the search for others is left out, which starts faster;
    # -s and -P: neither a user's packages nor the working folder are ever imported.
    return {
        "User": f"{USER}:{USER}",
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "Env": [f"{name}={value}" for name, value in environment_of(plan).items()],
        "Entrypoint": [_PYTHON, "-S", "-s", "-P", "-m", "cannery.serving"],
        "Cmd": ["serve"],
        "WorkingDir": "/",
        "StopSignal": "SIGTERM",
        "Labels": dict(sorted(plan.labels.items())),
        "Healthcheck": {
            "Test": ["CMD", _PYTHON, "-I", "-S", f"/{LIBRARIES}/cannery/serving/probe.py"],
            "Interval": 10 * _SECOND,
            "Timeout": 3 * _SECOND,
            "StartPeriod": 5 * _SECOND,
            "Retries": 3,
        },
    }


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
    if plan.mode == "bake":
        environment["CANNERY_CAN"] = f"/{CAN}"
    return environment


def _history(plan: Plan, layer: Layer, contents: Contents) -> dict[str, Any]:
    return {
        "created": plan.lock.created,
        "created_by": f"cannery: {layer.name}",
        "comment": ", ".join(f"{p.name} {p.version}" for p in contents.packages),
    }
