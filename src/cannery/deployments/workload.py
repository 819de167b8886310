"""What a cluster has to know of an image: its address, its port, its memory, and what it serves."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cannery.errors import UsageError
from cannery.images.config import GRPC_PORT, PORT
from cannery.images.describe import ImageFacts
from cannery.oci.references import parse
from cannery.options import option
from cannery.subjects import Subject

IN_FLIGHT = 4
"""Requests in flight, in the mean of all pods, from which on another pod is started."""

_QUANTITY = re.compile(r"[1-9][0-9]*(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_MIB = 1 << 20
_STEP = 64 * _MIB
_RUNNING = {"onnx": 192 * _MIB}
_RUNNING_OTHERS = 448 * _MIB
"""Bytes that the service holds beside the model: the interpreter and its libraries, and requests."""
_TIMES = 3
"""A model as it runs, and another one while it is swapped in, are larger than their file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployOptions:
    """How an image is to be run."""

    name: str | None = field(
        default=None, metadata=option("Of the workload [default: the model's].", metavar="NAME")
    )
    replicas: int = field(default=2, metadata=option("How many run.", metavar="N"))
    max_replicas: int | None = field(
        default=None,
        metadata=option("Scale up to so many by the requests in flight.", metavar="N"),
    )
    memory: str | None = field(
        default=None,
        metadata=option("Of each, as Kubernetes writes it: 512Mi [default: by size].", metavar="Q"),
    )
    cpu: str = field(
        default="1", metadata=option("Of each, as Kubernetes writes it: 500m.", metavar="Q")
    )
    model_uri: str | None = field(
        default=None,
        metadata=option("What an image without a model pulls at start.", metavar="URI"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An image as it is to be run."""

    name: str
    image: str
    """By digest, where a registry knows it."""
    labels: dict[str, str]
    annotations: dict[str, str]
    environment: dict[str, str]
    baked: bool
    """Whether the model is inside; where not, it is pulled at start."""
    grpc: bool
    replicas: int
    max_replicas: int | None
    memory: str
    cpu: str
    port: int = PORT
    grpc_port: int = GRPC_PORT


def workload_of(subject: Subject, address: str, options: DeployOptions) -> Workload:
    """Return how the image that was found is to be run; raises UsageError for what can't be.

    `address` is under which the cluster finds it.
    """
    facts = subject.image
    assert facts is not None, "a can is no image"
    baked = subject.can is not None
    _check(options, subject.name, baked=baked)
    model = facts.labels.get("dev.cannery.model.name") or parse(subject.name).repository
    return Workload(
        name=options.name or _label(model.rpartition("/")[2]),
        image=address,
        labels=_labels(facts),
        annotations={
            key: value
            for key, value in facts.labels.items()
            if key in ("dev.cannery.can.digest", "dev.cannery.source", "dev.cannery.parity")
        },
        environment={} if options.model_uri is None else {"MODEL_URI": options.model_uri},
        baked=baked,
        grpc="grpcio" in facts.packages,
        replicas=options.replicas,
        max_replicas=options.max_replicas,
        memory=options.memory or _memory(facts),
        cpu=options.cpu,
    )


def _check(options: DeployOptions, image: str, *, baked: bool) -> None:
    if options.name is not None and not _NAME.fullmatch(options.name):
        raise UsageError(
            f"'{options.name}' is no name for Kubernetes",
            hint="at most 63 of a-z, 0-9 and '-', with a letter first",
        )
    if options.replicas < 1:
        raise UsageError(f"{options.replicas} replicas serve nobody", hint="--replicas 1 or more")
    if options.max_replicas is not None and options.max_replicas < options.replicas:
        raise UsageError(
            f"at most {options.max_replicas} replicas are fewer than {options.replicas}",
            hint="--max-replicas must be --replicas or more",
        )
    for flag, value in (("--memory", options.memory), ("--cpu", options.cpu)):
        if value is not None and not _QUANTITY.fullmatch(value):
            raise UsageError(f"{flag} '{value}' is no quantity", hint="512Mi, 1.5Gi, 2 or 500m")
    if baked and options.model_uri is not None:
        raise UsageError(
            f"'{image}' has its model inside, and would not look at '{options.model_uri}'",
            hint="leave --model-uri out, or build an image without a model: --mode pull",
        )
    if not baked and options.model_uri is None:
        raise UsageError(
            f"'{image}' has no model inside",
            hint="say what it pulls at start: --model-uri models:/NAME@champion",
        )


def _labels(facts: ImageFacts) -> dict[str, str]:
    """Return what may be asked for with a selector."""
    found = {
        "app.kubernetes.io/version": facts.labels.get("dev.cannery.model.version"),
        "app.kubernetes.io/component": "model",
        "app.kubernetes.io/managed-by": "cannery",
        "dev.cannery.runtime": facts.labels.get("dev.cannery.runtime"),
    }
    return {key: _value(value) for key, value in found.items() if value}


def _memory(facts: ImageFacts) -> str:
    """Return what the service takes, by its runtime and the size of its model, in steps of 64 MiB."""
    running = _RUNNING.get(facts.labels.get("dev.cannery.runtime", ""), _RUNNING_OTHERS)
    model = next((layer.size for layer in facts.layers if layer.name == "can"), 0)
    steps = -(-(running + _TIMES * model) // _STEP)
    return f"{steps * _STEP // _MIB}Mi"


def _label(text: str) -> str:
    """Return a name that Kubernetes takes, like this one."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return (words if words[:1].isalpha() else f"model-{words}")[:63].strip("-")


def _value(text: str) -> str:
    """Return a label's value, of what Kubernetes takes there."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].strip("-._")
