"""Docker and Podman take the same words; what differs is data."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import msgspec

from cannery.engines.asking import free_port, wait_healthy
from cannery.engines.engine import LABEL, STOP, StartOptions, Stopped
from cannery.errors import CanneryError, EngineError
from cannery.oci.archive import stream_archive, stream_last_layer
from cannery.oci.descriptors import Image
from cannery.oci.documents import Settings
from cannery.oci.references import Reference
from cannery.processes import PIPE, Finished, run, started

Writer = Callable[[Image, Reference | None, BinaryIO], None]
"""Writes an archive of an image to a stream."""

_LOADED = re.compile(r"^Loaded image(?:\(s\))?(?: ID)?: (\S+)", re.MULTILINE)
_QUICK = 60.0
"""Seconds that a command may take which only talks to the engine."""
_MAKING = ("create", "run")
"""Commands that make a container: what the engine was asked for it makes, whoever asked."""
_STALE = 3600.0
"""Seconds after which a container of ours can only be that of a process that was killed."""
_TRIES = 3
"""Starts with another port, where one was taken in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The command line of an engine."""

    words: tuple[str, ...]
    """The program and its general flags."""
    create: tuple[str, ...] = ()
    """Flags of `create` and `run` that this machine needs."""
    top: tuple[str, ...] = ()
    """Columns of `top` that end in resident KiB."""

    def run(self, *words: str, timeout: float = _QUICK) -> Finished:
        """Run a command to its end; raises EngineError when it hangs or can't be started."""
        whole = words[0] in _MAKING
        try:
            return run([*self.words, *words], timeout=timeout, whole=whole)
        except CanneryError as error:
            raise EngineError(error.message) from error

    def call(self, *words: str, timeout: float = _QUICK) -> str:
        """Run a command that must succeed and return its output; raises EngineError with its complaint."""
        done = self.run(*words, timeout=timeout)
        if not done.ok:
            raise EngineError(f"'{self.words[0]} {words[0]}' failed: {_first(done)}")
        return done.stdout.decode(errors="replace").strip()


@dataclass(slots=True, kw_only=True)
class CommandContainer:
    """A container of Docker or Podman."""

    program: Program
    name: str
    port: int
    began: float
    """On the monotonic clock, when its start was asked for."""
    probe: tuple[str, ...]
    check: Callable[[CommandContainer], bool | None] = field(repr=False)

    @property
    def url(self) -> str:
        """Where its port is reached."""
        return f"http://127.0.0.1:{self.port}"

    def wait_healthy(self, timeout: float = 30.0) -> float:
        """Wait for `GET /health` to answer 200; return the seconds since the start."""
        return wait_healthy(self.url, self.began, timeout, self._ended, self.logs)

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for its end and return the exit status."""
        return int(self.program.call("wait", self.name, timeout=timeout).splitlines()[-1])

    def exec(self, *argv: str) -> Finished:
        """Run a program in it."""
        return self.program.run("exec", self.name, *argv)

    def healthcheck(self) -> bool | None:
        """Run the image's own health check."""
        return self.check(self)

    def memory(self) -> int | None:
        """Return the resident bytes of all its processes."""
        done = self.program.run("top", self.name, *self.program.top)
        sizes = [line.split()[-1] for line in done.stdout.decode().splitlines()[1:] if line.strip()]
        if not done.ok or not sizes or not all(size.isdigit() for size in sizes):
            return None
        return sum(int(size) for size in sizes) * 1024

    def logs(self) -> str:
        """Return what it wrote to stdout and stderr."""
        done = self.program.run("logs", self.name)
        return (done.stdout + done.stderr).decode(errors="replace")

    def stop(self, timeout: float = STOP) -> Stopped:
        """Send SIGTERM, and SIGKILL after `timeout` seconds."""
        began = time.monotonic()
        seconds = str(max(1, round(timeout)))
        self.program.call("stop", "--time", seconds, self.name, timeout=timeout + _QUICK)
        passed = time.monotonic() - began
        status = self._state("ExitCode")
        return Stopped(status=int(status), seconds=passed)

    def _state(self, key: str) -> str:
        words = ("inspect", "--type", "container", "--format", f"{{{{.State.{key}}}}}", self.name)
        return self.program.call(*words)

    def _ended(self) -> int | None:
        return None if self._state("Running") == "true" else int(self._state("ExitCode"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEngine:
    """Docker or Podman."""

    name: str
    find: Callable[[], Program]
    """Return the program as it works here; raises EngineError with the reason why it doesn't."""
    check: Callable[[CommandContainer], bool | None]
    """How the image's own health check is run."""
    shares: bool = False
    """Whether `load` takes an archive without the layers that the engine has already."""

    def obstacle(self) -> str | None:
        """Return why this engine can't be used here."""
        try:
            self.find()
        except EngineError as error:
            return error.message
        return None

    def load(self, image: Image, reference: Reference | None = None) -> str:
        """Stream the archive of an image into the engine; nothing is written in between."""
        self._sweep()
        try:
            if self.shares and len(image.layers) > 1:
                with contextlib.suppress(EngineError):  # it lacks layers below the last one
                    return self._load(image, reference, stream_last_layer)
            return self._load(image, reference, stream_archive)
        except KeyboardInterrupt:
            self.release(image.id)
            raise

    def _sweep(self) -> None:
        """Remove what killed processes left; by age, since another host's may be in sight too."""
        program = self.find()
        listed = program.run("ps", "--all", "--filter", f"label={LABEL}", "--format", "{{.Names}}")
        stale = [name for name in listed.stdout.decode().split() if _age(name) > _STALE]
        if listed.ok and stale:
            program.run("rm", "--force", "--volumes", *stale)

    def _load(self, image: Image, reference: Reference | None, write: Writer) -> str:
        words = [*self.find().words, "load"]
        with tempfile.TemporaryFile() as said:
            try:
                with started(words, stdin=PIPE, stdout=said, stderr=said) as process:
                    stream = cast("BinaryIO", process.stdin)
                    try:
                        with contextlib.suppress(BrokenPipeError):  # its complaint says more
                            write(image, reference, stream)
                            stream.close()
                        process.wait()
                    except KeyboardInterrupt:
                        # What the engine has whole it keeps, whoever asked: wait until it is known.
                        stream.close()
                        process.wait(_QUICK)
                        raise
            except CanneryError as error:
                raise EngineError(error.message) from error
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
        found = _LOADED.search(text)
        if process.returncode != 0 or found is None:
            raise EngineError(f"'{self.name} load' failed: {text[-500:]}")
        # Docker's own store names an image by its config, containerd's by its manifest.
        known = found[1] == image.id or self.find().run("image", "inspect", image.id).ok
        return image.id if known else found[1]

    def tag(self, subject: str, reference: Reference) -> None:
        """Give an image a further name."""
        self.find().call("tag", subject, str(reference))

    def settings(self, subject: str) -> Settings:
        """Return how an image wants to be started."""
        program = self.find()
        done = program.run("image", "inspect", subject)
        if not done.ok:
            raise EngineError(
                f"{self.name} has no image '{subject}'", hint="build or pull it first"
            )
        documents = msgspec.json.decode(done.stdout, type=list[dict[str, Any]])
        config = documents[0].get("Config") or {}
        # Podman keeps the health check beside the config, Docker in it.
        config.setdefault("Healthcheck", documents[0].get("Healthcheck"))
        try:
            return msgspec.convert(config, Settings)
        except msgspec.ValidationError as error:
            raise EngineError(f"{self.name} describes '{subject}' strangely: {error}") from error

    def extract(self, subject: str, path: str, folder: Path) -> Path:
        """Copy a folder out of an image into `folder`."""
        program = self.find()
        name = _name()
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            program.call("create", "--name", name, "--pull", "never", *program.create, subject)
            program.call("cp", f"{name}:{path}", str(folder), timeout=600)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            program.run("rm", "--force", name)
        return folder

    @contextlib.contextmanager
    def save(self, subject: str) -> Iterator[IO[bytes]]:
        """Give the archive of an image as a stream."""
        self.settings(subject)  # says clearly that there is no such image
        with started([*self.find().words, "save", subject], stderr=None) as process:
            assert process.stdout is not None
            yield process.stdout

    @contextlib.contextmanager
    def start(
        self, subject: str, options: StartOptions | None = None
    ) -> Iterator[CommandContainer]:
        """Start an image; the container is gone when the block ends."""
        options = options or StartOptions()
        program = self.find()
        probe = self.settings(subject).probe
        name = _name()
        try:
            port, began = self._start(program, name, subject, options)
            yield CommandContainer(
                program=program, name=name, port=port, began=began, probe=probe, check=self.check
            )
        finally:
            program.run("rm", "--force", "--volumes", name)

    def _start(
        self, program: Program, name: str, subject: str, options: StartOptions
    ) -> tuple[int, float]:
        for _ in range(_TRIES):
            port, began = free_port(), time.monotonic()
            words = [*program.create, *_flags(name, port, options), subject, *options.command]
            done = program.run("run", "--detach", *words)
            if done.ok:
                return port, began
            program.run("rm", "--force", name)
            if "address already in use" not in done.complaint and "allocated" not in done.complaint:
                break
        raise EngineError(f"'{self.name} run' failed: {_first(done)}")

    def release(self, subject: str) -> None:
        """Remove an image that nobody named; what has a name is somebody's, whoever loaded it."""
        program = self.find()
        named = program.run("image", "inspect", "--format", '{{join .RepoTags " "}}', subject)
        if named.ok and not named.stdout.strip():
            program.run("image", "rm", subject)

    def remove_image(self, subject: str) -> None:
        """Forget an image, by id or name."""
        self.find().run("image", "rm", "--force", subject)


def _name() -> str:
    """Return a name that nobody has, and that tells when it was given."""
    return f"cannery-{int(time.time()):x}-{secrets.token_hex(6)}"


def _age(name: str) -> float:
    """Return the seconds since a name of ours was given; 0 for any other name."""
    told = re.fullmatch(r"cannery-([0-9a-f]{8,10})-[0-9a-f]{12}", name)
    return time.time() - int(told[1], 16) if told else 0.0


def _flags(name: str, port: int, options: StartOptions) -> list[str]:
    """Return the words of `run` for these options; both programs know them all."""
    words = ["--name", name, "--label", f"{LABEL}={name}", "--pull", "never"]
    if options.read_only:
        words += ["--read-only", "--tmpfs", "/tmp:rw,mode=1777"]
    if options.hardened:
        words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    if options.user is not None:
        words += ["--user", options.user]
    environment = dict(options.environment)
    match options.network:
        case "bridge":
            words += ["--publish", f"127.0.0.1:{port}:{options.port}"]
            if options.port_variable:
                environment[options.port_variable] = str(options.port)
        case "host":
            words += ["--network", "host"]
            # Another port, such as that of remote calls, could be somebody else's.
            environment |= {"HOST": "127.0.0.1", "GRPC_PORT": ""}
            environment[options.port_variable or "PORT"] = str(port)
        case "none":
            words += ["--network", "none"]
    for key, value in environment.items():
        words += ["--env", f"{key}={value}"]
    for mount in options.mounts:
        source = mount.source.resolve()
        words += ["--mount", f"type=bind,source={source},target={mount.target},readonly"]
    return words


def _first(done: Finished) -> str:
    """Return the complaint that counts: the last line that speaks of an error."""
    lines = done.complaint.splitlines() or [f"status {done.status}"]
    errors = [line for line in lines if "rror" in line]
    return (errors or lines)[-1].strip()
