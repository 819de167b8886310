"""A client of the OCI distribution specification: blobs, manifests and tags of one registry.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType

import httpx
import msgspec

from cannery.blobs import digest_bytes, parse_json, write_file
from cannery.errors import CanneryError, RegistryError
from cannery.oci.answers import TransientError
from cannery.oci.auth import Credentials
from cannery.oci.channel import Answer, Channel, RegistryOptions, Request
from cannery.oci.contents import Content
from cannery.oci.descriptors import INDEX, INDEXES, MANIFEST, Descriptor
from cannery.oci.documents import LIMIT
from cannery.oci.uploads import Upload

_ACCEPT = ", ".join((*MANIFEST.values(), *INDEXES))
Source = bytes | Path | Content
_NEXT = re.compile(r'<([^>]+)>;\s*rel="?next"?')
_PAGES = 1000
_TOLD = 20
"""Tags that are told of a repository that has not the one that was asked for."""


class Registry:
    """One registry, by host and port; close it, or use it in a `with` block.

    Every method raises RegistryError when the registry refuses, and UnreachableError when it does
    not answer after several attempts. Its methods may be called from several threads.
    """

    def __init__(
        self,
        host: str,
        *,
        credentials: Credentials | None = None,
        options: RegistryOptions | None = None,
    ) -> None:
        self.host = host
        self._channel = Channel(host, credentials, options or RegistryOptions())

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._channel.close()

    def has_blob(self, repository: str, digest: str) -> bool:
        """Tell whether the registry holds a blob."""
        request = Request(
            method="HEAD",
            address=f"{repository}/blobs/{digest}",
            repository=repository,
            accepted=(200, 404),
        )
        return self._channel.ask(request).status == 200

    def push_blob(
        self, repository: str, descriptor: Descriptor, source: Source, *, mount: str = ""
    ) -> bool:
        """Upload a blob unless the registry holds it; what is large goes in pieces. Tell whether bytes travelled.

        `mount` names another repository of the registry that may hold it already.
        """
        if self.has_blob(repository, descriptor.digest):
            return False
        content = source if isinstance(source, Content) else Content.of(source)
        upload = Upload(self._channel, repository, descriptor, content, mount)
        # A short upload that broke off begins again from its start: its address may be gone.
        return self._channel.retrying(upload.run)

    def check_push(self, repository: str) -> None:
        """Begin an upload and give it up: it raises what a push would, before there is anything to push."""
        begin = Request(
            method="POST",
            address=f"{repository}/blobs/uploads/",
            repository=repository,
            accepted=(201, 202),
            content=b"",
        )
        self._give_up(self._channel.ask(begin), repository)

    def mount_blob(self, repository: str, digest: str, other: str) -> bool:
        """Take a blob over from another repository of the registry; tell whether that went."""
        request = Request(
            method="POST",
            address=f"{repository}/blobs/uploads/?mount={digest}&from={other}",
            repository=repository,
            accepted=(201, 202),
            content=b"",
        )
        try:
            answer = self._channel.ask(request)
        except RegistryError:  # such as: we may not read there
            return False
        if answer.status == 202:
            self._give_up(answer, repository)
        return answer.status == 201

    def _give_up(self, begun: Answer, repository: str) -> None:
        place = begun.url.join(begun.headers.get("Location", ""))
        end = Request(method="DELETE", address=place, repository=repository, accepted=(204,))
        # One that can't be given up is forgotten by the registry in time.
        with suppress(RegistryError, TransientError):
            self._channel.once(end)

    def push_manifest(self, repository: str, target: str, data: bytes, media_type: str) -> bool:
        """Store a manifest under a tag or its digest; tell whether its `subject` will list it among its referrers."""
        request = Request(
            method="PUT",
            address=f"{repository}/manifests/{target}",
            repository=repository,
            accepted=(200, 201),
            headers={"Content-Type": media_type},
            content=data,
        )
        digest = digest_bytes(data)
        headers = self._channel.ask(request).headers
        stored = headers.get("Docker-Content-Digest", digest)
        if stored != digest and stored.startswith("sha256:"):
            raise RegistryError(
                f"registry '{self.host}' stored '{repository}:{target}' as {stored}, not {digest}"
            )
        return "OCI-Subject" in headers

    def manifest(self, repository: str, target: str) -> tuple[bytes, str]:
        """Return the bytes and media type of a manifest, checked against its digest."""
        request = Request(
            method="GET",
            address=f"{repository}/manifests/{target}",
            repository=repository,
            accepted=(200, 404),
            headers={"Accept": _ACCEPT},
        )
        answer = self._channel.ask(request)
        if answer.status == 404:
            refusal = self._channel.refusal(answer, repository)
            raise RegistryError(refusal.message, hint=self._tags_hint(repository) or refusal.hint)
        given = answer.headers.get("Docker-Content-Digest", "")
        expected = target if target.startswith("sha256:") else given
        # A registry may count by another function too; what is asked for by digest is sha256.
        if expected.startswith("sha256:") and digest_bytes(answer.body) != expected:
            raise RegistryError(
                f"'{self.host}/{repository}' answered {digest_bytes(answer.body)}, not {expected}"
            )
        return answer.body, answer.headers.get("Content-Type", "").partition(";")[0].strip()

    def _tags_hint(self, repository: str) -> str:
        try:
            tags = sorted(tag for tag in self.tags(repository) if not tag.startswith("sha256-"))
        except CanneryError:
            return ""
        more = ["…"] if len(tags) > _TOLD else []
        return f"its tags: {', '.join(tags[:_TOLD] + more)}" if tags else ""

    def find_manifest(self, repository: str, target: str) -> bytes | None:
        """Return the bytes of a manifest, or None where there is none under that tag or digest."""
        request = Request(
            method="HEAD",
            address=f"{repository}/manifests/{target}",
            repository=repository,
            accepted=(200, 404),
            headers={"Accept": _ACCEPT},
        )
        if self._channel.ask(request).status == 404:
            return None
        return self.manifest(repository, target)[0]

    def referrers(self, repository: str, digest: str) -> tuple[bytes, ...]:
        """Return the index of what refers to a digest, page by page; nothing where the registry keeps no such lists."""
        address = f"{repository}/referrers/{digest}"
        pages = self._pages(repository, address, accepted=(200, 404), headers={"Accept": INDEX})
        return tuple(page.body for page in pages if page.status == 200)

    def blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """Return a blob of at most 4 MiB, checked by digest."""
        if descriptor.size > LIMIT:
            raise RegistryError(f"the blob {descriptor.digest} has {descriptor.size} bytes")

        def once() -> bytes:
            pieces: list[bytes] = []
            self._download(repository, descriptor, pieces.append)
            return b"".join(pieces)

        return self._channel.retrying(once)

    def stream(self, repository: str, descriptor: Descriptor) -> Generator[bytes]:
        """Yield a blob in pieces for whoever needs only its beginning: it is not checked by digest."""
        request = Request(
            method="GET",
            address=f"{repository}/blobs/{descriptor.digest}",
            repository=repository,
            accepted=(200,),
        )
        try:
            yield from self._channel.stream(request)
        except TransientError as trouble:
            raise trouble.error from trouble

    def fetch(self, repository: str, descriptor: Descriptor, path: Path) -> Path:
        """Stream a blob into a file that appears only when its digest holds."""

        def once() -> None:
            with write_file(path) as stream:
                self._download(repository, descriptor, stream.write)

        self._channel.retrying(once)
        return path

    def tags(self, repository: str) -> tuple[str, ...]:
        """Return every tag of a repository."""
        found: list[str] = []
        for answer in self._pages(repository, f"{repository}/tags/list", accepted=(200,)):
            try:
                page = parse_json(answer.body, dict[str, object]).get("tags")
            except msgspec.MsgspecError as error:
                raise RegistryError(f"'{self.host}' listed its tags in no JSON") from error
            found += [tag for tag in page if isinstance(tag, str)] if isinstance(page, list) else []
        return tuple(found)

    def _pages(
        self,
        repository: str,
        address: str,
        *,
        accepted: tuple[int, ...],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[Answer]:
        """Yield an answer and those that it links to as the next ones; raises RegistryError where there is no end."""
        place: str | httpx.URL = address
        for _ in range(_PAGES):
            request = Request(
                method="GET",
                address=place,
                repository=repository,
                accepted=accepted,
                headers=headers,
            )
            answer = self._channel.ask(request)
            yield answer
            link = _NEXT.search(answer.headers.get("Link", ""))
            if link is None:
                return
            place = answer.url.join(link[1])
        raise RegistryError(f"'{self.host}' has more than {_PAGES} pages at '{address}'")

    def _download(
        self, repository: str, descriptor: Descriptor, write: Callable[[bytes], object]
    ) -> None:
        request = Request(
            method="GET",
            address=f"{repository}/blobs/{descriptor.digest}",
            repository=repository,
            accepted=(200,),
        )
        digest, size = hashlib.sha256(), 0
        for chunk in self._channel.stream(request):
            size += len(chunk)
            if size > descriptor.size:
                break
            digest.update(chunk)
            write(chunk)
        if size != descriptor.size or "sha256:" + digest.hexdigest() != descriptor.digest:
            raise RegistryError(
                f"'{self.host}/{repository}' answered other bytes than those of {descriptor.digest}"
            )
