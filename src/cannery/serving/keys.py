"""The public key that must vouch for what is pulled, and OpenSSL's library, which checks by it.

Python's own `ssl` links that library, so that it is in every image; a package for signing would
weigh as much as all that serves.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cannery.cans.vouchers import check_bundle, payload_trouble
from cannery.errors import SignatureError, UsageError

KEY = "PULL_KEY"
"""Variable: a public key on an elliptic curve in PEM, or the file that holds it."""
_LIBRARY = "libcrypto.so.3"
_ELLIPTIC = 408
"""OpenSSL's number for keys on the curves of NIST (EVP_PKEY_EC)."""
_HASHES = {384: "EVP_sha384", 521: "EVP_sha512"}
_LIMIT = 64 << 10
_HINT = "sign it with `cannery sign` before it is published, or set the key of whoever did"

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "BIO_new_mem_buf": (_POINTER, (ctypes.c_char_p, ctypes.c_int)),
    "BIO_free": (ctypes.c_int, (_POINTER,)),
    "PEM_read_bio_PUBKEY": (_POINTER, (_POINTER, _POINTER, _POINTER, ctypes.c_char_p)),
    "EVP_PKEY_free": (None, (_POINTER,)),
    "EVP_PKEY_get_base_id": (ctypes.c_int, (_POINTER,)),
    "EVP_PKEY_get_bits": (ctypes.c_int, (_POINTER,)),
    "EVP_sha256": (_POINTER, ()),
    "EVP_sha384": (_POINTER, ()),
    "EVP_sha512": (_POINTER, ()),
    "EVP_MD_CTX_new": (_POINTER, ()),
    "EVP_MD_CTX_free": (None, (_POINTER,)),
    "EVP_DigestVerifyInit": (ctypes.c_int, (_POINTER,) * 5),
    "EVP_DigestVerify": (
        ctypes.c_int,
        (_POINTER, ctypes.c_char_p, _SIZE, ctypes.c_char_p, _SIZE),
    ),
    "ERR_clear_error": (None, ()),
}
"""What each returns and takes: https://docs.openssl.org/3.0/man3/EVP_DigestVerifyInit/"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key on an elliptic curve."""

    pem: bytes

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Tell whether it signed `data` over SHA-256, as cosign does."""
        return self._verify(data, signature, by_curve=False)

    def signed_by_curve(self, data: bytes, signature: bytes) -> bool:
        """Tell whether it signed `data` over the hash that fits its curve, as signatures of models are."""
        return self._verify(data, signature, by_curve=True)

    def _verify(self, data: bytes, signature: bytes, *, by_curve: bool) -> bool:
        with _opened(self.pem) as (library, key):
            bits = library.EVP_PKEY_get_bits(key) if by_curve else 256
            algorithm = getattr(library, _HASHES.get(bits, "EVP_sha256"))()
            context = library.EVP_MD_CTX_new()
            try:
                begun = library.EVP_DigestVerifyInit(context, None, algorithm, None, key)
                sizes = len(signature), len(data)
                return bool(
                    begun == 1
                    and library.EVP_DigestVerify(context, signature, sizes[0], data, sizes[1]) == 1
                )
            finally:
                library.EVP_MD_CTX_free(context)


def key_of(env: Mapping[str, str]) -> Key | None:
    """Return the key that `PULL_KEY` holds or names; None without it. Raises UsageError for what is none."""
    text = env.get(KEY, "").strip()
    if not text:
        return None
    pem = text.encode()
    if not text.startswith("-----BEGIN"):
        try:
            with Path(text).open("rb") as stream:
                pem = stream.read(_LIMIT)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"{KEY} '{text[:200]}' can't be read: {reason}") from error
    with _opened(pem):
        return Key(pem=pem)


def check_can(data: bytes | None, files: dict[str, str], place: str, key: Key) -> None:
    """Raise SignatureError unless the bundle that was found at `place` vouches for these files."""
    if data is None:
        raise SignatureError(f"nobody signed the can: there is no '{place}'", hint=_HINT)
    try:
        check_bundle(data, files, place, key.signed_by_curve)
    except UsageError as error:
        raise SignatureError(error.message) from error


def check_manifest(found: Iterable[tuple[bytes, bytes]], digest: str, uri: str, key: Key) -> None:
    """Raise SignatureError unless one of these payloads and signatures vouches for a manifest."""
    trouble: str | None = "nobody signed it"
    for payload, signature in found:
        trouble = payload_trouble(payload, signature, digest, key.signed)
        if trouble is None:
            return
    raise SignatureError(f"the key does not vouch for '{uri}': {trouble}", hint=_HINT)


@contextmanager
def _opened(pem: bytes) -> Iterator[tuple[Any, int]]:
    """Yield the library and the key as it holds it; raises UsageError for what is no such key."""
    library = _library()
    source = library.BIO_new_mem_buf(pem, len(pem))
    key = library.PEM_read_bio_PUBKEY(source, None, None, b"")
    library.BIO_free(source)
    try:
        if not key or library.EVP_PKEY_get_base_id(key) != _ELLIPTIC:
            raise UsageError(
                f"{KEY} holds no public key on an elliptic curve",
                hint="it is the half to give away, in PEM: openssl pkey -in KEY -pubout",
            )
        yield library, key
    finally:
        library.EVP_PKEY_free(key)
        library.ERR_clear_error()  # else the next to use it, Python's ssl, would see our errors


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(_LIBRARY)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise UsageError(
            f"{KEY} is set, but OpenSSL's {_LIBRARY} is not here", hint="install OpenSSL 3"
        ) from error
    return library
