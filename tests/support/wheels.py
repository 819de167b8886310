"""Make tiny wheels, well-formed or not."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile

from cannery.images.packages import Wheel
from cannery.images.store import Store

FILENAME = "tiny-1.0-py3-none-any.whl"


def hash_of(content: bytes) -> str:
    """Return a hash as RECORD has it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"


def make_wheel(
    files: dict[str, bytes],
    *,
    record: dict[str, str] | None = None,
    twice: str | None = None,
    stem: str = "tiny-1.0",
) -> bytes:
    """Return a wheel of these files; `record` overrides hashes (an empty one leaves the line out)."""
    hashes = {name: hash_of(content) for name, content in files.items()} | (record or {})
    lines = [f"{name},{value},\n" for name, value in hashes.items() if value]
    lines.append(f"{stem}.dist-info/RECORD,,\n")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
        archive.writestr(f"{stem}.dist-info/RECORD", "".join(lines))
        if twice:
            archive.writestr(zipfile.ZipInfo(twice), b"another")
    return buffer.getvalue()


def keep(data: bytes, store: Store) -> Wheel:
    """Put a wheel into the store and return what a lock would say of it."""
    sha256 = store.add(data).removeprefix("sha256:")
    return Wheel(name="tiny", version="1.0", filename=FILENAME, sha256=sha256)
