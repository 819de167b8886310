"""Any image of a registry as a base: pulled by our own client, pinned by digest, its Python found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from cannery.errors import ImageError
from cannery.images.bases.installed import find_installed
from cannery.images.bases.pythons import find_python
from cannery.images.packages import BaseImage
from cannery.images.recipe import TRIPLETS
from cannery.images.store import Store
from cannery.oci.contents import Content
from cannery.oci.descriptors import Architecture, Compression, Image, Layer
from cannery.oci.documents import Config, Manifest, Settings, decode
from cannery.oci.layout import image_of
from cannery.oci.references import Reference, parse, remote
from cannery.oci.unpack import unpack

BASE_LAYER = "base layer "
"""What the name of a layer begins with that came with a base."""
_EPOCH = "1970-01-01T00:00:00Z"
"""The date of a base that has none."""
Note = Callable[[str], None]


def resolve_base(name: str, architecture: Architecture, store: Store, note: Note) -> BaseImage:
    """Pull the image `name` for one architecture into the store and return what pins it.

    Raises ImageError where it has no Python on which wheels run, RegistryError, UnreachableError.
    """
    from cannery.oci.transfer import open_registry, pull_image_manifest  # an HTTP client

    reference = remote(parse(name))
    with open_registry(reference) as registry:
        manifest = pull_image_manifest(registry, reference, architecture)
    digest = store.add(manifest)
    _fetch(reference.at(digest), decode(manifest, Manifest, f"'{name}'"), store, note)
    image = _checked(digest, store)
    if image.architecture != architecture:
        raise ImageError(f"the base '{name}' is for {image.architecture}, not {architecture}")
    note(f"looking for Python in {name}")
    with tempfile.TemporaryDirectory(prefix="cannery-base-") as folder:
        root = Path(folder).resolve() / "root"
        unpack(image, root)
        search = _environment(image.config).get("PATH", "")
        python = find_python(root, search, architecture, TRIPLETS[architecture], name)
        installed = find_installed(root, name)
    return BaseImage(
        reference=name,
        digest=digest,
        created=decode(image.config, Config, f"the config of '{name}'").created or _EPOCH,
        python=python.path,
        version=python.version,
        glibc=python.glibc,
        libraries=tuple(sorted(python.libraries)),
        installed=installed,
    )


def fetch_base(base: BaseImage, store: Store, note: Note) -> None:
    """Bring what the store lacks of a pinned base into it, by digest."""
    data = store.read(base.digest)
    reference = remote(parse(base.reference)).at(base.digest)
    if data is None:
        from cannery.oci.transfer import open_registry

        with open_registry(reference) as registry:
            data, _ = registry.manifest(reference.repository, base.digest)
        store.add(data)
    _fetch(reference, decode(data, Manifest, f"'{base.reference}'"), store, note)


def base_image(base: BaseImage, store: Store) -> Image:
    """Return a fetched base; its layers are unpacked once to be measured, then remembered."""
    return _checked(base.digest, store)


def unpack_base(base: BaseImage, store: Store, root: Path) -> None:
    """Write the files of a fetched base below `root`."""
    unpack(_checked(base.digest, store), root)


def _environment(config: bytes) -> dict[str, str]:
    settings: Settings = decode(config, Config, "the config of the base").config
    return dict(word.partition("=")[::2] for word in settings.environment or ())


def _fetch(reference: Reference, manifest: Manifest, store: Store, note: Note) -> None:
    lacking = [d for d in (manifest.config, *manifest.layers) if store.find(d.digest) is None]
    if not lacking:
        return
    from cannery.oci.transfer import open_registry

    with open_registry(reference) as registry:
        for done, descriptor in enumerate(lacking):
            note(f"pulling {reference.name}: {done} of {len(lacking)} blobs")
            registry.fetch(reference.repository, descriptor, store.path(descriptor.digest))


def _checked(digest: str, store: Store) -> Image:
    """Return a base in the store, every blob of it checked."""
    manifest = store.read(digest)
    if manifest is None:
        raise ImageError(f"the base {digest} is not in the store", hint="fetch the lock first")
    document = decode(manifest, Manifest, f"the base {digest}")
    config = store.read(document.config.digest)
    if config is None or any(store.find(d.digest) is None for d in document.layers):
        raise ImageError(
            f"the base {digest} is not whole in the store", hint="fetch the lock first"
        )
    known = store.recall({"base": digest}, list[tuple[str, int, Compression]])
    if known is None:
        image = image_of(manifest, config, lambda d: store.path(d.digest))
        known = [(x.diff_id, x.unpacked, x.compression) for x in image.layers]
        store.remember({"base": digest}, known)
    layers = tuple(
        Layer(
            name=f"{BASE_LAYER}{i}",
            content=Content.of(store.path(d.digest)),
            digest=d.digest,
            size=d.size,
            diff_id=diff_id,
            unpacked=unpacked,
            compression=compression,
        )
        for i, (d, (diff_id, unpacked, compression)) in enumerate(
            zip(document.layers, known, strict=True), 1
        )
    )
    return Image(
        config=config,
        manifest=manifest,
        layers=layers,
        media="oci",
        architecture=cast("Architecture", decode(config, Config, "the config").architecture),
    )
