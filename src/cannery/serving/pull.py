"""Pull a can at start: by a moving name, an address or a path; verified, cached, never a pickle."""

from __future__ import annotations

import logging
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from cannery.addresses import parts_of
from cannery.blobs import digest_bytes, hex_of, write_file, write_folder
from cannery.cans.manifest import CanManifest, read_manifest
from cannery.cans.open import MANIFEST, MANIFEST_LIMIT, Can, check_names, copy_can, open_can
from cannery.cans.vouchers import SUFFIX, files_of, signature_place
from cannery.errors import CanError, CanneryError, SourceError, UnreachableError
from cannery.serving.keys import check_can, check_manifest, key_of
from cannery.serving.repositories import layers_of, open_repository
from cannery.serving.tracking import ARTIFACTS, Published, find, open_tracking
from cannery.serving.web import Refused

log = logging.getLogger(__name__)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
ALLOWED = "PULL_FROM"
"""Variable: beginnings of the addresses to which a tag may lead, with blanks; without it, everywhere."""
_LAST = "last"
"""Folder of the cache that remembers, for each address, the digest of the can it last led to."""

Save = Callable[[str, Path, str, int], None]
"""Bring the file of this name to this path; it has this digest and size."""


def fetch(uri: str, cache: Path, env: Mapping[str, str]) -> Can:
    """Return the can that `uri` names, opened: every byte of it is verified.

    `models:/name@alias`, `models:/name/3`, `models:/name/Production`, `models:/name/latest`,
    `models:/m-<id>` and `runs:/…` are asked of the tracking server (MLFLOW_TRACKING_URI), which knows
    where the can lies and its digest; `oci://registry/repository[:tag|@sha256:…]`,
    `mlflow-artifacts:/…`, `file:…` and a plain path name the can itself. What was pulled is kept in
    `cache` under its digest; where nobody answers, the can that this address last led to, and that
    was remembered as good, is used. Where `PULL_KEY` is set, that key must have signed the can (CAN.sig
    beside it) or its manifest in the registry, whether it is cached or not; one on a path is copied into
    `cache`, where whoever may write to that path can't change it any more.

    Raises UnreachableError when nobody answers and nothing is cached, SourceError for an address that
    leads to no can, CanError for a can that is not the one that was published, SignatureError for one
    that the key does not vouch for.
    """
    kind = _kind(uri)
    if kind in ("", "file"):
        return _local(uri, cache, env)
    if kind not in ("models", "runs", "oci", ARTIFACTS):
        raise SourceError(
            f"'{uri}' is no address of a can", hint="use models:/name@alias, oci://…, or a path"
        )
    parts_of(uri)  # raises for what can't be sent
    try:
        return _pull(uri, cache, env)
    except UnreachableError as error:
        return _last_good(_note(uri, cache, env), uri, cache, error)


def remember(uri: str, can: Can, cache: Path, env: Mapping[str, str]) -> None:
    """Remember that `uri` led to this can, whose canary came out right: where nobody answers, it is served."""
    if can.folder.parent != cache or _kind(uri) in ("", "file"):
        return
    try:
        with write_file(_note(uri, cache, env)) as stream:
            stream.write(hex_of(can.digest).encode())
    except CanneryError as error:  # the can is there and can be served: a restart will have to ask
        log.warning("can't remember what was pulled: %s", error)


def _kind(uri: str) -> str:
    """Return the scheme; '' for a path."""
    scheme = _SCHEME.match(uri)
    return scheme[1].lower() if scheme else ""


def _local(uri: str, cache: Path, env: Mapping[str, str]) -> Can:
    path = uri
    if _kind(uri) == "file":
        parts = parts_of(uri)
        if parts.netloc not in ("", "localhost"):
            raise SourceError(f"'{uri}' names the host '{parts.netloc}'", hint="write file:///path")
        path = urllib.request.url2pathname(parts.path)
    folder = Path(path)
    if folder.is_file():
        raise CanError(
            f"'{folder}' is a file, not a can: a model file is never opened here",
            hint="`cannery pack` makes a can of it",
        )
    can = open_can(folder)
    if (key := key_of(env)) is None:
        return can
    signature = signature_place(folder)
    data = signature.read_bytes() if signature.is_file() else None
    check_can(data, files_of(can.manifest, can.digest), str(signature), key)
    if (kept := _kept(cache, can.digest)) is not None:
        return kept
    target = cache / hex_of(can.digest)
    with write_folder(target, force=True) as place:
        copy = copy_can(can, place)
    return replace(copy, folder=target)


def _pull(uri: str, cache: Path, env: Mapping[str, str]) -> Can:
    """Resolve `uri` and return its cached can, downloaded where it isn't there yet."""
    expected = None
    if _kind(uri) in ("models", "runs"):
        published = find(uri, open_tracking(env))
        log.info("'%s' is '%s': can %s", uri, published.what, published.digest)
        _check_allowed(published, env)
        uri, expected = published.uri, published.digest
        if key_of(env) is None and (kept := _kept(cache, expected)) is not None:
            return kept
    kind = _kind(uri)
    if kind == "oci":
        return _from_registry(uri, cache, env, expected)
    if kind == ARTIFACTS:
        return _from_artifacts(uri, cache, env, expected)
    if kind == "file":
        can = _local(uri, cache, env)
        _must_be(can.digest, expected, uri)
        return can
    raise SourceError(f"the can was published at '{uri}', which can't be reached from here")


def _check_allowed(published: Published, env: Mapping[str, str]) -> None:
    """Raise SourceError where a tag leads out of the places that `PULL_FROM` lists."""
    places = [place.rstrip("/") for place in env.get(ALLOWED, "").split()]
    own = _kind(published.uri) == ARTIFACTS  # the tracking server itself, whom we ask already
    if not places or own:
        return
    if not any(re.match(re.escape(place) + r"(?:[/:@]|\Z)", published.uri) for place in places):
        raise SourceError(
            f"a tag of '{published.what}' leads to '{published.uri}', where {ALLOWED} does not lead",
            hint=f"{ALLOWED} is '{' '.join(places)}'",
        )


def _must_be(digest: str, expected: str | None, uri: str) -> None:
    if expected is not None and digest != expected:
        raise CanError(
            f"the can at '{uri}' is {digest}, but {expected} was published",
            hint="somebody changed it after it was published: publish it again",
        )


def _from_registry(uri: str, cache: Path, env: Mapping[str, str], expected: str | None) -> Can:
    repository, target = open_repository(uri, env, led=expected is not None)
    data = repository.manifest(target)
    layers = layers_of(data, uri)
    digest = layers[MANIFEST].digest
    _must_be(digest, expected, uri)
    if (key := key_of(env)) is not None:
        check_manifest(repository.signatures(digest_bytes(data)), digest_bytes(data), uri, key)
    if (kept := _kept(cache, digest)) is not None:
        return kept

    def save(name: str, path: Path, file_digest: str, size: int) -> None:
        layer = layers.get(name)
        if layer is None or (layer.digest, layer.size) != (file_digest, size):
            raise CanError(f"the can at '{uri}' has another '{name}' than its {MANIFEST} says")
        repository.save(layer, path)

    if layers[MANIFEST].size > MANIFEST_LIMIT:
        raise CanError(f"the {MANIFEST} at '{uri}' has {layers[MANIFEST].size} bytes: too long")
    return _assemble(repository.read(layers[MANIFEST]), cache, save, uri)


def _from_artifacts(uri: str, cache: Path, env: Mapping[str, str], expected: str | None) -> Can:
    tracking = open_tracking(env)

    def address(name: str) -> str:
        return f"{tracking.address(uri)}/{urllib.parse.quote(name)}"

    def save(name: str, path: Path, digest: str, size: int) -> None:
        tracking.web.save(address(name), tracking.headers, path, size, digest)

    try:
        data = tracking.web.document(address(MANIFEST), tracking.headers)
        _must_be(digest_bytes(data), expected, uri)
        if (key := key_of(env)) is not None:
            files = files_of(_manifest(data, uri), digest_bytes(data))
            check_can(tracking.signature(uri), files, f"{uri}{SUFFIX}", key)
        return _kept(cache, digest_bytes(data)) or _assemble(data, cache, save, uri)
    except Refused as refused:
        raise SourceError(
            f"the tracking server has no can at '{uri}' (status {refused.answer.status})",
            hint="does it serve artifacts (--serve-artifacts), and may we read them?",
        ) from refused


def _assemble(data: bytes, cache: Path, save: Save, uri: str) -> Can:
    """Bring every file that `can.json` names into the cache and open the can there."""
    manifest = _manifest(data, uri)
    target = cache / hex_of(digest_bytes(data))
    with write_folder(target, force=True) as folder:
        (folder / MANIFEST).write_bytes(data)
        for name, file in sorted(manifest.files.items()):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            save(name, path, file.digest, file.size)
        can = open_can(folder)
    log.info("pulled '%s' to '%s'", uri, target)
    return replace(can, folder=target)


def _manifest(data: bytes, uri: str) -> CanManifest:
    try:
        manifest = read_manifest(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CanError(
            f"the {MANIFEST} at '{uri}' can't be read: {error}",
            hint="it was made by another version of Cannery",
        ) from error
    check_names(manifest)
    if manifest.runtime == "pickle":
        raise CanError(f"the can at '{uri}' holds a pickle, which is never opened here")
    return manifest


def _kept(cache: Path, digest: str) -> Can | None:
    """Return the cached can of this digest, if there is one and every byte of it holds."""
    folder = cache / hex_of(digest)
    if not folder.exists():
        return None
    try:
        can = open_can(folder)
    except CanError as error:
        log.warning("the cached can %s is damaged and is fetched again: %s", digest, error)
        return None
    return can if can.digest == digest else None


def _note(uri: str, cache: Path, env: Mapping[str, str]) -> Path:
    """Return the file that remembers where an address, asked of one server, led to."""
    words = uri if _kind(uri) == "oci" else f"{open_tracking(env).base} {uri}"
    if (key := key_of(env)) is not None:  # what was led to without it need not be signed
        words += f" {digest_bytes(key.pem)}"
    return cache / _LAST / hex_of(digest_bytes(words.encode()))


def _last_good(note: Path, uri: str, cache: Path, error: UnreachableError) -> Can:
    """Return the can that `uri` last led to; raises `error` where there is none."""
    try:
        name = note.read_text()
    except OSError:
        raise error from None
    can = _kept(cache, f"sha256:{name}") if re.fullmatch(r"[0-9a-f]{64}", name) else None
    if can is None:
        raise error
    log.warning("%s; serving the can that '%s' last led to: sha256:%s", error, uri, name)
    return can
