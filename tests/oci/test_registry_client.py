"""The registry client against registries that misbehave."""

from __future__ import annotations

import base64
import json
import random
import select
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email.utils import formatdate

import pytest
from fake_registries import Handler, State, fake_registry
from registries import free_port, running_registry

from cannery.blobs import digest_bytes
from cannery.errors import RegistryError, UnreachableError, UsageError
from cannery.oci.auth import Credentials
from cannery.oci.channel import RegistryOptions
from cannery.oci.contents import Content
from cannery.oci.descriptors import Descriptor
from cannery.oci.references import parse
from cannery.oci.referrers import referrers
from cannery.oci.registry import Registry
from cannery.oci.transfer import open_registry, push_image

QUICK = RegistryOptions(pause=0.01)
DATA = b"some bytes"
BLOB = Descriptor(media_type="x/y", digest=digest_bytes(DATA), size=len(DATA))


def test_an_image_is_pushed_tag_last(image) -> None:
    """Every blob is there before the manifest that names it; nothing travels twice."""
    state = State()
    with fake_registry(state) as host, Registry(host, options=QUICK) as registry:
        reference = parse(f"{host}/team/churn:v1")
        pushed = push_image(image, reference, registry=registry)
        again = push_image(image, reference, registry=registry)
    assert state.manifests == {"v1": image.manifest}
    assert set(state.blobs) == {image.id, *(layer.digest for layer in image.layers)}
    assert str(pushed.reference) == f"{host}/team/churn@{image.digest}"
    assert (pushed.sent, again.sent) == (image.size + len(image.config), 0)
    assert [m for m, p, _ in state.requests if "/manifests/" in p] == ["PUT", "PUT"]


def test_a_name_without_registry_can_t_be_pushed(image) -> None:
    """A local name is an error whose hint shows the form."""
    with pytest.raises(UsageError) as caught:
        push_image(image, parse("churn:v1"))
    assert caught.value.hint == "put its address first, such as localhost:5000/churn:v1"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_registry_is_asked_again(status) -> None:
    """What may pass is tried again, after the pause that the registry asks for."""
    left = [status, status]

    def trouble(handler: Handler) -> bool:
        if left:
            handler.answer(left.pop(), Retry_After="0")
            return True
        return False

    state = State(trouble=trouble)
    with fake_registry(state) as host, Registry(host) as registry:
        assert registry.has_blob("a", BLOB.digest) is False
    assert len(state.requests) == 3


def test_a_pause_may_be_given_as_a_date(monkeypatch) -> None:
    """`Retry-After` in the other form that HTTP has; one in the past is no pause."""
    paused = []
    monkeypatch.setattr("cannery.oci.channel.time.sleep", paused.append)
    dates = [formatdate(time.time() + 20, usegmt=True), formatdate(1, usegmt=True), "soon"]

    def trouble(handler: Handler) -> bool:
        if dates:
            handler.answer(429, Retry_After=dates.pop(0))
            return True
        return False

    with fake_registry(State(trouble=trouble)) as host, Registry(host, options=QUICK) as registry:
        assert registry.has_blob("a", BLOB.digest) is False
    assert 15 < paused[0] <= 20
    assert paused[1:] == [0.0, QUICK.pause * 4]


def test_referrers_are_read_page_by_page(monkeypatch) -> None:
    """A registry links to the next page, in its own words; one that never ends is an error."""
    monkeypatch.setattr("cannery.oci.registry._PAGES", 5)
    entries = [
        {"mediaType": "m", "digest": digest_bytes(b"%d" % n), "size": n, "artifactType": f"t{n}"}
        for n in range(3)
    ]
    endless = []

    def trouble(handler: Handler) -> bool:
        page = int(handler.path.partition("?page=")[2] or 0)
        body = json.dumps({"schemaVersion": 2, "manifests": [entries[page % 3]]}).encode()
        link = {"Link": f'</v2/a/referrers/x?page={page + 1}>; rel="next"'}
        handler.answer(200, body, **(link if page < 2 or endless else {}))
        return True

    with fake_registry(State(trouble=trouble)) as host, Registry(host, options=QUICK) as registry:
        found = referrers(registry, "a", BLOB.digest)
        assert [one.artifact_type for one in found] == ["t0", "t1", "t2"]
        endless.append(True)
        with pytest.raises(RegistryError, match="more than 5 pages"):
            referrers(registry, "a", BLOB.digest)


def test_a_mount_that_is_refused_is_an_upload(tmp_path) -> None:
    """Where we may not read in the other repository, the bytes travel."""

    def trouble(handler: Handler) -> bool:
        if "mount=" in handler.path:
            handler.answer(403)
            return True
        return False

    state = State(trouble=trouble)
    with fake_registry(state) as host, Registry(host, options=QUICK) as registry:
        assert registry.push_blob("a", BLOB, DATA, mount="secret") is True
    assert state.blobs == {BLOB.digest: DATA}


@pytest.mark.registry
def test_what_another_repository_has_is_mounted(image, registry) -> None:
    """A second name in the same registry costs no bytes, and a repository that lost its blobs no error."""
    known: dict[str, str] = {}
    push_image(image, parse(f"{registry}/one/churn:v1"), known=known)
    assert known[image.layers[0].digest] == "one/churn"
    assert push_image(image, parse(f"{registry}/two/churn:v1"), known=known).sent == 0
    assert known[image.layers[0].digest] == "two/churn"
    gone = dict.fromkeys(known, "never/was")
    pushed = push_image(image, parse(f"{registry}/three/churn:v1"), known=gone)
    assert pushed.sent == image.size + len(image.config)


@contextmanager
def cutting(host: str, after: int) -> Iterator[tuple[str, list[int]]]:
    """Stand before a registry, and cut the first connection through which `after` bytes came; yield host and cuts."""
    target, cuts = (host.partition(":")[0], int(host.partition(":")[2])), []

    class Between(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            passed = 0
            with socket.create_connection(target) as registry:
                ends = {self.request: registry, registry: self.request}
                while True:
                    for end in select.select(list(ends), [], [])[0]:
                        data = end.recv(65536)
                        passed += len(data) if end is self.request else 0
                        if not data or (passed > after and not cuts):
                            cuts.extend([passed] if data else [])
                            return
                        ends[end].sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Between) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", cuts
        server.shutdown()
        thread.join()


@pytest.mark.registry
def test_a_real_registry_is_cut_off_in_mid_upload(monkeypatch, registry) -> None:
    """It keeps no half pieces: the upload begins again by itself, and the blob is whole."""
    monkeypatch.setattr("cannery.oci.uploads.PIECE", 1 << 20)
    data = random.Random(1).randbytes(6 << 20)
    blob = Descriptor(media_type="x/y", digest=digest_bytes(data), size=len(data))
    with cutting(registry, 3_700_000) as (host, cuts), Registry(host, options=QUICK) as client:
        assert client.push_blob("cut/a", blob, data) is True
        assert len(cuts) == 1
    with Registry(registry, options=QUICK) as client:
        pieces = b"".join(client.stream("cut/a", blob))
    assert pieces == data


@pytest.mark.registry
def test_a_real_registry_is_started_again_in_mid_upload(monkeypatch, tmp_path) -> None:
    """One that answered before is waited for: the blob is whole although nobody was there for a while."""
    monkeypatch.setattr("cannery.oci.uploads.PIECE", 1 << 20)
    data = random.Random(0).randbytes(4 << 20)
    blob = Descriptor(media_type="x/y", digest=digest_bytes(data), size=len(data))
    port, pauses = free_port(), []
    with ExitStack() as first, ExitStack() as second:
        host = first.enter_context(running_registry(tmp_path, port=port))
        real, sleep = Content.pieces, time.sleep

        def pieces(self: Content, start: int = 0, end: int | None = None) -> Iterator[bytes]:
            if start == 2 << 20:
                first.close()
            return real(self, start, end)

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            sleep(seconds)
            if len(pauses) == 5:
                second.enter_context(running_registry(tmp_path, port=port))

        monkeypatch.setattr(Content, "pieces", pieces)
        monkeypatch.setattr("cannery.oci.channel.time.sleep", pause)
        with Registry(host, options=QUICK) as client:
            assert client.push_blob("cut/a", blob, data) is True
            assert client.has_blob("cut/a", blob.digest)
    assert len(pauses) >= 5


def test_patience_ends() -> None:
    """A registry that stays busy is an error that says what it answered."""
    state = State(trouble=lambda h: h.answer(503) is None)
    with (
        fake_registry(state) as host,
        Registry(host, options=QUICK) as registry,
        pytest.raises(RegistryError, match="answered 503"),
    ):
        registry.manifest("a", "v1")
    assert len(state.requests) == 4


def test_a_registry_that_is_not_there_is_unreachable() -> None:
    """A refused connection names the registry."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
        with Registry(host, options=QUICK) as registry, pytest.raises(UnreachableError, match=host):
            registry.tags("a")


def reset(handler: Handler) -> bool:
    """Break the connection as a dying registry does."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.close_connection = True
    handler.connection.close()
    return True


def test_an_upload_that_breaks_off_begins_again(tmp_path) -> None:
    """After a reset in mid-upload the file is sent again from its start."""
    broken = []

    def trouble(handler: Handler) -> bool:
        if handler.command == "PUT" and not broken:
            broken.append(handler.rfile.read(3))
            return reset(handler)
        return False

    path = tmp_path / "blob"
    path.write_bytes(DATA)
    state = State(trouble=trouble)
    with fake_registry(state) as host, Registry(host, options=QUICK) as registry:
        assert registry.push_blob("a", BLOB, path) is True
    assert state.blobs == {BLOB.digest: DATA}
    assert [m for m, _, _ in state.requests] == ["HEAD", "POST", "PUT", "POST", "PUT"]


def test_a_registry_that_dies_in_mid_upload_leaves_no_tag(image) -> None:
    """When uploads keep breaking, the error is clear and no manifest was sent."""
    state = State(trouble=lambda h: h.command == "PUT" and reset(h))
    with (
        fake_registry(state) as host,
        Registry(host, options=QUICK) as registry,
        pytest.raises(UnreachableError, match="does not answer"),
    ):
        push_image(image, parse(f"{host}/churn:v1"), registry=registry)
    assert state.manifests == {}
    assert not any("/manifests/" in path for _, path, _ in state.requests)


def guarded(handler: Handler) -> bool:
    """Ask for a token, and hand one out for the right password."""
    authorization = handler.headers.get("Authorization", "")
    if handler.path.startswith("/token"):
        right = "Basic " + base64.b64encode(b"ann:secret").decode()
        assert "scope=repository%3Aa%3Apull" in handler.path
        assert "service=reg" in handler.path
        handler.answer(*((200, b'{"token": "t0"}') if authorization == right else (401,)))
        return True
    if authorization != "Bearer t0":
        realm = f"http://{handler.state.host}/token"
        challenge = f'Bearer realm="{realm}",service="reg",scope="repository:a:pull"'
        handler.answer(401, WWW_Authenticate=challenge)
        return True
    return False


def test_a_token_is_fetched_once() -> None:
    """The challenge is answered with a token that serves for the requests that follow."""
    state = State(trouble=guarded, blobs={BLOB.digest: DATA})
    login = Credentials(username="ann", password="secret")
    with fake_registry(state) as host, Registry(host, credentials=login) as registry:
        assert registry.blob("a", BLOB) == DATA
        assert registry.has_blob("a", BLOB.digest)
    assert [p.startswith("/token") for _, p, _ in state.requests] == [False, True, False, False]


@pytest.mark.parametrize("login", [None, Credentials(username="ann", password="wrong")])
def test_a_wrong_login_is_said_to_be_wrong(login) -> None:
    """The hint is to log in, and no password is repeated."""
    state = State(trouble=guarded)
    with (
        fake_registry(state) as host,
        Registry(host, credentials=login) as registry,
        pytest.raises(RegistryError) as caught,
    ):
        registry.has_blob("a", BLOB.digest)
    assert f"docker login {host}" in str(caught.value.hint)
    assert "wrong" not in str(caught.value) + str(caught.value.hint)


def test_what_may_not_be_pushed_is_known_before(image) -> None:
    """A push is asked for without anything to push, and nothing is left of that."""
    state = State(trouble=guarded)
    with fake_registry(state) as host, Registry(host) as registry:
        with pytest.raises(RegistryError, match="refused"):
            registry.check_push("a")
        state.trouble = lambda _: False
        registry.check_push("a")
    assert [method for method, *_ in state.requests][-2:] == ["POST", "DELETE"]
    assert state.blobs == {}


def test_a_password_is_not_sent_where_it_could_be_read() -> None:
    """A token service without encryption is not told who we are."""

    def trouble(handler: Handler) -> bool:
        handler.answer(401, WWW_Authenticate='Bearer realm="http://elsewhere.invalid/token"')
        return True

    login = Credentials(username="ann", password="secret")
    with (
        fake_registry(State(trouble=trouble)) as host,
        Registry(host, credentials=login) as reg,
        pytest.raises(RegistryError, match="not encrypted"),
    ):
        reg.has_blob("a", BLOB.digest)


def test_a_challenge_behind_a_redirect_is_not_answered() -> None:
    """Storage that a registry redirects to may ask who we are, and is not told."""
    storage = State()

    def ask(handler: Handler) -> bool:
        handler.answer(401, WWW_Authenticate=f'Bearer realm="http://{storage.host}/token"')
        return True

    def redirect(handler: Handler) -> bool:
        handler.answer(307, Location=f"http://{storage.host}{handler.path}")
        return True

    storage.trouble = ask
    login = Credentials(username="ann", password="secret")
    with (
        fake_registry(storage),
        fake_registry(State(trouble=redirect)) as host,
        Registry(host, credentials=login) as registry,
        pytest.raises(RegistryError),
    ):
        registry.has_blob("a", BLOB.digest)
    assert [login for _, _, login in storage.requests] == [""]


def test_our_name_is_not_told_to_where_uploads_are_sent() -> None:
    """An upload address on another host gets the bytes and not the login."""
    store, state = State(), State()

    def trouble(handler: Handler) -> bool:
        if handler.command == "POST":
            if not handler.headers.get("Authorization"):
                handler.answer(401, WWW_Authenticate="Basic realm=x")
            else:
                handler.answer(
                    202, Location=f"http://{store.host}/v2/a/blobs/uploads/1?_state=a%2Bb%3D"
                )
            return True
        return False

    state.trouble = trouble
    login = Credentials(username="ann", password="secret")
    with (
        fake_registry(store),
        fake_registry(state) as host,
        Registry(host, credentials=login, options=QUICK) as registry,
    ):
        registry.push_blob("a", BLOB, DATA)
    assert store.blobs == {BLOB.digest: DATA}
    assert [authorization for _, _, authorization in store.requests] == [""]


def test_a_manifest_that_is_another_is_refused() -> None:
    """What comes back for a digest must have that digest."""
    state = State(manifests={BLOB.digest: b"{}"})
    with (
        fake_registry(state) as host,
        Registry(host, options=QUICK) as registry,
        pytest.raises(RegistryError, match="not " + BLOB.digest),
    ):
        registry.manifest("a", BLOB.digest)


@pytest.mark.parametrize("content", [b"other byte", b"short", b"longer than the descriptor says"])
def test_a_blob_that_is_another_is_refused(tmp_path, content) -> None:
    """A file appears only when size and digest hold."""
    state = State(blobs={BLOB.digest: content})
    with (
        fake_registry(state) as host,
        Registry(host, options=QUICK) as registry,
        pytest.raises(RegistryError, match="other bytes"),
    ):
        registry.fetch("a", BLOB, tmp_path / "blob")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_says_what_the_registry_says() -> None:
    """The registry's own code and message are in the error."""
    with (
        fake_registry(State()) as host,
        Registry(host) as registry,
        pytest.raises(RegistryError, match="MANIFEST_UNKNOWN: gone"),
    ):
        registry.manifest("a", "v1")


def test_plain_http_is_for_this_machine_alone() -> None:
    """Another host is spoken to with encryption unless the user says otherwise."""
    assert Registry("127.0.0.1:5000")._channel.base.scheme == "http"
    assert Registry("localhost:5000")._channel.base.scheme == "http"
    assert Registry("reg.example.com")._channel.base.scheme == "https"
    asked = Registry("reg.example.com", options=RegistryOptions(plain=True))
    assert asked._channel.base.scheme == "http"


@pytest.mark.registry
def test_a_real_registry_takes_an_image(image, registry) -> None:
    """Push, list, read back; a second repository is served by mounting."""
    reference = parse(f"{registry}/team/churn:v1")
    with open_registry(reference) as client:
        pushed = push_image(image, reference, registry=client)
        data, media = client.manifest("team/churn", "v1")
        assert data == image.manifest
        assert media == "application/vnd.docker.distribution.manifest.v2+json"
        assert client.manifest("team/churn", image.digest)[0] == data
        assert client.tags("team/churn") == ("v1",)
        layer = image.layers[0]
        blob = Descriptor(media_type="", digest=layer.digest, size=layer.size)
        assert client.blob("team/churn", blob) == layer.path.read_bytes()
        assert client.push_blob("other", blob, layer.path, mount="team/churn") is False
    assert pushed.sent == image.size + len(image.config)


@pytest.mark.registry
def test_a_tag_that_is_not_there_is_answered_with_those_that_are(image, registry) -> None:
    """Whoever mistypes a tag is told the others, without those that tools keep for themselves."""
    with Registry(registry, options=QUICK) as client:
        for tag in ("v2", "v1", "sha256-abc.sig"):
            push_image(image, parse(f"{registry}/told/churn:{tag}"), registry=client)
        with pytest.raises(RegistryError, match="MANIFEST_UNKNOWN") as caught:
            client.manifest("told/churn", "v3")
        with pytest.raises(RegistryError) as absent:
            client.manifest("told/nothing", "v3")
    assert caught.value.hint == "its tags: v1, v2"
    assert absent.value.hint == "check the name and the tag or digest"


@pytest.mark.registry
def test_a_real_registry_asks_for_a_password(image, start_registry, tmp_path) -> None:
    """Basic authentication works, and a wrong password is refused."""
    # ann:secret, bcrypt with the fewest rounds
    (tmp_path / "htpasswd").write_text(
        "ann:$2b$04$R7MJAPBugKS1AtpJ3U62Ru80W95KBybkHGAZ5luE3kZkb7G6L8qTy\n"
    )
    auth = f"auth:\n  htpasswd: {{realm: x, path: {tmp_path / 'htpasswd'}}}\n"
    with start_registry(auth=auth) as host:
        reference = parse(f"{host}/churn:v1")
        with Registry(host, credentials=Credentials(username="ann", password="secret")) as registry:
            registry.check_push("churn")
            assert list(tmp_path.rglob("_uploads/*/startedat")) == []
            push_image(image, reference, registry=registry)
        with (
            Registry(host, credentials=Credentials(username="ann", password="no")) as registry,
            pytest.raises(RegistryError, match="refused access"),
        ):
            push_image(image, reference, registry=registry)


LARGE = bytes(range(256)) * 40
LARGE_BLOB = Descriptor(media_type="x/y", digest=digest_bytes(LARGE), size=len(LARGE))


@pytest.fixture
def small_pieces(monkeypatch):
    """Let a piece be 1000 bytes."""
    monkeypatch.setattr("cannery.oci.uploads.PIECE", 1000)


def test_what_is_large_goes_in_pieces(small_pieces) -> None:
    """Every piece but the last by itself, in order; the registry puts them together."""
    state = State()
    with fake_registry(state) as host, Registry(host, options=QUICK) as registry:
        assert registry.push_blob("a", LARGE_BLOB, LARGE) is True
    assert state.blobs == {LARGE_BLOB.digest: LARGE}
    methods = [m for m, p, _ in state.requests if "/uploads/" in p]
    assert methods == ["POST", *["PATCH"] * 10, "PUT"]


def test_an_upload_that_broke_off_goes_on_where_it_was(small_pieces) -> None:
    """The registry is asked how far it got, and nothing before that is sent again."""
    breaks = [3, 7]

    def trouble(handler: Handler) -> bool:
        if handler.command == "PATCH" and breaks and len(state.part) // 1000 == breaks[0]:
            breaks.pop(0)
            state.part += handler.rfile.read(500)  # half a piece arrives
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return True
        return False

    state = State(trouble=trouble)
    with fake_registry(state) as host, Registry(host, options=QUICK) as registry:
        assert registry.push_blob("a", LARGE_BLOB, LARGE) is True
    assert state.blobs == {LARGE_BLOB.digest: LARGE}
    assert breaks == []


def test_a_registry_that_stays_down_in_mid_upload_is_an_error(small_pieces) -> None:
    """After several attempts it is unreachable, and no blob is there."""

    def trouble(handler: Handler) -> bool:
        if handler.command == "PATCH" and len(state.part) >= 2000:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return True
        return False

    state = State(trouble=trouble)
    with (
        fake_registry(state) as host,
        Registry(host, options=QUICK) as registry,
        pytest.raises(UnreachableError),
    ):
        registry.push_blob("a", LARGE_BLOB, LARGE)
    assert state.blobs == {}


@pytest.mark.registry
def test_a_real_registry_takes_pieces(small_pieces, registry, tmp_path) -> None:
    """The reference implementation puts them together, and gives the blob back whole."""
    (tmp_path / "large").write_bytes(LARGE)
    with Registry(registry, options=QUICK) as client:
        assert client.push_blob("pieces/a", LARGE_BLOB, tmp_path / "large") is True
        assert client.blob("pieces/a", LARGE_BLOB) == LARGE
