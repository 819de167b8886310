"""The host's end of the pipes to a worker: bounded replies, deadlines, and the tail of what it complained."""

from __future__ import annotations

import os
import selectors
import time
from typing import IO

import msgspec

from cannery.errors import IsolationError
from cannery.isolation.messages import HEADER, Reply, Request
from cannery.processes import Process

_PIECE = 1 << 18
_TAIL = 1 << 16
"""Bytes kept of what the worker writes to stderr."""


class Channel:
    """Requests to, and replies from, a started worker."""

    def __init__(self, process: Process, *, timeout: float, reply_limit: int) -> None:
        """`timeout` is in seconds for each request, `reply_limit` in bytes for each reply."""
        self._process = process
        self._timeout = timeout
        self._limit = reply_limit
        self._tail = b""
        self._decoder = msgspec.msgpack.Decoder(Reply)
        self._encoder = msgspec.msgpack.Encoder()
        for stream in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(_open(stream).fileno(), False)

    def ask(self, request: Request) -> Reply:
        """Send a request and return its reply; raises IsolationError when the worker dies, hangs or babbles."""
        body = self._encoder.encode(request)
        data = self._exchange([memoryview(HEADER.pack(len(body))), memoryview(body)])
        try:
            reply: Reply = self._decoder.decode(data)
            return reply
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise IsolationError(f"the worker's answer makes no sense: {error}") from error

    def _exchange(self, pending: list[memoryview]) -> bytes:
        """Write everything, read one message, and drain stderr meanwhile, so that nobody blocks."""
        deadline = time.monotonic() + self._timeout
        stdin, stdout, stderr = map(
            _open, (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while not self._whole(received):
                ready = selector.select(deadline - time.monotonic())
                if time.monotonic() >= deadline:  # however much is still being said
                    raise IsolationError(
                        f"the worker did not answer within {self._timeout:g} s",
                        hint="the model may be very large, or made to hang",
                    )
                for key, _ in ready:
                    if key.fileobj is stdin:
                        if not self._write(stdin, pending):
                            selector.unregister(stdin)
                    elif key.fileobj is stderr:
                        if not self._complain(stderr):
                            selector.unregister(stderr)
                    elif not self._receive(stdout, received):
                        raise self._dead(stderr)
        return bytes(received[HEADER.size :])

    def _write(self, stream: IO[bytes], pending: list[memoryview]) -> bool:
        """Write a piece; False when everything is written, or nobody reads any more."""
        try:
            written = os.write(stream.fileno(), pending[0][:_PIECE])
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        pending[0] = pending[0][written:]
        if not pending[0]:
            pending.pop(0)
        return bool(pending)

    def _receive(self, stream: IO[bytes], received: bytearray) -> bool:
        """Read a piece; False when the worker has closed its end."""
        data = os.read(stream.fileno(), _PIECE)
        received += data
        if len(received) >= HEADER.size:
            (length,) = HEADER.unpack_from(received)
            if length > self._limit:
                raise IsolationError(
                    f"the worker announced an answer of {length} bytes; at most {self._limit} are taken"
                )
            if len(received) > HEADER.size + length:
                raise IsolationError("the worker said more than it was asked")
        return bool(data)

    def _whole(self, received: bytearray) -> bool:
        return len(received) >= HEADER.size and len(received) == HEADER.size + int(
            HEADER.unpack_from(received)[0]
        )

    def _complain(self, stream: IO[bytes]) -> bool:
        """Keep the tail of stderr; False when it has ended."""
        try:
            data = os.read(stream.fileno(), _PIECE)
        except BlockingIOError:
            return True
        self._tail = (self._tail + data)[-_TAIL:]
        return bool(data)

    def _dead(self, stderr: IO[bytes]) -> IsolationError:
        """Return the error that says how the worker ended, and what it said last."""
        deadline = time.monotonic() + 5
        while (status := self._process.poll()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        while self._complain(stderr) and status is not None:
            if not _readable(stderr):
                break
        lines = printable(self._tail.decode(errors="replace")).strip().splitlines()[-6:]
        how = "closed its channel" if status is None else f"ended with status {status}"
        if status is not None and status < 0:
            how = f"was killed by signal {-status}"
        said = ": " + "\n".join(lines) if lines else ""
        return IsolationError(f"the worker {how} before it answered{said}")


def printable(text: str) -> str:
    """Return text of a worker without what could steer a terminal, and not too long."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text[-4000:])


def _readable(stream: IO[bytes]) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(0))


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise IsolationError("the worker was started without a channel")
    return stream
