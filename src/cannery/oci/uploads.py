"""Bring a blob into a registry: mounted, in one request, or in pieces that go on where they broke off.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import httpx

from cannery.errors import RegistryError
from cannery.oci.answers import TransientError
from cannery.oci.channel import Answer, Channel, Request
from cannery.oci.contents import Content, Span
from cannery.oci.descriptors import Descriptor

PIECE = 64 << 20
"""Bytes of one request; what is not longer goes in one."""
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_BYTES = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Upload:
    """One blob on its way."""

    channel: Channel
    repository: str
    descriptor: Descriptor
    content: Content
    mount: str = ""

    def run(self) -> bool:
        """Upload it; tell whether bytes travelled. Raises TransientError when all may be tried again."""
        begun = self._begun()
        if begun.status == 201:
            return False
        if not begun.headers.get("Location"):
            raise RegistryError(
                f"registry '{self.channel.host}' begins an upload without saying where it goes on"
            )
        place, sent = _place(begun), 0
        if self.content.size > PIECE:
            place, sent = self._in_pieces(place)
        finish = place.copy_merge_params({"digest": self.descriptor.digest})
        self._ask("PUT", finish, (201, 202, 204), self._span(sent, self.content.size))
        return True

    def _begun(self) -> Answer:
        """Ask for the blob of the other repository, if one is named, and for an upload where that does not go."""
        place = f"{self.repository}/blobs/uploads/"
        if self.mount:
            try:
                query = f"?mount={self.descriptor.digest}&from={self.mount}"
                return self._ask("POST", place + query, (201, 202))
            except RegistryError:  # such as: we may not read there
                pass
        return self._ask("POST", place, (201, 202))

    def _in_pieces(self, place: httpx.URL) -> tuple[httpx.URL, int]:
        """Send every piece but the last; return where that goes, and from which byte."""
        sent = farthest = troubles = 0
        while self.content.size - sent > PIECE:
            end = sent + PIECE
            try:
                place = _place(self._ask("PATCH", place, (202, 204), self._span(sent, end)))
                # A registry that goes back again and again is no progress.
                troubles = 0 if end > farthest else troubles
                sent = end
            except TransientError as trouble:
                troubles += 1
                if troubles >= self.channel.options.attempts:
                    raise
                time.sleep(self.channel.pause(troubles, trouble))
                place, sent = self._where(place, end)
            farthest = max(farthest, end)
        return place, sent

    def _where(self, place: httpx.URL, most: int) -> tuple[httpx.URL, int]:
        """Ask the registry how far it got, of `most` bytes; raises TransientError where it has forgotten the upload."""
        try:
            answer = self.channel.retrying(lambda: self._ask("GET", place, (204, 202)))
        except RegistryError as error:
            # The common registry knows an upload no more when half a piece of it came: all begins again.
            raise TransientError(error) from error
        told = _RANGE.fullmatch(answer.headers.get("Range", ""))
        got = int(told[1]) + 1 if told and told[1] != "0" else 0
        if got > most:
            raise RegistryError(
                f"registry '{self.channel.host}' says that it has {got} bytes of an upload of which {most} were sent"
            )
        return _place(answer), got

    def _span(self, start: int, end: int) -> Span:
        return Span(content=self.content, start=start, end=end)

    def _ask(
        self,
        method: str,
        address: str | httpx.URL,
        accepted: tuple[int, ...],
        span: Span | None = None,
    ) -> Answer:
        headers = {}
        if span is not None:
            headers = {**_BYTES, "Content-Length": str(span.end - span.start)}
            if method == "PATCH":
                headers["Content-Range"] = f"{span.start}-{span.end - 1}"
        return self.channel.once(
            Request(
                method=method,
                address=address,
                repository=self.repository,
                accepted=accepted,
                headers=headers,
                content=b"" if span is None and method == "POST" else span,
            )
        )


def _place(answer: Answer) -> httpx.URL:
    """Return where an upload goes on."""
    return answer.url.join(answer.headers.get("Location", ""))
