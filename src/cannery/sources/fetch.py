"""From what the user wrote to a source: paths, and the addresses that MLflow knows."""

from __future__ import annotations

import difflib
import os
import re
import stat
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path

import msgspec

from cannery.addresses import parts_of
from cannery.blobs import Blob
from cannery.errors import SourceError
from cannery.sources.directory import read_folder
from cannery.sources.external import beside, gathered
from cannery.sources.holding import hold
from cannery.sources.sniff import sniff_blob
from cannery.sources.source import Origin, Source

_PACKED = frozenset({".gz", ".bz2", ".xz", ".lzma", ".z", ".lz4", ".zst"})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def fetch(uri: str, *, staging: Path, tracking_uri: str | None = None) -> Source:
    """Return the source that `uri` names.

    A path (file, MLflow folder, can), `file:…`, `models:/name/3`, `models:/name/Production`,
    `models:/name/latest`, `models:/name@alias`, `models:/m-<id>` or `runs:/<run>/<path>`. What a
    registry holds is copied into `staging`; a local path is read where it lies. `tracking_uri` is
    MLflow's store or server (default: MLflow's own rules).

    Raises SourceError for what can't be found or is no model, UnreachableError for a server that
    does not answer.
    """
    scheme = _SCHEME.match(uri)
    match scheme[1].lower() if scheme else "":
        case "models" | "runs":
            from cannery.sources.mlflow import download  # MLflow is an extra, and slow to import

            path, origin = download(uri, staging=staging, tracking_uri=tracking_uri)
            return read_path(path, origin)
        case "file":
            return _local(_path_of(uri), uri)
        case "" if uri:
            return _local(Path(uri), uri)
        case _ if uri and Path(uri).exists():
            return _local(Path(uri), uri)
    raise SourceError(
        f"'{uri}' is no address of a model",
        hint="use a path, models:/name@alias, models:/name/3, or runs:/run/path",
    )


def require(uri: str) -> None:
    """Raise SourceError for a path at which nothing is; addresses are not looked up."""
    if not _SCHEME.match(uri) and not os.path.lexists(path := Path(uri).expanduser()):
        raise _missing(path)


def read_path(path: Path, origin: Origin) -> Source:
    """Return the file or folder at `path` as a source of this origin; raises SourceError."""
    return read_folder(path, origin) if _is_folder(path) else _of_file(_held(path), origin)


def _is_folder(path: Path) -> bool:
    """Tell a folder from a file; raises SourceError where nothing or something else is."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise SourceError(f"can't read '{path}': {error}") from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise SourceError(f"'{path}' is neither a file nor a folder")
    return stat.S_ISDIR(mode)


def _of_file(blob: Blob, origin: Origin) -> Source:
    main = blob.path.name
    return Source(origin=origin, format=sniff_blob(blob), main=main, files={main: blob})


def _held(path: Path) -> Blob:
    """Return a model file; a graph, with the constants that its exporter wrote beside it."""
    return gathered(hold(path), beside(path, hold))[0]


def _local(path: Path, given: str) -> Source:
    try:
        path = path.expanduser()
        plain = _is_plain(path)
        # It is named by what a link leads to.
        path = path.absolute() if plain else path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(f"can't read '{given}': {error}") from error
    # Name and digest: a path would tell of this machine, and make the same model another can elsewhere.
    if not plain and _is_folder(path):
        source = read_folder(path, Origin(given=given, resolved=given, name=path.name))
        pinned = f"{path.name}@{source.blob.digest}"
        return replace(source, origin=msgspec.structs.replace(source.origin, resolved=pinned))
    blob = _held(path)
    pinned = f"{path.name}@{blob.digest}"
    return _of_file(blob, Origin(given=given, resolved=pinned, name=_stem(path)))


def _stem(path: Path) -> str:
    """Return the name without its suffix, and without that of a compressor (`model.joblib.gz`)."""
    plain = Path(path.stem) if path.suffix in _PACKED else path
    return plain.stem


def _is_plain(path: Path) -> bool:
    """Tell whether a path names a file, and no link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def _path_of(uri: str) -> Path:
    parts = parts_of(uri)
    if parts.netloc not in ("", "localhost"):
        raise SourceError(
            f"'{uri}' names the host '{parts.netloc}'",
            hint="write file:///path, with three slashes",
        )
    return Path(urllib.request.url2pathname(parts.path))


def _missing(path: Path) -> SourceError:
    try:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    except OSError:
        return SourceError(f"there is no '{path}', and no folder '{path.parent}'")
    hint = f"did you mean '{path.parent / near[0]}'?" if near else None
    return SourceError(f"there is no '{path}'", hint=hint)
