"""The program inside an image: `python -m cannery.serving [serve|health|smoke]`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from cannery.errors import CanneryError, RefusedError, UsageError
from cannery.serving.origins import Origin, origin_of
from cannery.serving.settings import Settings, checked_grpc, settings_of

if TYPE_CHECKING:
    from cannery.cans.open import Can
    from cannery.serving.boards import Board

USAGE = """usage: python -m cannery.serving [serve | health | smoke]

serve   answer requests (the default)
health  exit 0 when the service is healthy, else 1
smoke   load the model, score the canary, print the first answer
"""


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the program and return its exit status: 0 yes, 1 no (unhealthy), 2 error."""
    # Process 1 ignores a signal that it does not handle, also while the model is being loaded.
    signal.signal(signal.SIGTERM, _leave)
    command = arguments[0] if arguments else "serve"
    if command in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    try:
        if command not in _COMMANDS or len(arguments) > 1:
            words = " ".join(arguments)
            raise UsageError(f"no such command '{words}'", hint="serve, health or smoke")
        return _COMMANDS[command](settings_of(env), env)
    except CanneryError as error:
        status = _tell(error)
        return 1 if command == "health" else status
    except OSError as error:  # of a path that is too long, or on a disk that fails
        place = f": '{error.filename}'" if error.filename else ""
        sys.stderr.write(f"error: {(error.strerror or str(error)).lower()}{place}\n")
        return 1 if command == "health" else 2
    except KeyboardInterrupt:
        return 0


def serve(settings: Settings, origin: Origin) -> int:
    """Load the can, check its canary, then listen until SIGTERM or SIGINT; return the exit status.

    Raises CanError or ProofError when the can must not be served, UsageError when the address
    can't be had.
    """
    from cannery.serving.logs import configure
    from cannery.serving.starting import ahead, hurry

    configure(settings.log_level, settings.log_format, access=settings.access_log)
    # 500 MB are hashed for half a second; what is pulled half must be removed when a signal comes,
    # of which only this thread hears.
    found = cache(origin.find) if settings.model_uri else ahead(origin.find)
    count = settings.workers or _fitting(found())
    hurry(beside=count == 1)
    from cannery.serving.server import bind, run
    from cannery.serving.service import healthy

    listener = bind(settings.host, settings.port)
    if settings.grpc_port is not None:
        # Its library must not be loaded where the process forks: this socket only holds the port.
        held = bind(settings.host, checked_grpc(settings.grpc_port), shared=True)
        settings = replace(settings, grpc_port=held.getsockname()[1])

    can = found()

    def work(board: Board | None, slot: int) -> int:
        service = healthy(can, threads=settings.threads)
        origin.keep(can)
        return run(service, settings, listener, origin, board=board, slot=slot)

    if count == 1:
        return work(None, 0)
    from cannery.serving.workers import PATIENCE, supervise

    def told(board: Board, slot: int) -> int:
        try:
            return work(board, slot)
        except CanneryError as error:
            return _tell(error)

    # A slow model that holds the interpreter's lock may keep the loop from turning for its whole time.
    return supervise(count, told, patience=max(PATIENCE, settings.deadline))


def _tell(error: CanneryError) -> int:
    """Say what is wrong in one line, and return the exit status."""
    hint = f" ({error.hint})" if error.hint else ""
    sys.stderr.write(f"error: {error.message}{hint}\n")
    return 1 if isinstance(error, RefusedError) else 2


def _fitting(can: Can) -> int:
    """Return how many workers this machine, or this container, has place for."""
    from cannery.serving.cgroups import workers_for
    from cannery.serving.weights import bytes_apart

    size = sum(file.size for file in can.manifest.files.values())
    shared = bytes_apart(can.model_path) if can.manifest.runtime == "onnx" else 0
    return workers_for(size - shared, shared)


def _serve(settings: Settings, env: Mapping[str, str]) -> int:
    return serve(settings, origin_of(settings, env))


def _smoke(settings: Settings, env: Mapping[str, str]) -> int:
    """Print the answer to the canary's first record; raises ProofError when the canary fails."""
    import msgspec

    from cannery.serving.service import healthy

    service = healthy(origin_of(settings, env).find(), threads=settings.threads)
    answer = service.predict_one(service.canary.records[0])
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return 0


def _health(settings: Settings, env: Mapping[str, str]) -> int:
    """Ask the running server; with none running, load the can and score the canary here."""
    from cannery.serving.probe import ask

    try:
        status, body = ask(settings.host, settings.port, tls=settings.tls is not None)
    except ConnectionRefusedError:
        from cannery.serving.service import healthy

        healthy(origin_of(settings, env).find(), threads=settings.threads)
        sys.stdout.write('{"status":"healthy","served":false}\n')
        return 0
    except OSError as error:
        sys.stdout.write(f"no answer from {settings.host}:{settings.port}: {error}\n")
        return 1
    sys.stdout.write(body.decode("utf-8", "replace") + "\n")
    return 0 if status == 200 else 1


_COMMANDS = {"serve": _serve, "health": _health, "smoke": _smoke}


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
