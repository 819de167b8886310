"""Layers are applied as a container runtime applies them, and nothing leaves the folder."""

from __future__ import annotations

import contextlib
import stat
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_parts import file, folder, link, make_image, make_layer

from cannery.errors import ImageError
from cannery.oci.unpack import unpack


def test_later_layers_win(tmp_path) -> None:
    """Files are replaced, added and removed in the order of the layers."""
    store = tmp_path / "store"
    image = make_image(
        make_layer(store, folder("a"), file("a/kept", b"1"), file("a/gone", b"1"), file("b", b"1")),
        make_layer(store, file("a/.wh.gone"), file("b", b"2")),
        make_layer(store, file(".wh.missing"), file("c", b"3"), compressed=False),
    )
    unpack(image, tmp_path / "root")
    found = {p.relative_to(tmp_path / "root").as_posix(): p for p in (tmp_path / "root").rglob("*")}
    assert set(found) == {"a", "a/kept", "b", "c"}
    assert found["b"].read_bytes() == b"2"


def test_an_opaque_folder_hides_what_was_below(tmp_path) -> None:
    """An opaque whiteout clears the folder of earlier layers, wherever it stands in its layer."""
    store = tmp_path / "store"
    image = make_image(
        make_layer(store, folder("a"), file("a/old")),
        make_layer(store, folder("a"), file("a/new"), file("a/.wh..wh..opq")),
    )
    unpack(image, tmp_path / "root")
    assert [p.name for p in (tmp_path / "root" / "a").iterdir()] == ["new"]


def test_files_go_through_the_links_of_a_merged_usr(tmp_path) -> None:
    """A file below `lib/`, where `lib` is a link, lands in `usr/lib/` of the image."""
    store = tmp_path / "store"
    image = make_image(
        make_layer(store, folder("usr"), folder("usr/lib"), link("lib", "/usr/lib")),
        make_layer(store, file("lib/x.so", b"elf"), link("lib/y.so", "lib/x.so", hard=True)),
    )
    unpack(image, tmp_path / "root")
    assert (tmp_path / "root/usr/lib/x.so").read_bytes() == b"elf"
    assert (tmp_path / "root/usr/lib/y.so").samefile(tmp_path / "root/usr/lib/x.so")


def test_modes_stay_and_set_user_bits_go(tmp_path) -> None:
    """Permissions are those of the layer, without set-user and set-group bits."""
    image = make_image(
        make_layer(
            tmp_path / "store",
            file("run", mode=0o4755),
            folder("tmp", mode=0o1777),
            folder("closed", mode=0o555),
            file("closed/x", mode=0o400),
        )
    )
    unpack(image, tmp_path / "root")
    mode = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "root").rglob("*")}
    assert mode == {"run": 0o755, "tmp": 0o1777, "closed": 0o555, "x": 0o400}


@pytest.mark.parametrize(
    "entries",
    [
        [file("../outside/x", b"!")],
        [file("/../outside/x", b"!")],
        [file("a/../../outside/x", b"!")],
        [link("a", "../outside"), file("a/x", b"!")],
        [link("a", "/../../outside"), file("a/x", b"!")],
        [folder("d"), link("d/a", "../../outside"), file("d/a/x", b"!")],
        [link("x", "../outside/x"), file("x", b"!")],
        [link("x", "../outside/secret", hard=True)],
        [link("a", "../outside"), link("x", "a/secret", hard=True), file("x", b"!")],
        [link("a", "../outside"), file("a/.wh.secret")],
        [link("a", "../outside"), file("a/.wh..wh..opq")],
        [link("a", "a"), file("a/x", b"!")],
        [file(".wh...")],
        [folder("a"), file("a/.wh..")],
    ],
)
def test_nothing_leaves_the_root(tmp_path, entries) -> None:
    """Whatever a layer tries, the folder beside the root stays as it was."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("untouched")
    image = make_image(make_layer(tmp_path / "store", *entries))
    with contextlib.suppress(ImageError):
        unpack(image, tmp_path / "root")
    assert [p.name for p in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "untouched"
    assert (outside / "secret").stat().st_nlink == 1


def test_a_layer_cut_short_is_damaged(tmp_path) -> None:
    """Half a layer is an error that names it."""
    layer = make_layer(tmp_path / "store", file("a", b"x" * 100_000))
    layer.path.write_bytes(layer.path.read_bytes()[:60])
    with pytest.raises(ImageError, match="layer 'files'"):
        unpack(make_image(replace(layer, size=60)), tmp_path / "root")


def test_a_link_in_place_of_a_folder_changes_no_mode_outside(tmp_path) -> None:
    """A folder's mode comes last: by then a link may lead from its place to anywhere."""
    outside = tmp_path / "home" / "keys"
    outside.mkdir(parents=True)
    outside.chmod(0o700)
    image = make_image(
        make_layer(
            tmp_path / "store",
            folder("a"),
            folder("a/keys", mode=0o777),
            link("a", str(outside.parent)),
        )
    )
    unpack(image, tmp_path / "root")
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700


NAMES = st.sampled_from(
    [
        "a",
        "b",
        "a/b",
        "../x",
        "/x",
        "a/..",
        ".",
        "",
        ".wh.a",
        "a/.wh..wh..opq",
        ".wh...",
        ".wh..",
        ".wh.",
    ]
)
ENTRIES = st.one_of(
    st.builds(file, NAMES, st.binary(max_size=8)),
    st.builds(folder, NAMES),
    st.builds(link, NAMES, NAMES, hard=st.booleans()),
)


@settings(max_examples=150)
@given(layers=st.lists(st.lists(ENTRIES, max_size=6), min_size=1, max_size=3))
def test_any_layers_stay_inside(tmp_path_factory, layers) -> None:
    """Random layers are applied or refused; the folder around the root never changes."""
    base = tmp_path_factory.mktemp("unpack")
    (base / "witness").write_text("here")
    image = make_image(*(make_layer(base / "store", *entries) for entries in layers))
    with contextlib.suppress(ImageError):
        unpack(image, base / "root")
    assert {p.name for p in base.iterdir()} == {"witness", "store", "root"}
    assert (base / "witness").read_text() == "here"
