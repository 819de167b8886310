"""A foundation is what an image stands on below its model: proven whole once, it is not tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from image_parts import file, make_image, make_layer

from cannery.engines.sandbox import Sandbox
from cannery.images.store import Store
from cannery.oci.descriptors import Image
from cannery.proofs.foundations import foundation_of


@pytest.fixture
def composed(tmp_path):
    """Return a function that makes an image of a code layer, a can layer and settings."""

    def make(code: bytes = b"code", can: bytes = b"can", **settings: object) -> Image:
        below = replace(make_layer(tmp_path, file("code", code)), name="serving")
        above = replace(make_layer(tmp_path, file("can", can)), name="can")
        return make_image(below, above, **{"User": "10001:10001", **settings})

    return make


def test_another_model_stands_on_the_same_foundation(composed) -> None:
    """Neither the can nor the labels that speak of it change how an image starts."""
    first = foundation_of(composed(Labels={"model": "1"}), Sandbox())
    assert foundation_of(composed(can=b"other", Labels={"model": "2"}), Sandbox()) == first


@pytest.mark.parametrize(
    "changed", [{"code": b"new"}, {"User": "0"}, {"Entrypoint": ["/bin/other"]}, {"Env": ["A=1"]}]
)
def test_other_code_and_other_settings_are_another_foundation(composed, changed) -> None:
    """Whatever decides how the image starts must be proven again."""
    assert foundation_of(composed(**changed), Sandbox()) != foundation_of(composed(), Sandbox())


def test_each_engine_proves_for_itself(composed) -> None:
    """What started in one engine has shown nothing of another."""
    other = replace(Sandbox(), name="docker")
    assert foundation_of(composed(), other) != foundation_of(composed(), Sandbox())


def test_a_foundation_is_remembered(composed, tmp_path) -> None:
    """It is a key of the store's memo, which tells a proven one from a new one."""
    store = Store(root=tmp_path / "store")
    store.remember(foundation_of(composed(), Sandbox()), "proven")
    assert store.recall(foundation_of(composed(can=b"other"), Sandbox()), str) == "proven"
    assert store.recall(foundation_of(composed(code=b"new"), Sandbox()), str) is None
