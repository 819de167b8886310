"""The archive is believed as far as its signature reaches."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cannery.blobs import digest_bytes
from cannery.errors import ImageError, UnreachableError
from cannery.images.bases.apt import Mirrors, find_mirrors
from cannery.images.bases.archive import Archive, read_release, verify_signature
from cannery.images.downloads import Downloads
from cannery.images.packages import DebianPackage
from cannery.images.store import Store

NOW = datetime(2026, 11, 23, tzinfo=UTC)
RELEASE = (
    "Codename: trixie\nSuite: stable\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n"
    "Valid-Until: {until}\nSHA256:\n {sha} 12 main/binary-amd64/Packages.xz\n"
)


class Mirror:
    """A mirror on this machine; `files` are its files by path."""

    def __init__(self, address: str, files: dict[str, bytes]) -> None:
        self.address = address
        self.files = files


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """Return a mirror that serves what a test puts into it."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path.lstrip("/"))
            with contextlib.suppress(ConnectionError):  # what is too long is not read to its end
                self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Mirror(f"http://127.0.0.1:{server.server_port}", files)
        server.shutdown()
        thread.join()


@pytest.fixture
def downloads() -> Iterator[Downloads]:
    """Return downloads that try once more, at once."""
    with Downloads(pauses=(0.0,)) as pool:
        yield pool


def archive_at(address: str, store: Store, downloads: Downloads) -> Archive:
    """Return the archive that one mirror serves."""
    mirrors = Mirrors(main=(address,), security=())
    return Archive(mirrors=mirrors, store=store, downloads=downloads, now=NOW)


def package_of(data: bytes) -> DebianPackage:
    """Return what a lock would say of a package with these bytes."""
    sha256 = digest_bytes(data).removeprefix("sha256:")
    return DebianPackage(
        name="x", version="1", architecture="all", path="pool/x.deb", sha256=sha256, size=len(data)
    )


@pytest.mark.network
def test_the_signature_of_the_real_archive_holds_and_a_changed_byte_breaks_it() -> None:
    """What the mirror signed is read; with one byte changed it is refused, without a backtrace."""
    url = f"{find_mirrors().main[0]}/dists/trixie/InRelease"
    with Downloads() as downloads:
        signed = downloads.get(url)
    assert "Codename: trixie" in verify_signature(signed, url)
    with pytest.raises(ImageError, match="is not signed by Debian's archive keys") as caught:
        verify_signature(signed.replace(b"Codename: trixie", b"Codename: trixiE"), url)
    assert "backtrace" not in str(caught.value)


@pytest.mark.network
def test_text_outside_the_signature_is_not_read() -> None:
    """What stands before or after the signed text never reaches the parser."""
    url = f"{find_mirrors().main[0]}/dists/trixie/InRelease"
    with Downloads() as downloads:
        signed = downloads.get(url)
    assert "Evil" not in verify_signature(signed + b"\nEvil: yes\n", url)


def test_an_unsigned_release_is_refused(mirror: Mirror, store: Store, downloads: Downloads) -> None:
    """A mirror that serves a Release without a signature gets nowhere."""
    mirror.files["dists/trixie/InRelease"] = RELEASE.encode()
    with pytest.raises(ImageError, match="is not signed by Debian's archive keys"):
        archive_at(mirror.address, store, downloads).select(["x"], "trixie", "amd64")


def test_a_release_past_its_date_is_refused() -> None:
    """A Release whose Valid-Until has passed is refused: the mirror may be held back on purpose."""
    text = RELEASE.format(until="Sat, 21 Nov 2026 00:00:00 UTC", sha="0" * 64)
    with pytest.raises(ImageError, match="was valid until 2026-11-21 00:00 UTC"):
        read_release(text, "trixie", "m", security=True, now=NOW)
    read = read_release(text, "trixie", "m", security=True, now=NOW - timedelta(days=7))
    assert read.hashes == {"main/binary-amd64/Packages.xz": ("0" * 64, 12)}


def test_a_release_of_another_suite_is_refused() -> None:
    """A rightly signed Release of an older Debian does not pass for the one asked for."""
    text = RELEASE.format(until="Sat, 28 Nov 2026 00:00:00 UTC", sha="0" * 64)
    with pytest.raises(ImageError, match="serves 'trixie' as 'forky'"):
        read_release(text, "forky", "m", security=False, now=NOW)


def test_a_package_is_fetched_and_kept(mirror: Mirror, store: Store, downloads: Downloads) -> None:
    """A package with the lock's hash reaches the store, and is not fetched twice."""
    mirror.files["pool/x.deb"] = b"package"
    archive = archive_at(mirror.address, store, downloads)
    archive.fetch(package_of(b"package"))
    mirror.files.clear()
    archive.fetch(package_of(b"package"))
    assert store.read(digest_bytes(b"package")) == b"package"


def test_a_package_that_was_tampered_with_is_refused(
    mirror: Mirror, store: Store, downloads: Downloads
) -> None:
    """Other bytes under the same name are refused, naming both digests."""
    mirror.files["pool/x.deb"] = b"packagE"
    with pytest.raises(ImageError, match="but the lock says sha256:"):
        archive_at(mirror.address, store, downloads).fetch(package_of(b"package"))


def test_a_package_larger_than_the_lock_says_is_not_read_on(
    mirror: Mirror, store: Store, downloads: Downloads
) -> None:
    """A mirror can't fill the memory."""
    mirror.files["pool/x.deb"] = bytes(1 << 20)
    with pytest.raises(ImageError, match="more than the 7 bytes"):
        archive_at(mirror.address, store, downloads).fetch(package_of(b"package"))


def test_a_damaged_package_in_the_store_is_fetched_again(
    mirror: Mirror, store: Store, downloads: Downloads
) -> None:
    """A corrupted cache heals."""
    mirror.files["pool/x.deb"] = b"package"
    store.path(store.add(b"package")).write_bytes(b"rotten!")
    archive_at(mirror.address, store, downloads).fetch(package_of(b"package"))
    assert store.read(digest_bytes(b"package")) == b"package"


def test_a_package_that_is_gone_is_a_clear_error(
    mirror: Mirror, store: Store, downloads: Downloads
) -> None:
    """Where the archive has moved on, the hint says to resolve anew."""
    with pytest.raises(ImageError, match="no mirror has 'x' 1") as caught:
        archive_at(mirror.address, store, downloads).fetch(package_of(b"package"))
    assert "resolve" in str(caught.value.hint)


def test_a_mirror_that_does_not_answer_is_unreachable(store: Store, downloads: Downloads) -> None:
    """A closed port is an UnreachableError after the tries are used up."""
    with pytest.raises(UnreachableError, match="can't fetch"):
        archive_at("http://127.0.0.1:9", store, downloads).fetch(package_of(b"package"))


def test_a_mirror_that_rolls_back_is_refused(
    mirror: Mirror, store: Store, downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was once seen as the newest stays so: an older Release, well signed, brings known holes back."""
    monkeypatch.setattr(
        "cannery.images.bases.archive.verify_signature", lambda text, _: text.decode()
    )
    archive = archive_at(mirror.address, store, downloads)

    def serve(day: int) -> None:
        for suite in ("trixie", "trixie-updates"):
            text = f"Codename: {suite}\nDate: Sat, {day:02} Nov 2026 10:00:00 UTC\nSHA256:\n"
            mirror.files[f"dists/{suite}/InRelease"] = text.encode()

    for day in (14, 21, 21):
        serve(day)
        assert [release.date.day for release in archive._releases("trixie")] == [day, day]
    serve(20)
    with pytest.raises(UnreachableError, match="is of 2026-11-20 10:00, but was of 2026-11-21"):
        list(archive._releases("trixie"))
    other = archive_at(mirror.address.replace("127.0.0.1", "localhost"), store, downloads)
    assert (
        len(list(other._releases("trixie"))) == 2
    )  # a mirror of its own that is frozen on purpose
    serve(22)
    assert len(list(archive._releases("trixie"))) == 2
