"""Apply the layers of an image to a folder; nothing that a layer says can reach outside it."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from pathlib import Path, PurePosixPath

from cannery.errors import ImageError
from cannery.oci.descriptors import Image, Layer
from cannery.oci.layout import damages, open_layer

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_LINKS = 40
"""Symbolic links followed on one path, as Linux limits them."""


def unpack(image: Image, root: Path) -> None:
    """Apply every layer in order to the folder `root`, with whiteouts.

    Owners become the caller, set-user bits are dropped and devices are left out: the folder is for
    looking at and for a sandbox. Raises ImageError for a layer that is damaged or tries to escape.
    """
    root.mkdir(parents=True, exist_ok=True)
    root = root.resolve()
    for layer in image.layers:
        try:
            _apply(layer, root)
        except OSError as error:
            raise ImageError(f"can't unpack layer '{layer.name}': {error}") from error
        except damages() as error:
            raise ImageError(f"layer '{layer.name}' is damaged: {error}") from error


def _apply(layer: Layer, root: Path) -> None:
    modes: dict[Path, int] = {}
    added: set[Path] = set()
    with (
        open_layer(layer) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        for member in tar:
            parts = _parts(member.name, layer)
            if not parts:
                continue
            folder = resolve_inside(root, parts[:-1], f"layer '{layer.name}'")
            folder.mkdir(parents=True, exist_ok=True)
            if parts[-1] == _OPAQUE:
                for child in list(folder.iterdir()):
                    if child not in added:
                        _remove(child)
            elif parts[-1].startswith(_WHITEOUT):
                hidden = parts[-1].removeprefix(_WHITEOUT)
                if hidden in ("", ".", ".."):
                    raise ImageError(f"'{member.name}' in layer '{layer.name}' hides no file")
                _remove(folder / hidden)
            else:
                path = folder / parts[-1]
                added.add(path)
                _place(tar, member, path, root, layer)
                if member.isdir():
                    modes[path] = member.mode & 0o1777
    for path, mode in reversed(modes.items()):
        # A link may have taken the place of a folder above it since.
        if (
            resolve_inside(root, path.relative_to(root).parts, f"layer '{layer.name}'") == path
            and path.is_dir()
        ):
            path.chmod(mode)


def _place(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, root: Path, layer: Layer
) -> None:
    if member.isdir():
        if not path.is_dir() or path.is_symlink():
            _remove(path)
            path.mkdir()
        path.chmod(0o755)  # its own mode comes last, so that files below it can be written
        return
    _remove(path)
    if member.isreg():
        content = tar.extractfile(member)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            if content is not None:
                shutil.copyfileobj(content, target, 1 << 18)
            os.fchmod(target.fileno(), member.mode & 0o777)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        parts = _parts(member.linkname, layer)
        source = (
            resolve_inside(root, parts[:-1], f"layer '{layer.name}'") / parts[-1] if parts else root
        )
        if not source.is_file() or source.is_symlink():
            raise ImageError(f"'{member.name}' in layer '{layer.name}' links to no file")
        os.link(source, path)


def _parts(name: str, layer: Layer) -> tuple[str, ...]:
    parts = tuple(p for p in PurePosixPath(name).parts if p not in ("/", "."))
    if ".." in parts or "\x00" in name:
        raise ImageError(f"'{name}' in layer '{layer.name}' leads out of the image")
    return parts


def resolve_inside(root: Path, parts: tuple[str, ...], place: str) -> Path:
    """Resolve a path below `root` as a process whose root it is would: links can't lead out.

    Raises ImageError for links without end; `place` is where, for people.
    """
    path, rest, links = root, list(parts), 0
    while rest:
        part = rest.pop(0)
        if part in ("", ".", "/"):
            continue
        if part == "..":
            path = path if path == root else path.parent
            continue
        step = path / part
        try:
            mode = step.lstat().st_mode
        except FileNotFoundError:
            path = step
            continue
        if stat.S_ISLNK(mode):
            links += 1
            if links > _LINKS:
                raise ImageError(f"too many links on '{'/'.join(parts)}' in {place}")
            target = PurePosixPath(step.readlink())
            path = root if target.is_absolute() else path
            rest = [*target.parts, *rest]
        else:
            path = step
    return path


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
