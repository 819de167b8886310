"""The application under uvicorn: sockets, limits, signals, and an end with status 0."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from types import FrameType
from typing import TYPE_CHECKING

from uvicorn.config import Config
from uvicorn.server import Server

from cannery.errors import UsageError
from cannery.serving.boards import Board
from cannery.serving.hot import HotProtocol
from cannery.serving.http import Application
from cannery.serving.metrics import Metrics
from cannery.serving.origins import Origin
from cannery.serving.routes import Desk, routes_of
from cannery.serving.scoring import Scoring, turn_of
from cannery.serving.service import Service
from cannery.serving.settings import Settings
from cannery.serving.watches import Watch

if TYPE_CHECKING:
    from cannery.serving.rpc import Remote

CONNECTIONS = 1000
"""At once; one more is answered 503. Below the usual limit of 1024 open files."""
KEEP_ALIVE = 75
"""Seconds of idleness; longer than the 60 of load balancers, which else meet closed connections."""
GRACE = 8
"""Seconds for requests in flight when the service is told to end: orchestrators kill after 10."""
LAST = 1
"""Of them, in which those that could not be answered are told so."""

SELDOM = 30
"""Seconds between two tries of a slow model's canary that nobody asked for; a quick one's is tried every second."""

_log = logging.getLogger(__name__)


class _Server(Server):
    """uvicorn's server, which tells us of signals and of seconds, and does not raise signals again at the end."""

    def __init__(
        self,
        config: Config,
        app: Application,
        tick: Callable[[], None],
        remote: Remote | None,
    ) -> None:
        super().__init__(config)
        self._desk = app.desk
        self._tick = tick
        self._remote = remote

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        if self._remote is not None:
            await self._remote.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for what is in flight."""
        asyncio.get_running_loop().call_later(GRACE - LAST, self._desk.patience.end)
        ends = [super().shutdown(sockets)]
        if self._remote is not None:
            ends.append(self._remote.stop(GRACE))
        await asyncio.gather(*ends)

    async def on_tick(self, counter: int) -> bool:
        """Do once a second what is to be done."""
        if counter % 10 == 0:
            self._tick()
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT while the block runs."""
        former = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop being ready at once; uvicorn then closes what is idle and waits for the rest."""
        self._desk.drain()
        super().handle_exit(sig, frame)


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Take the address without listening yet, so that callers are refused until the model is loaded.

    `shared`: another socket of this process, or of one that it forks, is the one that listens.
    Raises UsageError when the address can't be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"can't listen on {host}:{port}: {reason}", hint="choose another HOST or PORT"
        ) from error
    return listener


def application(
    service: Service, settings: Settings, board: Board | None = None, slot: int = 0
) -> Application:
    """Return the ASGI application of a service; with siblings, its slot on their board."""
    outputs = service.manifest.signature.outputs
    metrics = Metrics(_info(service), time.time(), outputs, board=board, slot=slot)
    metrics.tally.canary = True  # the service was opened, so the canary came out right
    desk = Desk(service, metrics)
    return Application(
        desk,
        routes_of(desk, settings.aliases),
        _scoring(service, desk, settings),
        max_body=settings.max_body,
        gate=settings.gate,
    )


def adopt(app: Application, service: Service, settings: Settings) -> None:
    """Answer by this service from now on: it was opened, so its canary came out right."""
    metrics = app.desk.metrics
    metrics.describe(_info(service), service.manifest.signature.outputs)
    metrics.tally.canary = True
    app.desk.take(service)
    app.adopt(routes_of(app.desk, settings.aliases), _scoring(service, app.desk, settings))


def look(app: Application, second: int) -> None:
    """Try the canary though nobody asks: what the metrics of this process say of it must not be old."""
    if app.scoring.quick or app.scoring.hindrance:
        app.desk.health()
    elif second % SELDOM == 0:
        app.scoring.begin(app.desk.health)


def _info(service: Service) -> dict[str, str]:
    manifest = service.manifest
    about = {"name": manifest.name, "version": manifest.version, "digest": service.digest}
    return {**about, "runtime": manifest.runtime}


def _about(app: Application) -> dict[str, str]:
    """Return what spans say of the service that is there now."""
    info = _info(app.desk.service)
    return {"service.name": info["name"], "service.version": info["version"]} | {
        f"cannery.model.{name}": info[name] for name in ("digest", "runtime")
    }


def _scoring(service: Service, desk: Desk, settings: Settings) -> Scoring:
    return Scoring(
        service,
        desk.metrics,
        desk.patience,
        turn=turn_of(service),
        waiting=settings.queue,
        deadline=settings.deadline,
    )


def run(
    service: Service,
    settings: Settings,
    listener: socket.socket,
    origin: Origin,
    *,
    board: Board | None = None,
    slot: int = 0,
) -> int:
    """Serve until a signal comes and what was in flight is answered; return the exit status.

    `origin` is asked for another can while it serves, where the settings say so. With siblings, `slot`
    is the place on their board. Raises UsageError where the files for TLS are none.
    """
    app = application(service, settings, board, slot)
    config = _config(app, settings)
    manifest = service.manifest
    place = _place(listener, tls=config.is_ssl)
    _log.info("serving %s %s (%s) on %s", manifest.name, manifest.version, service.digest, place)
    watch = None
    if settings.watch:
        watch = Watch(app, settings, origin, partial(adopt, app, settings=settings))

    seconds = count(1)

    def tick() -> None:
        if board is not None:
            board.turn(slot)
        look(app, next(seconds))
        app.desk.metrics.publish()
        if watch is not None:
            watch.tick()

    if settings.telemetry is not None:
        from cannery.serving.spans import Spans

        tally = app.desk.metrics.tally
        app.spans = Spans(settings.telemetry, partial(_about, app), lambda: tally.spans)
    server = _Server(config, app, tick, _remote(app, settings))
    server.run(sockets=[listener])
    app.scoring.close()
    if app.spans is not None:
        app.spans.close()
    _log.info("stopped")
    return 0 if server.started else 1


def _config(app: Application, settings: Settings) -> Config:
    """Return how uvicorn is to run the application; raises UsageError where the files for TLS are none."""
    config = Config(
        app,
        loop="uvloop",
        http=HotProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=settings.tls[0] if settings.tls else None,
        ssl_keyfile=settings.tls[1] if settings.tls else None,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"TLS_CERT and TLS_KEY are no certificate and its key: {error}") from error
    return config


def _place(listener: socket.socket, *, tls: bool) -> str:
    """Return the address of the service, for people."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _remote(app: Application, settings: Settings) -> Remote | None:
    """Return the server of remote calls, where there is to be one."""
    if settings.grpc_port is None:
        return None
    from cannery.serving.rpc import Remote  # most images have no gRPC

    _log.info("serving remote calls on port %d", settings.grpc_port)
    return Remote(app, settings)
