"""Where the user's Debian mirrors are."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cannery.errors import ImageError
from cannery.images.bases.apt import find_mirrors
from cannery.images.downloads import Downloads, client_of


def test_one_line_sources_are_read(tmp_path: Path) -> None:
    """Mirrors come from sources.list, options and comments aside, other distributions left out."""
    (tmp_path / "sources.list").write_text(
        "# deb http://no.example/debian trixie main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian/ bookworm main # main\n"
        "deb http://s.example/debian-security bookworm-security main\n"
        "deb-src http://src.example/debian bookworm main\n"
        "deb https://other.example/tool nodistro main\n"
    )
    mirrors = find_mirrors(environ={}, apt=tmp_path)
    assert mirrors.main == ("http://a.example/debian",)
    assert mirrors.security == ("http://s.example/debian-security",)


def test_deb822_sources_are_read(tmp_path: Path) -> None:
    """Mirrors come from *.sources too; a disabled stanza doesn't count."""
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "debian.sources").write_text(
        "Types: deb\nURIs: http://a.example/debian http://b.example/debian\n"
        "Suites: trixie trixie-updates\nComponents: main\n\n"
        "Types: deb\nURIs: http://s.example/sec\nSuites: trixie-security\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: sid\n"
    )
    mirrors = find_mirrors(environ={}, apt=tmp_path)
    assert mirrors.main == ("http://a.example/debian", "http://b.example/debian")
    assert mirrors.security == ("http://s.example/sec",)


def test_the_setting_wins_over_environment_and_apt(tmp_path: Path) -> None:
    """A mirror that was named is the only one; its security archive is guessed beside it."""
    environ = {"CANNERY_DEBIAN_MIRROR": "http://env.example/debian http://env.example/sec"}
    named = find_mirrors("http://set.example/debian/", environ, tmp_path)
    assert named.main == ("http://set.example/debian",)
    assert named.security == ("http://set.example/debian-security",)
    assert find_mirrors(None, environ, tmp_path).of(security=True) == ("http://env.example/sec",)


@pytest.mark.parametrize("setting", ["ftp://a.example/debian", "a b c", "nonsense"])
def test_a_setting_that_is_no_address_is_refused(setting: str, tmp_path: Path) -> None:
    """What does not name a mirror is refused by name."""
    with pytest.raises(ImageError, match="does not name a Debian mirror"):
        find_mirrors(setting, {}, tmp_path)


def test_no_mirror_anywhere_is_a_clear_error(tmp_path: Path) -> None:
    """Without any configuration the hint says where to name a mirror."""
    with pytest.raises(ImageError, match="no Debian mirror is configured") as caught:
        find_mirrors(environ={}, apt=tmp_path)
    assert "cannery.toml" in str(caught.value.hint)


DUMP = """
Acquire::http "";
Acquire::http::Proxy "http://cache.example:3142";
Acquire::HTTP::Proxy::own.example "DIRECT";
Acquire::https::Proxy "";
Acquire::https::Proxy-Auto-Detect "/usr/bin/find-it";
"""


def test_the_proxies_of_apt_are_used_for_its_mirrors(tmp_path: Path) -> None:
    """One for all, none for a host of its own; an empty one is none."""
    (tmp_path / "sources.list").write_text("deb http://own.example/debian trixie main")
    proxies = {"http://": "http://cache.example:3142", "http://own.example": None}
    found = find_mirrors(None, {}, tmp_path, lambda: DUMP)
    assert found.proxies == proxies
    assert find_mirrors("http://m.example/debian", {}, tmp_path, lambda: DUMP).proxies == {}


def test_a_mirror_is_asked_through_the_proxy() -> None:
    """The proxy gets the whole address; what is direct does not pass through it."""
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}"
        proxies = {"http://": address, "http://127.0.0.1": None}
        with Downloads(client=client_of(proxies), pauses=()) as downloads:
            assert downloads.get("http://mirror.invalid/debian/x") == b"ok"
            assert downloads.get(f"{address}/direct") == b"ok"
        server.shutdown()
    assert asked == ["http://mirror.invalid/debian/x", "/direct"]


def test_a_proxy_that_can_t_be_used_is_said() -> None:
    """Before anything is asked, and with a way out."""
    with pytest.raises(ImageError, match="apt's proxy 'gopher://x' can't be used"):
        client_of({"http://": "gopher://x"})
