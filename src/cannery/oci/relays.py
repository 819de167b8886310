"""Copy what a registry has to another name there or elsewhere: every platform, what is attached, who signed it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cannery.blobs import digest_bytes
from cannery.errors import UsageError
from cannery.oci.copies import documents_below, type_of
from cannery.oci.descriptors import Descriptor
from cannery.oci.documents import Manifest, decode, is_index
from cannery.oci.references import Reference
from cannery.oci.referrers import list_referrer, referrers
from cannery.oci.registry import Registry
from cannery.oci.transfer import Note, silent
from cannery.parallel import each

_AT_ONCE = 4
_SIGNED = (".sig", ".att")
"""How the tags end under which cosign keeps signatures and attestations of a digest."""


@dataclass(frozen=True, slots=True)
class _Relay:
    """From where to where."""

    origin: Registry
    source: str
    registry: Registry
    target: str
    note: Note
    tied_already: set[str]
    """Digests whose attached documents were looked for: a registry could list one as referring to itself."""

    def documents(self, data: bytes) -> None:
        """Copy all that a manifest or index names, and what is tied to each of these; its own bytes come last."""
        name = f"'{self.origin.host}/{self.source}'"
        read = self.origin.manifest
        for document in documents_below(data, name, lambda d: read(self.source, d)[0]):
            if not is_index(document):
                self.blobs(decode(document, Manifest, name))
            digest = digest_bytes(document)
            self.tied(digest)
            if document is not data:
                self.registry.push_manifest(self.target, digest, document, type_of(document))

    def tied(self, digest: str) -> None:
        """Copy what refers to a digest, and what cosign keeps under its name."""
        self.tied_already.add(digest)
        for entry in referrers(self.origin, self.source, digest):
            if entry.digest in self.tied_already:
                continue
            data, _ = self.origin.manifest(self.source, entry.digest)
            self.blobs(decode(data, Manifest, f"the artifact {entry.digest}"))
            kept = self.registry.push_manifest(self.target, entry.digest, data, type_of(data))
            if not kept:
                list_referrer(self.registry, self.target, digest, msgspec.to_builtins(entry))
            self.tied(entry.digest)
        for suffix in _SIGNED:
            tag = digest.replace(":", "-") + suffix
            found = self.origin.find_manifest(self.source, tag)
            if found is not None:
                self.blobs(decode(found, Manifest, f"'{tag}'"))
                self.registry.push_manifest(self.target, tag, found, type_of(found))

    def blobs(self, manifest: Manifest) -> None:
        """Copy what a manifest names and the other side lacks."""
        lacking = {d.digest: d for d in (manifest.config, *manifest.layers)}.values()
        for descriptor in each(self.blob, lacking, at_once=_AT_ONCE):
            self.note(f"copied {descriptor.digest[7:19]}, {descriptor.size / 1e6:.1f} MB")

    def blob(self, descriptor: Descriptor) -> Descriptor:
        """Copy one blob: where both are one registry, it is mounted."""
        near = self.origin.host == self.registry.host
        if not self.registry.has_blob(self.target, descriptor.digest) and not (
            near and self.registry.mount_blob(self.target, descriptor.digest, self.source)
        ):
            with tempfile.TemporaryDirectory(prefix="cannery-relay-") as folder:
                path = self.origin.fetch(self.source, descriptor, Path(folder) / "blob")
                self.registry.push_blob(self.target, descriptor, path)
        return descriptor


def relay(
    source: Reference,
    target: Reference,
    origin: Registry,
    registry: Registry,
    *,
    note: Note = silent,
) -> Reference:
    """Copy an image or a can from one name to another, with the same digests; return it by digest. The tag comes last.

    Raises UsageError where `target` names another digest, RegistryError, UnreachableError, ImageError.
    """
    data, _ = origin.manifest(source.repository, source.target)
    digest = digest_bytes(data)
    if target.digest not in (None, digest):
        raise UsageError(f"'{target}' is not {digest}, which '{source}' names")
    route = _Relay(origin, source.repository, registry, target.repository, note, set())
    route.documents(data)
    registry.push_manifest(target.repository, target.tag or digest, data, type_of(data))
    return target.at(digest)
