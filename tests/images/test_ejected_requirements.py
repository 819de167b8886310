"""An ejected image names hashes for every Python and processor, whatever the index knows of them."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import pytest
from churn_cans import RECORDS, expected, make_graph, make_manifest
from package_indexes import package_index, tags, write_index

from cannery.blobs import canonical_json
from cannery.cans.seal import seal
from cannery.errors import ImageError
from cannery.images.eject import eject
from cannery.images.packages import Wheel
from cannery.images.requirements import download_wheels, pin
from cannery.images.resolutions import Target, resolve_wheels
from cannery.images.store import Store
from cannery.signatures import Canary

ANY = ["py3-none-any"]
LINUX = tags("311", "312", "313", "314")
PACKAGES = {
    "click==8.2": ANY,
    "httptools==0.7": LINUX,
    "msgspec==0.20": LINUX,
    "numpy==2.3": [*LINUX, "cp313-cp313-win_amd64"],
    f"onnxruntime=={importlib.metadata.version('onnxruntime')}": LINUX,
    "uvicorn==0.40": ANY,
    "uvloop==0.22": LINUX,
}


@pytest.fixture(name="index")
def _index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    write_index(folder, PACKAGES)
    return folder


def test_an_index_without_hashes_gives_hashes_for_every_python(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheels of every Python and both processors are hashed, and pip takes those of two Pythons by them."""
    pinned = tmp_path / "requirements.txt"
    with package_index(index, monkeypatch):
        pin(make_manifest(), pinned)
        for python in ("3.11", "3.13"):
            download_wheels(pinned, tmp_path / python, python)
    text = pinned.read_text()
    for wheel in index.rglob("*.whl"):
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        assert (f"--hash=sha256:{digest}" in text) is ("win" not in wheel.name)
    found = {python: len(list((tmp_path / python).iterdir())) for python in ("3.11", "3.13")}
    assert found == {"3.11": len(PACKAGES), "3.13": len(PACKAGES)}


def test_what_one_of_two_indexes_lacks_is_hashed_from_the_other(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index of the user's own has some wheels of a version: those of other Pythons are known all the same."""
    own = tmp_path / "own"
    write_index(own, {"msgspec==0.20": tags("311")})
    pinned = tmp_path / "requirements.txt"
    with package_index(index, monkeypatch):
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", own.as_uri())
        pin(make_manifest(), pinned)
        for python in ("3.11", "3.13"):
            download_wheels(pinned, tmp_path / python, python)
    for python, tag in (("3.11", "cp311"), ("3.13", "cp313")):
        assert [tag in file.name for file in (tmp_path / python).glob("msgspec-*")] == [True]


def test_an_image_is_built_from_an_index_without_hashes(
    index: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel of the image's own Python and processor is the one that is hashed and taken."""
    target = Target(architecture="arm64", python="3.13")
    with package_index(index, monkeypatch):
        found = resolve_wheels(["numpy", "click"], target, store, alone=True)
    name = "numpy-2.3-cp313-cp313-manylinux_2_17_aarch64.whl"
    digest = hashlib.sha256((index / "numpy" / name).read_bytes()).hexdigest()
    assert Wheel(name="numpy", version="2.3", filename=name, sha256=digest) in found


def test_a_hash_that_pip_does_not_believe_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that vouches by MD5 alone is an error that says for which file."""
    write_index(tmp_path / "index", PACKAGES, kind="md5")
    with (
        package_index(tmp_path / "index", monkeypatch),
        pytest.raises(
            ImageError,
            match=r"of 'click-8\.2-py3-none-any\.whl' the index gives no hash .*, but md5",
        ),
    ):
        pin(make_manifest(), tmp_path / "requirements.txt")


def test_a_package_without_wheels_is_named(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ejected Dockerfile compiles nothing: what has no wheel is an error now, and not in its build."""
    (index / "uvloop" / "index.html").write_text('<a href="uvloop-0.22.tar.gz">source</a>')
    with (
        package_index(index, monkeypatch),
        pytest.raises(ImageError, match=r"no wheels for Python 3\.11 and later .*uvloop"),
    ):
        pin(make_manifest(), tmp_path / "requirements.txt")


def test_what_the_model_s_library_links_is_installed(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LightGBM's wheel brings no libgomp, and small bases have none: its Dockerfile fetches it, no other does."""
    write_index(index, {"lightgbm==4.6.0": ANY})
    canary = Canary(records=RECORDS, outputs=tuple(expected(record) for record in RECORDS))
    files = {"model.onnx": make_graph(), "canary.json": canonical_json(canary)}
    with package_index(index, monkeypatch):
        for name, requirements in (("plain", ()), ("boosted", ("lightgbm==4.6.0",))):
            can = tmp_path / f"{name}.can"
            seal(make_manifest(requirements=requirements), files, can)
            eject(can, tmp_path / name)
    assert "apt-get" not in (tmp_path / "plain" / "Dockerfile").read_text()
    text = (tmp_path / "boosted" / "Dockerfile").read_text()
    step = text.index("RUN ldconfig -p | grep -q libgomp.so \\\n || (apt-get update")
    assert text.index("\nFROM ${BASE}\n") < step < text.index("\nUSER ")
    assert "lightgbm==4.6.0 \\\n" in (tmp_path / "boosted" / "requirements.txt").read_text()
