"""The content-addressed store: what was fetched or made once is found again by digest, or by what it was made from."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import msgspec

from cannery.blobs import CHUNK, canonical_json, digest_bytes, digest_file, hex_of
from cannery.caches import cache_folder
from cannery.errors import ImageError, OutputError

_Kept = TypeVar("_Kept")
_log = logging.getLogger(__name__)
_ELSEWHERE = "free some space, or set CANNERY_CACHE to a folder that you can write to"


class Sink:
    """A file being written, and the digest of what was written so far."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        self._hash.update(data)
        self._stream.write(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """`sha256:<64 hex>` of what was written."""
        return "sha256:" + self._hash.hexdigest()


def _own_folder() -> Path:
    try:
        return cache_folder("images")
    except OSError as error:
        raise OutputError(
            f"can't keep layers in '{error.filename}': {error.strerror}", hint=_ELSEWHERE
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A folder of blobs by SHA-256, and of memos: digest of some inputs → what was made from them."""

    root: Path = field(default_factory=_own_folder)

    def path(self, digest: str) -> Path:
        """Return where the blob of `digest` stands, or would stand."""
        return self.root / "blobs" / "sha256" / hex_of(digest)

    def find(self, digest: str) -> Path | None:
        """Return the blob's file after checking its content; one that was damaged is deleted and None returned."""
        path = self.path(digest)
        try:
            found = digest_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ImageError(f"can't read '{path}': {error.strerror}") from error
        if found == digest:
            _used(path)
            return path
        _log.warning("the cached blob %s was damaged; it is made again", digest)
        with suppress(FileNotFoundError):
            path.unlink()
        return None

    def read(self, digest: str) -> bytes | None:
        """Return the blob's bytes, checked; None where it is missing or was damaged."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ImageError(f"can't read '{self.path(digest)}': {error.strerror}") from error
        if digest_bytes(data) == digest:
            _used(self.path(digest))
            return data
        self.find(digest)
        return None

    def add(self, data: bytes) -> str:
        """Keep `data` and return its digest."""
        with self.writing() as sink:
            sink.write(data)
        return sink.digest

    def take(self, file: Path) -> str:
        """Keep a copy of `file` and return its digest."""
        with file.open("rb") as source, self.writing() as sink:
            while piece := source.read(CHUNK):
                sink.write(piece)
        return sink.digest

    @contextmanager
    def writing(self) -> Iterator[Sink]:
        """Yield a sink; what was written to it becomes a blob when the block ends well."""
        with _appearing(self.root / "blobs" / "sha256") as (stream, appear):
            sink = Sink(stream)
            yield sink
            appear(self.path(sink.digest))

    def recall(self, key: Any, kind: type[_Kept]) -> _Kept | None:
        """Return what was remembered for `key` (any JSON value); None where it is nothing of this kind."""
        try:
            path = self._memo(key)
            found = msgspec.json.decode(path.read_bytes(), type=kind)
            _used(path)
            return found
        except (OSError, msgspec.DecodeError):
            return None

    def remember(self, key: Any, value: Any) -> None:
        """Remember `value` for `key` (both can be written as JSON); where nothing can be written, it is made again."""
        path = self._memo(key)
        try:
            with _appearing(path.parent) as (stream, appear):
                stream.write(canonical_json(value))
                appear(path)
        except OutputError as error:
            _log.info("%s", error)

    def _memo(self, key: Any) -> Path:
        return self.root / "memo" / hex_of(digest_bytes(canonical_json(key)))

    def prune(self, unused: float) -> tuple[int, int]:
        """Delete what was not used for `unused` seconds; return how many files that were, and their bytes.

        No build makes layers meanwhile; what one needs again is fetched and made again.
        """
        count = size = 0
        oldest = time.time() - unused
        with self.locked("layers"):
            for folder in ("blobs", "memo"):
                for path in sorted((self.root / folder).rglob("*")):
                    with suppress(OSError):  # another process may have deleted it
                        status = path.lstat()
                        if stat.S_ISREG(status.st_mode) and status.st_mtime <= oldest:
                            path.unlink()
                            count, size = count + 1, size + status.st_size
        return count, size

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock `name` of this store: a second process waits until the first is done."""
        path = self.root / "locks" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("w")
        except OSError as error:
            raise OutputError(
                f"can't write '{path}': {error.strerror}",
                hint=_ELSEWHERE,
            ) from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _used(path: Path) -> None:
    """Note that a file is still of use; where that can't be noted, it is only pruned earlier."""
    with suppress(OSError):
        os.utime(path)


@contextmanager
def _appearing(folder: Path) -> Iterator[tuple[BinaryIO, Callable[[Path], None]]]:
    """Yield a temporary file and the function that gives it its name; no fsync, since every read is checked."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".part-", delete=False) as stream:
            temporary = Path(stream.name)

            def appear(path: Path) -> None:
                stream.flush()
                temporary.chmod(0o644)
                temporary.replace(path)

            try:
                yield cast(BinaryIO, stream), appear
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"can't write in '{folder}': {error.strerror or error}",
            hint=_ELSEWHERE,
        ) from error
