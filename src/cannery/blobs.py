"""Digests, bounded reads, canonical JSON, and outputs that appear whole or not at all."""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from cannery.errors import OutputError, SourceError

T = TypeVar("T")
CHUNK = 1 << 20
_ELSEWHERE = "choose another place"


def digest_bytes(data: bytes | memoryview) -> str:
    """Return `sha256:<64 hex>` of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """Return `sha256:<64 hex>` of the file at `path`, read in pieces."""
    with path.open("rb") as stream:
        return digest_stream(stream)


def digest_stream(stream: BufferedReader | BufferedRandom) -> str:
    """Return `sha256:<64 hex>` of what is left of an open file, read in pieces."""
    return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def parse_json(data: bytes, kind: type[T]) -> T:
    """Decode JSON that anybody may have written; raises msgspec.DecodeError whatever is wrong with it."""
    try:
        return msgspec.json.decode(data, type=kind)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError("it is no UTF-8") from error
    except RecursionError as error:
        raise msgspec.DecodeError("it is nested too deeply") from error


def hex_of(digest: str) -> str:
    """Return the 64 hex digits of a `sha256:` digest."""
    return digest.removeprefix("sha256:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A file whose content is known by digest."""

    path: Path
    digest: str
    """`sha256:<64 hex>`."""
    size: int
    """Bytes."""
    data: bytes | mmap.mmap | None = field(default=None, repr=False, compare=False)
    """The content itself, where it is held: nobody else can change it."""

    @classmethod
    def of(cls, path: Path) -> Blob:
        """Hash the file at `path`; raises SourceError when it can't be read."""
        try:
            return cls(path=path, digest=digest_file(path), size=path.stat().st_size)
        except OSError as error:
            raise SourceError(f"can't read '{path}': {error.strerror}") from error

    def read(self, limit: int | None = None) -> bytes:
        """Return the content; raises SourceError when it no longer has its digest, or is over `limit` bytes."""
        if limit is not None and self.size > limit:
            raise SourceError(f"'{self.path}' has {self.size} bytes; at most {limit} are read")
        if self.data is not None:
            return self.data[:]
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise SourceError(f"can't read '{self.path}': {error.strerror}") from error
        if digest_bytes(data) != self.digest:
            raise SourceError(f"'{self.path}' changed while it was being used")
        return data


def canonical_json(value: Any) -> bytes:
    """Encode `value` as JSON with sorted keys, no blanks, and a final newline: the same value, the same bytes."""
    return msgspec.json.encode(value, order="sorted") + b"\n"


def pretty_json(value: Any) -> bytes:
    """Encode `value` as indented JSON with sorted keys, for people."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2) + b"\n"


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise OutputError when `path` exists and `force` is not given, or can't be made where it would lie."""
    if not path.name or path.name == "..":
        raise OutputError(f"'{path}' is no name of an output", hint="name a new file or folder")
    if not force and (path.exists() or path.is_symlink()):
        raise OutputError(
            f"'{path}' exists already", hint="choose another name, or replace it with --force"
        )
    base = next(p for p in path.absolute().parents if os.access(p, os.F_OK))
    if not base.is_dir():
        raise OutputError(f"can't write '{path}': '{base}' is not a folder", hint=_ELSEWHERE)
    if not os.access(base, os.W_OK | os.X_OK):
        raise OutputError(f"can't write '{path}': '{base}' is not yours to change", hint=_ELSEWHERE)


def refuse_foreign(folder: Path, mark: str, what: str, *, force: bool) -> None:
    """Raise OutputError as `refuse_existing` does, and where replacing `folder` would destroy something else.

    What holds the file `mark` is a `what`, and may be replaced with `force`, as may an empty folder.
    """
    refuse_existing(folder, force=force)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise OutputError(f"'{folder}' exists and is not a folder", hint=_ELSEWHERE)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        raise OutputError(f"'{folder}' exists and is not {what}", hint=_ELSEWHERE)


@contextmanager
def write_file(path: Path, *, force: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the name `path` only when the block ends well (temporary name, fsync, rename)."""
    refuse_existing(path, force=force)
    temporary = _sibling(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"can't write '{path}': {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def write_folder(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that takes the name `path` only when the block ends well."""
    refuse_existing(path, force=force)
    temporary = _sibling(path)
    retired = _sibling(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file() and not file.is_symlink():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        if path.exists():
            path.rename(retired)
        temporary.rename(path)
    except OSError as error:
        raise OutputError(f"can't write '{path}': {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)
