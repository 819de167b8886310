"""Let uv fetch packages from where the user's pip does: no address of our own, nothing but the standard library.

As a program (`python src/cannery/indexes.py`, before anything is installed) it prints `KEY=value` lines.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

UNUSED = (
    *("nvidia-nccl-cu12", "nvidia-nccl-cu13"),
    *("graphviz", "matplotlib", "plotly"),
    *("contourpy", "cycler", "fonttools", "kiwisolver", "pillow", "pyparsing"),
)
"""What XGBoost asks for, to train on many graphics cards, and CatBoost, to draw: hundreds of megabytes."""

_SECTIONS = ("global.", "install.", ":env:.")
"""From the weakest to the strongest, as pip itself ranks them."""


def parse_configuration(listing: str) -> dict[str, str]:
    """Return pip's options by name from what `pip config list` prints; the strongest section wins."""
    options: dict[str, str] = {}
    for section in _SECTIONS:
        for line in listing.splitlines():
            name, equals, value = line.partition("=")
            if equals and name.startswith(section):
                options[name.removeprefix(section)] = _unquoted(value)
    return options


def _unquoted(value: str) -> str:
    """Read a value of the listing, which pip prints as a Python literal."""
    try:
        return str(ast.literal_eval(value))
    except (SyntaxError, ValueError):
        return value


def _exists(location: str) -> bool:
    """Whether a local folder is there; an address elsewhere can't be known without asking."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path)).is_dir()
    return "://" in location or Path(location).exists()


def translate(options: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return what uv's environment lacks of pip's `options`; what `environ` sets already is left alone."""
    found: dict[str, str] = {}
    default = options.get("index-url", "").strip()
    if default and _exists(default) and "UV_INDEX_URL" not in environ:
        found["UV_DEFAULT_INDEX"] = default
    extra = [url for url in options.get("extra-index-url", "").split() if _exists(url)]
    if extra and "UV_EXTRA_INDEX_URL" not in environ:
        found["UV_INDEX"] = " ".join(extra)
        # pip takes the best version of all indexes alike; uv would stop at the first that has the name.
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    links = [place for place in options.get("find-links", "").split() if _exists(place)]
    if links:
        found["UV_FIND_LINKS"] = ",".join(links)
    if options.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        found["UV_NO_INDEX"] = "1"
    if options.get("trusted-host", "").strip():
        found["UV_INSECURE_HOST"] = " ".join(options["trusted-host"].split())
    if Path(options.get("cert", "")).is_file():
        found["SSL_CERT_FILE"] = options["cert"]
    return {name: value for name, value in found.items() if name not in environ}


def read_configuration() -> dict[str, str]:
    """Return pip's options as `python -m pip` sees them; without pip, those of the `PIP_*` environment."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        done = None
    if done is not None and done.returncode == 0:
        return parse_configuration(done.stdout)
    return {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    }


def index_environment() -> dict[str, str]:
    """Return the variables that make uv use the indexes, folders and certificates that pip is configured for."""
    return translate(read_configuration(), os.environ)


if __name__ == "__main__":
    for variable, setting in index_environment().items():
        print(f"{variable}={setting}")  # noqa: T201 - this is the program's output
