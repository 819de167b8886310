"""`cannery manifest`: the documents on stdout or in a file, with the image by its digest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import yaml
from fake_registries import State, fake_registry
from model_images import model_image

from cannery.oci.layout import write_layout
from cannery.oci.references import parse
from cannery.oci.transfer import push_image
from cannery.processes import Finished

Command = Callable[..., Finished]


def test_the_command_pins_a_tag(cannery_in: Callable[[Path], Command], tmp_path: Path) -> None:
    """YAML on stdout or in a file, JSON for programs; the image by its digest in the registry."""
    cannery = cannery_in(tmp_path)
    image = model_image(tmp_path)
    with fake_registry(State()) as host:
        push_image(image, parse(f"{host}/team/churn:v1"))
        told = cannery("manifest", f"{host}/team/churn:v1")
        written = cannery("manifest", f"{host}/team/churn:v1", "--for", "kserve", "-o", "k.yaml")
        again = cannery("manifest", f"{host}/team/churn:v1", "-o", "k.yaml")
        listed = cannery("manifest", f"{host}/team/churn:v1", "--json")
    assert told.status == 0, told.complaint
    documents = {d["kind"]: d for d in yaml.safe_load_all(told.stdout)}
    assert list(documents) == ["Service", "NetworkPolicy", "PodDisruptionBudget", "Deployment"]
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{host}/team/churn@{image.digest}"
    assert written.stdout == b"k.yaml\n"
    assert yaml.safe_load((tmp_path / "k.yaml").read_text())["kind"] == "InferenceService"
    assert (again.status, "exists" in again.complaint) == (2, True)
    assert json.loads(listed.stdout) == list(documents.values())


def test_what_no_cluster_finds_is_refused(
    cannery_in: Callable[[Path], Command], tmp_path: Path
) -> None:
    """A can and a layout are no images of a registry; the remedy is said."""
    cannery = cannery_in(tmp_path)
    image = model_image(tmp_path)
    write_layout(image, tmp_path / "x.oci")
    can = cannery("manifest", "small.can")
    assert (can.status, "cannery build small.can" in can.complaint) == (2, True)
    layout = cannery("manifest", "oci:x.oci")
    assert (layout.status, "cannery push oci:x.oci" in layout.complaint) == (2, True)
