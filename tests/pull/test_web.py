"""The manners of the small web client: who is told our name, what is believed, what is refused."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cannery.blobs import digest_bytes
from cannery.errors import CanError, SourceError, UnreachableError
from cannery.serving.repositories import open_repository
from cannery.serving.tracking import find, open_tracking
from cannery.serving.web import Refused, Web

Reply = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def replying(reply: Reply) -> Iterator[str]:
    """Serve `reply` on a loopback port; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """Answer a request."""
    handler.send_response(status)
    headers.setdefault("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def test_a_file_is_saved_only_with_its_size_and_digest(tmp_path: Path) -> None:
    """Right bytes are kept; one byte more, or another one, is refused."""
    body = b"x" * 100
    with replying(lambda h: send(h, body)) as url:
        Web().save(url, {}, tmp_path / "a", 100, digest_bytes(body))
        for size, digest in ((99, digest_bytes(body)), (100, digest_bytes(b"y"))):
            with pytest.raises(CanError, match="not the file that was published"):
                Web().save(url, {}, tmp_path / f"{size}", size, digest)
    assert (tmp_path / "a").read_bytes() == body


def test_a_connection_that_breaks_off_is_no_answer(tmp_path: Path) -> None:
    """Half a file is the server's fault, not a forged file."""
    with replying(lambda h: send(h, b"half", Content_Length="1000")) as url:
        with pytest.raises(UnreachableError, match="broke off 996 bytes before the end"):
            Web().save(url, {}, tmp_path / "a", 1000, digest_bytes(b""))
        with pytest.raises(UnreachableError):
            Web().document(url, {})


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_failing_server_is_unreachable(status: int) -> None:
    """So that the last good can is used while somebody repairs it."""
    with (
        replying(lambda h: send(h, b"secret details", status)) as url,
        pytest.raises(UnreachableError, match=f"status {status}"),
    ):
        Web().document(url, {})


def test_another_host_is_not_told_who_we_are() -> None:
    """A redirect to a storage service carries no login; one within the same server does."""
    seen: dict[str, str | None] = {}

    def storage(handler: BaseHTTPRequestHandler) -> None:
        seen["storage"] = handler.headers["Authorization"]
        send(handler, b"content")

    with replying(storage) as elsewhere:

        def registry(handler: BaseHTTPRequestHandler) -> None:
            if handler.path == "/again":
                seen["again"] = handler.headers["Authorization"]
                send(handler, b"", 307, Location=elsewhere)
            else:
                send(handler, b"", 307, Location="/again")

        with replying(registry) as url:
            assert Web().document(f"{url}/first", {"Authorization": "Basic eA=="}) == b"content"
    assert seen == {"again": "Basic eA==", "storage": None}


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_never_leads_off_the_web(target: str) -> None:
    """A server can't make us read a file of our own."""
    with (
        replying(lambda h: send(h, b"", 302, Location=target)) as url,
        pytest.raises((UnreachableError, Refused)),
    ):
        Web().document(url, {})


def test_an_answer_that_is_no_json_is_told() -> None:
    """A login page in place of an answer is named as such."""
    with (
        replying(lambda h: send(h, b"<html>sign in</html>")) as url,
        pytest.raises(SourceError, match="does not answer with JSON"),
    ):
        find("models:/churn@champion", open_tracking({"MLFLOW_TRACKING_URI": url}))


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "x"}, "Basic YW5uOng="),
        ({"MLFLOW_TRACKING_TOKEN": "abc"}, "Bearer abc"),
        ({}, None),
    ],
)
def test_the_tracking_server_is_told_who_we_are(env: dict[str, str], expected: str | None) -> None:
    """MLflow's own variables decide; a refusal names them."""
    seen: list[str | None] = []

    def refuse(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        send(handler, b"{}", 401)

    with replying(refuse) as url, pytest.raises(SourceError, match="refuses us") as caught:
        find("models:/churn@champion", open_tracking({"MLFLOW_TRACKING_URI": url, **env}))
    assert seen == [expected]
    assert "MLFLOW_TRACKING_TOKEN" in (caught.value.hint or "")


def test_a_tag_cannot_send_us_to_another_server() -> None:
    """Whoever may write tags must not get our password."""
    tracking = open_tracking({"MLFLOW_TRACKING_URI": "http://here:5000/base"})
    assert tracking.address("mlflow-artifacts:/0/run/a b").endswith(
        "here:5000/base/api/2.0/mlflow-artifacts/artifacts/0/run/a%20b"
    )
    for uri in ("mlflow-artifacts://there/0/run", "mlflow-artifacts:/0/../../x"):
        with pytest.raises(SourceError):
            tracking.address(uri)


def test_a_registry_that_asks_for_a_token_gets_one() -> None:
    """The challenge is answered where it says, with the login from the environment."""
    manifest = b'{"layers": []}'
    seen: list[tuple[str, str | None]] = []

    def registry(handler: BaseHTTPRequestHandler) -> None:
        login = handler.headers["Authorization"]
        seen.append((handler.path, login))
        realm = f"http://{handler.headers['Host']}/token"
        if handler.path.startswith("/token"):
            send(handler, b'{"token": "T"}')
        elif login == "Bearer T":
            send(handler, manifest)
        else:
            send(handler, b"", 401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')

    login = {"CANNERY_REGISTRY_USERNAME": "ann", "CANNERY_REGISTRY_PASSWORD": "x"}
    with replying(registry) as url:
        place = url.replace("http", "oci", 1) + "/team/churn:v1"
        repository, target = open_repository(place, login)
        assert repository.manifest(target) == manifest
    assert seen[1] == ("/token?service=s&scope=repository%3Ateam%2Fchurn%3Apull", "Basic YW5uOng=")


def test_dockers_own_login_is_used(tmp_path: Path) -> None:
    """A mounted config.json says who we are; a registry that refuses it is told from one that is down."""
    seen: list[str | None] = []

    def registry(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        send(handler, b"", 401, WWW_Authenticate='Basic realm="r"')

    with replying(registry) as url:
        host = url.removeprefix("http://")
        (tmp_path / "config.json").write_text(f'{{"auths": {{"{host}": {{"auth": "YTpi"}}}}}}')
        repository, target = open_repository(f"oci://{host}/x", {"DOCKER_CONFIG": str(tmp_path)})
        with pytest.raises(SourceError, match="refuses us"):
            repository.manifest(target)
    assert seen == [None, "Basic YTpi"]


def test_a_tag_cannot_have_our_login_sent_to_its_registry() -> None:
    """The login in the environment is for the registry that the user named, not for any that a tag names."""
    seen: list[str | None] = []

    def registry(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        send(handler, b"", 401, WWW_Authenticate='Basic realm="r"')

    login = {"CANNERY_REGISTRY_USERNAME": "ann", "CANNERY_REGISTRY_PASSWORD": "x"}
    with replying(registry) as url:
        host = url.removeprefix("http://")
        for named in ("other.example", host):
            env = {**login, "CANNERY_REGISTRY": named}
            repository, target = open_repository(f"oci://{host}/x", env, led=True)
            with pytest.raises(SourceError, match="refuses us"):
                repository.manifest(target)
    assert seen == [None, None, "Basic YW5uOng="]


def test_a_challenge_behind_a_redirect_is_not_answered() -> None:
    """Storage that a registry redirects to may ask who we are, and is not told."""
    seen: list[str | None] = []

    def storage(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        realm = f"http://{handler.headers['Host']}/token"
        send(handler, b"", 401, WWW_Authenticate=f'Bearer realm="{realm}"')

    login = {"CANNERY_REGISTRY_USERNAME": "ann", "CANNERY_REGISTRY_PASSWORD": "x"}
    with (
        replying(storage) as elsewhere,
        replying(lambda h: send(h, b"", 307, Location=f"{elsewhere}/x")) as url,
    ):
        repository, target = open_repository(f"{url.replace('http', 'oci', 1)}/x", login)
        with pytest.raises(SourceError, match="refuses us"):
            repository.manifest(target)
    assert seen == [None]


@pytest.mark.parametrize(
    "realm", ["http://[x", "file:///etc/passwd", "http://elsewhere.example/token"]
)
def test_a_challenge_that_leads_nowhere_is_refused(realm: str) -> None:
    """Nobody is told who we are at an address that can't be read, is no server, or has no encryption."""
    challenge = f'Bearer realm="{realm}"'
    login = {"CANNERY_REGISTRY_USERNAME": "ann", "CANNERY_REGISTRY_PASSWORD": "x"}
    with replying(lambda h: send(h, b"", 401, WWW_Authenticate=challenge)) as url:
        repository, target = open_repository(f"{url.replace('http', 'oci', 1)}/x", login)
        with pytest.raises(
            SourceError, match=r"asks for a login nowhere|where nothing is encrypted"
        ):
            repository.manifest(target)
