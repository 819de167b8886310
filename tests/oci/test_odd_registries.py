"""Registries that lie, send us elsewhere or speak nonsense: each has a clear outcome, and nothing is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_registries import Handler, State, Trouble, fake_registry

from cannery.blobs import digest_bytes
from cannery.errors import CanneryError, ImageError, RegistryError, UnreachableError
from cannery.oci.auth import Credentials
from cannery.oci.channel import RegistryOptions
from cannery.oci.copies import pull_image
from cannery.oci.descriptors import INDEX, Descriptor
from cannery.oci.documents import LIMIT
from cannery.oci.references import parse
from cannery.oci.referrers import list_referrer, referrers
from cannery.oci.registry import Registry
from cannery.oci.transfer import fixed

QUICK = RegistryOptions(pause=0.01, longest_pause=0.02)
DATA = b"some bytes"
BLOB = Descriptor(media_type="x/y", digest=digest_bytes(DATA), size=len(DATA))
ANN = Credentials(username="ann", password="secret")
DEEP = b'{"errors": %s, "tags": %s, "manifests": %s}' % ((b"[" * 100_000 + b"]" * 100_000,) * 3)
LARGE = bytes(range(256)) * 40
LARGE_BLOB = Descriptor(media_type="x/y", digest=digest_bytes(LARGE), size=len(LARGE))


def always(status: int, body: bytes = b"", **headers: str) -> Trouble:
    """Answer whatever is asked in one way."""
    return lambda handler: handler.answer(status, body, **headers) is None


def asking(body: bytes, status: int = 200) -> Trouble:
    """Ask for a token, and answer with this where one is fetched."""

    def trouble(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            handler.answer(status, body, Retry_After="0")
        else:
            realm = f"http://{handler.state.host}/token"
            handler.answer(401, WWW_Authenticate=f'Bearer realm="{realm}"')
        return True

    return trouble


def beginning(**headers: str) -> Trouble:
    """Begin an upload, and say no more than this."""
    return lambda handler: (
        handler.answer(202 if handler.command == "POST" else 404, **headers) is None
    )


def has(registry: Registry) -> object:
    """Ask for a blob."""
    return registry.has_blob("a", BLOB.digest)


def manifest(registry: Registry) -> object:
    """Ask for a tag."""
    return registry.manifest("a", "v1")


def push(registry: Registry) -> object:
    """Upload a blob."""
    return registry.push_blob("a", BLOB, DATA)


CASES: dict[str, tuple[Trouble, Callable[[Registry], object], str]] = {
    "a pause in figures of another script": (always(503, Retry_After="\xb2"), has, "answered 503"),
    "a pause of no length": (always(503, Retry_After="9" * 5000), has, "answered 503"),
    "a refusal nested too deeply": (always(404, DEEP), manifest, "does not hold"),
    "tags nested too deeply": (always(200, DEEP), lambda r: r.tags("a"), "tags in no JSON"),
    "no UTF-8": (always(200, b'{"tags": ["\xff"]}'), lambda r: r.tags("a"), "tags in no JSON"),
    "a token nested too deeply": (asking(DEEP), has, "without a token|no JSON"),
    "a token that no header can hold": (asking('{"token": "é"}'.encode()), has, "without a token"),
    "a busy token service": (asking(b"", 503), has, "token service of .* answered 503"),
    "a token that nobody gives": (
        always(401, WWW_Authenticate='Bearer service="x"'),
        has,
        "asks for a token that nobody gives",
    ),
    "a redirect into nothing": (always(307, Location="http://[x"), has, "sends us, does not answer"),
    "an upload to nowhere": (beginning(), push, "without saying where"),
    "an upload into nothing": (beginning(Location="http://[x"), push, "sends us, does not answer"),
    "an upload into a file": (beginning(Location="file:///etc/passwd"), push, "does not answer"),
    "a manifest without end": (
        always(200, b'{"x": "%s"}' % (b"x" * LIMIT)),
        manifest,
        f"answers '/v2/a/manifests/v1' with more than {LIMIT} bytes",
    ),
    "another digest than it says": (
        always(200, b"{}", Docker_Content_Digest="sha256:" + "0" * 64),
        manifest,
        "answered sha256:44136fa3.*, not sha256:0000",
    ),
    "another digest than was pushed": (
        always(201, Docker_Content_Digest="sha256:" + "0" * 64),
        lambda r: r.push_manifest("a", "v1", b"{}", "x/y"),
        "stored 'a:v1' as sha256:0000",
    ),
    "a part that nobody asked for": (
        always(206, DATA[:2], Content_Range="bytes 0-1/10"),
        lambda r: r.blob("a", BLOB),
        "answered 206",
    ),
    "a digest with a second line": (
        always(200, json.dumps({"schemaVersion": 2, "manifests": [
            {"mediaType": "x", "digest": BLOB.digest + "\n", "size": 1}]}).encode()),
        lambda r: referrers(r, "a", BLOB.digest),
        "is no index",
    ),
    "referrers that are no list": (
        always(200, b"[]"),
        lambda r: list_referrer(r, "a", BLOB.digest, {"digest": "x"}),
        "is no index",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(CASES))
def test_nonsense_is_a_clear_error(case: str) -> None:
    """Whatever a registry answers, the error says what was wrong with that, and is one of ours."""
    trouble, act, message = CASES[case]
    with (
        fake_registry(State(trouble=trouble)) as host,
        Registry(host, options=QUICK, credentials=ANN) as registry,
        pytest.raises(CanneryError, match=message) as caught,
    ):
        act(registry)
    assert "secret" not in str(caught.value) + str(caught.value.hint)


def test_a_busy_token_service_is_asked_again() -> None:
    """What a token service can't do now it may do the next time."""
    state = State(blobs={BLOB.digest: DATA})
    left = [429, 503]

    def trouble(handler: Handler) -> bool:
        if handler.headers.get("Authorization") == "Bearer t0":
            return False
        return asking(b'{"token": "t0"}', left.pop() if left else 200)(handler)

    state.trouble = trouble
    with fake_registry(state) as host, Registry(host, options=QUICK) as registry:
        assert registry.blob("a", BLOB) == DATA
    assert left == []


def test_a_redirect_gets_the_blob_and_not_the_login() -> None:
    """Storage on another host is asked for the bytes alone, also by who has logged in before."""
    storage = State(blobs={BLOB.digest: DATA})
    state = State()

    def trouble(handler: Handler) -> bool:
        if not handler.headers.get("Authorization"):
            handler.answer(401, WWW_Authenticate="Basic realm=x")
        else:
            handler.answer(307, Location=f"http://{storage.host}{handler.path}")
        return True

    state.trouble = trouble
    with (
        fake_registry(storage),
        fake_registry(state) as host,
        Registry(host, credentials=ANN, options=QUICK) as registry,
    ):
        assert [registry.blob("a", BLOB) for _ in range(2)] == [DATA, DATA]
    assert [login for _, _, login in storage.requests] == ["", ""]
    assert [bool(login) for _, _, login in state.requests] == [False, True, True]


@pytest.mark.parametrize(
    "act", [lambda r: r.blob("a", BLOB), push], ids=["a download", "an upload"]
)
def test_what_was_encrypted_stays_encrypted(
    act: Callable[[Registry], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry behind TLS can't send a download or an upload on without it."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, str(request.url)))
        if request.method == "HEAD":
            return httpx.Response(404)
        status = 307 if request.method == "GET" and request.url.scheme == "https" else 202
        return httpx.Response(status, headers={"Location": "http://elsewhere.example/x"})

    real = httpx.Client

    def client(**options: Any) -> httpx.Client:
        return real(transport=httpx.MockTransport(answer), headers=options["headers"])

    monkeypatch.setattr("cannery.oci.channel.httpx.Client", client)
    with (
        Registry("registry.example", options=QUICK) as registry,
        pytest.raises(RegistryError, match=r"'http://elsewhere\.example', which is not encrypted"),
    ):
        act(registry)
    assert [kind for kind, url in asked if url.startswith("http:")] in ([], ["GET"])


def test_a_certificate_that_is_not_trusted_is_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asking again would change nothing; the hint says how to trust its authority."""
    asked = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")

    real = httpx.Client
    client = partial(real, transport=httpx.MockTransport(refuse))
    monkeypatch.setattr("cannery.oci.channel.httpx.Client", lambda **_: client())
    with (
        Registry("registry.example") as registry,
        pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED") as caught,
    ):
        registry.has_blob("a", BLOB.digest)
    assert "SSL_CERT_FILE" in str(caught.value.hint)
    assert len(asked) == 1


@pytest.fixture(name="small_pieces")
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cannery.oci.uploads.PIECE", 1000)


@pytest.mark.parametrize("status", [416, 500, 503])
def test_a_piece_that_is_refused_is_sent_again(small_pieces: None, status: int) -> None:
    """In mid-upload the registry gives up on a piece, or on where it is: it is asked, and the rest follows."""
    left = [status, status]

    def trouble(handler: Handler) -> bool:
        if handler.command == "PATCH" and len(state.part) == 3000 and left:
            handler.rfile.read(int(handler.headers["Content-Length"]))
            handler.answer(left.pop(), Retry_After="0")
            return True
        return False

    state = State(trouble=trouble)
    with fake_registry(state) as host, Registry(host, options=QUICK) as registry:
        assert registry.push_blob("a", LARGE_BLOB, LARGE) is True
    assert state.blobs == {LARGE_BLOB.digest: LARGE}


@pytest.mark.parametrize("told", ["0-99999", "0-" + "9" * 5000, "1-2", "nonsense"])
def test_a_registry_that_lies_about_an_upload_is_not_believed(
    small_pieces: None, told: str
) -> None:
    """More than was sent is an error, and what is no range is nothing; an upload never ends as another blob."""

    def trouble(handler: Handler) -> bool:
        if handler.command == "PATCH" and not state.part:
            state.part = handler.rfile.read(int(handler.headers["Content-Length"]))
            handler.answer(503, Retry_After="0")
            return True
        if handler.command == "GET":
            handler.answer(204, Location=handler.path, Range=told)
            return True
        return False

    state = State(trouble=trouble)
    with (
        fake_registry(state) as host,
        Registry(host, options=QUICK) as registry,
        pytest.raises(RegistryError, match=r"100000 bytes|answered 416"),
    ):
        registry.push_blob("a", LARGE_BLOB, LARGE)
    assert state.blobs == {}


def test_an_upload_that_only_goes_back_ends(small_pieces: None) -> None:
    """A registry that takes every other piece and then knows nothing of it is no progress: patience ends."""
    taken = []

    def trouble(handler: Handler) -> bool:
        if handler.command == "PATCH":
            taken.append(handler.headers["Content-Range"])
            handler.rfile.read(int(handler.headers["Content-Length"]))
            handler.answer(202 if len(taken) % 2 else 503, Location=handler.path, Retry_After="0")
        elif handler.command == "GET":
            handler.answer(204, Location=handler.path, Range="0-0")
        else:
            return False
        return True

    with (
        fake_registry(State(trouble=trouble)) as host,
        Registry(host, options=QUICK) as registry,
        pytest.raises(RegistryError, match="answered 503"),
    ):
        registry.push_blob("a", LARGE_BLOB, LARGE)
    assert len(taken) < 50


def test_a_tag_that_moves_between_two_requests_is_one_image() -> None:
    """After the first look at a tag everything is asked for by the digest that stood there."""
    state = State()
    versions = [b'{"schemaVersion": 2, "n": %d}' % n for n in range(9)]

    def trouble(handler: Handler) -> bool:
        if handler.path.endswith("/manifests/v1"):
            handler.answer(200, versions.pop(0))
            return True
        return False

    state.trouble = trouble
    state.manifests = {digest_bytes(data): data for data in versions}
    first = versions[0]
    with fake_registry(state) as host, Registry(host, options=QUICK) as registry:
        reference = fixed(parse(f"{host}/a:v1"), registry)
        assert registry.manifest("a", reference.target)[0] == first
    assert (reference.tag, reference.digest) == ("v1", digest_bytes(first))


def test_indexes_within_indexes_have_an_end(tmp_path: Path) -> None:
    """What many indexes name is fetched once, and more levels than any tool writes are refused."""
    state = State()
    document = b'{"schemaVersion": 2, "manifests": []}'
    for level in range(30):
        digest = digest_bytes(document)
        state.manifests[digest] = document
        entry = {"mediaType": INDEX, "digest": digest, "size": len(document)}
        document = json.dumps({"schemaVersion": 2, "n": level, "manifests": [entry] * 2}).encode()
    state.manifests["v1"] = document
    with (
        fake_registry(state) as host,
        Registry(host, options=QUICK) as registry,
        pytest.raises(ImageError, match="indexes within indexes"),
    ):
        pull_image(parse(f"{host}/a:v1"), tmp_path / "a.oci", registry)
    assert list(tmp_path.iterdir()) == []
    assert len(state.requests) < 20


def test_a_registry_that_breaks_off_a_download_is_asked_again(tmp_path: Path) -> None:
    """Half a blob is thrown away; a registry that never gives the other half is unreachable."""
    left = [1]

    def trouble(handler: Handler) -> bool:
        if left:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome ")
            handler.close_connection = True
            left[:] = left[1:] if left == [1] else left
            return True
        return False

    state = State(trouble=trouble, blobs={BLOB.digest: DATA})
    with fake_registry(state) as host, Registry(host, options=QUICK) as registry:
        assert registry.fetch("a", BLOB, tmp_path / "whole").read_bytes() == DATA
        left[:] = [2]
        with pytest.raises(UnreachableError, match="without sending complete"):
            registry.fetch("a", BLOB, tmp_path / "half")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
