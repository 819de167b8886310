"""Cans: sealed whole, opened only when every byte holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cannery.blobs import canonical_json, digest_bytes, digest_file
from cannery.cans.card import card
from cannery.cans.manifest import AuditSummary, CanManifest, CanSource, ParitySummary
from cannery.cans.open import Can, open_can
from cannery.cans.seal import seal
from cannery.errors import CanError, OutputError
from cannery.signatures import Canary, Feature, Output, Signature

DIGEST = "sha256:" + "0" * 64
CANARY = Canary(records=({"x": 1.0},), outputs=({"y": 2.0},))


def make_manifest(**changes: Any) -> CanManifest:
    """Return a manifest without files."""
    values: dict[str, Any] = {
        "name": "half",
        "version": "7",
        "source": CanSource(given="half.pkl", resolved="half.pkl", digest=DIGEST, format="pickle"),
        "runtime": "onnx",
        "model": "model.onnx",
        "task": "regressor",
        "signature": Signature(
            features=(Feature(name="x", type="double", minimum=0, maximum=9),),
            outputs=(Output(name="y", type="double", tensor="prediction"),),
        ),
        "files": {},
        "parity": ParitySummary(rows=100, maximum=2e-9, flips=0, tolerance=1e-6),
        "audit": AuditSummary(verdict="safe", names=4, policy=DIGEST, sandbox="bubblewrap"),
    }
    return CanManifest(**{**values, **changes})


FILES = {"model.onnx": b"model", "canary.json": canonical_json(CANARY), "parity.json": b"{}"}


@pytest.fixture
def can(tmp_path: Path) -> Can:
    """Return a sealed can."""
    return seal(make_manifest(), FILES, tmp_path / "half.can")


def test_a_sealed_can_opens_and_holds_what_was_given(can: Can) -> None:
    """Model, canary and manifest come back; the card was added."""
    again = open_can(can.folder)
    assert again == can
    assert again.model() == b"model"
    assert again.canary() == CANARY
    assert sorted(again.manifest.files) == ["README.md", "canary.json", "model.onnx", "parity.json"]


def test_the_digest_is_that_of_can_json(can: Can) -> None:
    """It names the can, and is the same for the manifest in canonical form."""
    assert can.digest == digest_file(can.folder / "can.json")


def test_the_same_parts_make_the_same_can(can: Can, tmp_path: Path) -> None:
    """Neither the folder nor the order of files leaves a trace."""
    parts = dict(reversed(FILES.items()))
    assert seal(make_manifest(), parts, tmp_path / "other.can").digest == can.digest


def _append(folder: Path) -> None:
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"x")


def _link(folder: Path) -> None:
    os.replace(folder / "model.onnx", folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere.onnx")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_append, "'model.onnx' is damaged"),
        (lambda f: (f / "model.onnx").write_bytes(b"modem"), "'model.onnx' is damaged"),
        (lambda f: (f / "canary.json").unlink(), "lacks 'canary.json'"),
        (lambda f: (f / "extra.py").write_text("x"), "has 'extra.py', which can.json does not"),
        (lambda f: (f / "sub").mkdir() or (f / "sub" / "x").write_text(""), "has 'sub/x'"),
        (_link, "is a link or a device"),
        (lambda f: os.mkfifo(f / "pipe"), "is a link or a device"),
        (lambda f: (f / "can.json").unlink(), "has no can.json"),
        (lambda f: (f / "can.json").write_text("{"), "can't be read"),
        (lambda f: (f / "can.json").write_bytes(b"\xff"), "can't be read"),
        (lambda f: (f / "can.json").write_text("{}"), "missing required field"),
    ],
)
def test_a_can_that_is_not_whole_does_not_open(
    can: Can, damage: Callable[[Path], object], message: str
) -> None:
    """A changed, missing, additional or linked file is named in the error."""
    damage(can.folder)
    with pytest.raises(CanError, match=message):
        open_can(can.folder)


def test_the_error_names_both_digests(can: Can) -> None:
    """What was sealed and what is there."""
    (can.folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(CanError) as caught:
        open_can(can.folder)
    assert digest_bytes(b"model") in caught.value.message
    assert digest_bytes(b"other") in caught.value.message


def test_a_file_that_changes_after_opening_is_not_used(can: Can) -> None:
    """Reading checks the digest once more."""
    (can.folder / "model.onnx").write_bytes(b"later")
    with pytest.raises(CanError, match="is damaged"):
        can.model()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "./x", "a//b"])
def test_a_name_that_leaves_the_folder_is_refused(can: Can, name: str) -> None:
    """Neither sealing nor opening follows it."""
    with pytest.raises(CanError, match="leaves the can"):
        seal(make_manifest(), {**FILES, name: b""}, can.folder.with_name("other.can"))
    manifest = msgspec.json.decode((can.folder / "can.json").read_bytes())
    manifest["files"][name] = {"digest": DIGEST, "size": 0}
    (can.folder / "can.json").write_bytes(canonical_json(manifest))
    with pytest.raises(CanError, match="leaves the can"):
        open_can(can.folder)


def test_a_can_needs_model_and_canary(tmp_path: Path) -> None:
    """Sealing without them fails and leaves nothing behind."""
    with pytest.raises(CanError, match=r"does not list 'canary\.json'"):
        seal(make_manifest(), {"model.onnx": b""}, tmp_path / "x.can")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_no_can(tmp_path: Path) -> None:
    """A path that is not there, or a file, is a clear error."""
    (tmp_path / "file").write_text("")
    for name in ("nothing", "file"):
        with pytest.raises(CanError, match="no can at"):
            open_can(tmp_path / name)


def test_an_existing_can_is_replaced_only_by_force(can: Can) -> None:
    """Without force the old one stays; with it the new one is there."""
    with pytest.raises(OutputError, match="exists already"):
        seal(make_manifest(version="8"), FILES, can.folder)
    assert open_can(can.folder).manifest.version == "7"
    seal(make_manifest(version="8"), FILES, can.folder, force=True)
    assert open_can(can.folder).manifest.version == "8"


def test_force_never_replaces_what_is_no_can(tmp_path: Path) -> None:
    """A folder with other things in it stays as it is."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years")
    with pytest.raises(OutputError, match="is not a can"):
        seal(make_manifest(), FILES, tmp_path / "home", force=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years"


def test_a_canary_without_answers_is_refused(tmp_path: Path) -> None:
    """Records and answers must be as many, and at least one."""
    canary = canonical_json(Canary(records=({"x": 1.0},), outputs=()))
    can = seal(make_manifest(), {**FILES, "canary.json": canary}, tmp_path / "x.can")
    with pytest.raises(CanError, match="1 records and 0 answers"):
        can.canary()


def test_the_card_tells_what_the_can_holds() -> None:
    """Lineage, fields, answers and proofs stand in the model card."""
    text = card(make_manifest())
    for part in ("# half 7", "half.pkl", "| x | double | no | 0 to 9 seen |", "100 rows", "safe"):
        assert part in text


def test_a_hostile_name_does_not_break_the_card() -> None:
    """Line breaks, pipes and tags from a model's column names stay text."""
    feature = Feature(name="a|b\n# Title <script>", type="string")
    signature = Signature(features=(feature,), outputs=())
    text = card(make_manifest(signature=signature))
    assert "\n# Title" not in text
    assert "<script>" not in text
    assert "a\\|b" in text
