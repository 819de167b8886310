"""Tools that are not ours take the images: skopeo, umoci and podman, from a layout and from a registry."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from registries import running_registry

from cannery.engines.podman import podman
from cannery.images.compose import compose
from cannery.images.lock import Lock
from cannery.images.plan import Plan
from cannery.images.store import Store
from cannery.oci.descriptors import Image
from cannery.oci.layout import write_layout
from cannery.oci.references import parse
from cannery.oci.transfer import push_image
from cannery.oci.unpack import unpack
from cannery.processes import run

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def plain(lock: Lock, user_store: Store) -> Image:
    """Return the real image for pull mode, with OCI media types."""
    return compose(Plan(lock=lock, mode="pull", media="oci"), user_store)


def files_of(root: Path) -> dict[str, tuple[int, int, str]]:
    """Return mode, size and target of everything below a folder."""
    found = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder, name)
            status = path.lstat()
            size = status.st_size if path.is_file() and not path.is_symlink() else 0
            link = str(path.readlink()) if path.is_symlink() else ""
            found[str(path.relative_to(root))] = (status.st_mode, size, link)
    return found


@pytest.mark.umoci
def test_umoci_unpacks_the_same_files(plain: Image, tmp_path: Path) -> None:
    """File by file, with mode, size and target, as our own reader has them; its runtime settings are ours."""
    write_layout(plain, tmp_path / "x.oci", parse("churn:v1"))
    words = ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/x.oci:v1"]
    done = run([*words, tmp_path / "bundle"], timeout=120)
    assert done.ok, done.complaint
    unpack(plain, tmp_path / "root")
    theirs, ours = files_of(tmp_path / "bundle" / "rootfs"), files_of(tmp_path / "root")
    assert theirs == ours
    assert len(ours) > 1000
    process = json.loads((tmp_path / "bundle" / "config.json").read_text())["process"]
    assert process["user"]["uid"] == 10001
    assert process["args"][-1] == "serve"


@pytest.mark.registry
@pytest.mark.podman
@pytest.mark.parametrize("media", ["docker", "oci"])
def test_podman_pulls_it_from_a_registry(
    plain: Image, lock: Lock, user_store: Store, tmp_path: Path, media: str
) -> None:
    """Skopeo says what is in the registry, podman pulls it, by the id that was composed."""
    image = plain if media == "oci" else compose(Plan(lock=lock, mode="pull"), user_store)
    program = podman().find()
    with running_registry(tmp_path / "registry") as host:
        name = f"{host}/other-tools/{media}:v1"
        push_image(image, parse(name))
        done = run(["skopeo", "inspect", "--tls-verify=false", f"docker://{name}"], timeout=60)
        assert done.ok, done.complaint
        seen = json.loads(done.stdout)
        assert seen["Digest"] == image.digest
        assert (seen["Os"], seen["Architecture"]) == ("linux", image.architecture)
        assert seen["Layers"] == [layer.digest for layer in image.layers]
        try:
            done = program.run("pull", "--quiet", "--tls-verify=false", name, timeout=120)
            assert done.ok, done.complaint
            assert done.stdout.decode().strip() == image.id.removeprefix("sha256:")
        finally:
            program.run("image", "rm", "--force", name)
