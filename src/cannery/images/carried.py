"""The can inside an image: found in the stream of its layer, which need not be read to its end."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import IO

from cannery.blobs import CHUNK
from cannery.cans.open import MANIFEST, MANIFEST_LIMIT
from cannery.errors import ImageError
from cannery.images.recipe import CAN
from cannery.images.trees import safe_path


def holds_can(layer: IO[bytes]) -> bool:
    """Tell whether a layer's tar begins with the folders of a can, without taking anything from the stream."""
    assert isinstance(layer, io.BufferedReader)
    head = layer.peek(3 * tarfile.BLOCKSIZE)
    parts = CAN.split("/")
    wanted = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    try:
        found = [
            tarfile.TarInfo.frombuf(head[at : at + tarfile.BLOCKSIZE], "utf-8", "strict").name
            for at in range(0, len(wanted) * tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
        ]
    except (tarfile.HeaderError, UnicodeDecodeError):
        return False
    return [name.rstrip("/") for name in found] == wanted


def carried_manifest(layer: IO[bytes]) -> bytes | None:
    """Return `can.json` from the tar of a can's layer, reading no further; None where it is not there.

    Raises ImageError for a damaged layer.
    """
    try:
        with tarfile.open(fileobj=layer, mode="r|") as tar:
            for member in tar:
                wanted = member.name == f"{CAN}/{MANIFEST}" and member.size <= MANIFEST_LIMIT
                stream = tar.extractfile(member) if wanted else None
                if stream is not None:
                    return stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImageError(f"the layer of the can is damaged: {error}") from error
    return None


def carry_out(layer: IO[bytes], folder: Path) -> Path:
    """Write the files of the can in a layer's tar into `folder`; `open_can` checks them.

    Raises ImageError where the layer holds no can, or anything else.
    """
    try:
        with tarfile.open(fileobj=layer, mode="r|") as tar:
            for member in tar:
                name = _name_in_can(member.name)
                if name is None or not (member.isdir() or member.isreg()):
                    raise ImageError(f"'{member.name}' in the layer of the can is no part of a can")
                if member.isreg():
                    target = folder / safe_path(name, "the layer of the can")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    stream = tar.extractfile(member)
                    with target.open("xb") as out:
                        if stream is not None:
                            shutil.copyfileobj(stream, out, CHUNK)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImageError(f"the layer of the can can't be read: {error}") from error
    return folder


def _name_in_can(path: str) -> str | None:
    """Return the path below the can's folder, empty for that folder and those above; None for another place."""
    if path == CAN or CAN.startswith(f"{path}/"):
        return ""
    return path.removeprefix(f"{CAN}/") if path.startswith(f"{CAN}/") else None
