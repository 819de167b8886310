"""A registry that speaks the real protocol over a real socket, and misbehaves on request."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cannery.blobs import digest_bytes

Trouble = Callable[["Handler"], bool]


@dataclass
class State:
    """What the registry holds, and what was asked of it."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and Authorization."""
    trouble: Trouble = lambda handler: False
    """Answers (or breaks) a request itself, and says so."""
    host: str = ""
    part: bytes = b""
    """What has come of an upload in pieces."""
    keeps_referrers: bool = False
    """Whether it lists what refers to a digest, as version 1.1 of the specification has it."""

    def by_digest(self, digest: str) -> bytes | None:
        """Return the manifest of a digest, whatever its tag is."""
        return next((m for m in self.manifests.values() if digest_bytes(m) == digest), None)

    def referring_to(self, digest: str) -> dict:
        """Return the index of the manifests whose subject is `digest`."""
        found = {digest_bytes(m): m for m in self.manifests.values()}
        entries = [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": name,
                "size": len(data),
                "artifactType": json.loads(data)["artifactType"],
                "annotations": json.loads(data)["annotations"],
            }
            for name, data in found.items()
            if json.loads(data).get("subject", {}).get("digest") == digest
        ]
        return {"schemaVersion": 2, "manifests": entries}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self) -> None:
        """Keep the record, let trouble have its way, else serve."""
        state = self.state
        state.requests.append((self.command, self.path, self.headers.get("Authorization", "")))
        if state.trouble(self):
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        if m := re.fullmatch(r"/v2/(.+)/blobs/(sha256:\w+)", path):
            data = state.blobs.get(m[2])
            self.answer(404 if data is None else 200, data or b"")
        elif path.endswith("/blobs/uploads/") and self.command == "POST":
            state.part = b""
            self.answer(202, Location=f"{path}one?_state=a%2Bb%3D")
        elif "/blobs/uploads/" in path and self.command in ("PATCH", "GET"):
            if self.command == "PATCH":
                first = int(self.headers["Content-Range"].partition("-")[0])
                if first != len(state.part):
                    self.answer(416)
                    return
                state.part += body
            status = 202 if self.command == "PATCH" else 204
            known = f"0-{max(0, len(state.part) - 1)}"
            self.answer(status, Location=f"{path}?_state=a%2Bb%3D", Range=known)
        elif "/blobs/uploads/" in path and self.command == "PUT":
            body = state.part + body
            state.part = b""
            digest = re.search(r"digest=([^&]+)", query)[1].replace("%3A", ":")
            assert "_state=a%2Bb%3D" in query
            state.blobs[digest] = body
            self.answer(201 if digest_bytes(body) == digest else 400)
        elif m := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            if self.command == "PUT":
                state.manifests[m[2]] = body
                subject = json.loads(body).get("subject") if state.keeps_referrers else None
                told = {"OCI_Subject": subject["digest"]} if subject else {}
                self.answer(201, Docker_Content_Digest=digest_bytes(body), **told)
            else:
                data = state.manifests.get(m[2]) or state.by_digest(m[2])
                body = json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "gone"}]})
                self.answer(404 if data is None else 200, body.encode() if data is None else data)
        elif (m := re.fullmatch(r"/v2/(.+)/referrers/(.+)", path)) and state.keeps_referrers:
            self.answer(200, json.dumps(state.referring_to(m[2])).encode())
        else:
            self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any


@contextmanager
def fake_registry(state: State) -> Iterator[str]:
    """Serve `state` on a loopback port; yield host and port."""
    handler = type("Bound", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.host = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield state.host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
