"""The program inside an image: `python -m cannery.serving [serve|health|smoke]`."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from cannery.errors import CanneryError, RefusedError, UsageError
from cannery.serving.origins import Origin, origin_of
from cannery.serving.settings import Settings, checked_grpc, settings_of

if TYPE_CHECKING:
    from cannery.serving.service import Service

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
        hint = f" ({error.hint})" if error.hint else ""
        sys.stderr.write(f"error: {error.message}{hint}\n")
        return 1 if isinstance(error, RefusedError) or command == "health" else 2
    except KeyboardInterrupt:
        return 0


def serve(can: Path, settings: Settings, origin: Origin | None = None) -> int:
    """Load the can, check its canary, then listen until SIGTERM or SIGINT; return the exit status.

    `origin` says, while it serves, which can it should be by now, and learns that this one is good.

    Raises CanError or ProofError when the can must not be served, UsageError when the address
    can't be had.
    """
    from cannery.cans.open import open_can
    from cannery.serving.starting import ahead, hurry

    count = settings.workers or _fitting(can)
    checked = ahead(partial(open_can, can))  # half a second of hashing for 500 MB
    hurry(beside=count == 1)
    from cannery.serving.logs import configure
    from cannery.serving.server import bind, run
    from cannery.serving.service import healthy
    from cannery.serving.workers import SIGNALS, supervise

    configure(settings.log_level, settings.log_format, access=settings.access_log)
    listener = bind(settings.host, settings.port)
    if settings.grpc_port is not None:
        # Its library must not be loaded where the process forks: this socket only holds the port.
        held = bind(settings.host, checked_grpc(settings.grpc_port), shared=True)
        settings = replace(settings, grpc_port=held.getsockname()[1])

    whole = checked()

    def opened() -> Service:
        service = healthy(whole, threads=settings.threads)
        if origin is not None:
            origin.keep(can)
        return service

    if count == 1:
        return run(opened(), settings, listener, origin=origin)
    from cannery.serving.boards import Board

    board = Board(count)

    def work(slot: int) -> int:
        try:
            return run(opened(), settings, listener, origin=origin, board=board, slot=slot)
        except CanneryError as error:
            sys.stderr.write(f"error: {error.message}\n")
            return 1 if isinstance(error, RefusedError) else 2

    def start(slot: int) -> int:
        """Fork a worker; in the child this never returns."""
        if child := os.fork():
            return child
        status = 1
        try:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            status = work(slot)
        except Exception:  # the child ends here, so that nobody else would tell
            traceback.print_exc()
        finally:
            os._exit(status)

    return supervise(count, start)


def _fitting(can: Path) -> int:
    """Return how many workers this machine, or this container, has place for."""
    from cannery.serving.cgroups import workers_for
    from cannery.serving.weights import bytes_apart

    size = sum(file.stat().st_size for file in can.glob("*") if file.is_file())
    shared = sum(map(bytes_apart, can.glob("*.onnx")))
    return workers_for(size - shared, shared)


def _serve(settings: Settings, env: Mapping[str, str]) -> int:
    origin = origin_of(settings, env)
    return serve(origin.find(), settings, origin)


def _smoke(settings: Settings, env: Mapping[str, str]) -> int:
    """Print the answer to the canary's first record; raises ProofError when the canary fails."""
    import msgspec

    from cannery.serving.service import open_service

    service = open_service(origin_of(settings, env).find(), threads=settings.threads)
    answer = service.predict_one(service.canary.records[0])
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return 0


def _health(settings: Settings, env: Mapping[str, str]) -> int:
    """Ask the running server; with none running, load the can and score the canary here."""
    from cannery.serving.probe import ask

    try:
        status, body = ask(settings.host, settings.port, tls=settings.tls is not None)
    except ConnectionRefusedError:
        from cannery.serving.service import open_service

        open_service(origin_of(settings, env).find(), threads=settings.threads)
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
