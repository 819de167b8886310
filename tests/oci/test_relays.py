"""What one registry has goes to another as it is: every platform, what is attached, and signatures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_registries import Handler, State, fake_registry
from image_parts import file, make_image, make_layer
from small_cans import make_can

from cannery.blobs import digest_bytes
from cannery.cans.open import open_can
from cannery.errors import RegistryError, UsageError
from cannery.oci.artifacts import Artifact
from cannery.oci.copies import pull_can_files
from cannery.oci.descriptors import MANIFEST, Descriptor, Image, manifest_of
from cannery.oci.layout import platforms_of
from cannery.oci.modelpack import push_can
from cannery.oci.references import Reference, parse
from cannery.oci.referrers import attach, payload_of, referrers
from cannery.oci.registry import Registry
from cannery.oci.relays import relay
from cannery.oci.transfer import open_registry, push_image

SAID = Artifact(kind="x/y", payload=b"said", media_type="x/y")


def images(store: Path) -> tuple[Image, Image]:
    """Return an image for two processors."""
    layer = make_layer(store, file("a", b"1" * 5000), compressed=False)
    first = make_image(layer, media="oci")
    config = first.config.replace(b'"amd64"', b'"arm64"')
    manifest = manifest_of(config, first.layers, "oci")
    return first, replace(first, config=config, manifest=manifest, architecture="arm64")


def signed(registry: Registry, repository: str, digest: str) -> str:
    """Put a manifest under the tag where cosign keeps the signatures of a digest; return the tag."""
    tag, image = digest.replace(":", "-") + ".sig", make_image()
    config = Descriptor(media_type="x/y", digest=image.id, size=len(image.config))
    registry.push_blob(repository, config, image.config)
    registry.push_manifest(repository, tag, image.manifest, MANIFEST["docker"])
    return tag


def put(registry: Registry, reference: Reference, store: Path) -> tuple[str, str, str]:
    """Push an image for two processors, a document on one, and a signature on that; return their digests and tag."""
    both = images(store)
    attached = {both[0].digest: [SAID]}
    digest = push_image(both, reference, registry=registry, attached=attached).reference.digest
    (document,) = referrers(registry, reference.repository, both[0].digest)
    tag = signed(registry, reference.repository, document.digest)
    assert digest == digest_bytes(platforms_of(both))
    return digest, both[0].digest, tag


@pytest.mark.registry
@pytest.mark.parametrize("far", [False, True], ids=["another name", "another registry"])
def test_everything_is_copied(
    registry: str, start_registry: Callable[..., object], tmp_path: Path, far: bool
) -> None:
    """The same digests, both platforms, the document, and the signature on the document."""
    with start_registry() as second, Registry(registry) as origin:
        source = parse(f"{registry}/relays/{'far' if far else 'near'}:1")
        digest, first, tag = put(origin, source, tmp_path / "store")
        target = parse(f"{second if far else registry}/promoted/{'far' if far else 'near'}:ok")
        with open_registry(target) as client:
            assert relay(source, target, origin, client).digest == digest
            name = target.repository
            assert digest_bytes(client.manifest(name, "ok")[0]) == digest
            (document,) = referrers(client, name, first)
            assert payload_of(client, name, document) == b"said"
            assert client.find_manifest(name, tag) is not None
            index = json.loads(client.manifest(name, "ok")[0])
            assert [e["platform"]["architecture"] for e in index["manifests"]] == ["amd64", "arm64"]
            assert relay(source, target, origin, client).digest == digest


@pytest.mark.registry
def test_a_can_is_copied(registry: str, tmp_path: Path) -> None:
    """An artifact goes the same way, and opens where it arrives."""
    can = make_can(tmp_path / "a.can")
    source, target = parse(f"{registry}/cans/a:1"), parse(f"{registry}/cans/b:1")
    with Registry(registry) as client:
        push_can(can.folder, source, registry=client)
        relay(source, target, client, client)
        pull_can_files(target, tmp_path / "b.can", client, open_can)
    assert open_can(tmp_path / "b.can").digest == can.digest


def test_what_is_near_is_mounted(tmp_path: Path) -> None:
    """Within one registry no blob is fetched; one that refuses to mount is sent it."""
    state = State()
    image = make_image(make_layer(tmp_path / "s", file("a", b"1" * 5000)))

    def mount(handler: Handler) -> bool:
        if "?mount=" in handler.path:
            handler.answer(201 if state.keeps_referrers else 202, Location="/v2/b/blobs/uploads/x")
            return True
        return handler.command == "HEAD" and "/b/" in handler.path and not handler.answer(404)

    with fake_registry(state) as host, Registry(host) as client:
        push_image(image, parse(f"{host}/a:1"), registry=client)
        state.trouble = mount
        for state.keeps_referrers in (True, False):
            state.requests.clear()
            relay(parse(f"{host}/a:1"), parse(f"{host}/b:1"), client, client)
            fetched = [p for m, p, _ in state.requests if m == "GET" and "/a/blobs/" in p]
            assert len(fetched) == (0 if state.keeps_referrers else 2)


def test_a_copy_that_breaks_off_gets_no_tag(tmp_path: Path) -> None:
    """The tag comes last: where a blob can't be had, nothing stands under it."""
    origin, target = State(), State()
    image = make_image(make_layer(tmp_path / "s", file("a")))
    with fake_registry(origin) as one, fake_registry(target) as two:
        with Registry(one) as client:
            push_image(image, parse(f"{one}/a:1"), registry=client)
        del origin.blobs[image.layers[0].digest]
        with (
            Registry(one) as client,
            Registry(two) as other,
            pytest.raises(RegistryError, match="does not hold"),
        ):
            relay(parse(f"{one}/a:1"), parse(f"{two}/b:1"), client, other)
    assert target.manifests == {}


def test_another_digest_is_refused(tmp_path: Path) -> None:
    """A target that names a digest must be the one of the source."""
    image = make_image(make_layer(tmp_path / "s", file("a")))
    with fake_registry(State()) as host, Registry(host) as client:
        push_image(image, parse(f"{host}/a:1"), registry=client)
        with pytest.raises(UsageError, match=r"which '.*/a:1' names"):
            relay(parse(f"{host}/a:1"), parse(f"{host}/b@sha256:{'0' * 64}"), client, client)


def test_a_document_that_refers_to_itself_is_copied_once(tmp_path: Path) -> None:
    """A registry may list what it likes: what it says refers to itself is looked at once."""
    state = State(keeps_referrers=True)
    image = make_image(make_layer(tmp_path / "s", file("a")))
    with fake_registry(state) as host, Registry(host) as client:
        push_image(image, parse(f"{host}/a:1"), registry=client)
        digest = attach(client, "a", image.descriptor, SAID)
        entry = {"mediaType": MANIFEST["oci"], "digest": digest, "size": 1, "artifactType": "x/y"}
        listed = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()

        def circle(handler: Handler) -> bool:
            return "/a/referrers/" in handler.path and handler.answer(200, listed) is None

        state.trouble = circle
        relay(parse(f"{host}/a:1"), parse(f"{host}/b:1"), client, client)
    assert len([p for m, p, _ in state.requests if m == "PUT" and digest in p]) == 2
