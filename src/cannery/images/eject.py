"""Write the classical files for an image: Dockerfile, scoring module, pinned requirements, the can."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import msgspec

from cannery.blobs import write_folder
from cannery.cans.open import MANIFEST, Can, copy_can, open_can
from cannery.errors import OutputError
from cannery.images.labels import tag_of
from cannery.images.recipe import LIBRARIES, PYTHON, linked_by
from cannery.images.requirements import download_wheels, pin
from cannery.images.serving_files import serving_tree
from cannery.options import option

_TEMPLATES = {
    "Dockerfile.in": "Dockerfile",
    "README.md.in": "README.md",
    "dockerignore.in": ".dockerignore",
    "entrypoint.sh.in": "entrypoint.sh",
    "score.py.in": "score.py",
    "wheels.md.in": "wheels/README.md",
}
_MARKER = "entrypoint.sh"
"""With `can/can.json`, what tells an ejected folder from any other."""
_PLACEHOLDER = re.compile(r"@([A-Z]*)@")


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectOptions:
    """What the ejected files say."""

    base: str = field(
        default=f"python:{PYTHON}-slim",
        metadata=option("Base image that the Dockerfile names.", metavar="IMAGE"),
    )
    wheels: bool = field(
        default=False, metadata=option("Fetch the wheels too, to build without network.")
    )
    python: str = field(
        default=PYTHON,
        metadata=option("Python version of the base, for those wheels.", metavar="X.Y"),
    )


def eject(
    can: Path, folder: Path, *, force: bool = False, options: EjectOptions | None = None
) -> tuple[Path, ...]:
    """Write the files for an image of the can into `folder`; return them, sorted.

    The folder appears whole or not at all. Raises CanError for a damaged can, OutputError when the
    folder exists (with `force`: when it was not ejected), ImageError when a package has no wheels.
    """
    options = options or EjectOptions()
    opened = open_can(can)
    _spare(folder)
    with write_folder(folder, force=force) as target:
        pinned = target / "requirements.txt"
        pin(opened.manifest, pinned)
        _write_templates(target, opened, options)
        for path, entry in serving_tree().items():
            place = target / Path(path).relative_to(LIBRARIES)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(entry.data or b"")
        copy_can(opened, target / "can")
        if options.wheels:
            download_wheels(pinned, target / "wheels", options.python)
        _open_to_all(target)
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file()))


def _write_templates(target: Path, can: Can, options: EjectOptions) -> None:
    manifest = can.manifest
    record = msgspec.json.encode(can.canary().records[0]).decode()
    values = {
        "NAME": _plain(manifest.name),
        "VERSION": _plain(manifest.version),
        "SOURCE": _plain(manifest.source.resolved),
        "DIGEST": can.digest,
        "RUNTIME": manifest.runtime,
        "BASE": _plain(options.base),
        "TAG": tag_of(manifest),
        "RECORD": record.replace("'", "'\\''"),
        "LINKED": "".join(map(_linked, linked_by(manifest.requirements))),
        "": "@",
    }
    templates = files("cannery.images") / "eject_templates"
    for source, name in _TEMPLATES.items():
        text = (templates / source).read_text(encoding="utf-8")
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        filled = _PLACEHOLDER.sub(lambda match: values[match[1]], text)
        place.write_text(filled, encoding="utf-8")


def _linked(package: str) -> str:
    """Return the step that brings a package of Debian, unless the base has its library already."""
    return (
        f"# A library that the model's own links, and that small bases lack.\n"
        f"RUN ldconfig -p | grep -q {package.rstrip('0123456789')}.so \\\n"
        f" || (apt-get update && apt-get install --yes --no-install-recommends {package} \\\n"
        f"     && rm -rf /var/lib/apt/lists/*)\n\n"
    )


def _plain(text: str) -> str:
    """Return a text that can stand inside quotes of a Dockerfile, and in a comment."""
    return "".join(c if c.isprintable() and c not in "\"'\\$`" else "_" for c in text)


def _open_to_all(target: Path) -> None:
    """Set the modes that any user in the image needs, whatever the umask is here."""
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)


def _spare(folder: Path) -> None:
    """Raise OutputError where replacing `folder` would destroy something that was not ejected."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / _MARKER).is_file() or not (folder / "can" / MANIFEST).is_file():
        raise OutputError(f"'{folder}' exists and was not ejected", hint="choose another name")
