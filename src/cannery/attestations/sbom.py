"""The bill of materials of an image in CycloneDX: every package by hash, and the model as a component.

https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

from cannery.blobs import hex_of
from cannery.cans.open import Can
from cannery.images.lock import Lock
from cannery.images.packages import DebianPackage, Installed, Wheel
from cannery.oci.descriptors import Architecture, Image

CYCLONEDX = "application/vnd.cyclonedx+json"
_NAMESPACE = uuid.UUID("8f1b8f0e-5a38-4f0e-9a73-0c5f6b2d9d11")


def sbom_of(image: Image, lock: Lock, can: Can | None, version: str) -> dict[str, Any]:
    """Return the document for an image: the same image, the same bytes; `version` is Cannery's own."""
    platform = lock.platforms[image.architecture]
    components = [*libraries_of(lock, image.architecture), _own(version)]
    if platform.image is not None:
        components.insert(0, _base(platform.image.reference, platform.image.digest))
    if can is not None:
        components.append(model_component(can))
    root = f"image@{image.digest}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, image.digest)}",
        "version": 1,
        "metadata": {
            "timestamp": lock.created,
            "tools": {"components": [_own(version)]},
            "component": {
                "type": "container",
                "bom-ref": root,
                "name": can.manifest.name if can else "cannery",
                "version": can.manifest.version if can else image.digest,
                "hashes": [_sha256(image.digest)],
            },
        },
        "components": components,
        "dependencies": [
            {"ref": root, "dependsOn": sorted(c["bom-ref"] for c in components)},
            *({"ref": c["bom-ref"]} for c in components),
        ],
    }


def libraries_of(lock: Lock, architecture: Architecture) -> list[dict[str, Any]]:
    """Return the packages of an image as components."""
    platform = lock.platforms[architecture]
    installed = platform.image.installed if platform.image else ()
    return [
        *(_installed(package) for package in installed),
        *(_debian(package, lock.suite) for package in platform.debian),
        *(_wheel(wheel) for wheel in platform.wheels),
    ]


def model_component(can: Can) -> dict[str, Any]:
    """Return a can as a component of the type `machine-learning-model`, with its card."""
    model = can.manifest
    source = model.source
    properties = {
        "dev.cannery.source": source.resolved,
        "dev.cannery.source.digest": source.digest,
        "dev.cannery.run": source.run_id,
        "dev.cannery.runtime": model.runtime,
        "dev.cannery.audit": model.audit.verdict,
        "dev.cannery.can.digest": can.digest,
    }
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model@{can.digest}",
        "name": model.name,
        "version": model.version,
        "hashes": [_sha256(model.files[model.model].digest)],
        "properties": [{"name": k, "value": v} for k, v in properties.items() if v],
        "modelCard": {
            "modelParameters": {
                "task": model.task,
                "inputs": [{"format": f"{f.name}: {f.type}"} for f in model.signature.features],
                "outputs": [{"format": f"{o.name}: {o.type}"} for o in model.signature.outputs],
            },
        },
    }
    if source.run_id:
        dataset = {"type": "dataset", "name": f"data of run {source.run_id}"}
        component["modelCard"]["modelParameters"]["datasets"] = [dataset]
    measured = [
        {"type": name, "value": repr(value)} for name, value in sorted(source.metrics.items())
    ]
    if model.parity is not None:
        worst = {
            "type": "largest difference from the original",
            "value": repr(model.parity.maximum),
        }
        measured.append(worst)
    if measured:
        component["modelCard"]["quantitativeAnalysis"] = {"performanceMetrics": measured}
    return component


def _debian(package: DebianPackage, suite: str) -> dict[str, Any]:
    origin = package.source if package.source != package.name else None
    purl = _deb(package.name, package.version, package.architecture, "debian", suite, origin)
    return _library(package.name, package.version, purl, package.sha256)


def _installed(package: Installed) -> dict[str, Any]:
    """Return a package that came with a base: of its bytes nothing is known."""
    name, version, suite = package.name, package.version, package.suite
    origin = None if package.source == name else package.source
    if package.source_version != version:
        origin = f"{package.source}@{package.source_version}"
    purl = _deb(name, version, package.architecture, package.distribution, suite, origin)
    return _library(name, version, purl)


def _deb(
    name: str, version: str, machine: str, distribution: str, suite: str, origin: str | None
) -> str:
    """Return the address of a Debian package; `origin` is its source, where that is called otherwise."""
    words = [quote(word, safe="") for word in (distribution, name, version, suite, origin or "")]
    purl = f"pkg:deb/{words[0]}/{words[1]}@{words[2]}?arch={machine}&distro={words[3]}"
    return purl + (f"&upstream={words[4]}" if origin else "")


def _wheel(wheel: Wheel) -> dict[str, Any]:
    purl = f"pkg:pypi/{wheel.name}@{quote(wheel.version, safe='')}?file_name={quote(wheel.filename, safe='')}"
    return _library(wheel.name, wheel.version, purl, wheel.sha256)


def _library(name: str, version: str, purl: str, sha256: str | None = None) -> dict[str, Any]:
    component = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }
    return component if sha256 is None else {**component, "hashes": [_sha256(sha256)]}


def _own(version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/cannery@{version}"
    return {
        "type": "application",
        "bom-ref": purl,
        "name": "cannery",
        "version": version,
        "purl": purl,
    }


def _base(reference: str, digest: str) -> dict[str, Any]:
    return {
        "type": "container",
        "bom-ref": f"base@{digest}",
        "name": reference,
        "version": digest,
        "hashes": [_sha256(digest)],
    }


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hex_of(digest)}
