"""The user's pip configuration, in uv's words."""

import subprocess
import sys
from pathlib import Path

from cannery import indexes
from cannery.indexes import parse_configuration, translate

LISTING = """\
global.cert='/etc/ssl/own.crt'
global.extra-index-url='https://a.example/simple https://b.example/simple'
global.index-url='https://mirror.example/simple'
:env:.index-url='https://stronger.example/simple'
:env:.default-timeout='180'
"""


def test_the_environment_outranks_the_files() -> None:
    """What pip's environment says replaces what its files say."""
    options = parse_configuration(LISTING)
    assert options["index-url"] == "https://stronger.example/simple"
    assert options["extra-index-url"].split() == [
        "https://a.example/simple",
        "https://b.example/simple",
    ]


def test_every_option_gets_its_name_in_uv(tmp_path: Path) -> None:
    """Indexes, folders of wheels, certificates and trusted hosts are all carried over."""
    cert = tmp_path / "own.crt"
    cert.write_text("")
    options = parse_configuration(LISTING) | {
        "cert": str(cert),
        "find-links": str(tmp_path),
        "trusted-host": "a.example",
    }
    assert translate(options, {}) == {
        "UV_DEFAULT_INDEX": "https://stronger.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": str(tmp_path),
        "UV_INSECURE_HOST": "a.example",
        "SSL_CERT_FILE": str(cert),
    }


def test_what_uv_was_told_already_stays() -> None:
    """A variable of uv's own is never replaced by pip's."""
    told = {"UV_DEFAULT_INDEX": "https://uv.example/simple"}
    assert translate({"index-url": "https://pip.example/simple"}, told) == {}


def test_a_folder_that_is_gone_is_left_out(tmp_path: Path) -> None:
    """Uv stops at a missing folder, pip does not: so it is not passed on."""
    options = {
        "extra-index-url": f"file://{tmp_path}/gone file://{tmp_path}",
        "find-links": "/gone",
    }
    found = translate(options, {})
    assert found["UV_INDEX"] == f"file://{tmp_path}"
    assert "UV_FIND_LINKS" not in found


def test_it_runs_before_anything_is_installed() -> None:
    """As a plain file under an isolated interpreter it prints KEY=value lines."""
    done = subprocess.run(
        [sys.executable, "-I", indexes.__file__], capture_output=True, text=True, check=True
    )
    assert all("=" in line for line in done.stdout.splitlines())
