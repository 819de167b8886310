"""Attach a can to the registered model that it was made from, so that services can pull it by name."""

from __future__ import annotations

import logging
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cannery.blobs import hex_of
from cannery.errors import SourceError, UsageError
from cannery.oci.modelpack import FILEPATH, Artifact, compose_artifact, push_can
from cannery.oci.references import parse
from cannery.sources.mlflow import Address, parse_address, resolve, session
from cannery.sources.source import Origin

log = logging.getLogger(__name__)

URI_TAG = "cannery.uri"
DIGEST_TAG = "cannery.digest"
"""The tags that `serving.tracking` reads; it stands above this layer and travels, hence the twins."""
SIGNATURE = ".sig"
"""What `cans.vouchers` adds to a can's name; the same."""

_OCI = "oci://"
_ANYWHERE = "give a registry: --to oci://registry/repository"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where a can lies now, and what leads to it."""

    uri: str
    """`oci://…@sha256:…`, `mlflow-artifacts:/…` or `file:///…`."""
    digest: str
    """Of the can."""
    model: str
    """`models:/churn-classifier/3`: what was tagged; MODEL_URI may name it, or an alias of it."""


def publish(
    can: Path, model_uri: str, *, to: str = "artifacts", tracking_uri: str | None = None
) -> Published:
    """Upload the can in the folder `can` and tag what `model_uri` resolves to with its address and digest.

    `to` is `artifacts` (of the model's run, behind the tracking server) or `oci://registry/repository`
    with or without a tag; a signature beside the can (CAN.sig) goes to the artifacts with it. Raises CanError for a folder that is no can, SourceError for a model that
    doesn't exist or whose artifacts can't be reached by others, UnreachableError, RegistryError.
    """
    if to != "artifacts" and not to.startswith(_OCI):
        raise UsageError(
            f"can't publish to '{to}'", hint="use artifacts, or oci://registry/repository"
        )
    address = parse_address(model_uri)
    artifact = compose_artifact(can)
    with session(tracking_uri) as client:
        origin = resolve(address, client)
        if to == "artifacts":
            uri = _upload(client, origin, artifact, _beside(can))
        else:
            uri = f"{_OCI}{push_can(can, parse(to.removeprefix(_OCI)))}"
        _tag(client, address, origin, {DIGEST_TAG: artifact.can, URI_TAG: uri})
    log.info("published %s at '%s' for '%s'", artifact.can, uri, origin.resolved)
    return Published(uri=uri, digest=artifact.can, model=origin.resolved)


def _beside(can: Path) -> Path:
    """Return where the signature of a can lies."""
    return can.resolve().with_name(can.resolve().name + SIGNATURE)


def _upload(client: Any, origin: Origin, artifact: Artifact, signature: Path) -> str:
    """Log the can's files, and their signature if there is one, to the model's run; return their address."""
    if origin.run_id is None:
        raise SourceError(f"'{origin.resolved}' belongs to no run", hint=_ANYWHERE)
    root = str(client.get_run(origin.run_id).info.artifact_uri).rstrip("/")
    folder = f"cannery/{hex_of(artifact.can)}"
    uri = _reachable(root, str(client.tracking_uri), origin.run_id) + f"/{folder}"
    if signature.is_file():
        client.log_text(origin.run_id, signature.read_text(), f"{folder}{SIGNATURE}")
    for descriptor, path in artifact.files:
        parent = descriptor.annotations[FILEPATH].rpartition("/")[0]
        client.log_artifact(origin.run_id, str(path), f"{folder}/{parent}".rstrip("/"))
    return uri


def _reachable(root: str, tracking_uri: str, run_id: str) -> str:
    """Return the root of a run's artifacts as an address that a service can read; raises SourceError."""
    scheme = urllib.parse.urlsplit(root).scheme
    served = tracking_uri.startswith(("http://", "https://"))
    if scheme == "mlflow-artifacts" and served:
        return root
    if scheme in ("", "file") and not served:
        return root if scheme else Path(root).absolute().as_uri()
    raise SourceError(
        f"the artifacts of run '{run_id}' lie at '{root}', where a service can't read them",
        hint=f"start the tracking server with --serve-artifacts, or {_ANYWHERE}",
    )


def _tag(client: Any, address: Address, origin: Origin, tags: dict[str, str]) -> None:
    if address.model_id is not None:
        client.set_logged_model_tags(address.model_id, tags)
        return
    for key, value in tags.items():
        if address.run_id is not None:
            client.set_tag(address.run_id, key, value)
        else:
            client.set_model_version_tag(origin.name, origin.version, key, value)
