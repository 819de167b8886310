"""Where the user's Debian mirrors are."""

from __future__ import annotations

from pathlib import Path

import pytest

from cannery.errors import ImageError
from cannery.images.bases.apt import find_mirrors


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
