"""Make tiny packages of Debian, well-formed or not."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Sequence

CONTROL = "Package: x\nVersion: 1\nArchitecture: all\n"


def make_tar(files: dict[str, bytes | str | None], extra: Sequence[tarfile.TarInfo]) -> bytes:
    """Return a tar.xz: bytes are files, text is a link's target, None is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
        for info in extra:
            tar.addfile(info)
    return lzma.compress(buffer.getvalue())


def make_deb(
    files: dict[str, bytes | str | None],
    *,
    extra: Sequence[tarfile.TarInfo] = (),
    control: str = CONTROL,
    suffix: str = ".xz",
) -> bytes:
    """Return a package of these files."""
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": make_tar({"./control": control.encode()}, []),
        f"data.tar{suffix}": make_tar(files, extra),
    }
    out = b"!<arch>\n"
    for name, content in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out
