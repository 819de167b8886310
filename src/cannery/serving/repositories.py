"""A can in an OCI registry: its manifest names every file of it as one layer.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
https://github.com/modelpack/model-spec
"""

from __future__ import annotations

import base64
import contextlib
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cannery.addresses import parts_of
from cannery.blobs import digest_bytes, parse_json
from cannery.cans.vouchers import SUFFIX
from cannery.errors import CanError, SourceError
from cannery.serving.tracking import authority_of
from cannery.serving.web import Refused, Trust, Web, is_loopback

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
FILEPATH = "org.cncf.model.filepath"
SIGNATURE = "dev.cosignproject.cosign/signature"
SIGNATURES = 50
"""Signatures of one manifest that are looked at."""
PAYLOAD_LIMIT = 64 << 10
"""Bytes of the longest that is read."""

_REFERENCE = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.\-\[\]:]+)/(?P<repository>[a-z0-9._\-/]+)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_PARAMETER = re.compile(r'([A-Za-z_]+)="((?:[^"\\]|\\.)*)"')
_HUB = "docker.io"
_USERNAME, _PASSWORD = "CANNERY_REGISTRY_USERNAME", "CANNERY_REGISTRY_PASSWORD"


class _Layer(msgspec.Struct, frozen=True):
    digest: str
    size: int
    annotations: dict[str, str] = {}


class _Manifest(msgspec.Struct, frozen=True):
    layers: tuple[_Layer, ...] = ()


@dataclass(slots=True)
class Repository:
    """One repository of a registry, and the header that it was last content with."""

    host: str
    name: str
    base: str
    web: Web = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def manifest(self, target: str) -> bytes:
        """Return a manifest by tag or digest, checked against the latter."""
        url = f"{self.base}/v2/{self.name}/manifests/{target}"
        data = self._once_more(lambda: self.web.document(url, {**self.headers, "Accept": MANIFEST}))
        if target.startswith("sha256:") and digest_bytes(data) != target:
            raise CanError(f"'{self.host}/{self.name}' answers {digest_bytes(data)} for {target}")
        return bytes(data)

    def signatures(self, digest: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield what cosign keeps of a manifest, unchecked: payloads and signatures; nothing where nobody signed."""
        try:
            data = self.manifest(digest.replace(":", "-") + SUFFIX)
        except SourceError as error:
            if isinstance(error.__cause__, Refused) and error.__cause__.answer.status == 404:
                return
            raise
        for layer in _layers(data, f"{self.host}/{self.name}")[:SIGNATURES]:
            text = layer.annotations.get(SIGNATURE, "")
            if text and layer.size <= PAYLOAD_LIMIT:
                with contextlib.suppress(ValueError):  # no base64
                    yield self.read(layer), base64.b64decode(text, validate=True)

    def read(self, layer: _Layer) -> bytes:
        """Return a small blob; raises CanError when it is another."""
        url = f"{self.base}/v2/{self.name}/blobs/{layer.digest}"
        data = self._once_more(lambda: self.web.document(url, self.headers))
        if digest_bytes(data) != layer.digest:
            raise CanError(
                f"'{self.host}/{self.name}' answers {digest_bytes(data)} for {layer.digest}"
            )
        return bytes(data)

    def save(self, layer: _Layer, path: Path) -> None:
        """Stream a blob into the new file `path`; raises CanError when it is another."""
        url = f"{self.base}/v2/{self.name}/blobs/{layer.digest}"

        def fresh() -> None:
            path.unlink(missing_ok=True)
            self.web.save(url, self.headers, path, layer.size, layer.digest)

        self._once_more(fresh)

    def _once_more(self, act: Any) -> Any:
        """Do it, and again after the registry has asked who we are; raises SourceError for a refusal."""
        try:
            return act()
        except Refused as refused:
            # Where a redirect led to, nobody is told who we are.
            own = (
                urllib.parse.urlsplit(refused.answer.url)[:2]
                == urllib.parse.urlsplit(self.base)[:2]
            )
            if refused.answer.status != 401 or not own or not self._answer(refused.answer.headers):
                raise self._refusal(refused) from refused
        try:
            return act()
        except Refused as refused:
            raise self._refusal(refused) from refused

    def _refusal(self, refused: Refused) -> SourceError:
        place, status = f"{self.host}/{self.name}", refused.answer.status
        if status in (401, 403):
            return SourceError(
                f"the registry refuses us '{place}' (status {status})",
                hint=f"set CANNERY_REGISTRY={self.host}, {_USERNAME} and {_PASSWORD}, "
                "or mount a DOCKER_CONFIG",
            )
        if status == 404:
            return SourceError(f"the registry has no such can in '{place}'")
        return SourceError(f"the registry answers for '{place}' with status {status}")

    def _answer(self, headers: Mapping[str, str]) -> bool:
        """Answer the registry's challenge; tell whether there is something new to try."""
        asked = next((v for k, v in headers.items() if k.lower() == "www-authenticate"), "")
        login = _login(self.host, self.env)
        kind, _, rest = asked.partition(" ")
        if kind.lower() == "basic" and login:
            self.headers["Authorization"] = login
            return True
        if kind.lower() != "bearer":
            return False
        words = dict(_PARAMETER.findall(rest))
        try:
            realm = urllib.parse.urlsplit(words.get("realm", ""))
        except ValueError as error:
            raise SourceError(f"the registry '{self.host}' asks for a login nowhere") from error
        plain = is_loopback(realm.hostname or "") and self.base.startswith("http:")
        if realm.scheme != "https" and not plain:
            raise SourceError(f"the registry '{self.host}' sends logins where nothing is encrypted")
        query = {k: words[k] for k in ("service", "scope") if k in words}
        query.setdefault("scope", f"repository:{self.name}:pull")
        url = f"{words['realm']}?{urllib.parse.urlencode(query)}"
        token = self.web.json(url, {"Authorization": login} if login else {})
        value = token.get("token") or token.get("access_token") if isinstance(token, dict) else None
        self.headers["Authorization"] = f"Bearer {value}"
        return value is not None


def open_repository(
    uri: str, env: Mapping[str, str], *, led: bool = False
) -> tuple[Repository, str]:
    """Return the repository that `oci://registry/repository[:tag][@digest]` names, and what to ask it for.

    `led` says that not the user named it, but a tag of the tracking server: then the login in the
    environment is for the host in CANNERY_REGISTRY alone. Raises SourceError for an address that can't be meant.
    """
    match = _REFERENCE.fullmatch(uri)
    if match is None:
        raise SourceError(
            f"'{uri}' is no address in a registry", hint="write oci://registry/repository@sha256:…"
        )
    host = match["host"]
    if led and env.get("CANNERY_REGISTRY") != host:
        env = {k: v for k, v in env.items() if k not in (_USERNAME, _PASSWORD)}
    insecure = (env.get("CANNERY_INSECURE_REGISTRY") or "").lower()
    bare_host = parts_of(f"//{host}").hostname or ""
    plain = is_loopback(bare_host) or insecure in ("1", "true", host)
    server = f"registry-1.{_HUB}" if host == _HUB else host
    repository = Repository(
        host=host,
        name=match["repository"],
        base=f"{'http' if plain else 'https'}://{server}",
        web=Web(trust=Trust(authority=authority_of(env))),
        env=env,
    )
    return repository, match["digest"] or match["tag"] or "latest"


def layers_of(data: bytes, place: str) -> dict[str, _Layer]:
    """Return the files in a manifest by their path in the can; raises CanError when it holds no can."""
    layers = {layer.annotations.get(FILEPATH, ""): layer for layer in _layers(data, place)}
    if "can.json" not in layers:
        raise CanError(f"'{place}' holds no can", hint="`cannery publish` puts one there")
    return layers


def _layers(data: bytes, place: str) -> tuple[_Layer, ...]:
    try:
        return parse_json(data, _Manifest).layers
    except msgspec.DecodeError as error:
        raise CanError(f"the manifest of '{place}' can't be read: {error}") from error


def _login(host: str, env: Mapping[str, str]) -> str | None:
    """Return the basic login for a registry from the environment, else from Docker's config.json."""
    name, password = env.get(_USERNAME), env.get(_PASSWORD)
    if name and password is not None:
        return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    folder = env.get("DOCKER_CONFIG") or (f"{env['HOME']}/.docker" if env.get("HOME") else None)
    if folder is None:
        return None
    try:
        document = parse_json(Path(folder, "config.json").read_bytes(), dict[str, Any])
        auths = document["auths"]
        entry = auths.get(host) or auths.get(f"https://{host}") or {}
        auth = entry.get("auth")
    except (OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None  # no login there: the registry may need none
    return f"Basic {auth}" if isinstance(auth, str) and auth else None
