"""No engine at all: the image's layers in a folder, its program in namespaces of our own.

bubblewrap does it where it is installed, else `jail.py` by system calls alone. The network is the
host's, so that the port can be reached; the program is told by PORT which one that is.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO
from urllib.parse import quote

from cannery.blobs import digest_bytes
from cannery.caches import cache_folder
from cannery.engines.asking import free_port
from cannery.engines.engine import Mount, StartOptions
from cannery.engines.jailed import Cell, JailedContainer
from cannery.engines.roots import LENT, place_of, prepare, unpack_once, used
from cannery.errors import CanneryError, EngineError
from cannery.oci.descriptors import Image
from cannery.oci.documents import Config, Settings, decode
from cannery.oci.references import Reference, parse
from cannery.processes import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The engine that is always there, where the kernel allows namespaces."""

    bubblewrap: bool | None = None
    """Whether bubblewrap is used; None: where it works."""
    name: str = "sandbox"

    def obstacle(self) -> str | None:
        """Return why this engine can't be used here."""
        try:
            self._bubblewrap()
        except EngineError as error:
            return error.message
        return None

    def load(self, image: Image, reference: Reference | None = None) -> str:
        """Unpack an image into the cache, unless it is there."""
        unpack_once(image)
        if reference is not None:
            self.tag(image.id, reference)
        return image.id

    def save(self, subject: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Refuse: layers are not kept once they are unpacked."""
        raise EngineError(
            f"the sandbox has no layers of '{subject}'", hint="name the layout: oci:FOLDER"
        )

    def tag(self, subject: str, reference: Reference) -> None:
        """Give an image a further name."""
        names = cache_folder("sandbox", "names")
        (names / _file_name(reference)).write_text(digest_of(self._place(subject)))

    def settings(self, subject: str) -> Settings:
        """Return how an image wants to be started."""
        data = (self._place(subject) / "config.json").read_bytes()
        return decode(data, Config, f"the config of '{subject}'").config

    def extract(self, subject: str, path: str, folder: Path) -> Path:
        """Copy a folder out of an image into `folder`."""
        source = self._place(subject) / "root" / path.lstrip("/")
        if not source.is_dir():
            raise EngineError(f"'{subject}' has no folder '{path}'")
        try:
            shutil.copytree(source, folder, symlinks=True)
        except (OSError, shutil.Error) as error:
            raise EngineError(f"can't copy '{path}' out of '{subject}': {error}") from error
        return folder

    @contextlib.contextmanager
    def start(self, subject: str, options: StartOptions | None = None) -> Iterator[JailedContainer]:
        """Start an image; nothing of it runs when the block ends."""
        options = options or StartOptions()
        place = self._place(subject)
        used(place)
        cell = self._cell(place, self.settings(subject), options)
        with tempfile.TemporaryFile() as log, cell.started(log) as container:
            yield container

    def release(self, subject: str) -> None:
        """Keep it: of unpacked images, which are a cache, the last few stay."""

    def remove_image(self, subject: str) -> None:
        """Forget an image, by id or name."""
        with contextlib.suppress(EngineError):
            shutil.rmtree(self._place(subject), ignore_errors=True)
        if not subject.startswith("sha256:"):
            name = cache_folder("sandbox", "names") / _file_name(parse(subject))
            name.unlink(missing_ok=True)

    def _bubblewrap(self) -> bool:
        """Tell whether bubblewrap is used; raises EngineError when neither way works."""
        if self.bubblewrap is not None:
            trouble = _trouble(bubblewrap=self.bubblewrap)
            if trouble:
                raise EngineError(trouble)
            return self.bubblewrap
        troubles = []
        for bubblewrap in (True, False):
            trouble = _trouble(bubblewrap=bubblewrap)
            if trouble is None:
                return bubblewrap
            troubles.append(trouble)
        raise EngineError("; ".join(troubles))

    def _place(self, subject: str) -> Path:
        """Return the folder of an image, by id or name; raises EngineError when there is none."""
        digest = subject
        if not subject.startswith("sha256:"):
            name = cache_folder("sandbox", "names") / _file_name(parse(subject))
            digest = name.read_text() if name.is_file() else "missing"
        place = place_of(digest)
        if not (place / "config.json").is_file():
            raise EngineError(f"the sandbox has no image '{subject}'", hint="build it first")
        return place

    def _cell(self, place: Path, settings: Settings, options: StartOptions) -> Cell:
        root = place / "root"
        argv = (settings.entrypoint or ()) + (options.command or settings.command or ())
        if not argv:
            raise EngineError("the image does not say what to start")
        port = free_port()
        given = dict(word.partition("=")[::2] for word in settings.environment or ())
        told = options.port_variable or "PORT"
        own = {told: str(port), "HOST": "127.0.0.1", "HOSTNAME": "cannery"}
        if given.get("GRPC_PORT"):
            own["GRPC_PORT"] = "0"
        user = options.user if options.user is not None else settings.user
        uid, gid = _ids(user, root)
        for mount in options.mounts:
            _mount_point(root, mount)
        binds = [(p, p) for p in LENT if Path(p).is_file()]
        binds += [(str(m.source.resolve()), m.target) for m in options.mounts]
        return Cell(
            bubblewrap=self._bubblewrap(),
            root=root,
            argv=argv,
            environment={**given, **own, **options.environment},
            folder=settings.folder or "/",
            uid=uid,
            gid=gid,
            network=options.network != "none",
            binds=tuple(binds),
            port=port,
            probe=settings.probe,
        )


def digest_of(place: Path) -> str:
    """Return the id of the image unpacked at `place`: the digest of its config."""
    return digest_bytes((place / "config.json").read_bytes())


def _file_name(reference: Reference) -> str:
    return quote(str(reference), safe="")


def _mount_point(root: Path, mount: Mount) -> None:
    target = root / mount.target.lstrip("/")
    if not target.resolve().is_relative_to(root.resolve()):
        raise EngineError(f"'{mount.target}' leads out of the image")
    if mount.source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def _ids(user: str, root: Path) -> tuple[int, int]:
    """Return uid and gid of `user[:group]`, by number or by the image's own `/etc/passwd`."""
    name, _, group = user.partition(":")
    if not name:
        return 0, 0
    uid, gid = (int(name), 0) if name.isdigit() else _lookup(root / "etc/passwd", name)
    if group:
        gid = int(group) if group.isdigit() else _lookup(root / "etc/group", group)[0]
    return uid, gid


def _lookup(path: Path, name: str) -> tuple[int, int]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in path.read_text().splitlines():
            fields = line.split(":")
            if fields[0] == name:
                return int(fields[2]), int(fields[3]) if fields[3].isdigit() else 0
    raise EngineError(f"the image has no user or group '{name}'")


@cache
def _trouble(*, bubblewrap: bool) -> str | None:
    """Try to start nothing much; return what stands in the way."""
    if not sys.platform.startswith("linux"):
        return "a sandbox needs Linux"
    if bubblewrap and shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    with tempfile.TemporaryDirectory(prefix="cannery-") as folder:
        root = Path(folder)
        prepare(root)
        cell = Cell(bubblewrap=bubblewrap, root=root, argv=("/none",), uid=10001, gid=10001)
        try:
            done = run(cell.words(), timeout=15)
        except CanneryError as error:
            return error.message
    # All went well when nothing is missing but the program.
    if "No such file" in done.complaint or "no program" in done.complaint:
        return None
    return f"no sandbox: {(done.complaint.splitlines() or ['no reason given'])[-1]}"
